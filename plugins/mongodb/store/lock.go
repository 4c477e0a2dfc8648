package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// The lock is the document that Java has: key, owner, status, expiresAt, with a
// unique index on key; no document is a free lock. Who wrote it has the lock,
// Java or we. Beside it the store's document keeps the newest token of each key,
// which nothing that Java does can lose.
//
// Both cannot change at once on every server, so the lock is taken in an order
// in which no step can do harm when the next never follows:
//
//  1. reserve a token, greater than all that were ever handed out;
//  2. take the lock's document, as one conditional write: an insert, which the
//     unique index refuses where somebody was faster, or the replacement of just
//     the expired document that was read;
//  3. grant the token, if the newest one granted is smaller. Whoever was frozen
//     since step 1 finds a greater one there, gives the document back and
//     begins again, so tokens grow in the order in which the lock was had.
//
// A lease is good while both documents name it. Whoever stops before step 3 has
// the lock until its lease ends, and cannot write. Release and Break begin with
// the store's document: from then on the lease writes nothing.
//
// A server does not end the transaction of a process that died in an append: it
// stays open for a minute and more, and keeps the store's document. So the grant
// names the session that appends, and whoever takes over or breaks ends it.
//
// Expiry is judged by the primary's clock, asked before the conditional write:
// what had expired then has expired.

// held is the status that the Java implementation writes.
const held = "LOCK_HELD"

// record is the lock's document.
type record struct {
	Owner   string
	Expires time.Time
	doc     bson.Raw
}

// Fields of ours in the lock's document. Java leaves them where it takes over an
// expired document; then they name another owner than it does.
const (
	fieldTokenOwner = "tokenOwner"
	fieldRenewals   = "renewals"
	fieldAppends    = "appends"
)

func newRecord(doc bson.Raw) *record {
	r := &record{doc: doc}
	r.Owner, _ = doc.Lookup("owner").StringValueOK()
	if at, ok := doc.Lookup("expiresAt").DateTimeOK(); ok {
		r.Expires = time.UnixMilli(at).UTC()
	}
	return r
}

func (r *record) holder(key string, now time.Time) *store.Holder {
	h := &store.Holder{Key: key, Owner: r.Owner, ExpiresAt: r.Expires, Remaining: r.Expires.Sub(now)}
	by, ok := r.doc.Lookup(fieldTokenOwner).StringValueOK()
	h.Foreign = !ok || by != r.Owner
	if !h.Foreign {
		h.Token = number(r.doc, fieldToken)
	}
	h.Version = fmt.Sprintf("%s %d %d %d", h.Owner, h.Token, number(r.doc, fieldRenewals), h.ExpiresAt.UnixMilli())
	return h
}

// look reads the lock's document, nil where it is free, and the server's time.
func (s *Store) look(ctx context.Context, key string) (*record, time.Time, error) {
	doc, err := s.lock.FindOne(ctx, bson.D{{Key: "key", Value: key}}).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return nil, time.Time{}, err
	}
	h, herr := s.hello(ctx)
	if herr != nil || err != nil {
		return nil, h.LocalTime, herr
	}
	return newRecord(doc), h.LocalTime, nil
}

// ours selects the lock's document while it is that of l.
func ours(l store.Lease) bson.D {
	return bson.D{{Key: "key", Value: l.Key}, {Key: "owner", Value: l.Owner}, {Key: fieldToken, Value: l.Token}}
}

// Acquire implements store.Store.
func (s *Store) Acquire(ctx context.Context, req store.AcquireRequest) (store.Lease, error) {
	if req.Owner == "" {
		return store.Lease{}, s.errorf("acquire the lock", errors.New("it needs an owner"))
	}
	for {
		// Before the lock: whoever is granted here and has no lease there lost it.
		last, err := s.granted(ctx, req.Key)
		if err != nil {
			return store.Lease{}, s.errorf("acquire the lock", err)
		}
		r, now, err := s.look(ctx, req.Key)
		if err != nil {
			return store.Lease{}, s.errorf("acquire the lock", err)
		}
		if r != nil {
			if h := r.holder(req.Key, now); h.Remaining > 0 {
				return store.Lease{}, &store.HeldError{Holder: *h}
			}
		}
		s.endSession(ctx, last)
		l := store.Lease{Key: req.Key, Owner: req.Owner, Now: now}
		if l.Token, err = s.reserve(ctx, req.Key); err != nil {
			return store.Lease{}, s.errorf("count the lock's token", err)
		}
		got, err := s.take(ctx, r, l, now.Add(req.TTL))
		if err == nil && !got {
			continue // somebody was faster
		}
		if err == nil {
			got, err = s.enter(ctx, l)
		}
		if err == nil && got {
			return l, nil
		}
		s.leave(ctx, l)
		if err != nil {
			return store.Lease{}, s.errorf("acquire the lock", err)
		}
	}
}

// take is step 2. It returns false where the lock is not as it was read.
func (s *Store) take(ctx context.Context, r *record, l store.Lease, until time.Time) (bool, error) {
	doc := bson.D{
		{Key: "key", Value: l.Key},
		{Key: "owner", Value: l.Owner},
		{Key: "status", Value: held},
		{Key: "expiresAt", Value: bson.NewDateTimeFromTime(until)},
		{Key: fieldToken, Value: l.Token},
		{Key: fieldTokenOwner, Value: l.Owner},
		{Key: fieldRenewals, Value: int64(0)},
	}
	if r == nil {
		_, err := s.lock.InsertOne(ctx, doc)
		if mongo.IsDuplicateKeyError(err) {
			return false, nil
		}
		return err == nil, err
	}
	// Java renews by changing expiresAt, we by that and the count.
	was := bson.D{{Key: fieldID, Value: r.doc.Lookup(fieldID)}}
	for _, name := range []string{"owner", "expiresAt", fieldToken, fieldRenewals} {
		v := r.doc.Lookup(name)
		if v.IsZero() {
			was = append(was, bson.E{Key: name, Value: bson.D{{Key: "$exists", Value: false}}})
		} else {
			was = append(was, bson.E{Key: name, Value: v})
		}
	}
	res, err := s.lock.UpdateOne(ctx, was, bson.D{{Key: "$set", Value: doc}})
	if err != nil {
		return false, err
	}
	return res.MatchedCount == 1, nil
}

// enter is step 3.
func (s *Store) enter(ctx context.Context, l store.Lease) (bool, error) {
	session, err := s.appender()
	if err != nil {
		return false, err
	}
	res, err := s.own.UpdateOne(ctx, s.where(l.Key, bson.E{Key: "token", Value: bson.D{{Key: "$lt", Value: l.Token}}}),
		bson.D{{Key: "$set", Value: bson.D{
			{Key: "locks.$.token", Value: l.Token},
			{Key: "locks.$.owner", Value: l.Owner},
			{Key: "locks.$.session", Value: session.ID().Lookup("id")},
		}}})
	if err != nil {
		return false, err
	}
	return res.MatchedCount == 1, nil
}

// granted returns the grant of key, nil where there is none.
func (s *Store) granted(ctx context.Context, key string) (*grant, error) {
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	return st.grant(key), nil
}

// endSession ends the session of an owner that has lost the lock. Where that
// cannot be done, as of another user, the server does it later.
func (s *Store) endSession(ctx context.Context, g *grant) {
	if g == nil || g.Owner == "" || g.Session.IsZero() || !s.transactions {
		return
	}
	_ = s.client.Database("admin").RunCommand(ctx, bson.D{
		{Key: "killSessions", Value: bson.A{bson.D{{Key: "id", Value: g.Session}}}},
	}).Err()
}

// leaveTime is how long giving back a lock may take that nobody got.
const leaveTime = 5 * time.Second

// leave gives back what an acquisition may have taken that came to nothing.
func (s *Store) leave(ctx context.Context, l store.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	_, _ = s.lock.DeleteOne(ctx, ours(l)) // else its lease ends by itself
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, l store.Lease, ttl time.Duration) error {
	if err := s.renew(ctx, l, ttl); err != nil {
		return s.errorf("renew the lock", err)
	}
	return nil
}

func (s *Store) renew(ctx context.Context, l store.Lease, ttl time.Duration) error {
	st, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := st.holds(l); err != nil {
		return err
	}
	h, err := s.hello(ctx)
	if err != nil {
		return err
	}
	res, err := s.lock.UpdateOne(ctx, ours(l), bson.D{
		{Key: "$set", Value: bson.D{{Key: "expiresAt", Value: bson.NewDateTimeFromTime(h.LocalTime.Add(ttl))}}},
		{Key: "$inc", Value: bson.D{{Key: fieldRenewals, Value: int64(1)}}},
	})
	if err == nil && res.MatchedCount == 0 {
		return stale(l)
	}
	return err
}

// Release implements store.Store.
func (s *Store) Release(ctx context.Context, l store.Lease) error {
	_, err := s.own.UpdateOne(ctx, s.leased(l), bson.D{{Key: "$set", Value: bson.D{{Key: "locks.$.owner", Value: ""}}}})
	if err == nil {
		_, err = s.lock.DeleteOne(ctx, ours(l))
	}
	if err != nil {
		return s.errorf("release the lock", err)
	}
	return nil
}

// Holder implements store.Store.
func (s *Store) Holder(ctx context.Context, key string) (*store.Holder, error) {
	r, now, err := s.look(ctx, key)
	if err != nil {
		return nil, s.errorf("read the lock", err)
	}
	if r == nil {
		return nil, nil
	}
	return r.holder(key, now), nil
}

// Break implements store.Store.
func (s *Store) Break(ctx context.Context, key string) (*store.Holder, error) {
	h, err := s.evict(ctx, key)
	if err != nil {
		return nil, s.errorf("break the lock", err)
	}
	return h, nil
}

func (s *Store) evict(ctx context.Context, key string) (*store.Holder, error) {
	for {
		last, err := s.granted(ctx, key)
		if err != nil {
			return nil, err
		}
		s.endSession(ctx, last)
		token, err := s.reserve(ctx, key)
		if err != nil {
			return nil, err
		}
		// Nobody reserved since: so the token is greater than any granted.
		res, err := s.own.UpdateOne(ctx, s.where(key, bson.E{Key: "next", Value: token}),
			bson.D{{Key: "$set", Value: bson.D{{Key: "locks.$.token", Value: token}, {Key: "locks.$.owner", Value: ""}}}})
		if err != nil {
			return nil, err
		}
		if res.MatchedCount == 1 {
			break
		}
	}
	now, err := s.hello(ctx)
	if err != nil {
		return nil, err
	}
	doc, err := s.lock.FindOneAndDelete(ctx, bson.D{{Key: "key", Value: key}}).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return newRecord(doc).holder(key, now.LocalTime), nil
}
