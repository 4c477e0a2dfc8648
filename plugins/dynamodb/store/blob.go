package dynamostore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// An item may have 400 KB, a transaction 4 MB.
const (
	chunkBytes       = 350 << 10
	inlineBytes      = 32 << 10
	transactionBytes = 3 << 20
	transactionItems = 100
)

// errGone is what a reader gets who looked for chunks or a journal too late.
var errGone = errors.New("it is not there any more")

func blobKey(id string) string { return "blob " + id }

// stage notes that chunks will be written, so that they can be found should no
// commit refer to them.
func (s *Store) stage(ctx context.Context, l store.Lease, id string) error {
	i := keyOf("staging", id)
	i["key"], i["fencingToken"] = str(l.Key), num(l.Token)
	return s.put(ctx, i)
}

// putChunks writes data as item n of a blob, several chunks at a time.
func (s *Store) putChunks(ctx context.Context, id string, n int, data []byte) error {
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		slots = make(chan struct{}, 4)
	)
	for c := 0; c*chunkBytes < len(data); c++ {
		i := keyOf(blobKey(id), fmt.Sprintf("%05d-%05d", n, c))
		i["data"] = raw(data[c*chunkBytes : min((c+1)*chunkBytes, len(data))])
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := s.put(ctx, i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// chunks reads item n of a blob, which has so many bytes.
func (s *Store) chunks(ctx context.Context, id string, n, bytes int64) ([]byte, error) {
	data := make([]byte, 0, bytes)
	for i, err := range s.query(ctx, span{pk: blobKey(id), from: fmt.Sprintf("%05d-", n), to: fmt.Sprintf("%05d-~", n)}) {
		if err != nil {
			return nil, err
		}
		data = append(data, reader(i).bytes("data")...)
	}
	if int64(len(data)) != bytes {
		return nil, fmt.Errorf("table %s: blob %s has %d bytes, %d were written: %w", s.main, id, len(data), bytes, errGone)
	}
	return data, nil
}

// dropBlob deletes a blob and the note of it.
func (s *Store) dropBlob(ctx context.Context, id string) error {
	for i, err := range s.query(ctx, span{pk: blobKey(id)}) {
		if err == nil {
			err = s.remove(ctx, blobKey(id), reader(i).text("sk"))
		}
		if err != nil {
			return err
		}
	}
	return s.remove(ctx, "staging", id)
}

// sweep deletes what appends under earlier leases left: none of them can be
// committed any more, and no journal is pending.
func (s *Store) sweep(ctx context.Context, l store.Lease) error {
	for i, err := range s.query(ctx, span{pk: "staging"}) {
		if err != nil {
			return err
		}
		r := reader(i)
		if r.text("key") != l.Key || r.int("fencingToken") >= l.Token {
			continue
		}
		if err := s.dropBlob(ctx, r.text("sk")); err != nil {
			return err
		}
	}
	return nil
}
