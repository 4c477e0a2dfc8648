package couchbasestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/couchbase/gocb/v2"
)

// javaDoc is an entry as Java writes it, and what it does not read.
type javaDoc struct {
	ExecutionID   string         `json:"executionId"`
	Stage         string         `json:"stageId"`
	ChangeID      string         `json:"changeId"`
	Author        string         `json:"author"`
	CreatedAt     *float64       `json:"createdAt"` // epoch milliseconds
	State         string         `json:"state"`
	Kind          string         `json:"type"`
	Class         string         `json:"invokedClass"`
	Method        string         `json:"invokedMethod"`
	Source        *string        `json:"sourceFile"`
	Metadata      map[string]any `json:"metadata"`
	Millis        int64          `json:"executionMillis"` // Java's reader fails without
	Host          string         `json:"executionHostname"`
	Error         string         `json:"errorTrace"`
	System        bool           `json:"systemChange"`
	TxStrategy    *string        `json:"txStrategy"`
	Target        *string        `json:"targetSystemId"`
	Order         *string        `json:"changeOrder"`
	Recovery      *string        `json:"recoveryStrategy"`
	Transactional *bool          `json:"transactionFlag"`

	Seq       int64  `json:"seq,omitempty"`
	StoreID   string `json:"storeId,omitempty"`
	Token     int64  `json:"fencingToken,omitempty"`
	Checksum  string `json:"checksum,omitempty"`
	Operation string `json:"operation,omitempty"`
	Actor     string `json:"actor,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// mostKey is how many bytes a document's key may have.
const mostKey = 250

// javaKey is the key of r in Java's collection.
func (r record) javaKey() string {
	key := r.ExecutionID + "#" + r.ChangeID + "#" + r.State
	if len(key) > mostKey {
		return "#" + hash(r.ExecutionID, r.ChangeID, r.State)
	}
	return key
}

func null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// javaDoc is r as Java writes it, and what it does not read.
func (s *Store) javaDoc(r record) javaDoc {
	at := float64(r.CreatedAt.UnixMilli())
	meta := map[string]any{}
	for k, v := range r.Metadata {
		meta[k] = v
	}
	return javaDoc{
		ExecutionID: r.ExecutionID, Stage: r.Stage, ChangeID: r.ChangeID, Author: r.Author, CreatedAt: &at, State: r.State, Kind: r.Kind,
		Class: r.Class, Method: r.Method, Source: null(r.Source), Metadata: meta, Millis: r.Millis, Host: r.Host, Error: r.Error,
		System: r.System, TxStrategy: null(r.TxStrategy), Target: null(r.Target), Order: null(r.Order), Recovery: null(r.Recovery),
		Transactional: r.Transactional,
		Seq:           r.Seq, StoreID: s.id, Token: r.Token, Checksum: r.Checksum, Operation: r.Operation, Actor: r.Actor, Reason: r.Reason,
	}
}

// readJava reads a document of Java.
func readJava(key string, body []byte) (record, error) {
	var d javaDoc
	if err := json.Unmarshal(body, &d); err != nil {
		return record{}, fmt.Errorf("document %q: %w", key, err)
	}
	r := record{
		ExecutionID: d.ExecutionID, Stage: d.Stage, ChangeID: d.ChangeID, Author: d.Author, State: d.State, Kind: d.Kind, Class: d.Class,
		Method: d.Method, Source: text(d.Source), Millis: d.Millis, Host: d.Host, Error: d.Error, System: d.System,
		TxStrategy: text(d.TxStrategy), Target: text(d.Target), Order: text(d.Order), Recovery: text(d.Recovery), Transactional: d.Transactional,
		Token: d.Token, Checksum: d.Checksum, Operation: d.Operation, Actor: d.Actor, Reason: d.Reason,
	}
	at := ""
	if d.CreatedAt != nil {
		r.CreatedAt = time.UnixMilli(int64(*d.CreatedAt)).UTC()
		at = r.CreatedAt.String()
	}
	for k, v := range d.Metadata {
		if r.Metadata == nil {
			r.Metadata = map[string]string{}
		}
		if t, ok := v.(string); ok {
			r.Metadata[k] = t
			continue
		}
		t, err := json.Marshal(v)
		if err != nil {
			return record{}, fmt.Errorf("document %q: metadata: %w", key, err)
		}
		r.Metadata[k] = string(t)
	}
	r.Java = hash(key, at, d.State)
	return r, nil
}

// looks tells whether Java's collection can have entries that the log lacks.
func (s *Store) looks(h *head) bool {
	return !h.Scanned || h.Shared || s.options.Shared || s.javaSeen.Load()
}

// look reads the head and the entries of Java that the log lacks.
func (s *Store) look(ctx context.Context) (*head, []record, error) {
	h, err := s.head(ctx)
	if err != nil || !s.looks(h) {
		return h, nil, err
	}
	java, err := s.javaEntries(ctx, h)
	return h, java, err
}

// javaEntries returns the entries in Java's collection that the log does not have at
// h, in the order in which it would take them over.
func (s *Store) javaEntries(ctx context.Context, h *head) ([]record, error) {
	list, err := s.query(ctx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	known := map[string]int64{}
	wanted := map[string]bool{}
	for _, r := range list {
		wanted[shardKey("java", r.Java)] = true
	}
	all, err := s.shards(ctx, slices.Collect(keys(wanted)))
	if err != nil {
		return nil, err
	}
	for key, d := range all {
		marks, err := members[int64](key, d)
		if err != nil {
			return nil, err
		}
		for mark, seq := range marks {
			known[mark] = seq
		}
	}
	if h.Pending != nil {
		b, err := s.unpack(ctx, h.Pending)
		if err != nil {
			return nil, err
		}
		for _, r := range b.Entries {
			if r.Java != "" {
				known[r.Java] = r.Seq
			}
		}
	}
	list = slices.DeleteFunc(list, func(r record) bool {
		seq, ok := known[r.Java]
		return ok && seq <= h.Seq // what was taken over after h is not in what h shows
	})
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
		list[i].Seq = h.Seq + int64(i) + 1
	}
	return list, nil
}

// rank says which of two states of one moment is the later one for Java.
func rank(state string) int {
	return slices.Index([]string{
		"STARTED", "APPLIED", "FAILED", "ROLLED_BACK", "ROLLBACK_FAILED", "MANUAL_MARKED_AS_APPLIED", "MANUAL_MARKED_AS_ROLLED_BACK",
	}, state)
}

// javaRow is a row of the query.
type javaRow struct {
	ID  string          `json:"id"`
	Doc json.RawMessage `json:"doc"`
}

// query finds the documents that Java wrote.
func (s *Store) query(ctx context.Context) ([]record, error) {
	list, err := s.ask(ctx)
	if errors.Is(err, gocb.ErrIndexNotFound) || errors.Is(err, gocb.ErrPlanningFailure) {
		if err = s.createIndex(ctx, s.audit); err == nil {
			list, err = s.ask(ctx)
		}
	}
	if err != nil {
		return nil, &Error{Operation: "query", On: s.keyspace(s.audit), cause: err}
	}
	return list, nil
}

// noQueries tells that the cluster has no query service.
func noQueries(err error) bool {
	return errors.Is(err, gocb.ErrServiceNotAvailable) || errors.Is(err, gocb.ErrFeatureNotAvailable)
}

func (s *Store) keyspace(c *gocb.Collection) string {
	return "`" + c.Bucket().Name() + "`.`" + c.ScopeName() + "`.`" + c.Name() + "`"
}

func (s *Store) ask(ctx context.Context) ([]record, error) {
	var list []record
	err := patient(ctx, func() error {
		list = nil
		rows, err := s.cluster.Query(
			"SELECT META(a).id AS id, a AS doc FROM "+s.keyspace(s.audit)+" AS a WHERE a.storeId IS MISSING OR a.storeId != $store",
			&gocb.QueryOptions{
				NamedParameters: map[string]any{"store": s.id}, ScanConsistency: gocb.QueryScanConsistencyRequestPlus, Readonly: true,
				Adhoc: true, Context: ctx, Timeout: time.Minute,
			})
		if noQueries(err) {
			return &noService{err}
		}
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // its error is that of Err
		for rows.Next() {
			var row javaRow
			if err := rows.Row(&row); err != nil {
				return err
			}
			r, err := readJava(row.ID, row.Doc)
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return rows.Err()
	})
	var none *noService
	if errors.As(err, &none) {
		err = none.cause
	}
	return list, err
}

// noService is an error that does not pass by itself.
type noService struct{ cause error }

// Error is that of the cause.
func (e *noService) Error() string { return e.cause.Error() }

// createCollections makes scope and collections, and the indexes that Java has. fresh
// is true where Java's audit collection was not there.
func (s *Store) createCollections(ctx context.Context) (fresh bool, err error) {
	manager := s.cluster.Bucket(s.options.Bucket).CollectionsV2()
	if s.options.Scope != "_default" {
		err := manager.CreateScope(s.options.Scope, &gocb.CreateScopeOptions{Context: ctx, Timeout: callTime})
		if err != nil && !errors.Is(err, gocb.ErrScopeExists) {
			return false, &Error{Operation: "create scope", On: s.options.Bucket + "." + s.options.Scope, cause: ended(ctx, err)}
		}
	}
	for _, c := range []*gocb.Collection{s.audit, s.lock, s.main} {
		err := patient(ctx, func() error {
			err := manager.CreateCollection(s.options.Scope, c.Name(), nil, &gocb.CreateCollectionOptions{Context: ctx, Timeout: callTime})
			if errors.Is(err, gocb.ErrCollectionExists) {
				return nil
			}
			fresh = fresh || err == nil && c == s.audit
			return err
		})
		if err != nil {
			return false, &Error{Operation: "create collection", On: s.keyspace(c), cause: err}
		}
		if err := s.appear(ctx, c); err != nil {
			return false, err
		}
	}
	for _, c := range []*gocb.Collection{s.audit, s.lock} {
		// Ours need none, and Java makes them itself.
		_ = s.createIndex(ctx, c)
	}
	return fresh, nil
}

// appear waits until the nodes know of a new collection.
func (s *Store) appear(ctx context.Context, c *gocb.Collection) error {
	deadline := time.Now().Add(mostTime)
	for {
		_, err := s.get(ctx, c, headKey)
		unknown := errors.Is(err, gocb.ErrCollectionNotFound) || errors.Is(err, gocb.ErrScopeNotFound)
		if !unknown || time.Now().After(deadline) {
			return err
		}
		if err := wait(ctx, lastPause/5); err != nil {
			return err
		}
	}
}

// createIndex makes the primary index that Java makes.
func (s *Store) createIndex(ctx context.Context, c *gocb.Collection) error {
	return c.QueryIndexes().CreatePrimaryIndex(&gocb.CreatePrimaryQueryIndexOptions{IgnoreIfExists: true, Context: ctx, Timeout: callTime})
}
