package sdktest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Rule is one promise of every plugin.
type Rule struct {
	Name string
	// Applies tells whether the case offers what the rule looks at.
	Applies func(b *Bench) bool
	// Check returns how the plugin broke the promise.
	Check func(ctx context.Context, b *Bench) error
}

// Rules returns the promises. Each is checked with a bench of its own.
func Rules() []Rule {
	return slices.Concat(offerRules(), checkRules(), changeRules(), executeRules(), transactionRules(), conductRules())
}

// always is for rules that look at every case.
func always(*Bench) bool { return true }

// Bench is a plugin, a target system in it, and a case.
type Bench struct {
	t        testing.TB
	c        Case
	instance Instance

	general pluginv1.PluginServiceClient
	targets pluginv1.TargetSystemServiceClient
	changes pluginv1.ChangeServiceClient

	meta     metadata
	template templateMetadata
	driver   driverMetadata
	// values is the configuration of the target system.
	values []byte
	// unique tells this bench's changes and lock from those of others.
	unique string

	mu    sync.Mutex
	heard strings.Builder
}

// What the rules read of the metadata.
type metadata struct {
	Name      string             `json:"name"`
	Version   string             `json:"version"`
	Summary   string             `json:"summary"`
	Protocols []string           `json:"protocols"`
	Drivers   []driverMetadata   `json:"drivers"`
	Templates []templateMetadata `json:"templates"`
	// Environment are the variables that its process wants, Needs what else.
	Environment []string   `json:"environment"`
	Needs       *sdk.Needs `json:"needs"`
}

type driverMetadata struct {
	Type          string          `json:"type"`
	Aliases       []string        `json:"aliases"`
	Summary       string          `json:"summary"`
	Schema        json.RawMessage `json:"schema"`
	Target        bool            `json:"target"`
	Store         bool            `json:"store"`
	StoreSchema   json.RawMessage `json:"storeSchema"`
	Transactional bool            `json:"transactional"`
	Ready         bool            `json:"ready"`
}

type templateMetadata struct {
	Name             string          `json:"name"`
	Aliases          []string        `json:"aliases"`
	Class            string          `json:"class"`
	Summary          string          `json:"summary"`
	Drivers          []string        `json:"drivers"`
	Simple           bool            `json:"simple"`
	MultiStep        bool            `json:"multiStep"`
	RollbackRequired bool            `json:"rollbackRequired"`
	Configuration    json.RawMessage `json:"configuration"`
	Apply            json.RawMessage `json:"apply"`
	Rollback         json.RawMessage `json:"rollback"`
	Probe            bool            `json:"probe"`
	Preview          bool            `json:"preview"`
	Inverse          bool            `json:"inverse"`
	SealCaptured     bool            `json:"sealCaptured"`
}

// NewBench starts a plugin and finds in it what c names. It ends t where it cannot.
func NewBench(t testing.TB, start func(t testing.TB) Instance, c Case) *Bench {
	t.Helper()
	b := newBench(t, start(t), c)
	b.values = encode(t, c.Target(t))
	return b
}

// newBench returns a bench without a target system.
func newBench(t testing.TB, instance Instance, c Case) *Bench {
	t.Helper()
	b := &Bench{t: t, c: c, instance: instance, unique: strings.ToLower(rand.Text()[:12])}
	conn := b.instance.Conn
	b.general = pluginv1.NewPluginServiceClient(conn)
	b.targets = pluginv1.NewTargetSystemServiceClient(conn)
	b.changes = pluginv1.NewChangeServiceClient(conn)
	resp, err := b.general.GetMetadata(t.Context(), &pluginv1.GetMetadataRequest{HostVersion: "sdktest"})
	if err != nil {
		t.Fatalf("get metadata: %v", err)
	}
	if err := json.Unmarshal(resp.GetMetadata(), &b.meta); err != nil {
		t.Fatalf("get metadata: %v", err)
	}
	for _, d := range b.meta.Drivers {
		if d.Type == c.Driver || slices.Contains(d.Aliases, c.Driver) {
			b.driver = d
		}
	}
	for _, tm := range b.meta.Templates {
		if tm.Name == c.Template || slices.Contains(tm.Aliases, c.Template) {
			b.template = tm
		}
	}
	if b.driver.Type == "" || b.template.Name == "" {
		t.Fatalf("plugin %s has no driver %q or no template %q", b.meta.Name, c.Driver, c.Template)
	}
	return b
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encode %T: %v", v, err)
	}
	return out
}

// hear remembers what the plugin said, for the rule about secrets.
func (b *Bench) hear(m proto.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard.WriteString(protojson.Format(m))
}

// probed tells whether the template can say whether the case is in place.
func (b *Bench) probed() bool { return b.template.Probe }

// reversible tells whether every step of the case has a rollback.
func (b *Bench) reversible() bool {
	return !slices.ContainsFunc(b.c.Steps, func(s Step) bool { return s.Rollback == nil && !b.template.Inverse })
}

// open connects to the bench's target system.
func (b *Bench) open(ctx context.Context) (uint64, error) {
	resp, err := b.targets.Open(ctx, &pluginv1.OpenRequest{Id: "sdktest", Driver: b.driver.Type, Values: b.values})
	if err != nil {
		return 0, fmt.Errorf("open: %w", err)
	}
	b.hear(resp)
	if f := resp.GetFailure(); f != nil {
		return 0, fmt.Errorf("open: %s", failureText(f))
	}
	return resp.GetHandle(), nil
}

func failureText(f *pluginv1.Failure) string {
	if f == nil {
		return "no failure"
	}
	return fmt.Sprintf("%s: %s", f.GetCode(), f.GetMessage())
}

// work returns the case's change, to be applied.
func (b *Bench) work() *pluginv1.Work { return b.workOf(b.c.Steps...) }

// workOf returns a change of other steps.
func (b *Bench) workOf(steps ...Step) *pluginv1.Work {
	w := &pluginv1.Work{
		ChangeId:      "sdktest-" + b.unique,
		ExecutionId:   "sdktest-" + b.unique + "-1",
		Fence:         &pluginv1.Fence{Scope: "sdktest-" + b.unique, Token: 10},
		Direction:     pluginv1.Direction_DIRECTION_APPLY,
		Template:      b.c.Template,
		Transactional: b.c.Transactional,
	}
	if b.c.Configuration != nil {
		w.Configuration = b.payload(b.c.Configuration)
	}
	for i, s := range steps {
		step := &pluginv1.Step{Index: int32(i), Apply: b.payload(s.Apply)}
		switch {
		case s.Rollback != nil:
			step.Mode, step.Rollback = pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT, b.payload(s.Rollback)
		case b.template.Inverse:
			step.Mode = pluginv1.RollbackMode_ROLLBACK_MODE_AUTO
		}
		w.Steps = append(w.Steps, step)
	}
	return w
}

func (b *Bench) payload(v any) *pluginv1.Payload {
	return &pluginv1.Payload{Json: encode(b.t, v), Files: b.c.Files}
}

// undo returns the rollback of w, given how it was applied.
func undo(w *pluginv1.Work, applied *run) *pluginv1.Work {
	out, ok := proto.Clone(w).(*pluginv1.Work)
	if !ok {
		return nil // a clone has the type of its original
	}
	out.Direction = pluginv1.Direction_DIRECTION_ROLLBACK
	out.Undo = true
	captured, saved := applied.captured(), applied.saved()
	for _, s := range out.GetSteps() {
		s.Captured, s.Saved = captured[s.GetIndex()], saved[s.GetIndex()]
	}
	return out
}

// evidence asks the probe about every step of w.
func (b *Bench) evidence(ctx context.Context, handle uint64, w *pluginv1.Work) ([]pluginv1.Evidence, error) {
	resp, err := b.changes.Probe(ctx, &pluginv1.ProbeRequest{Handle: handle, Work: w})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	b.hear(resp)
	if f := resp.GetFailure(); f != nil {
		return nil, fmt.Errorf("probe: %s", failureText(f))
	}
	if len(resp.GetSteps()) != len(w.GetSteps()) {
		return nil, fmt.Errorf("probe: %d answers for %d steps", len(resp.GetSteps()), len(w.GetSteps()))
	}
	out := make([]pluginv1.Evidence, len(w.GetSteps()))
	for i, e := range resp.GetSteps() {
		if e.GetStep() != w.GetSteps()[i].GetIndex() {
			return nil, fmt.Errorf("probe: answer %d is about step %d", i, e.GetStep())
		}
		out[i] = e.GetEvidence()
	}
	return out, nil
}

const (
	inPlace    = pluginv1.Evidence_EVIDENCE_APPLIED
	notInPlace = pluginv1.Evidence_EVIDENCE_NOT_APPLIED
)

// expect returns an error where the probe says anything but want of any step.
func (b *Bench) expect(ctx context.Context, handle uint64, w *pluginv1.Work, when string, want pluginv1.Evidence) error {
	got, err := b.evidence(ctx, handle, w)
	if err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	for i, e := range got {
		if e != want {
			return fmt.Errorf("%s the probe says %s of step %d, want %s", when, e, i, want)
		}
	}
	return nil
}

// check asks about one change without a connection.
func (b *Bench) check(ctx context.Context, w *pluginv1.Work) (*pluginv1.Checked, error) {
	resp, err := b.general.Check(ctx, &pluginv1.CheckRequest{Driver: b.driver.Type, Works: []*pluginv1.Work{w}})
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	b.hear(resp)
	if len(resp.GetChecked()) != 1 {
		return nil, fmt.Errorf("check: %d answers for one change", len(resp.GetChecked()))
	}
	return resp.GetChecked()[0], nil
}

// applied opens the target system and applies the case's change.
func (b *Bench) applied(ctx context.Context) (handle uint64, w *pluginv1.Work, r *run, err error) {
	if handle, err = b.open(ctx); err != nil {
		return 0, nil, nil, err
	}
	w = b.work()
	if r, err = b.succeed(ctx, handle, w); err != nil {
		return 0, nil, nil, fmt.Errorf("apply: %w", err)
	}
	return handle, w, r, nil
}

// succeed executes w and returns an error where it failed.
func (b *Bench) succeed(ctx context.Context, handle uint64, w *pluginv1.Work) (*run, error) {
	r, err := b.execute(ctx, handle, w)
	if err != nil {
		return nil, err
	}
	if f := r.done.GetFailure(); f != nil {
		return nil, errors.New(failureText(f))
	}
	return r, nil
}
