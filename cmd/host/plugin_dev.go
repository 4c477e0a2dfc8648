package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/conformance"
	"github.com/flamingock/flamingock-go/cmd/host/internal/develop"
	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/plugin/wire"
	"github.com/flamingock/flamingock-go/registry/compare"
)

func newPluginDev(a *app) *cobra.Command {
	d := &dev{app: a}
	cmd := &cobra.Command{
		Use:   "dev [folder]",
		Short: "Build a plugin at each change, and let a project use it",
		Long: `Build the plugin whose code is in a folder, again after each change, and let the
project of the working directory (or of --config) use it in the place of the installed
one: every run of it, such as ` + "`flamingock plan`" + ` in another terminal, says so with a
warning. Lock file and installed plugins stay as they are, and count again when this
command ends.

After each build it shows what the plugin offers now and did not before, and runs
` + "`flamingock validate`" + `, or what --run says.

With --debug the plugin runs all the time and waits for a debugger. So does one that an
IDE has started with the argument ` + "`debug`" + `: it prints the variable ` + wire.EnvDevelop + `,
with which any run uses it. No time limit holds then.`,
		Example: `  flamingock plugin dev ../flamingock-plugin-acme
  flamingock plugin dev ../flamingock-plugin-acme --run plan --test
  flamingock plugin dev ../acme --build "cargo build" --program target/debug/acme
  dlv debug ./flamingock-plugin-acme -- debug`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return d.run(cmd.Context(), dir)
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.source.Build, "build", "", "command that builds the program (default: go build, unless --program is there)")
	f.StringVar(&d.source.Program, "program", "", "the program, in the folder (default: what go build makes)")
	f.StringVar(&d.then, "run", "validate", "what to run after each build: validate, plan, apply or none")
	f.BoolVar(&d.test, "test", false, "check what every plugin promises after each build, by "+casesName)
	f.BoolVar(&d.source.Debug, "debug", false, "let it run and wait for a debugger")
	must(cmd.RegisterFlagCompletionFunc("run", cobra.FixedCompletions([]string{"validate", "plan", "apply", "none"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// dev is one run of `plugin dev`.
type dev struct {
	app    *app
	source develop.Source
	then   string
	test   bool

	// project is the folder of the project; "" where there is none.
	project string
	folder  string // of the offer
	offer   *develop.Offer
	running *develop.Running
	before  []byte // what the last build offered
}

// devEvent is one line of the output as JSON.
type devEvent struct {
	Event       string               `json:"event"` // built, failed, ran, tested, ended or watching
	Plugin      string               `json:"plugin,omitempty"`
	Path        string               `json:"path,omitempty"`
	Process     int                  `json:"process,omitempty"`
	Seconds     float64              `json:"seconds,omitempty"`
	Differences []compare.Difference `json:"differences,omitempty"`
	Command     string               `json:"command,omitempty"`
	ExitCode    int                  `json:"exitCode,omitempty"`
	Broken      int                  `json:"broken,omitempty"`
	Error       string               `json:"error,omitempty"`
}

func (d *dev) run(ctx context.Context, dir string) (err error) {
	switch d.then {
	case "validate", "plan", "apply", "none":
	default:
		return usageError{fmt.Errorf("--run %q: use validate, plan, apply or none", d.then)}
	}
	if d.source.Build != "" && d.source.Program == "" {
		return usageError{errors.New("--build needs --program: the program that it makes")}
	}
	if d.source.Dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if info, err := os.Stat(d.source.Dir); err != nil || !info.IsDir() {
		return notFoundError{fmt.Errorf("develop a plugin: there is no folder %s", d.source.Dir)}
	}
	p, err := d.app.anyProject()
	if err != nil {
		return err
	}
	home := d.source.Dir
	if p != nil {
		d.project, home = p.Dir, p.Dir
	}
	d.folder = develop.Folder(home)
	d.source.Out, d.source.Output = d.folder, d.app.stderr
	d.app.waits.Store(true)
	defer func() {
		d.running.Stop()
		err = errors.Join(err, d.offer.Close(), d.source.Clear())
	}()
	for {
		files := develop.Look(d.source.Dir) // a change while it is built is a change
		if err := d.once(ctx); err != nil {
			if d.ended(ctx) {
				return nil
			}
			if errors.Is(err, develop.ErrTaken) {
				return err
			}
			d.say(devEvent{Event: "failed", Error: d.app.redactor.Redact(err.Error())})
		}
		if d.ended(ctx) {
			return nil
		}
		d.say(devEvent{Event: "watching", Path: d.source.Dir})
		if d.source.Build != "" {
			files = develop.Look(d.source.Dir) // the build may write here
		}
		if d.wait(ctx, files) != nil {
			return nil // the user has ended it
		}
	}
}

// ended tells whether the user has ended it: while it waits, or in the midst of a run,
// which then ends its step first.
func (d *dev) ended(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-d.app.stop:
		return true
	default:
		return false
	}
}

// wait waits for a change. It says when a program that is to run has ended.
func (d *dev) wait(ctx context.Context, files develop.Files) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r := d.running; r != nil {
		go func() {
			select {
			case <-r.Done():
				d.say(devEvent{Event: "ended", Process: r.Process})
			case <-ctx.Done():
			}
		}()
	}
	return develop.Watch(ctx, d.source.Dir, files)
}

// once builds, offers and tries the plugin.
func (d *dev) once(ctx context.Context) error {
	start := time.Now()
	path, name, err := d.source.Make(ctx)
	if err != nil {
		return err
	}
	event := devEvent{Event: "built", Plugin: name, Path: path, Seconds: time.Since(start).Seconds()}
	if now := develop.Describe(ctx, path); now != nil {
		if d.before != nil {
			// An error is that of metadata that `flamingock plugin test` tells more about.
			event.Differences, _ = compare.Metadata(d.before, now)
		}
		d.before = now
	}
	o := develop.Override{Name: name, Path: path, Metadata: d.before}
	if d.source.Debug {
		d.running.Stop()
		if d.running, err = develop.Start(ctx, path, name, d.app.stderr); err != nil {
			return err
		}
		o.Metadata = nil // of one that runs it is asked
		o.Path, o.Running, event.Path, event.Process = d.running.Socket, true, d.running.Socket, d.running.Process
	}
	if d.offer, err = d.renew(o); err != nil {
		return err
	}
	d.say(event)
	if d.test {
		d.check(ctx, path)
	}
	if d.project != "" && d.then != "none" {
		d.try(ctx)
	}
	return nil
}

func (d *dev) renew(o develop.Override) (*develop.Offer, error) {
	offer, err := develop.Make(d.folder, o, d.offer)
	if err != nil {
		return d.offer, err // the old one stays
	}
	return offer, nil
}

// try runs the command that shall be run after each build.
func (d *dev) try(ctx context.Context) {
	sub := &app{stdin: d.app.stdin, stdout: d.app.stdout, stderr: d.app.stderr, stop: d.app.stop}
	root := newRoot(sub)
	// As this command was called, and not by arguments, which have no secrets in them.
	sub.config, sub.pipeline, sub.pluginDirs, sub.profiles = d.app.config, d.app.pipeline, d.app.pluginDirs, d.app.profiles
	sub.vars, sub.set, sub.logLevel, sub.noColor, sub.offline = d.app.vars, d.app.set, d.app.logLevel, d.app.noColor, d.app.offline
	sub.quiet = d.app.quiet || d.app.json()
	root.SetArgs([]string{d.then})
	root.SetOut(sub.stdout)
	root.SetErr(sub.stderr)
	if d.app.json() {
		// What it says goes beside the lines of this command.
		sub.stdout = d.app.stderr
	}
	d.app.waits.Store(false)
	defer d.app.waits.Store(true)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.As(err, &planned{}) {
		sub.showError(err)
	}
	d.say(devEvent{Event: "ran", Command: d.then, ExitCode: exitCode(err)})
}

// check checks what every plugin promises.
func (d *dev) check(ctx context.Context, path string) {
	list, err := conformance.ReadCases(filepath.Join(d.source.Dir, casesName))
	if err != nil {
		d.say(devEvent{Event: "failed", Error: err.Error()})
		return
	}
	event := devEvent{Event: "tested"}
	conformance.Run(ctx, path, list, func(r conformance.Result) {
		if !r.Kept {
			event.Broken++
			if !d.app.json() {
				d.app.showPromise(r, len(list) > 1)
			}
		}
	})
	d.say(event)
}

// say writes a line for a program, or some for a person.
func (d *dev) say(e devEvent) {
	if d.app.json() {
		b, err := json.Marshal(e)
		must(err)
		// Where standard output is gone there is nobody to tell.
		_, _ = fmt.Fprintln(d.app.stdout, string(b))
		return
	}
	w := d.app.out()
	switch e.Event {
	case "built":
		w.Printf("%s%s is built (%.1f s)%s\n", w.Paint(terminal.Green, "✓ "), e.Plugin, e.Seconds, d.used())
		if e.Process != 0 {
			w.Printf("  it runs as process %d: attach a debugger to that\n", e.Process)
		}
		if d.project == "" || e.Process != 0 {
			w.Printf("  elsewhere: export %s=%s=%s\n", wire.EnvDevelop, e.Plugin, e.Path)
		}
		for _, diff := range e.Differences {
			w.Println("  " + diff.String())
		}
	case "failed":
		w.Println(w.Paint(terminal.Red, "✗ ") + e.Error)
		if d.offer != nil {
			w.Println("  what was built before is used still")
		}
	case "ended":
		w.Println(w.Paint(terminal.Red, "✗ ") + fmt.Sprintf("process %d has ended", e.Process))
	case "tested":
		if e.Broken == 0 {
			w.Println(w.Paint(terminal.Green, "✓ ") + "it keeps what every plugin promises")
		}
	case "watching":
		w.Println(strings.TrimSpace("watching " + e.Path + "; Ctrl-C ends this"))
	}
}

func (d *dev) used() string {
	if d.project == "" {
		return ""
	}
	return "; runs for " + d.project + " use it"
}
