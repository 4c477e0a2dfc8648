package couchbasestore

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/couchbase/gocb/v2"
)

// doc is a document as it was read.
type doc struct {
	body []byte
	cas  gocb.Cas
}

// edit is what to do with a document; the zero edit leaves it as it is.
type edit struct {
	body   []byte
	remove bool
}

// put is the edit that writes v.
func put(v any) (edit, error) {
	body, err := json.Marshal(v)
	return edit{body: body}, err
}

// callTime bounds one call. A durable write takes longer than another.
const callTime = 15 * time.Second

// get reads a document; nil where there is none.
func (s *Store) get(ctx context.Context, c *gocb.Collection, key string) (*doc, error) {
	var out *doc
	err := patient(ctx, func() error {
		r, err := c.Get(key, &gocb.GetOptions{Context: ctx, Timeout: callTime, Transcoder: transcoder})
		if errors.Is(err, gocb.ErrDocumentNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		out = &doc{cas: r.Cas()}
		return r.Content(&out.body)
	})
	return out, wrap("get", c, key, err)
}

// transcoder leaves documents as they are; what is stored is JSON.
var transcoder = gocb.NewRawJSONTranscoder()

// mutate changes a document as f says, by compare-and-swap. It calls f again with
// the document as it is by then, nil where there is none, where another was faster,
// and where the outcome of a write is not known: f must recognise its own work, and
// leave it. known spares the first read, where it is not nil; without a CAS it stands for a
// document that is probably missing. It returns the document
// after it; nil where there is none.
func (s *Store) mutate(ctx context.Context, c *gocb.Collection, key string, known *doc, f func(old *doc) (edit, error)) (*doc, error) {
	deadline := time.Now().Add(mostTime)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		old := known
		if old == nil {
			var err error
			if old, err = s.get(ctx, c, key); err != nil {
				return nil, err
			}
		}
		known = nil
		e, err := f(old)
		if err != nil || !e.remove && e.body == nil {
			return old, err
		}
		next, err := s.write(ctx, c, key, old, e)
		switch {
		case err == nil:
			return next, nil
		case conflict(err):
			// Somebody else got on, so that all together do. A lost write of our own
			// is one of them.
		case !transient(err) || ctx.Err() != nil || time.Now().After(deadline):
			return nil, wrap("write", c, key, ended(ctx, err))
		}
		if err := wait(ctx, pause); err != nil {
			return nil, wrap("write", c, key, err)
		}
	}
}

// write writes once, on the condition that the document is still old.
func (s *Store) write(ctx context.Context, c *gocb.Collection, key string, old *doc, e edit) (*doc, error) {
	var r *gocb.MutationResult
	var err error
	missing := old == nil || old.cas == 0
	switch {
	case e.remove && missing:
		return nil, nil
	case e.remove:
		_, err = c.Remove(key, &gocb.RemoveOptions{Cas: old.cas, DurabilityLevel: s.options.Durability, Context: ctx, Timeout: callTime})
		return nil, err
	case missing:
		r, err = c.Insert(key, e.body, &gocb.InsertOptions{
			DurabilityLevel: s.options.Durability, Context: ctx, Timeout: callTime, Transcoder: transcoder,
		})
	default:
		r, err = c.Replace(key, e.body, &gocb.ReplaceOptions{
			Cas: old.cas, DurabilityLevel: s.options.Durability, Context: ctx, Timeout: callTime, Transcoder: transcoder,
		})
	}
	if err != nil {
		return nil, err
	}
	return &doc{body: e.body, cas: r.Cas()}, nil
}

// insert writes a document that nobody changes, unless it is there already. Where
// the outcome of a call is not known it is called again: there is only one content.
func (s *Store) insert(ctx context.Context, c *gocb.Collection, key string, body []byte) error {
	err := patient(ctx, func() error {
		_, err := s.write(ctx, c, key, nil, edit{body: body})
		if errors.Is(err, gocb.ErrDocumentExists) {
			return nil
		}
		return err
	})
	return wrap("insert", c, key, err)
}

// atOnce is how many calls are under way at a time.
const atOnce = 16

// each calls f with 0 to n-1, several at a time, and returns the first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	var once sync.Once
	var first error
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			if err := f(ctx, i); err != nil {
				once.Do(func() { first = err })
				stop(err)
			}
		})
	}
	all.Wait()
	if first == nil && ctx.Err() != nil {
		first = context.Cause(ctx)
	}
	return first
}
