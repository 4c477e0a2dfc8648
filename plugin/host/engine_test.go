//go:build unix

package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/secret"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// office is a target system in which people review requests, and which makes keys
// that it shows once.
type office struct {
	mu       sync.Mutex
	reviewed bool
	requests int
	keys     []string
	did      []string
	// fails is returned by the next request after it was made.
	fails error
}

func (o *office) note(format string, args ...any) {
	o.did = append(o.did, fmt.Sprintf(format, args...))
}

type request struct {
	Type string `json:"name"`
}

type key struct {
	Name   string `json:"name"`
	Output string `json:"output"`
}

func (o *office) plugin() *sdk.Plugin {
	review := sdk.NewOperation(sdk.OperationSpec[*office, request]{
		Type: "review",
		Probe: func(_ context.Context, _ *office, s *sdk.Step[sdk.None, request]) (sdk.Evidence, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.note("probe saved=%s", s.Saved)
			switch {
			case o.requests == 0:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			case !o.reviewed:
				return sdk.Evidence{Kind: sdk.Partly}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied}, nil
		},
		Apply: func(ctx context.Context, _ *office, s *sdk.Step[sdk.None, request]) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.note("apply saved=%s", s.Saved)
			if s.Saved == nil {
				o.requests++
				if err := s.Save(ctx, fmt.Appendf(nil, "request %d", o.requests)); err != nil {
					return err
				}
			}
			if o.fails != nil {
				return o.fails
			}
			if !o.reviewed {
				return &sdk.Error{Code: sdk.InProgress, Part: -1, Message: "the review is pending", Hint: "ask the reviewers"}
			}
			return nil
		},
		Capture: func(context.Context, *office, *sdk.Step[sdk.None, request]) ([]byte, error) {
			return []byte("none"), nil
		},
		Inverse: func(_ context.Context, _ *office, s *sdk.Step[sdk.None, request], captured []byte) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.note("inverse captured=%s saved=%s", captured, s.Saved)
			o.requests, o.reviewed = 0, false
			return nil
		},
	})
	makeKey := sdk.NewOperation(sdk.OperationSpec[*office, key]{
		Type: "makeKey",
		Check: func(c *sdk.Check[sdk.None, key]) {
			for _, s := range c.Steps {
				c.Output(s.Index, "/output", s.Apply.Output)
			}
		},
		Apply: func(ctx context.Context, _ *office, s *sdk.Step[sdk.None, key]) error {
			o.mu.Lock()
			o.keys = append(o.keys, s.Payload.Name)
			o.mu.Unlock()
			return s.Output(ctx, s.Payload.Output, "s3cret-"+sdk.Secret(s.Payload.Name))
		},
		Capture: func(context.Context, *office, *sdk.Step[sdk.None, key]) ([]byte, error) { return []byte("none"), nil },
		Inverse: func(context.Context, *office, *sdk.Step[sdk.None, key], []byte) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.keys = o.keys[:len(o.keys)-1]
			return nil
		},
	})
	return &sdk.Plugin{
		Name: "office", Version: "1.0.0",
		Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[sdk.None, *office]{
			Type: "office", Open: func(context.Context, sdk.None) (*office, error) { return o, nil },
		})},
		Templates: []sdk.Template{sdk.NewOperationsTemplate(sdk.OperationsSpec{Name: "office"}, review, makeKey)},
	}
}

// officeEngine is the engine of a project with these files. Every call makes a new
// instance on the same store.
func officeEngine(t *testing.T, o *office, dir string, cfg core.Config, files map[string]string) *core.Engine {
	t.Helper()
	fs := fstest.MapFS{}
	for name, text := range files {
		fs["changes/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	cfg.Root, cfg.Logger = dir, slog.New(slog.DiscardHandler)
	cfg.Stages = []core.Stage{{Name: "main", FS: fs, Dir: "changes"}}
	cfg.Targets = []core.Target{{ID: "office", Type: "office"}}
	cfg.Plugins = []run.Plugin{host.InProcess(o.plugin(), host.Options{})}
	e, err := core.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	return e
}

// trail returns the states of a change, oldest first, with their reasons.
func trail(t *testing.T, e *core.Engine, id string) string {
	t.Helper()
	var out []string
	for x, err := range e.History(t.Context(), audit.Query{ChangeID: id}) {
		if err != nil {
			t.Fatal(err)
		}
		s := string(x.State)
		if x.Reason != "" {
			s += " (" + x.Reason + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestStepInProgressGoesOnInALaterRun(t *testing.T) {
	t.Parallel()
	o, dir := &office{}, t.TempDir()
	files := map[string]string{
		"_0001__review.yaml": "id: review\ntemplate: office\ntargetSystem: office\nsteps:\n  - apply: {type: review, name: a}\n    rollback: auto\n",
		"_0002__next.yaml":   "id: next\ntemplate: office\ntargetSystem: office\napply: {type: makeKey, name: b, output: box/b}\nrollback: auto\n",
	}
	sinks := map[string]secret.Sink{"box": secret.DirectorySink(filepath.Join(dir, "box"))}
	apply := func() (*core.Engine, *run.Report, error) {
		e := officeEngine(t, o, dir, core.Config{SecretSinks: sinks}, files)
		r, err := e.Apply(t.Context(), nil)
		return e, r, err
	}
	for range 2 {
		e, r, err := apply()
		var ce *run.ChangeError
		if !errors.As(err, &ce) || ce.Status != run.StatusInProgress || !strings.Contains(err.Error(), "the review is pending") {
			t.Fatalf("got %v", err)
		}
		if n := r.Counts(); n[run.StatusInProgress] != 1 || n[run.StatusNotReached] != 1 {
			t.Errorf("counts %v", n)
		}
		if len(o.keys) != 0 {
			t.Errorf("the change after it was run: %v", o.keys)
		}
		_ = e.Close(t.Context())
	}
	o.reviewed = true
	e, _, err := apply()
	if err != nil {
		t.Fatal(err)
	}
	if o.requests != 1 || len(o.keys) != 1 {
		t.Errorf("%d requests, keys %v", o.requests, o.keys)
	}
	want := "STARTED, STARTED (in progress: the review is pending), STARTED, STARTED (in progress: the review is pending), " +
		"APPLIED (its target system has finished it)"
	if got := trail(t, e, "review"); got != want {
		t.Errorf("trail\n%s\nwant\n%s", got, want)
	}
	if _, err := e.Undo(t.Context(), run.Selection{Change: "review"}); err != nil {
		t.Fatal(err)
	}
	wantDid := []string{
		"apply saved=", "probe saved=request 1", "apply saved=request 1", "probe saved=request 1",
		"inverse captured=none saved=request 1",
	}
	if !slices.Equal(o.did, wantDid) {
		t.Errorf("did\n%q\nwant\n%q", o.did, wantDid)
	}
}

func TestSecretReachesItsSinkAlone(t *testing.T) {
	t.Parallel()
	o, dir := &office{}, t.TempDir()
	files := map[string]string{
		"_0001__key.yaml": "id: key\ntemplate: office\ntargetSystem: office\napply: {type: makeKey, name: b, output: box/keys/b}\nrollback: auto\n",
	}
	var events []string
	e := officeEngine(t, o, dir, core.Config{
		SecretSinks: map[string]secret.Sink{"box": secret.DirectorySink(filepath.Join(dir, "box"))},
		Observe:     func(e run.Event) { events = append(events, fmt.Sprintf("%#v", e)) },
	}, files)
	r, err := e.Apply(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "box", "keys", "b"))
	if err != nil || string(got) != "s3cret-b" {
		t.Errorf("the sink has %q, %v", got, err)
	}
	report, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(events, string(report), trail(t, e, "key")) {
		if strings.Contains(text, "s3cret") {
			t.Errorf("the secret shows in %s", text)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/box/") {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), "s3cret") {
			t.Errorf("the secret is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

type fullSink struct{}

func (fullSink) Put(_ context.Context, _ string, value []byte) error {
	return fmt.Errorf("the box is full, %s does not fit", value)
}

func TestSinkThatFailsTakesTheStepBack(t *testing.T) {
	t.Parallel()
	o := &office{}
	e := officeEngine(t, o, t.TempDir(), core.Config{SecretSinks: map[string]secret.Sink{"box": fullSink{}}}, map[string]string{
		"_0001__key.yaml": "id: key\ntemplate: office\ntargetSystem: office\napply: {type: makeKey, name: b, output: box/b}\nrollback: auto\n",
	})
	_, err := e.Apply(t.Context(), nil)
	var ce *run.ChangeError
	if !errors.As(err, &ce) || ce.Status == run.StatusApplied {
		t.Fatalf("got %v", err)
	}
	if text := err.Error(); !strings.Contains(text, `sink "box": the box is full`) || strings.Contains(text, "s3cret") {
		t.Errorf("got %s", text)
	}
}

func TestUnknownSinkIsRefusedBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	for sink, want := range map[string]string{
		"box/b":    `there is no secret sink "box"`,
		"box":      `"box" names no place in a sink`,
		"box/../x": `"box/../x" names no place in a sink`,
	} {
		o := &office{}
		e := officeEngine(t, o, t.TempDir(), core.Config{}, map[string]string{
			"_0001__key.yaml": "id: key\ntemplate: office\ntargetSystem: office\napply: {type: makeKey, name: b, output: " + sink + "}\nrollback: auto\n",
		})
		_, err := e.Apply(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "_0001__key.yaml:4:") {
			t.Errorf("%s: got %v", sink, err)
		}
		if len(o.keys) != 0 {
			t.Errorf("%s: a key was made", sink)
		}
	}
}
