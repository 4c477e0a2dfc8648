// Package couchbasestore is the audit store of the couchbase plugin. Its audit and
// lock collections are those of the Java implementation; a third collection, of
// ours, holds what theirs cannot: the order of the log, states that repeat within
// one execution, tokens that survive the lock's document, checkpoints.
//
// # Documents
//
// The own collection has these documents:
//
//	head                 what makes a write visible: numbers, tokens, fingerprints,
//	                     and the newest batch (see head)
//	log/<n>              the batch of append n; never changed
//	blob/<id>/<c>        chunks of a batch that is too large for one document
//	newest/<shard>       the newest entry of each change
//	checkpoint/<hash>    which appends have checkpoints of a change and execution
//	java/<shard>         marks of entries of Java that the log has taken over
//
// The documents of Java's audit collection that are written here carry
// fencingToken, checksum, operation, actor, reason, seq and storeId besides; the
// lock's document fencingToken and acquisition. Java ignores them.
//
// # Why an append is atomic
//
// Nothing but compare-and-swap of single documents is used, which every version and
// both protocols have; transactions are missing from couchbase2://.
//
// An append is one replacement of the head. It puts the batch into the head, as
// pending, and counts append and entries up, on the condition that the head is
// still the document (by its CAS) in which the lease's token was the newest one.
// Before that replacement nothing of the batch can be found by a reader; after it
// every reader finds all of it, in the head. It is then spread to log, newest,
// checkpoint and java documents and to Java's collection. Whoever appends next first
// completes the spreading, and only then replaces the pending batch, so log/<n>
// exists for every append below the head's. Spreading can be done twice, by two at a
// time, or late: log documents are only ever inserted, and in the others the larger
// number wins.
//
// A lease is granted after the head has its token: two steps, first the lock's
// document is inserted or replaced by its CAS, then the head's token is raised. No
// append of an earlier lease can follow the second step, as its replacement needs a
// head with another CAS, and reading that head again shows the newer token. Tokens
// are claimed in the head, under a name of their own, so no two leases have one
// token, even where the lock's document was deleted between the steps: who finds
// the token taken picks a higher one.
//
// A call whose outcome is not known (a timeout, a broken connection, a durable write
// that is ambiguous) is never repeated blindly. The document is read again, and shows
// by the name of the append or of the acquisition whether the write was done; if not,
// the next attempt and the lost one compete for one CAS, and at most one of them wins.
//
// Java does not know the head. An append therefore also reads the lock's document,
// after the head and before its replacement, and is refused where owner or token are
// not the lease's. Between that look and the replacement lies one round trip; should
// Java take the lock in just that time, which it does when a lease has expired, the
// append is done after all. As soon as one of our instances takes or breaks the lock
// the head knows, and the gap is closed. Java itself has no fence.
//
// # Time
//
// The server offers no clock. A lock is taken over from a holder whose document
// did not change (its CAS) while the waiter saw it for a whole lease by its own
// monotonic clock; clocks of two machines are never compared. expiresAt is written
// for Java and for people.
//
// # Java
//
// Java keeps one document for (execution, change, state): of a state that repeats,
// its collection has the newest, the log has all. A key may have 250 bytes; the
// document of an entry whose key is longer has a hash for a key. Entries that Java
// wrote are found by a query (SQL++), as Java itself reads them. They are taken over
// into the log by the first append of a store, and, where the collections are shared
// with Java instances that still run, by the first append of each lease. A store
// counts as shared by Options.Shared, or once a lock of Java was seen. A collection that
// was made here has nothing of Java's, and no query is sent. In all other cases a query
// service that cannot be asked is an error: it may only be away, and changes that Java
// applied would be applied again.
package couchbasestore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/couchbase/gocb/v2"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// Options say which collections to use.
type Options struct {
	// Bucket must exist.
	Bucket string
	// Scope defaults to _default.
	Scope string
	// AuditCollection and LockCollection default to the names of the Java
	// implementation, StoreCollection to flamingockStore.
	AuditCollection, LockCollection, StoreCollection string
	// Shared says that Java instances write to the collections too, so that
	// entries of theirs are looked for each time.
	Shared bool
	// Durability is that of all writes. Zero is MajorityAndPersistOnMaster.
	Durability gocb.DurabilityLevel
	// Place names the database for people, without secrets.
	Place string
	// Close is called by Close; nil does nothing.
	Close func() error
}

// Store is an audit store. Its methods are safe for concurrent use.
type Store struct {
	cluster           *gocb.Cluster
	options           Options
	audit, lock, main *gocb.Collection
	id                string

	// turn is held by the append under way; it guards what follows.
	turn chan struct{}
	// known is the head's document as this instance left it; nil where that is not
	// certain.
	known *doc
	// spread is the number of the append up to which all is known to be spread.
	spread int64
	// under is the lease of the last append.
	under store.Lease
	// taken is the lease under which Java's entries were last taken over.
	taken store.Lease

	// javaSeen is true once a lock of Java was seen.
	javaSeen atomic.Bool
}

var _ store.Store = (*Store)(nil)

var collectionName = regexp.MustCompile(`^[A-Za-z0-9_%-]{1,251}$`)

// Open opens the store and creates what is missing. The bucket must exist and be
// ready. The store closes nothing but what Options.Close does.
func Open(ctx context.Context, cluster *gocb.Cluster, o Options) (*Store, error) {
	for name, standard := range map[*string]string{
		&o.Scope: "_default", &o.AuditCollection: "flamingockAuditLog", &o.LockCollection: "flamingockLock", &o.StoreCollection: "flamingockStore",
	} {
		if *name == "" {
			*name = standard
		}
		if !collectionName.MatchString(*name) {
			return nil, fmt.Errorf("name %q of a scope or collection: use 1 to 251 letters, digits, underscores, hyphens and percent signs", *name)
		}
	}
	if o.AuditCollection == o.LockCollection || o.LockCollection == o.StoreCollection || o.StoreCollection == o.AuditCollection {
		return nil, errors.New("audit collection, lock collection and store collection must be three collections")
	}
	if o.Durability == 0 {
		o.Durability = gocb.DurabilityLevelMajorityAndPersistOnMaster
	}
	if o.Place == "" {
		o.Place = "couchbase bucket " + o.Bucket
	}
	scope := cluster.Bucket(o.Bucket).Scope(o.Scope)
	s := &Store{
		cluster: cluster, options: o, turn: make(chan struct{}, 1),
		audit: scope.Collection(o.AuditCollection), lock: scope.Collection(o.LockCollection), main: scope.Collection(o.StoreCollection),
	}
	if err := s.prepare(ctx); err != nil {
		return nil, s.errorf("open it", err)
	}
	return s, nil
}

// prepare asks one question of a store that is up to date, and creates what is
// missing in another.
func (s *Store) prepare(ctx context.Context) error {
	d, err := s.get(ctx, s.main, headKey)
	if errors.Is(err, gocb.ErrCollectionNotFound) || errors.Is(err, gocb.ErrScopeNotFound) {
		d, err = nil, nil
	}
	if err != nil {
		return err
	}
	if d == nil {
		fresh, err := s.createCollections(ctx)
		if err != nil {
			return err
		}
		id := rand.Text()
		d, err = s.mutate(ctx, s.main, headKey, nil, func(old *doc) (edit, error) {
			if old != nil {
				return edit{}, nil
			}
			return put(&head{ID: id, Scanned: fresh})
		})
		if err != nil {
			return err
		}
	}
	h, err := headOf(d)
	if err != nil {
		return err
	}
	s.id = h.ID
	return nil
}

func (s *Store) errorf(what string, err error) error {
	return fmt.Errorf("audit store (%s): %s: %w", s.options.Place, what, err)
}

// Properties implements store.Store.
func (s *Store) Properties() store.Properties {
	return store.Properties{ID: s.id, Precision: time.Millisecond, HasClock: false, Description: s.options.Place}
}

// Close implements store.Store.
func (s *Store) Close(context.Context) error {
	if s.options.Close == nil {
		return nil
	}
	return s.options.Close()
}

// headKey is the key of the head.
const headKey = "head"

// head is the document from which all the others follow. Each append replaces it.
type head struct {
	ID string `json:"id"`
	// Seq is that of the newest entry, Appends the number of appends.
	Seq     int64 `json:"seq"`
	Appends int64 `json:"appends"`
	// Locks has the newest token of each lock.
	Locks  map[string]claim `json:"locks,omitempty"`
	Prints map[string]seal  `json:"prints,omitempty"`
	// Pending is the batch of the newest append, which may not be spread yet.
	Pending *batch `json:"pending,omitempty"`
	// Scanned is true once the entries that Java had were taken over, or where its
	// collection was made here; Shared once a lock of Java was seen.
	Scanned bool `json:"scanned,omitempty"`
	Shared  bool `json:"shared,omitempty"`
}

// claim is a token, and the name of the acquisition that took it.
type claim struct {
	Token       int64  `json:"token"`
	Acquisition string `json:"acquisition"`
}

// seal is a fingerprint and the entry it is tied to.
type seal struct {
	Value string `json:"value"`
	Seq   int64  `json:"seq"`
}

func headOf(d *doc) (*head, error) {
	if d == nil {
		return nil, errors.New("the store's document head is lost; restore the collection from a backup")
	}
	h := &head{}
	if err := json.Unmarshal(d.body, h); err != nil || h.ID == "" {
		return nil, errors.New("the document head is not ours: the collection is another program's")
	}
	if h.Locks == nil {
		h.Locks = map[string]claim{}
	}
	if h.Prints == nil {
		h.Prints = map[string]seal{}
	}
	return h, nil
}

// head reads the head.
func (s *Store) head(ctx context.Context) (*head, error) {
	d, err := s.get(ctx, s.main, headKey)
	if err != nil {
		return nil, err
	}
	return headOf(d)
}

// Head implements store.Store.
func (s *Store) Head(ctx context.Context, key string) (store.Head, error) {
	h, java, err := s.look(ctx)
	if err != nil {
		return store.Head{}, s.errorf("read the head of the audit trail", err)
	}
	p := h.Prints[key]
	return store.Head{Seq: h.Seq + int64(len(java)), Fingerprint: p.Value, FingerprintSeq: p.Seq}, nil
}
