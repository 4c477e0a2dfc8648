package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	mongostore "github.com/flamingock/flamingock-go/plugins/mongodb/store"
)

// interrupted is a store whose calls are stopped before one of their commands,
// while another instance does something.
type interrupted struct {
	*mongostore.Store
	// at counts down to the command; at zero, between runs, for at most patience:
	// what is between may have to wait for what is stopped.
	at      atomic.Int64
	between func()
	done    chan struct{} // closed when between has returned
	command string        // the one that was stopped
	inTime  bool          // whether between returned while it was stopped
}

const patience = 150 * time.Millisecond

func (d database) interrupted(t *testing.T) *interrupted {
	t.Helper()
	i := &interrupted{}
	i.at.Store(-1)
	monitor := &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if i.at.Load() < 0 || i.at.Add(-1) != -1 {
			return
		}
		i.command = e.CommandName
		go func() {
			defer close(i.done)
			i.between()
		}()
		select {
		case <-i.done:
			i.inTime = true
		case <-time.After(patience):
		}
	}}
	c, err := mongo.Connect(options.Client().ApplyURI(d.uri).SetMonitor(monitor))
	must(t, err)
	t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	i.Store, err = mongostore.Open(t.Context(), c.Database(d.name), d.options)
	must(t, err)
	return i
}

// during runs f and, before its command n, between. It returns false where f has
// not so many commands.
func (i *interrupted) during(n int, between, f func()) bool {
	i.between, i.done, i.command, i.inTime = between, make(chan struct{}), "", false
	i.at.Store(int64(n))
	f()
	if i.at.Swap(-1) >= 0 {
		return false
	}
	<-i.done
	return true
}

// TestTakeoverDuringAppend lets others take the lock before each command of an
// append. Whatever the append had to show must be there when they have it.
func TestTakeoverDuringAppend(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		s, other, db := d.interrupted(t), d.open(t), d.connect(t)
		count := func() int { return len(collect(t, other.History(t.Context(), store.Query{}))) }
		for _, who := range []string{"go", "java"} {
			for n := 0; ; n++ {
				_, err := other.Break(t.Context(), key)
				must(t, err)
				l := acquire(t, s.Store, "me")
				must(t, s.Renew(t.Context(), l, -time.Second))
				before, seen := count(), 0
				another := s.during(n, func() {
					if who == "go" {
						acquire(t, other, "other")
					} else if !javaAcquires(t, db, "java", time.Now(), time.Minute) {
						t.Error("Java did not get the lock")
					}
					seen = count()
				}, func() {
					err = s.Append(t.Context(), l, store.Batch{
						Entries: []store.Entry{entry("x", "a", "STARTED", n), entry("y", who, "STARTED", n)},
					})
				})
				after := count()
				what := fmt.Sprintf("%s before command %d (%s, in time %v): %v; %d entries, %d seen, %d in the end", who, n, s.command, s.inTime, err, before, seen, after)
				switch {
				case !another:
				case errors.Is(err, store.ErrStale):
					if after != before || seen != before {
						t.Error("refused and written:", what)
					}
				case err != nil:
					t.Error(what)
				case after != before+2:
					t.Error("not whole:", what)
				case seen != after && (who == "go" || mongostore.Transactions(s.Store)):
					// Without transactions Java is not fenced at one point, which
					// the package says.
					t.Error("written behind the back of the new holder:", what)
				}
				if !another {
					if n < 4 {
						t.Errorf("an append has %d commands", n)
					}
					break
				}
			}
		}
	})
}

// TestAcquireDuringAcquire lets another take the lock before each command of an
// acquisition, and give it back, or not.
func TestAcquireDuringAcquire(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, other, db := d.interrupted(t), d.open(t), d.connect(t)
		for _, what := range []string{"acquire", "acquire and release", "break", "java", "java and release"} {
			for _, expired := range []bool{false, true} {
				for n := 0; ; n++ {
					_, err := other.Break(ctx, key)
					must(t, err)
					if expired {
						old := acquire(t, other, "old")
						must(t, other.Renew(ctx, old, -time.Second))
					}
					var theirs store.Lease
					var theirErr error
					java := false
					var l store.Lease
					another := s.during(n, func() {
						switch what {
						case "acquire", "acquire and release":
							theirs, theirErr = other.Acquire(ctx, store.AcquireRequest{Key: key, Owner: "other", TTL: time.Minute})
							if theirErr == nil && what != "acquire" {
								must(t, other.Release(ctx, theirs))
							}
						case "break":
							_, theirErr = other.Break(ctx, key)
						default:
							java = javaAcquires(t, db, "java", time.Now(), time.Minute)
							if java && what != "java" {
								_, err := db.Collection("flamingockLock").DeleteMany(ctx, bson.D{{Key: "key", Value: key}, {Key: "owner", Value: "java"}})
								must(t, err)
							}
						}
					}, func() {
						l, err = s.Acquire(ctx, store.AcquireRequest{Key: key, Owner: "me", TTL: time.Minute})
					})
					text := fmt.Sprintf("%s (expired %v) before command %d (%s): %+v, %v; they: %+v, %v, %v", what, expired, n, s.command, l, err, theirs, theirErr, java)
					var held *store.HeldError
					if err != nil && !errors.As(err, &held) || theirErr != nil && !errors.As(theirErr, &held) {
						t.Error(text)
					}
					if another {
						switch {
						case what == "acquire" && (err == nil) == (theirErr == nil), what == "java" && (err == nil) == java:
							t.Error("not exactly one has the lock:", text)
						case err != nil && !s.inTime:
							// They had it when we looked again.
						case what == "acquire and release" && (err != nil || theirErr == nil && l.Token <= theirs.Token):
							t.Error("tokens do not grow:", text)
						case what == "java and release" && err != nil:
							t.Error("not acquired:", text)
						}
					}
					if err == nil && what != "break" {
						// Who has it can write.
						if err := s.Append(ctx, l, store.Batch{}); err != nil {
							t.Error("a lease that is none:", text, err)
						}
					}
					if !another {
						break
					}
				}
			}
		}
	})
}

// TestInterruptedAppend makes the copying into one collection fail, after the
// append was decided.
func TestInterruptedAppend(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, db := d.open(t), d.connect(t)
		javaWrites(t, db, "j", "z", "STARTED", base)
		l := acquire(t, s, "me")
		must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("x", "a", "FAILED", 0)}}))
		javaWrites(t, db, "j", "z", "APPLIED", base)
		refuse := func(collection string, v bson.D) {
			must(t, db.RunCommand(ctx, bson.D{{Key: "collMod", Value: collection}, {Key: "validator", Value: v}}).Err())
		}
		for n, collection := range []string{"flamingockAuditLog", "flamingockAuditLogHistory", "flamingockAuditLogCheckpoints"} {
			before := len(collect(t, s.History(ctx, store.Query{})))
			refuse(collection, bson.D{{Key: "never", Value: 1}})
			err := s.Append(ctx, l, store.Batch{
				Entries:     []store.Entry{entry("x", "a", "FAILED", n), entry("x", "b", "STARTED", n), entry("x", "a", "FAILED", n)},
				Checkpoints: []store.Checkpoint{{ChangeID: "a", ExecutionID: "x", Step: n, Kind: "STARTED", Data: []byte("data")}},
			})
			if err == nil {
				t.Fatal("appended to a collection that takes nothing")
			}
			refuse(collection, bson.D{})
			want, marks := before+3, n+1
			if mongostore.Transactions(s) {
				want, marks = before, 0
			}
			// Several readers finish it at once.
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					other, err := mongostore.Open(ctx, db, d.options)
					if err == nil {
						_, err = other.Head(ctx, key)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			list := collect(t, s.History(ctx, store.Query{}))
			cs, err := s.Checkpoints(ctx, "a", "x")
			if err != nil || len(list) != want || len(cs) != marks || marks > 0 && string(cs[n].Data) != "data" {
				t.Errorf("%s: %d entries, want %d, %d checkpoints, %v: %s", collection, len(list), want, len(cs), err, words(list))
			}
			for i, e := range list {
				if e.Seq != int64(i)+1 {
					t.Errorf("history %s", words(list))
				}
			}
		}
		// Nothing is left of it: the next append goes on.
		must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("x", "c", "STARTED", 9)}}))
		if list := collect(t, s.Newest(ctx)); list[len(list)-1].ChangeID != "c" {
			t.Errorf("newest %s", words(list))
		}
	})
}
