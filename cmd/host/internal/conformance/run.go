// Package conformance checks what every plugin promises against any plugin's program,
// whatever its language, with the rules of package sdktest.
package conformance

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
)

// ruleTime bounds one rule.
const ruleTime = time.Minute

// Result is one promise, checked with one case.
type Result struct {
	Case    string `json:"case"`
	Promise string `json:"promise"`
	Kept    bool   `json:"kept"`
	// How it was broken.
	How string `json:"how,omitempty"`
}

// Run checks every rule with each case, each against a process of its own, and tells
// observe of each result, in the order in which they are found, one at a time.
func Run(ctx context.Context, program string, cases []sdktest.Case, observe func(Result)) {
	start := func(t testing.TB) sdktest.Instance { return sdktest.Process(t, program) }
	var mu sync.Mutex
	tell := func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		observe(r)
	}
	for _, c := range cases {
		if c.Name == "" {
			c.Name = c.Template
		}
		var rules []sdktest.Rule
		how := attempt(ctx, func(_ context.Context, t testing.TB) {
			look := sdktest.NewBench(t, start, c)
			rules = slices.DeleteFunc(sdktest.Rules(), func(r sdktest.Rule) bool { return !r.Applies(look) })
		})
		if how != "" {
			tell(Result{Case: c.Name, Promise: "it starts and says what it offers", How: how})
			continue
		}
		running := make(chan struct{}, max(2, runtime.NumCPU()))
		var all sync.WaitGroup
		for _, rule := range rules {
			running <- struct{}{}
			all.Go(func() {
				defer func() { <-running }()
				how := attempt(ctx, func(ctx context.Context, t testing.TB) {
					if err := rule.Check(ctx, sdktest.NewBench(t, start, c)); err != nil {
						t.Error(err)
					}
				})
				tell(Result{Case: c.Name, Promise: rule.Name, Kept: how == "", How: how})
			})
		}
		all.Wait()
	}
}

// attempt runs a check and returns how it failed; "" where it did not.
func attempt(ctx context.Context, f func(ctx context.Context, t testing.TB)) string {
	ctx, cancel := context.WithTimeout(ctx, ruleTime)
	defer cancel()
	t := &report{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.end()
		f(ctx, t)
	}()
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.said, "\n")
}

// report is what a check reports to. It embeds a testing.TB that is nil, as there is
// no other way to be one, and has the methods that package sdktest calls.
type report struct {
	testing.TB
	ctx context.Context //nolint:containedctx // testing.TB has one

	mu      sync.Mutex
	said    []string
	cleanup []func()
}

func (r *report) Helper() {}

func (r *report) Context() context.Context { return r.ctx }

func (r *report) Error(args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, strings.TrimRight(fmt.Sprintln(args...), "\n"))
}

func (r *report) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }

func (r *report) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *report) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

func (r *report) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanup = append(r.cleanup, f)
}

// TempDir is a folder that lives as long as the check.
func (r *report) TempDir() string {
	dir, err := os.MkdirTemp("", "flamingock-plugin-test-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// end clears up, last things first.
func (r *report) end() {
	if v := recover(); v != nil {
		r.Errorf("the check itself failed: %v", v)
	}
	for len(r.cleanup) > 0 {
		last := r.cleanup[len(r.cleanup)-1]
		r.cleanup = r.cleanup[:len(r.cleanup)-1]
		last()
	}
}
