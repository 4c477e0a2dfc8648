package mongodb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// transactor implements sdk.Transactor with transactions of MongoDB.
//
// The fence is a document {_id: scope, token}. A transaction writes it, so that it
// conflicts with whoever raises it: of the two the server lets one win, and the
// other sees the result. The marker is a document {_id: {scope, change}}.
//
// A server does not end the transaction of a process that died: it stays open, and
// keeps the fence, for a minute and more. So the fence's document also has the
// session of the transactions, {session}, and whoever raises the fence ends it.
type transactor struct{}

// transactTime bounds how long a transaction is tried again; the driver's own
// convenience function uses as much.
const transactTime = 120 * time.Second

// abortTime is how long a transaction may take to be aborted once its work was
// cancelled: whoever cancelled it waits.
const abortTime = 500 * time.Millisecond

type fenceDoc struct {
	Scope   string        `bson:"_id"`
	Token   int64         `bson:"token"`
	Session bson.RawValue `bson:"session,omitempty"`
}

type markerID struct {
	Scope  string `bson:"scope"`
	Change string `bson:"change"`
}

type markerDoc struct {
	ID          markerID   `bson:"_id"`
	ExecutionID string     `bson:"executionId"`
	Token       int64      `bson:"token"`
	RolledBack  bool       `bson:"rolledBack"`
	Captured    []captured `bson:"captured,omitempty"`
	AppliedAt   time.Time  `bson:"appliedAt"`
}

type captured struct {
	Step int    `bson:"step"`
	Data []byte `bson:"data"`
}

// Transact implements sdk.Transactor.
func (transactor) Transact(ctx context.Context, c *Conn, w sdk.Transaction, fn func(ctx context.Context, tx *Conn) (sdk.Captured, error)) error {
	if c.raised[w.Fence.Scope] != w.Fence.Token {
		// The collections must be there: some servers make none in a transaction.
		if err := c.raise(ctx, w.Fence); err != nil {
			return err
		}
		if err := c.run(ctx, bson.D{{Key: "create", Value: c.marker}}); err != nil && !hasCode(err, codeNamespaceExists) {
			return failure("create the collection of the markers", err)
		}
		c.raised[w.Fence.Scope] = w.Fence.Token
	}
	session, err := c.own.get(c.client)
	if err != nil {
		return err
	}
	begin := time.Now()
	for attempt := 0; ; attempt++ {
		err := c.attempt(ctx, session, w, fn)
		var again mongo.LabeledError
		if hasCode(err, codeInterrupted, codeNoSuchTransaction) && ctx.Err() == nil {
			// So it looks when somebody raised the fence and ended the session.
			if fenced := c.fenced(ctx, w.Fence); fenced != nil {
				return fenced
			}
		}
		if err == nil || errors.Is(err, sdk.ErrUnknownOutcome) || !errors.As(err, &again) ||
			!again.HasErrorLabel("TransientTransactionError") || ctx.Err() != nil || time.Since(begin) > transactTime {
			return err
		}
		sdk.Logger(ctx).Debug("the transaction conflicted with another one and is tried again", "attempt", attempt+2)
		if err := pause(ctx, time.Duration(5+rand.IntN(10<<min(attempt, 6)))*time.Millisecond); err != nil {
			return failure("run the transaction again", err)
		}
	}
}

// attempt runs the transaction once.
func (c *Conn) attempt(ctx context.Context, session *mongo.Session, w sdk.Transaction, fn func(ctx context.Context, tx *Conn) (sdk.Captured, error)) error {
	o := options.Transaction().SetReadConcern(readconcern.Snapshot()).SetReadPreference(readpref.Primary())
	if err := session.StartTransaction(o); err != nil {
		return failure("start the transaction", err)
	}
	tx := *c
	tx.session = session
	if err := tx.inside(ctx, w, fn); err != nil {
		// The transaction has to end although ctx may have. Where it cannot, whoever
		// raises the fence ends it, or the server does.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(abortTime, cancel) })
		defer stop()
		_ = session.AbortTransaction(end)
		return err
	}
	return commit(ctx, session)
}

// commit commits, and asks again as long as nobody knows what became of it: a
// commit that was done is not done twice.
func commit(ctx context.Context, session *mongo.Session) error {
	for begin := time.Now(); ; {
		err := session.CommitTransaction(ctx)
		var labeled mongo.LabeledError
		var command mongo.CommandError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &labeled) && labeled.HasErrorLabel("TransientTransactionError"):
			return failure("commit", err) // it did not happen
		case errors.As(err, &labeled) && labeled.HasErrorLabel("UnknownTransactionCommitResult") && ctx.Err() == nil && time.Since(begin) < transactTime:
			continue
		case ctx.Err() == nil && errors.As(err, &command) && !mongo.IsNetworkError(err) && !labeledUnknown(err) && !passing(int(command.Code)):
			return failure("commit", err) // the server refused it
		}
		return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, failure("commit", err))
	}
}

// passing tells whether a code says that something came between, maybe after the
// commit was done.
func passing(code int) bool {
	c := class(code)
	return c == sdk.Transient || c == sdk.Cancelled
}

func labeledUnknown(err error) bool {
	var labeled mongo.LabeledError
	return errors.As(err, &labeled) && labeled.HasErrorLabel("UnknownTransactionCommitResult")
}

// inside does what stands between begin and commit.
func (c *Conn) inside(ctx context.Context, w sdk.Transaction, fn func(ctx context.Context, tx *Conn) (sdk.Captured, error)) error {
	in := c.in(ctx)
	fence := c.db.Collection(c.fence)
	result, err := fence.UpdateOne(in,
		bson.D{{Key: "_id", Value: w.Fence.Scope}, {Key: "token", Value: bson.D{{Key: "$lte", Value: w.Fence.Token}}}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "token", Value: w.Fence.Token}, {Key: "checked", Value: bson.NewObjectID()}}}})
	if err != nil {
		return failure("check the fence", err)
	}
	if result.MatchedCount == 0 {
		return fmt.Errorf("token %d, and the target has seen a greater one: %w", w.Fence.Token, sdk.ErrFenced)
	}
	state, err := fn(ctx, c)
	if err != nil {
		return err
	}
	m := markerDoc{
		ID: markerID{w.Fence.Scope, w.ChangeID}, ExecutionID: w.ExecutionID, Token: w.Fence.Token,
		RolledBack: w.RolledBack, AppliedAt: time.Now().UTC(),
	}
	for step, data := range state {
		m.Captured = append(m.Captured, captured{step, data})
	}
	if _, err := c.db.Collection(c.marker).ReplaceOne(in, bson.D{{Key: "_id", Value: m.ID}}, m, options.Replace().SetUpsert(true)); err != nil {
		return failure("write the marker", err)
	}
	return nil
}

// raise raises the fence. A transaction that has checked it is ended, or waited
// for.
func (c *Conn) raise(ctx context.Context, f sdk.Fence) error {
	session, err := c.own.get(c.client)
	if err != nil {
		return err
	}
	fence := c.db.Collection(c.fence)
	var now fenceDoc
	err = fence.FindOne(ctx, bson.D{{Key: "_id", Value: f.Scope}}).Decode(&now)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return failure("read the fence", err)
	}
	if now.Token < f.Token && !now.Session.IsZero() {
		// Where it cannot be done, as of another user, the server does it later.
		_ = c.client.Database("admin").RunCommand(ctx, bson.D{
			{Key: "killSessions", Value: bson.A{bson.D{{Key: "id", Value: now.Session}}}},
		}).Err()
	}
	for attempt := 0; ; attempt++ {
		err := fence.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: f.Scope}},
			bson.D{{Key: "$max", Value: bson.D{{Key: "token", Value: f.Token}}}},
			options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Decode(&now)
		if err == nil {
			break
		}
		// Two instances that make the document at once: one is told so.
		if !mongo.IsDuplicateKeyError(err) || attempt > 3 {
			return failure("raise the fence", err)
		}
	}
	if now.Token > f.Token {
		return behind(f, now)
	}
	_, err = fence.UpdateOne(ctx, bson.D{{Key: "_id", Value: f.Scope}, {Key: "token", Value: f.Token}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "session", Value: session.ID().Lookup("id")}}}})
	return failure("name the session in the fence", err)
}

func behind(f sdk.Fence, now fenceDoc) error {
	return fmt.Errorf("token %d, and the target has seen %d: %w", f.Token, now.Token, sdk.ErrFenced)
}

// fenced returns sdk.ErrFenced where the fence is known to be above f.
func (c *Conn) fenced(ctx context.Context, f sdk.Fence) error {
	var now fenceDoc
	if err := c.db.Collection(c.fence).FindOne(ctx, bson.D{{Key: "_id", Value: f.Scope}}).Decode(&now); err == nil && now.Token > f.Token {
		return behind(f, now)
	}
	return nil
}

// ownSession is the session of all transactions of a connection, which are one
// after the other.
type ownSession struct {
	mu      sync.Mutex
	session *mongo.Session
}

func (o *ownSession) get(client *mongo.Client) (*mongo.Session, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.session == nil {
		s, err := client.StartSession()
		if err != nil {
			return nil, failure("start a session", err)
		}
		o.session = s
	}
	return o.session, nil
}

func (o *ownSession) end(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.session != nil {
		o.session.EndSession(ctx)
		o.session = nil
	}
}

// Markers implements sdk.Transactor.
func (transactor) Markers(ctx context.Context, c *Conn, f sdk.Fence, changeIDs []string) ([]sdk.Marker, error) {
	if err := c.raise(ctx, f); err != nil {
		return nil, err
	}
	ids := make(bson.A, len(changeIDs))
	for i, id := range changeIDs {
		ids[i] = markerID{f.Scope, id}
	}
	cursor, err := c.db.Collection(c.marker).Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return nil, failure("read the markers", err)
	}
	var docs []markerDoc
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, failure("read the markers", err)
	}
	var out []sdk.Marker
	for _, d := range docs {
		m := sdk.Marker{ChangeID: d.ID.Change, ExecutionID: d.ExecutionID, Token: d.Token, RolledBack: d.RolledBack, Captured: sdk.Captured{}}
		for _, s := range d.Captured {
			m.Captured[s.Step] = s.Data
		}
		out = append(out, m)
	}
	return out, nil
}
