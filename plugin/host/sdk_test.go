//go:build unix

package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
)

// sdkRoads runs f with a plugin made with the SDK, in a process and in memory.
func sdkRoads(t *testing.T, o host.Options, f func(t *testing.T, p *host.Plugin)) {
	t.Helper()
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		o := o
		o.Path = install(t, "memory")
		f(t, open(t, o))
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		p := host.InProcess(memory.NewServer().Plugin(), o)
		closeLater(t, p)
		f(t, p)
	})
}

// database returns the configuration of a database of its own.
func database(driver, name string) run.Config {
	return run.Config{ID: name, Driver: driver, Values: fmt.Appendf(nil, `{"name":%q}`, name)}
}

func entry(id, value string) run.Work {
	w := work(id, "memory-entry")
	w.Steps[0].Apply = &change.Payload{JSON: fmt.Appendf(nil, `{"key":"k","value":%s}`, value)}
	w.Steps[0].Mode = change.AutoRollback
	return w
}

func TestSDKStore(t *testing.T) {
	t.Parallel()
	sdkRoads(t, host.Options{}, func(t *testing.T, p *host.Plugin) {
		var stores atomic.Int64
		// Run's subtests outlive this function, but not the test that it is in.
		t.Run("suite", func(t *testing.T) {
			audittest.Run(t, func(t *testing.T) audit.Store {
				t.Helper()
				s, err := p.OpenStore(t.Context(), database("memory", fmt.Sprintf("store-%d", stores.Add(1))))
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	})
}

func TestSDKMetadata(t *testing.T) {
	t.Parallel()
	sdkRoads(t, host.Options{}, func(t *testing.T, p *host.Plugin) {
		md, err := p.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var want run.Metadata
		var doc strings.Builder
		if err := errors.Join(memory.NewServer().Plugin().Describe(&doc), json.Unmarshal([]byte(doc.String()), &want)); err != nil {
			t.Fatal(err)
		}
		a, errA := json.Marshal(md)
		b, errB := json.Marshal(want)
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("Metadata\n%s\nwant\n%s", a, b)
		}
	})
}

// TestSDKMetadataFile takes the file that "describe" writes.
func TestSDKMetadataFile(t *testing.T) {
	t.Parallel()
	path := install(t, "memory")
	var doc strings.Builder
	if err := memory.NewServer().Plugin().Describe(&doc); err != nil {
		t.Fatal(err)
	}
	write(t, path+".json", doc.String(), 0o600)
	found, err := host.Find(filepath.Dir(path))
	if err != nil || len(found) != 1 {
		t.Fatalf("Find = %+v, %v", found, err)
	}
	p := open(t, host.Options{Path: found[0].Path, Name: found[0].Name, Metadata: found[0].Metadata})
	if _, err := p.Open(t.Context(), database("memory", "db")); err != nil {
		t.Error(err)
	}
}

func TestSDKExecute(t *testing.T) {
	t.Parallel()
	var log records
	sdkRoads(t, host.Options{Logger: log.logger()}, func(t *testing.T, p *host.Plugin) {
		ctx := t.Context()
		target, err := p.Open(ctx, database("memory", "db"))
		if err != nil {
			t.Fatal(err)
		}
		w := entry("a", `"v"`)
		if got, err := target.Preview(ctx, w); err != nil || !reflect.DeepEqual(got, run.Preview{Lines: []string{`set k to "v"`}}) {
			t.Errorf("Preview = %+v, %v", got, err)
		}
		obs := &notes{}
		if err := target.Execute(ctx, []run.Work{w}, obs); err != nil {
			t.Fatal(err)
		}
		obs.lines[len(obs.lines)-1] = strings.SplitAfter(obs.lines[len(obs.lines)-1], "marker=false")[0]
		obs.want(
			t, "0 begun", `0 checkpoint CAPTURED of a in run-1 at 0/-1 "{\"value\":null}"`, started(0, "a"),
			"0 progress 0/-1 0 of 1 setting k", "0 progress 0/-1 1 of 1 set k",
			`0 checkpoint APPLIED of a in run-1 at 0/-1 ""`, "0 done marker=false",
		)
		evidence, err := target.Probe(ctx, w)
		want := []run.StepEvidence{{Evidence: run.EvidenceApplied, Detail: "the key is as it should be"}}
		if err != nil || !slices.Equal(evidence, want) {
			t.Errorf("Probe = %+v, %v", evidence, err)
		}
		log.wait(t, func(lines []string) bool {
			return slices.Contains(lines, "INFO setting a key plugin=memory change=a key=k")
		})

		_, err = target.Markers(ctx, run.Fence{}, nil)
		wantError(t, err, "plugin memory (target db): read markers: it does not offer this: target systems of type memory have no markers")
		wantIs(t, err, errors.ErrUnsupported)

		obs = &notes{}
		if err := target.Execute(ctx, []run.Work{entry("b", `7`)}, obs); err != nil {
			t.Fatal(err)
		}
		if last := obs.lines[len(obs.lines)-1]; !strings.HasPrefix(last, "0 failed clean=true stepClean=true: invalid apply /value of step 0 is not right: ") {
			t.Errorf("observed %q", obs.lines)
		}
	})
}

func TestSDKTransaction(t *testing.T) {
	t.Parallel()
	sdkRoads(t, host.Options{}, func(t *testing.T, p *host.Plugin) {
		ctx := t.Context()
		target, err := p.Open(ctx, database("memory-tx", "db"))
		if err != nil {
			t.Fatal(err)
		}
		var works []run.Work
		var ids []string
		for i := range 20 {
			ids = append(ids, fmt.Sprintf("c%02d", i))
			works = append(works, transactional(entry(ids[i], `"v"`)))
		}
		obs := &notes{}
		if err := target.Execute(ctx, works, obs); err != nil {
			t.Fatal(err)
		}
		markers, err := target.Markers(ctx, run.Fence{Scope: "store", Token: 8}, ids)
		if err != nil || len(markers) != 20 || markers[0].Token != 7 || string(markers[0].Captured[0]) != `{"value":null}` {
			t.Errorf("Markers = %+v, %v", markers, err)
		}
		// The fence is at 8 now, and the works' token is 7.
		obs = &notes{}
		if err := target.Execute(ctx, works[:2], obs); err != nil {
			t.Fatal(err)
		}
		obs.want(t, "0 begun", "0 failed clean=true stepClean=true: fenced token 7 after 8: stale fencing token: another instance has taken over")
		if _, err := target.Markers(ctx, run.Fence{Scope: "store", Token: 7}, ids); !errors.Is(err, run.ErrFenced) {
			t.Errorf("Markers: %v", err)
		}
	})
}

func TestSDKStops(t *testing.T) {
	t.Parallel()
	sdkRoads(t, host.Options{}, func(t *testing.T, p *host.Plugin) {
		target, err := p.Open(t.Context(), database("memory", "db"))
		if err != nil {
			t.Fatal(err)
		}
		slow := entry("a", `"v","takes":"1h"`)

		ctx, cancel := context.WithCancel(t.Context())
		obs := &notes{seen: func(line string) {
			if strings.HasPrefix(line, "0 progress") {
				cancel()
			}
		}}
		if err := target.Execute(ctx, []run.Work{slow, entry("b", `"v"`)}, obs); err != nil {
			t.Error(err)
		}
		if last := obs.lines[len(obs.lines)-1]; !strings.HasPrefix(last, "0 failed clean=false stepClean=false: cancelled stopped on request") {
			t.Errorf("observed %q", obs.lines)
		}

		// The plugin stops by itself when the lease has passed.
		slow.Lease = 200 * time.Millisecond
		obs = &notes{}
		if err := target.Execute(t.Context(), []run.Work{slow}, obs); err != nil {
			t.Error(err)
		}
		if last := obs.lines[len(obs.lines)-1]; !strings.HasPrefix(last, "0 failed clean=false stepClean=false: fenced the lease ran out") {
			t.Errorf("observed %q", obs.lines)
		}

		// Closing lets it end.
		slow.Lease = 0
		obs = &notes{seen: func(line string) {
			if strings.HasPrefix(line, "0 progress") {
				go p.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // asserted by what follows
			}
		}}
		if err := target.Execute(t.Context(), []run.Work{slow}, obs); err != nil {
			t.Error(err)
		}
		if last := obs.lines[len(obs.lines)-1]; !strings.HasPrefix(last, "0 failed clean=false stepClean=false: cancelled the plugin is ending") {
			t.Errorf("observed %q", obs.lines)
		}
	})
}

func TestSDKCloseClosesWhatIsOpen(t *testing.T) {
	t.Parallel()
	server := memory.NewServer()
	driver := server.Driver()
	var closed atomic.Int64
	driver.Close = func(context.Context, *memory.Conn) error { closed.Add(1); return nil }
	p := host.InProcess(&sdk.Plugin{Name: "memory", Version: "1.0.0", Drivers: []sdk.Driver{sdk.NewDriver(driver)}}, host.Options{})
	var targets []run.Target
	for i := range 3 {
		target, err := p.Open(t.Context(), database("memory", fmt.Sprint("db", i)))
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, target)
	}
	if err := targets[0].Close(t.Context()); err != nil || closed.Load() != 1 {
		t.Errorf("Close: %v, %d closed", err, closed.Load())
	}
	if err := p.Close(t.Context()); err != nil || closed.Load() != 3 {
		t.Errorf("Close: %v, %d closed", err, closed.Load())
	}
}

func TestSDKPanics(t *testing.T) {
	t.Parallel()
	spec := memory.Entry()
	spec.Apply = func(context.Context, *memory.Conn, *sdk.Step[sdk.None, memory.EntryPayload]) error { panic("boom") }
	plugin := &sdk.Plugin{
		Name: "memory", Version: "1.0.0", Drivers: []sdk.Driver{sdk.NewDriver(memory.NewServer().Driver())},
		Templates: []sdk.Template{sdk.NewTemplate(spec)},
	}
	p := host.InProcess(plugin, host.Options{})
	closeLater(t, p)
	target, err := p.Open(t.Context(), database("memory", "db"))
	if err != nil {
		t.Fatal(err)
	}
	obs := &notes{}
	if err := target.Execute(t.Context(), []run.Work{entry("a", `"v"`)}, obs); err != nil {
		t.Fatal(err)
	}
	if last := obs.lines[len(obs.lines)-1]; !strings.HasPrefix(last, "0 failed clean=false stepClean=false: internal ") || !strings.Contains(last, "panicked: boom") {
		t.Errorf("observed %q", obs.lines)
	}

	_, err = host.InProcess(&sdk.Plugin{Name: "empty", Version: "1.0.0"}, host.Options{}).Metadata(t.Context())
	wantError(t, err, "plugin empty: start: plugin empty is not right: it has neither a driver nor an audit store")
}

func TestSDKProcessEndsWithItsHost(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	pid, kill := doomed(t, install(t, "memory"), tmp)
	kill()
	wantGone(t, pid)
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
