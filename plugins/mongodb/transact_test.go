package mongodb

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
)

// transact runs fn as the change of a transaction.
func transact(ctx context.Context, c *Conn, change string, token int64, fn func(ctx context.Context, tx *Conn) error) error {
	return transactor{}.Transact(ctx, c, sdk.Transaction{
		ChangeID: change, ExecutionID: "run", Fence: sdk.Fence{Scope: "scope", Token: token},
	}, func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
		return sdk.Captured{0: []byte("state of " + change)}, fn(ctx, tx)
	})
}

func connect(t *testing.T) *Conn {
	t.Helper()
	uri, name := mongotest.Database(t)
	c, err := open(t.Context(), Config{URI: uri, Database: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.client.Disconnect(context.Background()) })
	return c
}

func put(id string) func(ctx context.Context, tx *Conn) error {
	return func(ctx context.Context, tx *Conn) error {
		_, err := tx.db.Collection("t").InsertOne(tx.in(ctx), bson.D{{Key: "_id", Value: id}})
		return failure("insert", err)
	}
}

// TestMarkerAndFence shows that a marker comes with the change and never without,
// and that a raised fence keeps an older instance out.
func TestMarkerAndFence(t *testing.T) {
	t.Parallel()
	c := connect(t)
	if err := transact(t.Context(), c, "a", 3, put("a")); err != nil {
		t.Fatal(err)
	}
	if err := transact(t.Context(), c, "b", 3, func(ctx context.Context, tx *Conn) error {
		return errors.Join(put("b")(ctx, tx), errors.New("it fails after the write"))
	}); err == nil {
		t.Error("no error")
	}
	markers, err := transactor{}.Markers(t.Context(), c, sdk.Fence{Scope: "scope", Token: 4}, []string{"a", "b"})
	if err != nil || len(markers) != 1 || markers[0].ChangeID != "a" || string(markers[0].Captured[0]) != "state of a" || markers[0].Token != 3 {
		t.Errorf("markers %+v, %v", markers, err)
	}
	if n, err := c.db.Collection("t").CountDocuments(t.Context(), bson.D{}); err != nil || n != 1 {
		t.Errorf("%d documents, %v", n, err)
	}
	if err := transact(t.Context(), c, "c", 3, put("c")); !errors.Is(err, sdk.ErrFenced) {
		t.Errorf("an instance with an older token got %v", err)
	}
	if _, err := (transactor{}).Markers(t.Context(), c, sdk.Fence{Scope: "scope", Token: 2}, nil); !errors.Is(err, sdk.ErrFenced) {
		t.Errorf("raising the fence to an older token got %v", err)
	}
	if err := transact(t.Context(), c, "c", 1, func(context.Context, *Conn) error { return nil }); !errors.Is(err, sdk.ErrFenced) {
		t.Errorf("an instance with an older token got %v", err)
	}
}

// TestFenceRaisedInTheMiddle raises the fence while a transaction that has checked
// it is open: one of the two is told.
func TestFenceRaisedInTheMiddle(t *testing.T) {
	t.Parallel()
	c, other := connect(t), (*Conn)(nil)
	o := *c
	o.raised, o.own = map[string]int64{}, &ownSession{} // as another process
	other = &o
	if err := transact(t.Context(), c, "first", 1, put("first")); err != nil {
		t.Fatal(err)
	}
	raised := make(chan error, 1)
	err := transact(t.Context(), c, "a", 1, func(ctx context.Context, tx *Conn) error {
		select {
		case err := <-raised:
			raised <- err
		default:
			go func() {
				_, err := transactor{}.Markers(context.Background(), other, sdk.Fence{Scope: "scope", Token: 2}, []string{"a"})
				raised <- err
			}()
		}
		return put("a")(ctx, tx)
	})
	if rerr := <-raised; rerr != nil {
		t.Fatalf("raise: %v", rerr)
	}
	markers, merr := transactor{}.Markers(t.Context(), other, sdk.Fence{Scope: "scope", Token: 2}, []string{"a"})
	if merr != nil {
		t.Fatal(merr)
	}
	// Either it committed before the raise, or it never will. Where its session was
	// ended while it committed, it does not know which.
	if errors.Is(err, sdk.ErrUnknownOutcome) {
		return
	}
	if committed := err == nil; committed != (len(markers) == 1) {
		t.Errorf("the transaction says %v, and there are %d markers", err, len(markers))
	}
	if err != nil && !errors.Is(err, sdk.ErrFenced) {
		t.Errorf("the transaction says %v", err)
	}
}

// TestAbandonedTransaction shows that a transaction whose process died does not
// keep the next instance waiting until the server ends it.
func TestAbandonedTransaction(t *testing.T) {
	t.Parallel()
	c := connect(t)
	died := *c
	died.raised, died.own = map[string]int64{}, &ownSession{}
	if err := transact(t.Context(), &died, "first", 1, put("first")); err != nil {
		t.Fatal(err)
	}
	if err := died.own.session.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	tx := died
	tx.session = died.own.session
	w := sdk.Transaction{ChangeID: "a", ExecutionID: "run", Fence: sdk.Fence{Scope: "scope", Token: 1}}
	if err := tx.inside(t.Context(), w, func(ctx context.Context, tx *Conn) (sdk.Captured, error) { return nil, put("a")(ctx, tx) }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	markers, err := transactor{}.Markers(ctx, c, sdk.Fence{Scope: "scope", Token: 2}, []string{"a"})
	if err != nil || len(markers) > 0 {
		t.Errorf("markers %+v, %v", markers, err)
	}
	if err := commit(t.Context(), died.own.session); err == nil || errors.Is(err, sdk.ErrUnknownOutcome) {
		t.Errorf("the commit of the abandoned transaction says %v", err)
	}
}
