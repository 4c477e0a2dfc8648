package sdktest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
)

// kit is the plugin memory in pieces, and a wire that can be tampered with.
type kit struct {
	driver, tx sdk.DriverSpec[memory.Config, *memory.Conn]
	entry      sdk.TemplateSpec[*memory.Conn, sdk.None, memory.EntryPayload]
	script     sdk.TemplateSpec[*memory.Conn, memory.ScriptConfig, memory.ScriptPayload]

	// call wraps unary calls. toPlugin changes a message; toHost does too, and
	// returns false where it is lost.
	call     grpc.UnaryServerInterceptor
	toPlugin func(*pluginv1.ExecuteRequest) error
	toHost   func(*pluginv1.ExecuteResponse) bool
}

type (
	entryStep = sdk.Step[sdk.None, memory.EntryPayload]
	conn      = *memory.Conn
)

// start returns how to start the plugin.
func (k *kit) start() func(t testing.TB) sdktest.Instance {
	p := &sdk.Plugin{
		Name: "memory", Version: "1.0.0",
		Drivers:   []sdk.Driver{sdk.NewDriver(k.driver), sdk.NewDriver(k.tx)},
		Templates: []sdk.Template{sdk.NewTemplate(k.entry), sdk.NewTemplate(k.script)},
	}
	opts := []grpc.ServerOption{grpc.StreamInterceptor(
		func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			return next(srv, &tampered{ServerStream: ss, kit: k})
		})}
	if k.call != nil {
		opts = append(opts, grpc.UnaryInterceptor(k.call))
	}
	return func(t testing.TB) sdktest.Instance { return sdktest.Start(t, p, opts...) }
}

type tampered struct {
	grpc.ServerStream
	kit *kit
}

func (s *tampered) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if req, ok := m.(*pluginv1.ExecuteRequest); ok && s.kit.toPlugin != nil {
		return s.kit.toPlugin(req)
	}
	return nil
}

func (s *tampered) SendMsg(m any) error {
	if resp, ok := m.(*pluginv1.ExecuteResponse); ok && s.kit.toHost != nil && !s.kit.toHost(resp) {
		return nil
	}
	return s.ServerStream.SendMsg(m)
}

// answers returns a wrapper that changes answers of the type R.
func answers[R any](change func(*R)) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		resp, err := next(ctx, req)
		if r, ok := resp.(*R); ok && err == nil {
			change(r)
		}
		return resp, err
	}
}

// questions returns a wrapper that changes requests of the type R.
func questions[R any](change func(*R)) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if r, ok := req.(*R); ok {
			change(r)
		}
		return next(ctx, req)
	}
}

// metadataWith replaces a text in the metadata.
func metadataWith(from, to string) grpc.UnaryServerInterceptor {
	return answers(func(r *pluginv1.GetMetadataResponse) {
		r.Metadata = bytes.ReplaceAll(r.GetMetadata(), []byte(from), []byte(to))
	})
}

// known leaves out the field that no payload has.
func known(doc []byte) []byte {
	var m map[string]json.RawMessage
	if json.Unmarshal(doc, &m) != nil {
		return doc
	}
	delete(m, "sdktestUnknown")
	out, err := json.Marshal(m)
	if err != nil {
		return doc
	}
	return out
}

// transactor is that of the plugin memory, with one fault.
type transactor struct {
	memory.Transactor
	transact func(ctx context.Context, c conn, w sdk.Transaction, fn txFunc) error
	markers  func(ctx context.Context, c conn, f sdk.Fence, ids []string) ([]sdk.Marker, error)
}

type txFunc = func(ctx context.Context, tx conn) (sdk.Captured, error)

func (t transactor) Transact(ctx context.Context, c conn, w sdk.Transaction, fn func(ctx context.Context, tx conn) (sdk.Captured, error)) error {
	if t.transact != nil {
		return t.transact(ctx, c, w, fn)
	}
	return t.Transactor.Transact(ctx, c, w, fn)
}

func (t transactor) Markers(ctx context.Context, c conn, f sdk.Fence, ids []string) ([]sdk.Marker, error) {
	if t.markers != nil {
		return t.markers(ctx, c, f, ids)
	}
	return t.Transactor.Markers(ctx, c, f, ids)
}

// forgetful defers transactions, and forgets to commit them.
type forgetful struct{ memory.Transactor }

func (forgetful) Defers(conn) bool { return true }

func (f forgetful) Transact(ctx context.Context, c conn, w sdk.Transaction, fn func(ctx context.Context, tx conn) (sdk.Captured, error)) error {
	if w.Deferred {
		_, err := fn(ctx, c)
		return err
	}
	return f.Transactor.Transact(ctx, c, w, fn)
}

func (forgetful) Flush(context.Context, conn) error { return nil }

// fault is one way in which a plugin can be broken.
type fault struct {
	name string
	// inCase is the name of the case that shows it.
	inCase string
	do     func(k *kit)
	// caught are rules that must notice.
	caught []string
}

const (
	entryCase    = "entry"
	entryTxCase  = "entry in a transaction"
	scriptCase   = "script"
	scriptTxCase = "script in a transaction"
)

// TestRulesCatch breaks the plugin in one way at a time.
func TestRulesCatch(t *testing.T) {
	t.Parallel()
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			at := slices.IndexFunc(cases(), func(c sdktest.Case) bool { return c.Name == f.inCase })
			for _, name := range f.caught {
				rule := ruleNamed(t, name)
				s := memory.NewServer()
				k := &kit{driver: s.Driver(), tx: s.TxDriver(), entry: memory.Entry(), script: memory.Script()}
				f.do(k)
				b := sdktest.NewBench(t, k.start(), cases()[at])
				if !rule.Applies(b) {
					t.Errorf("the rule %q does not apply", name)
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				err := rule.Check(ctx, b)
				cancel()
				if err == nil {
					t.Errorf("the rule %q notices nothing", name)
				} else {
					t.Logf("%s: %v", name, err)
				}
			}
		})
	}
}

func ruleNamed(t *testing.T, name string) sdktest.Rule {
	t.Helper()
	rules := sdktest.Rules()
	at := slices.IndexFunc(rules, func(r sdktest.Rule) bool { return r.Name == name })
	if at < 0 {
		t.Fatalf("there is no rule %q", name)
	}
	return rules[at]
}

// TestEveryRuleCatchesSomething makes sure that no rule is dead.
func TestEveryRuleCatchesSomething(t *testing.T) {
	t.Parallel()
	var caught []string
	for _, f := range faults() {
		caught = append(caught, f.caught...)
	}
	for _, rule := range sdktest.Rules() {
		if !slices.Contains(caught, rule.Name) {
			t.Errorf("no fault shows that the rule %q catches anything", rule.Name)
		}
	}
}
