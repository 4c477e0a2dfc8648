package dynamostore

import (
	"context"
	"slices"
	"strings"
)

// javaEntries returns the entries in Java's table that the log does not have, in
// the order in which it would take them over. taken are marks of those that a
// journal takes over.
func (s *Store) javaEntries(ctx context.Context, h *head, taken map[string]bool) ([]record, error) {
	var list []record
	for i, err := range s.scan(ctx) {
		if err != nil {
			return nil, err
		}
		if r := reader(i); r.text("storeId") == h.id {
			continue
		}
		r, err := s.readJava(i)
		if err != nil {
			return nil, err
		}
		if !taken[r.Java] {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	known := map[string]bool{}
	for i, err := range s.query(ctx, span{pk: "java"}) {
		if err != nil {
			return nil, err
		}
		// One that was taken over after h was read is not in what h shows.
		known[reader(i).text("sk")] = reader(i).int("seq") <= h.seq
	}
	list = slices.DeleteFunc(list, func(r record) bool { return known[r.Java] })
	// The order in which Java folds them.
	slices.SortFunc(list, func(a, b record) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		if c := rank(a.State) - rank(b.State); c != 0 {
			return c
		}
		return strings.Compare(a.Java, b.Java)
	})
	for i := range list {
		list[i].Seq = h.seq + int64(i) + 1
	}
	return list, nil
}

// rank says which of two states of one moment is the later one for Java.
func rank(state string) int {
	return slices.Index([]string{
		"STARTED", "APPLIED", "FAILED", "ROLLED_BACK", "ROLLBACK_FAILED", "MANUAL_MARKED_AS_APPLIED", "MANUAL_MARKED_AS_ROLLED_BACK",
	}, state)
}

// looks tells whether Java's table can have entries that the log lacks.
func (s *Store) looks(h *head) bool { return !h.scanned || h.shared || s.shared }
