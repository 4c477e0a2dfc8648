package mongostore_test

import (
	"fmt"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// TestAppendDuringAppend lets another append entries with the same execution,
// change and state before each command of an append: without transactions, it
// finishes what is pending, and the first writer goes on with old knowledge.
func TestAppendDuringAppend(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		s, other := d.interrupted(t), d.open(t)
		l := acquire(t, s.Store, "me")
		batch := store.Batch{Entries: []store.Entry{entry("x", "a", "FAILED", 0), entry("x", "b", "FAILED", 0), entry("x", "a", "FAILED", 0)}}
		must(t, s.Append(t.Context(), l, batch))
		for n, want := 0, 3; ; n++ {
			errs := make([]error, 2)
			another := s.during(n, func() {
				errs[0] = other.Append(t.Context(), l, batch)
			}, func() {
				errs[1] = s.Append(t.Context(), l, batch)
			})
			must(t, errs[0])
			must(t, errs[1])
			if want += 3; another {
				want += 3
			}
			list := collect(t, other.History(t.Context(), store.Query{}))
			whole := len(list) == want
			for i, e := range list {
				whole = whole && e.Seq == int64(i)+1 && e.ChangeID == []string{"a", "b", "a"}[i%3]
			}
			newest := words(collect(t, other.Newest(t.Context())))
			if !whole || newest != fmt.Sprintf("%d:x/b/FAILED %d:x/a/FAILED", want-1, want) {
				t.Errorf("before command %d (%s): newest %s, history %s", n, s.command, newest, words(list))
			}
			if !another || t.Failed() {
				return
			}
		}
	})
}

// TestAppendDuringReading numbers documents of Java before each command of a
// reading, and appends something newer.
func TestAppendDuringReading(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, other, db := d.interrupted(t), d.open(t), d.connect(t)
		l := acquire(t, other, "me")
		reads := map[string]func() []store.Entry{
			"newest":   func() []store.Entry { return collect(t, s.Newest(ctx)) },
			"history":  func() []store.Entry { return collect(t, s.History(ctx, store.Query{})) },
			"the last": func() []store.Entry { return collect(t, s.History(ctx, store.Query{Limit: 1000})) },
		}
		total := 0
		for name, read := range reads {
			for n := 0; ; n++ {
				x := fmt.Sprint(name, n)
				javaWrites(t, db, x, "a", "STARTED", base)
				javaWrites(t, db, x, "a", "APPLIED", base)
				total += 2
				var list []store.Entry
				another := s.during(n, func() {
					must(t, other.Append(ctx, l, store.Batch{Entries: []store.Entry{entry(x, "a", "ROLLED_BACK", 1), entry(x, "a", "ROLLED_BACK", 1)}}))
				}, func() { list = read() })
				last := list[len(list)-1]
				if last.Seq != int64(total) && (!another || last.Seq != int64(total)+2) {
					t.Errorf("%s before command %d (%s) ends with %+v, want %d or 2 more", name, n, s.command, last, total)
				}
				for i, e := range list {
					if name != "newest" && e.Seq != int64(i)+1 {
						t.Errorf("%s before command %d (%s): %s", name, n, s.command, words(list))
						break
					}
				}
				if name == "newest" && len(list) != 1 {
					t.Errorf("newest before command %d: %s", n, words(list))
				}
				if !another {
					must(t, other.Append(ctx, l, store.Batch{}))
					break
				}
				total += 2
			}
		}
	})
}
