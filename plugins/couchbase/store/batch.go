package couchbasestore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// batch is what one append writes: the contents of a log document. Of a large one
// the document has only where its chunks are.
type batch struct {
	// ID is the name that the append gave itself.
	ID     string `json:"id"`
	Append int64  `json:"append"`
	// First is the number of the first entry.
	First   int64    `json:"first"`
	Entries []record `json:"entries,omitempty"`
	Points  []point  `json:"checkpoints,omitempty"`
	// Chunks is how many chunks hold the batch; 0 where it is here.
	Chunks int `json:"chunks,omitempty"`
}

// point is a checkpoint.
type point struct {
	ChangeID    string `json:"changeId"`
	ExecutionID string `json:"executionId"`
	Step        int    `json:"step"`
	Part        int    `json:"part"`
	Kind        string `json:"kind"`
	Data        []byte `json:"data,omitempty"`
}

func (p point) checkpoint() store.Checkpoint {
	return store.Checkpoint{ChangeID: p.ChangeID, ExecutionID: p.ExecutionID, Step: p.Step, Part: p.Part, Kind: p.Kind, Data: p.Data}
}

// place is the newest entry of a change, or where it is, if it is large.
type place struct {
	Seq    int64   `json:"seq"`
	Append int64   `json:"append"`
	Entry  *record `json:"entry,omitempty"`
}

// Bounds of what is put into a document with others, in bytes. The server takes
// 20 MB for a document, but what every append writes is to be small.
const (
	inlineBytes = 256 << 10
	placeBytes  = 4 << 10
	chunkBytes  = 1 << 20
)

func placeOf(b *batch, r record) place {
	p := place{Seq: r.Seq, Append: b.Append}
	if text, err := json.Marshal(r); err == nil && len(text) <= placeBytes {
		p.Entry = &r
	}
	return p
}

// number gives the batch its place in the log.
func (b *batch) number(n, first int64) {
	b.Append, b.First = n, first
	for i := range b.Entries {
		b.Entries[i].Seq = first + int64(i)
	}
}

// packed is what of b is put into a document.
func (b *batch) packed() *batch {
	if b.Chunks == 0 {
		return b
	}
	return &batch{ID: b.ID, Append: b.Append, First: b.First, Chunks: b.Chunks}
}

// chunk is a part of a batch.
type chunk struct {
	Data []byte `json:"data"`
}

// pack returns what of b goes into the head, and writes the chunks of a large one
// before: nobody finds them without the head.
func (s *Store) pack(ctx context.Context, h *head, l store.Lease, b *batch) (*batch, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	if len(text) <= inlineBytes {
		return b, nil
	}
	if err := s.holds(ctx, h, l); err != nil {
		return nil, err
	}
	b.Chunks = (len(text) + chunkBytes - 1) / chunkBytes
	err = each(ctx, b.Chunks, func(ctx context.Context, i int) error {
		body, err := json.Marshal(chunk{Data: text[i*chunkBytes : min((i+1)*chunkBytes, len(text))]})
		if err != nil {
			return err
		}
		return s.insert(ctx, s.main, blobKey(b.ID, i), body)
	})
	return b.packed(), err
}

// unpack returns b with its contents.
func (s *Store) unpack(ctx context.Context, b *batch) (*batch, error) {
	if b.Chunks == 0 {
		return b, nil
	}
	parts := make([][]byte, b.Chunks)
	err := each(ctx, b.Chunks, func(ctx context.Context, i int) error {
		d, err := s.get(ctx, s.main, blobKey(b.ID, i))
		if err != nil {
			return err
		}
		if d == nil {
			return fmt.Errorf("document %s is lost; restore the collection from a backup", blobKey(b.ID, i))
		}
		var c chunk
		err = json.Unmarshal(d.body, &c)
		parts[i] = c.Data
		return err
	})
	if err != nil {
		return nil, err
	}
	var all batch
	if err := json.Unmarshal(bytes.Join(parts, nil), &all); err != nil {
		return nil, fmt.Errorf("batch %s: %w", b.ID, err)
	}
	all.Chunks = b.Chunks
	all.number(b.Append, b.First)
	return &all, nil
}

// logged returns the batch of an append as its document has it.
func (s *Store) logged(ctx context.Context, n int64) (*batch, error) {
	d, err := s.get(ctx, s.main, logKey(n))
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fmt.Errorf("document %s is lost; restore the collection from a backup", logKey(n))
	}
	var b batch
	if err := json.Unmarshal(d.body, &b); err != nil {
		return nil, fmt.Errorf("document %s: %w", logKey(n), err)
	}
	return &b, nil
}

func logKey(n int64) string { return "log/" + order(n) }

func blobKey(id string, i int) string { return fmt.Sprintf("blob/%s/%05d", id, i) }

func pointKey(changeID, executionID string) string {
	return "checkpoint/" + hash(changeID, executionID)
}

// shards is over how many documents the newest entries are spread.
const shards = 64

// shardKey is the key of the document of kind that has name.
func shardKey(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return shard(kind, int(sum[0])%shards)
}

func shard(kind string, i int) string { return fmt.Sprintf("%s/%02d", kind, i) }

// order is a number as a text that sorts as the number does.
func order(n int64) string { return fmt.Sprintf("%019d", n) }

// hash makes a key of texts that could be too long for one.
func hash(parts ...string) string {
	var text []byte
	for _, p := range parts {
		text = fmt.Appendf(text, "%d %s", len(p), p)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
