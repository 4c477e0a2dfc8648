package mongostore

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// The fields of an entry that are selected or sorted by. Those after createdAt
// are ours, as are checksum, operation, actor, reason and metadataJson; Java
// does not read them, and drops them where it replaces a document.
const (
	fieldID        = "_id"
	fieldExecution = "executionId"
	fieldChange    = "changeId"
	fieldState     = "state"
	fieldCreated   = "createdAt"
	// fieldSeq is the entry's number. A document without one was written by
	// Java since the last append of ours.
	fieldSeq   = "seq"
	fieldToken = "token"
)

// encode makes the document of an entry, in Java's order of fields.
func encode(e store.Entry, seq int64) bson.D {
	var flag any
	if e.Transactional != nil {
		flag = *e.Transactional
	}
	meta, text := metadata(e.Metadata)
	d := bson.D{
		{Key: fieldExecution, Value: e.ExecutionID},
		{Key: "stageId", Value: e.Stage},
		{Key: fieldChange, Value: e.ChangeID},
		{Key: "author", Value: e.Author},
		{Key: fieldCreated, Value: bson.NewDateTimeFromTime(e.CreatedAt)},
		{Key: fieldState, Value: e.State},
		{Key: "type", Value: e.Kind},
		{Key: "invokedClass", Value: e.Class},
		{Key: "invokedMethod", Value: e.Method},
		{Key: "sourceFile", Value: null(e.Source)},
		{Key: "metadata", Value: meta},
		{Key: "executionMillis", Value: e.Duration.Milliseconds()},
		{Key: "executionHostname", Value: e.Host},
		{Key: "errorTrace", Value: e.Error},
		{Key: "systemChange", Value: e.System},
		{Key: "txStrategy", Value: null(e.TxStrategy)},
		{Key: "targetSystemId", Value: null(e.Target)},
		{Key: "changeOrder", Value: null(e.Order)},
		{Key: "recoveryStrategy", Value: null(e.Recovery)},
		{Key: "transactionFlag", Value: flag},
		{Key: fieldSeq, Value: seq},
		{Key: fieldToken, Value: e.Token},
		{Key: "checksum", Value: null(e.Checksum)},
		{Key: "operation", Value: null(e.Operation)},
		{Key: "actor", Value: null(e.Actor)},
		{Key: "reason", Value: null(e.Reason)},
	}
	if text != "" {
		d = append(d, bson.E{Key: "metadataJson", Value: text})
	}
	return d
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// metadata makes the document that Java reads. Keys that cannot be, or that some
// servers refuse as, names of fields are left out of it; then all of m is in the
// second result, as JSON.
func metadata(m map[string]string) (bson.M, string) {
	out, odd := bson.M{}, false
	for k, v := range m {
		if k == "" || k[0] == '$' || strings.ContainsAny(k, ".\x00") {
			odd = true
			continue
		}
		out[k] = v
	}
	if !odd {
		return out, ""
	}
	text, _ := json.Marshal(m) //nolint:errchkjson // a map of strings
	return out, string(text)
}

// decode reads a document that we or Java wrote. What is missing or of another
// type than expected is left empty, but for the time.
func decode(doc bson.Raw) (store.Entry, error) {
	str := func(name string) string { s, _ := doc.Lookup(name).StringValueOK(); return s }
	e := store.Entry{
		Seq: number(doc, fieldSeq), ExecutionID: str(fieldExecution), Stage: str("stageId"), ChangeID: str(fieldChange), Author: str("author"),
		State: str(fieldState), Kind: str("type"), Class: str("invokedClass"), Method: str("invokedMethod"), Source: str("sourceFile"),
		Duration: time.Duration(number(doc, "executionMillis")) * time.Millisecond, Host: str("executionHostname"), Error: str("errorTrace"),
		TxStrategy: str("txStrategy"), Target: str("targetSystemId"), Order: str("changeOrder"), Recovery: str("recoveryStrategy"),
		Token: number(doc, fieldToken), Checksum: str("checksum"), Operation: str("operation"), Actor: str("actor"), Reason: str("reason"),
	}
	e.System, _ = doc.Lookup("systemChange").BooleanOK()
	if flag, ok := doc.Lookup("transactionFlag").BooleanOK(); ok {
		e.Transactional = &flag
	}
	at, err := instant(doc.Lookup(fieldCreated))
	if err != nil {
		return e, fmt.Errorf("document %s of change %q: createdAt: %w", doc.Lookup(fieldID), e.ChangeID, err)
	}
	e.CreatedAt = at
	if text := str("metadataJson"); text != "" {
		if err := json.Unmarshal([]byte(text), &e.Metadata); err != nil {
			return e, fmt.Errorf("entry %d: metadataJson: %w", e.Seq, err)
		}
		return e, nil
	}
	if meta, ok := doc.Lookup("metadata").DocumentOK(); ok {
		list, err := meta.Elements()
		if err != nil {
			return e, fmt.Errorf("document %s of change %q: metadata: %w", doc.Lookup(fieldID), e.ChangeID, err)
		}
		for _, el := range list {
			if e.Metadata == nil {
				e.Metadata = map[string]string{}
			}
			v := el.Value()
			text, ok := v.StringValueOK()
			if !ok {
				text = v.String() // as extended JSON
			}
			e.Metadata[el.Key()] = text
		}
	}
	return e, nil
}

// number reads any kind of number; 0 where there is none.
func number(doc bson.Raw, name string) int64 {
	if doc == nil {
		return 0
	}
	n, ok := doc.Lookup(name).AsInt64OK()
	if !ok {
		return 0
	}
	return n
}

func instant(v bson.RawValue) (time.Time, error) {
	if v.IsZero() || v.Type == bson.TypeNull {
		return time.Time{}, nil
	}
	at, ok := v.DateTimeOK()
	if !ok {
		return time.Time{}, fmt.Errorf("%s is no date", v)
	}
	return time.UnixMilli(at).UTC(), nil
}
