package dynamostore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// record is an entry as JSON, with the names of Java's attributes.
type record struct {
	Seq           int64             `json:"seq"`
	ExecutionID   string            `json:"executionId"`
	Stage         string            `json:"stageId,omitempty"`
	ChangeID      string            `json:"changeId"`
	Author        string            `json:"author,omitempty"`
	CreatedAt     time.Time         `json:"createdAt,omitzero"`
	State         string            `json:"state,omitempty"`
	Kind          string            `json:"type,omitempty"`
	Class         string            `json:"invokedClass,omitempty"`
	Method        string            `json:"invokedMethod,omitempty"`
	Source        string            `json:"sourceFile,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	Millis        int64             `json:"executionMillis,omitempty"`
	Host          string            `json:"executionHostname,omitempty"`
	Error         string            `json:"errorTrace,omitempty"`
	TxStrategy    string            `json:"txStrategy,omitempty"`
	Target        string            `json:"targetSystemId,omitempty"`
	Order         string            `json:"changeOrder,omitempty"`
	Recovery      string            `json:"recoveryStrategy,omitempty"`
	Transactional *bool             `json:"transactionFlag,omitempty"`
	System        bool              `json:"systemChange,omitempty"`
	Token         int64             `json:"fencingToken,omitempty"`
	Checksum      string            `json:"checksum,omitempty"`
	Operation     string            `json:"operation,omitempty"`
	Actor         string            `json:"actor,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	// Java is the mark of an entry that Java wrote.
	Java string `json:"java,omitempty"`
}

func recordOf(e store.Entry) record {
	return record{
		Seq: e.Seq, ExecutionID: e.ExecutionID, Stage: e.Stage, ChangeID: e.ChangeID, Author: e.Author, CreatedAt: e.CreatedAt.UTC(),
		State: e.State, Kind: e.Kind, Class: e.Class, Method: e.Method, Source: e.Source, Metadata: e.Metadata,
		Millis: e.Duration.Milliseconds(), Host: e.Host, Error: e.Error, TxStrategy: e.TxStrategy, Target: e.Target, Order: e.Order,
		Recovery: e.Recovery, Transactional: e.Transactional, System: e.System, Token: e.Token, Checksum: e.Checksum,
		Operation: e.Operation, Actor: e.Actor, Reason: e.Reason,
	}
}

func (r record) entry() store.Entry {
	return store.Entry{
		Seq: r.Seq, ExecutionID: r.ExecutionID, Stage: r.Stage, ChangeID: r.ChangeID, Author: r.Author, CreatedAt: r.CreatedAt,
		State: r.State, Kind: r.Kind, Class: r.Class, Method: r.Method, Source: r.Source, Metadata: r.Metadata,
		Duration: time.Duration(r.Millis) * time.Millisecond, Host: r.Host, Error: r.Error, TxStrategy: r.TxStrategy, Target: r.Target,
		Order: r.Order, Recovery: r.Recovery, Transactional: r.Transactional, System: r.System, Token: r.Token, Checksum: r.Checksum,
		Operation: r.Operation, Actor: r.Actor, Reason: r.Reason,
	}
}

// javaKey is the key of r in Java's table.
func (r record) javaKey() string { return r.ExecutionID + "#" + r.ChangeID + "#" + r.State }

// javaItem is r as Java writes it, and what it does not read.
func (s *Store) javaItem(r record) item {
	i := item{
		partitionKey:  str(r.javaKey()),
		"executionId": str(r.ExecutionID), "stageId": str(r.Stage), "changeId": str(r.ChangeID), "author": str(r.Author),
		"createdAt": str(localTime(r.CreatedAt.In(s.zone))), "state": str(r.State), "type": str(r.Kind),
		"invokedClass": str(r.Class), "invokedMethod": str(r.Method), "metadata": str(javaMap(r.Metadata)),
		"executionMillis": num(r.Millis), "executionHostname": str(r.Host), "errorTrace": str(r.Error), "systemChange": flag(r.System),
		"seq": num(r.Seq), "storeId": str(s.id), "fencingToken": num(r.Token),
	}
	for name, v := range map[string]string{
		"sourceFile": r.Source, "txStrategy": r.TxStrategy, "targetSystemId": r.Target, "changeOrder": r.Order,
		"recoveryStrategy": r.Recovery, "checksum": r.Checksum, "operation": r.Operation, "actor": r.Actor, "reason": r.Reason,
	} {
		if v != "" {
			i[name] = str(v)
		}
	}
	if r.Transactional != nil {
		i["transactionFlag"] = flag(*r.Transactional)
	}
	return i
}

// readJava reads an item of Java's table.
func (s *Store) readJava(i item) (record, error) {
	v := reader(i)
	r := record{
		ExecutionID: v.text("executionId"), Stage: v.text("stageId"), ChangeID: v.text("changeId"), Author: v.text("author"),
		State: v.text("state"), Kind: v.text("type"), Class: v.text("invokedClass"), Method: v.text("invokedMethod"),
		Source: v.text("sourceFile"), Millis: v.int("executionMillis"), Host: v.text("executionHostname"), Error: v.text("errorTrace"),
		TxStrategy: v.text("txStrategy"), Target: v.text("targetSystemId"), Order: v.text("changeOrder"), Recovery: v.text("recoveryStrategy"),
		Transactional: v.flag("transactionFlag"), System: v.is("systemChange"),
		Token: v.int("fencingToken"), Checksum: v.text("checksum"), Operation: v.text("operation"), Actor: v.text("actor"), Reason: v.text("reason"),
		Java: hash(v.text(partitionKey), v.text("createdAt")),
	}
	if meta := v.text("metadata"); meta != "" && meta != "{}" {
		// Java's text cannot be taken apart for certain.
		r.Metadata = map[string]string{"java": meta}
	}
	var err error
	if at := v.text("createdAt"); at != "" {
		r.CreatedAt, err = parseLocal(at, s.zone)
	}
	if err != nil {
		return r, fmt.Errorf("table %s: item %q: %w", s.audit, v.text(partitionKey), err)
	}
	return r, nil
}

// localTime writes a time as LocalDateTime.toString does: seconds only where
// there are some, and no, three, six or nine digits of a fraction.
func localTime(t time.Time) string {
	layout := "2006-01-02T15:04"
	switch n := t.Nanosecond(); {
	case n == 0 && t.Second() == 0:
	case n == 0:
		layout += ":05"
	case n%1_000_000 == 0:
		layout += ":05.000"
	case n%1000 == 0:
		layout += ":05.000000"
	default:
		layout += ":05.000000000"
	}
	return t.Format(layout)
}

func parseLocal(s string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("createdAt %q is no time", s)
}

// javaMap writes m as Java's Map.toString does.
func javaMap(m map[string]string) string {
	pairs := make([]string, 0, len(m))
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return "{" + strings.Join(pairs, ", ") + "}"
}

// hash makes a key of texts that could be too long for one.
func hash(parts ...string) string {
	var text []byte
	for _, p := range parts {
		text = fmt.Appendf(text, "%d %s", len(p), p)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// changeKey is the key of a change in the partition of the newest entries.
func changeKey(id string) string {
	if len(id) > 1000 {
		return "#" + hash(id)
	}
	return "=" + id
}
