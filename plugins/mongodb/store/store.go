// Package mongostore is the audit store of the mongodb plugin. Its collections
// are those of the Java implementation on the same database, with fields of ours
// added, so that both read one trail and exclude each other by one lock document.
//
// Beside them it has collections of its own, which Java does not look at:
//
//   - flamingockStore: one document per audit collection, with what has to change
//     at once: the number of the newest entry, and of each lock key the token,
//     its owner and the fingerprint.
//   - <audit collection>History: entries that a newer one with the same
//     execution, change and state has replaced in Java's collection, whose
//     unique index allows one.
//   - <audit collection>Checkpoints.
//
// How an append is made whole stands in append.go, how the lock is taken in lock.go.
package mongostore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// Options are the optional settings of a store.
type Options struct {
	// AuditCollection and LockCollection default to the names of the Java
	// implementation.
	AuditCollection, LockCollection string
	// Place names the database for people, without secrets. Defaults to
	// "mongodb database" and its name.
	Place string
	// Disconnect makes Close disconnect the database's client.
	Disconnect bool
	// NoTransactions makes the store append as on a server without
	// transactions, for services that only look like a replica set.
	NoTransactions bool
}

// Store is an audit store. Its methods are safe for concurrent use.
type Store struct {
	client                            *mongo.Client
	audit, lock, own, history, checks *mongo.Collection
	name                              string // of the document in own
	id, address                       string
	transactions, disconnect          bool
	first                             int64 // token of a new key
	// turn makes the appends of this process wait here and not on the server,
	// where they would only conflict.
	turn chan struct{}

	mu      sync.Mutex
	session *mongo.Session
}

var _ store.Store = (*Store)(nil)

var collectionName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,99}$`)

// Open opens the store in db and creates what is missing. It does not change
// documents that are there. The client is the caller's: it stays connected after
// Close, unless o.Disconnect says otherwise, and after an error.
func Open(ctx context.Context, db *mongo.Database, o Options) (*Store, error) {
	if o.AuditCollection == "" {
		o.AuditCollection = "flamingockAuditLog"
	}
	if o.LockCollection == "" {
		o.LockCollection = "flamingockLock"
	}
	for _, n := range []string{o.AuditCollection, o.LockCollection} {
		if !collectionName.MatchString(n) {
			return nil, fmt.Errorf("collection name %q: use letters, digits, underscores, dots and dashes", n)
		}
	}
	if o.AuditCollection == o.LockCollection {
		return nil, fmt.Errorf("the audit entries and the lock are both in collection %q: give them two", o.LockCollection)
	}
	if o.Place == "" {
		o.Place = "mongodb database " + db.Name()
	}
	// What counts is what a majority has on disk, read from the primary, as in
	// Java, whatever the client is set to.
	safe := db.Client().Database(db.Name(), options.Database().
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(durable()).
		SetReadPreference(readpref.Primary()))
	s := &Store{
		client: db.Client(), name: o.AuditCollection, address: o.Place, disconnect: o.Disconnect,
		audit: safe.Collection(o.AuditCollection), lock: safe.Collection(o.LockCollection), own: safe.Collection("flamingockStore"),
		history: safe.Collection(o.AuditCollection + "History"), checks: safe.Collection(o.AuditCollection + "Checkpoints"),
		turn: make(chan struct{}, 1),
	}
	h, err := s.hello(ctx)
	if err != nil {
		return nil, s.errorf("ask the server what it is", err)
	}
	s.transactions = h.transactions() && !o.NoTransactions
	if err := s.prepare(ctx); err != nil {
		return nil, s.errorf("open it", err)
	}
	return s, nil
}

// durable waits until a majority has a write on disk.
func durable() *writeconcern.WriteConcern {
	journal := true
	return &writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &journal}
}

func (s *Store) errorf(what string, err error) error {
	return fmt.Errorf("audit store (%s): %s: %w", s.address, what, err)
}

// Properties implements store.Store.
func (s *Store) Properties() store.Properties {
	return store.Properties{ID: s.id, Precision: time.Millisecond, HasClock: true, Description: s.address}
}

// Close implements store.Store.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.session != nil {
		s.session.EndSession(ctx)
		s.session = nil
	}
	s.mu.Unlock()
	if !s.disconnect {
		return nil
	}
	if err := s.client.Disconnect(ctx); err != nil && !errors.Is(err, mongo.ErrClientDisconnected) {
		return s.errorf("disconnect", err)
	}
	return nil
}
