// Package dynamostore is the audit store of the dynamodb plugin. Its audit and
// lock tables are those of the Java implementation; a third table, of ours,
// holds what theirs cannot: the order of the log, states that repeat within one
// execution, tokens that survive the lock's item, checkpoints.
//
// # Items
//
// The own table has the keys pk and sk:
//
//	store       store           the head: everything that makes a write visible (see head)
//	log         <first seq>     entries of one append, in order, as JSON
//	newest      =<change id>    the newest entry of one change, as JSON
//	checkpoint… <append>-<n>    one checkpoint; pk has a hash of change and execution
//	java        <hash>          an entry that Java wrote and the log has taken over
//	journal     <id>            a batch that is committed and not yet written out
//	staging     <id>            tells of chunks that no commit refers to yet
//	blob …      <item>-<chunk>  chunks of what is larger than an item may be
//
// The items of Java's audit table that are written here carry fencingToken,
// checksum, operation, actor, reason, seq and storeId besides; the lock's item
// fencingToken and version. Java ignores them.
//
// # Writing
//
// An append is one transaction: it moves the head, on the condition that the
// token is still the newest, checks that the lock's item is still the lease's,
// and puts all items. What does not fit into a transaction is committed by a
// journal: one transaction moves the head and points it to the journal; from then
// on readers see all of the batch. The items follow in further transactions, on
// the same conditions. Whoever appends next completes a journal that was left.
// Data that is too large for an item is written before the commit in chunks that
// nobody finds without it.
//
// An entry that is appended alone costs five items of a transaction, which are ten
// write units while each has less than 1 KB.
//
// # Permissions
//
// On all three tables: dynamodb:BatchGetItem, GetItem, PutItem, UpdateItem,
// DeleteItem and ConditionCheckItem; on the own table Query, on the audit table
// Scan; to create them DescribeTable and CreateTable.
//
// # Java
//
// Java keeps one item for (execution, change, state): of a state that repeats,
// its table has the newest, the log has all. Of a batch that needs a journal,
// Java gets about the first hundred items with the commit, the newest of each
// change before all others, and the rest a moment later: by the same append, by the
// release or, after a crash, by our next append. Entries that Java wrote are taken over into the log by the first append
// of a store, and, where the table is shared with Java instances that still run,
// by the first append of each lease; until then they are read from Java's table,
// which takes a Scan. A table counts as shared by Options.Shared, or once a lock
// of Java was seen.
package dynamostore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// Options say which tables to use.
type Options struct {
	// AuditTable and LockTable default to the names of the Java implementation,
	// StoreTable to flamingockStore.
	AuditTable, LockTable, StoreTable string
	// Shared says that Java instances write to the tables too, so that entries of
	// theirs are looked for each time. Looking reads all of the audit table.
	Shared bool
	// Zone is that of the JVMs that share the store: Java writes local times
	// without a zone. Defaults to UTC.
	Zone *time.Location
	// Place names the database for people, without secrets. Defaults to the
	// region.
	Place string
}

// Store is an audit store. Its methods are safe for concurrent use.
type Store struct {
	db                *dynamodb.Client
	audit, lock, main string
	id                string
	zone              *time.Location
	place             string
	shared            bool

	// turn is held by the append under way; it guards what follows.
	turn chan struct{}
	// known is the head as this instance left it; nil where that is not certain.
	known *head
	// under is the lease of the last append.
	under store.Lease
	// looked is the lease under which Java's entries were last looked for.
	looked store.Lease

	mu sync.Mutex
	// javaSeen is true once a lock of Java was seen.
	javaSeen bool
}

var _ store.Store = (*Store)(nil)

var tableName = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`)

// Open opens the store and creates what is missing. Closing the store leaves db
// as it is.
func Open(ctx context.Context, db *dynamodb.Client, o Options) (*Store, error) {
	s := &Store{
		db: db, audit: o.AuditTable, lock: o.LockTable, main: o.StoreTable, zone: o.Zone, place: o.Place, shared: o.Shared,
		turn: make(chan struct{}, 1),
	}
	for _, d := range []struct {
		name     *string
		standard string
	}{{&s.audit, "flamingockAuditLog"}, {&s.lock, "flamingockLock"}, {&s.main, "flamingockStore"}} {
		if *d.name == "" {
			*d.name = d.standard
		}
		if !tableName.MatchString(*d.name) {
			return nil, fmt.Errorf("table name %q: use 3 to 255 letters, digits, dots, hyphens and underscores", *d.name)
		}
	}
	if s.audit == s.lock || s.lock == s.main || s.main == s.audit {
		return nil, errors.New("audit table, lock table and store table must be three tables")
	}
	if s.zone == nil {
		s.zone = time.UTC
	}
	if s.place == "" {
		s.place = "dynamodb in " + db.Options().Region
	}
	if err := s.prepare(ctx); err != nil {
		return nil, s.errorf("open it", err)
	}
	return s, nil
}

// prepare asks one question of a store that is up to date, and creates what is
// missing in another.
func (s *Store) prepare(ctx context.Context) error {
	h, err := s.probe(ctx)
	if err != nil {
		return err
	}
	if h == nil {
		if err := s.createTables(ctx); err != nil {
			return err
		}
		if err := s.newHead(ctx); err != nil {
			return err
		}
		if h, err = s.head(ctx); err != nil {
			return err
		}
	}
	s.id = h.id
	return nil
}

func (s *Store) errorf(what string, err error) error {
	return fmt.Errorf("audit store (%s): %s: %w", s.place, what, err)
}

// Properties implements store.Store.
func (s *Store) Properties() store.Properties {
	return store.Properties{ID: s.id, Precision: time.Nanosecond, HasClock: false, Description: s.place}
}

// Close implements store.Store.
func (*Store) Close(context.Context) error { return nil }

// Head implements store.Store.
func (s *Store) Head(ctx context.Context, key string) (store.Head, error) {
	v, err := s.look(ctx)
	if err != nil {
		return store.Head{}, s.errorf("read the head of the audit trail", err)
	}
	p := v.head.prints[key]
	return store.Head{Seq: v.head.seq + int64(len(v.java)), Fingerprint: p.value, FingerprintSeq: p.seq}, nil
}
