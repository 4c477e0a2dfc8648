//go:build unix

package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

func TestTarget(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(t *testing.T, p *host.Plugin){
		"open refused":     openRefused,
		"open in time":     openInTime,
		"health and close": healthAndClose,
		"check":            check,
		"preview":          previews,
		"work":             workTravels,
		"probe":            probe,
		"markers":          markers,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roads(t, host.Options{}, f)
		})
	}
}

func openRefused(t *testing.T, p *host.Plugin) {
	_, err := p.Open(t.Context(), run.Config{ID: "user-db", Driver: "refuse"})
	wantError(t, err, "plugin bad (target user-db): open: login failed with password [redacted] (28P01)\n    hint: check the password")
	var te *run.TargetError
	if !errors.As(err, &te) || te.Code != run.CodePermission || te.TargetCode != "28P01" {
		t.Errorf("%+v", te)
	}
	_, err = p.Open(t.Context(), run.Config{ID: "user-db", Driver: "status"})
	wantError(t, err, "plugin bad (target user-db): open: no such driver, [redacted] (InvalidArgument)")
}

func openInTime(t *testing.T, p *host.Plugin) {
	openTarget(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := p.Open(ctx, run.Config{ID: "user-db", Driver: "hang"})
	wantError(t, err, "plugin bad (target user-db): open: context deadline exceeded")
	wantIs(t, err, context.DeadlineExceeded)
}

func healthAndClose(t *testing.T, p *host.Plugin) {
	target := openTarget(t, p)
	if err := target.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if err := target.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := target.Close(t.Context()); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func check(t *testing.T, p *host.Plugin) {
	works := []run.Work{work("a", "ok"), transactional(work("b", "ok"))}
	got, err := p.Check(t.Context(), "good", works)
	if err != nil {
		t.Fatal(err)
	}
	problem := []run.CheckDiagnostic{{
		Severity: diag.Warning, Field: "apply", Path: "/sql", Column: 7, Code: "no-where",
		Summary: "deletes everything, [redacted]", Fix: "add WHERE",
	}}
	want := []run.Checked{
		{Reason: "a of 2", Diagnostics: problem},
		{Reason: "b of 2", Transactional: true, Diagnostics: problem},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Check = %+v\nwant %+v", got, want)
	}
	if got, err := p.Check(t.Context(), "good", nil); got != nil || err != nil {
		t.Errorf("Check of nothing = %v, %v", got, err)
	}
	_, err = p.Check(t.Context(), "short", works)
	wantError(t, err, "plugin bad: check changes: it was asked about 2 changes and answered about 0")

	// 8 MiB fill a portion.
	for i := range works {
		works[i].Steps[0].Apply = &change.Payload{JSON: fmt.Appendf(nil, `"%s"`, strings.Repeat("x", 8<<20))}
	}
	if got, err = p.Check(t.Context(), "good", works); err != nil || len(got) != 2 || got[0].Reason != "a of 1" || got[1].Reason != "b of 1" {
		t.Errorf("Check in portions = %+v, %v", got, err)
	}
}

func previews(t *testing.T, p *host.Plugin) {
	target := openTarget(t, p)
	_, err := target.Preview(t.Context(), run.Work{ChangeID: "x"})
	wantError(t, err, `plugin bad (target user-db): preview change "x": no preview of x`)
	large, err := target.Preview(t.Context(), run.Work{ChangeID: "large"})
	if err != nil || len(large.Lines) != 1<<10+1 || len(large.Notes) != 1 || large.Notes[0] != "a note" {
		t.Errorf("large preview: %d lines, %q, %v", len(large.Lines), large.Notes, err)
	}
	_, err = target.Preview(t.Context(), run.Work{ChangeID: "too large"})
	if err == nil || !strings.HasPrefix(err.Error(), `plugin bad (target user-db): preview change "too large": `+
		"a message is larger than the 64 MiB that are allowed: ") {
		t.Errorf("too large: %v", err)
	}
	tooMuch := work("x", "ok")
	tooMuch.Steps[0].Apply.Files = map[string][]byte{"data.bin": make([]byte, 65<<20)}
	_, err = target.Preview(t.Context(), tooMuch)
	wantError(t, err, `plugin bad (target user-db): preview change "x": a message is larger than the 64 MiB that are allowed: `+
		"trying to send message larger than max (68157519 vs. 67108864)")
	if err := target.Health(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func workTravels(t *testing.T, p *host.Plugin) {
	w := run.Work{
		ChangeID: "work", ExecutionID: "run-1", Fence: run.Fence{Scope: "s", Token: 1 << 40}, Direction: run.DirectionRollback,
		Template: "ok", Transactional: true, Undo: true, Lease: time.Minute,
		Configuration: &change.Payload{JSON: []byte(`{"z":1,"a":2}`)},
		Steps: []run.WorkStep{
			{
				Index: 2, Mode: change.AutoRollback, Captured: []byte("was"), PartsApplied: 3,
				Apply: &change.Payload{JSON: []byte(`1`), Files: map[string][]byte{"a.sql": []byte("x")}},
			},
			{Index: 4, Mode: change.ExplicitRollback, Rollback: &change.Payload{JSON: []byte(`2`)}},
			{Index: 5},
		},
	}
	target := openTarget(t, p)
	got, err := target.Preview(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"change_id":"work","execution_id":"run-1","fence":{"scope":"s","token":1099511627776},"direction":2,` +
		`"template":"ok","transactional":true,"configuration":{"json":"eyJ6IjoxLCJhIjoyfQ=="},"steps":[` +
		`{"index":2,"apply":{"json":"MQ==","files":{"a.sql":"eA=="}},"mode":2,"captured":"d2Fz","parts_applied":3},` +
		`{"index":4,"rollback":{"json":"Mg=="},"mode":1},{"index":5}],"undo":true}`
	var a, b any
	if json.Unmarshal([]byte(got.Lines[0]), &a) != nil || json.Unmarshal([]byte(want), &b) != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("the plugin sees\n%s\nwant\n%s", got.Lines[0], want)
	}
}

func probe(t *testing.T, p *host.Plugin) {
	w := work("a", "ok")
	w.Steps = []run.WorkStep{{Index: 0}, {Index: 1}, {Index: 2}}
	got, err := openTarget(t, p).Probe(t.Context(), w)
	want := []run.StepEvidence{
		{Step: 0},
		{Step: 1, Evidence: run.EvidencePartly, PartsApplied: 2, Detail: "two of three"},
		{Step: 2},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Probe = %+v, %v", got, err)
	}
}

func markers(t *testing.T, p *host.Plugin) {
	target := openTarget(t, p)
	got, err := target.Markers(t.Context(), run.Fence{Scope: "s", Token: 5}, []string{"a", "b"})
	want := []run.Marker{{
		ChangeID: "a", ExecutionID: "x", Token: 4, RolledBack: true, Parts: []run.Part{{Step: 1, Part: 2}},
		Captured: map[int][]byte{1: []byte("state")},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Markers = %+v, %v", got, err)
	}
	_, err = target.Markers(t.Context(), run.Fence{Scope: "s", Token: 4}, []string{"a"})
	wantError(t, err, "plugin bad (target user-db): read markers: the fence is at 5")
	wantIs(t, err, run.ErrFenced)
}
