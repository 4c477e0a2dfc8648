package couchbasestore

import (
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// record is an entry as JSON, with the names of Java's fields.
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
		Seq: e.Seq, ExecutionID: e.ExecutionID, Stage: e.Stage, ChangeID: e.ChangeID, Author: e.Author, CreatedAt: e.CreatedAt.UTC().Truncate(time.Millisecond),
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
