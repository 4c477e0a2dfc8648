package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/project"
	"github.com/flamingock/flamingock-go/cmd/host/internal/telemetry"
	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/secret"
)

// app is what all commands share: the streams, the global flags, and the engine
// once it was needed.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	stop           <-chan struct{}
	// waits tells that the command only waits, so that the first interrupt ends it.
	waits atomic.Bool

	config     string
	pipeline   string
	pluginDirs []string
	profiles   []string
	vars       []string
	set        []string
	output     string
	logLevel   string
	noColor    bool
	quiet      bool
	offline    bool
	catalogs   []string

	redactor *secret.Redactor
	progress *progress
	fetching *fetching         // nil until a registry was needed
	traces   *telemetry.Traces // nil unless the environment asks for them
}

// newRoot makes the whole command tree.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "flamingock",
		Short: "Apply versioned changes to the systems an application depends on",
		Long: `flamingock applies the changes of a project (versioned files beside the
application's code) to its target systems: each exactly once, in order, under a
lock that holds across all instances, with an audit trail.

Start with ` + "`flamingock init`" + `, look with ` + "`flamingock plan`" + `, run ` + "`flamingock apply`" + `.

` + exitCodes,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetVersionTemplate("flamingock {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVarP(&a.config, "config", "f", "", "project file; found upward from the working directory when left out")
	f.StringVar(&a.pipeline, "pipeline", "", "pipeline file of the Java form, in place of the project's own stages")
	f.StringArrayVar(&a.pluginDirs, "plugin-dir", nil, "folder of plugins (repeatable); also FLAMINGOCK_PLUGIN_DIR, and beside the command")
	f.StringSliceVarP(&a.profiles, "profiles", "p", nil, "active profiles")
	f.StringArrayVar(&a.vars, "var", nil, "value of a ${var:name} reference, as name=value (repeatable)")
	f.StringArrayVar(&a.set, "set", nil, "override a key of the project file, as path.to.key=value (repeatable)")
	f.StringVarP(&a.output, "output", "o", "text", "form of the output: text or json")
	f.StringVarP(&a.logLevel, "log-level", "l", "warn", "debug, info, warn or error; logs go to standard error")
	f.BoolVar(&a.noColor, "no-color", false, "no colours")
	f.BoolVar(&a.offline, "offline", false, "use no network for plugins; also FLAMINGOCK_OFFLINE=1")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "only errors and results")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.checkFlags() }
	must(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	must(root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)))

	root.AddCommand(
		newInit(a), newValidate(a), newPlan(a), newApply(a), newUndo(a), newStatus(a),
		newAudit(a), newIssue(a), newLock(a), newPlugin(a), newSchema(a), newExecute(a), newVersion(a),
	)
	return root
}

// must panics on an error that only a mistake in this package can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (a *app) checkFlags() error {
	if a.output != "text" && a.output != "json" {
		return usageError{fmt.Errorf("--output %q: use text or json", a.output)}
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usageError{fmt.Errorf("--log-level %q: use debug, info, warn or error", a.logLevel)}
	}
	return nil
}

// noArgs refuses arguments with a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("`%s` takes no argument, and got %q", cmd.CommandPath(), args[0])}
	}
	return nil
}

// out returns the writer for results.
func (a *app) out() *terminal.Writer {
	return terminal.New(a.stdout, terminal.Options{NoColor: a.noColor, NoProgress: true})
}

// err returns the writer for progress and errors.
func (a *app) err() *terminal.Writer {
	return terminal.New(a.stderr, terminal.Options{NoColor: a.noColor, NoProgress: a.quiet})
}

func (a *app) json() bool { return a.output == "json" }

// writeJSON writes v, secrets masked, as indented JSON.
func (a *app) writeJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	_, err = fmt.Fprintln(a.stdout, a.redactor.Redact(string(b)))
	return err
}

// logger makes the logger of the run.
func (a *app) logger() *slog.Logger {
	var level slog.Level
	// checkFlags has seen it.
	_ = level.UnmarshalText([]byte(a.logLevel))
	if a.quiet {
		level = max(level, slog.LevelError)
	}
	return slog.New(slog.NewTextHandler(a.progress.writer(a.stderr), &slog.HandlerOptions{Level: level}))
}

// engine reads the project file and makes the engine. The caller closes it.
func (a *app) engine(ctx context.Context, opts ...func(*core.Config)) (*core.Engine, error) {
	p, err := a.project()
	if err != nil {
		return nil, err
	}
	if a.progress == nil {
		a.progress = newProgress(a.err(), a.json() || a.quiet)
	}
	cfg := p.Config
	cfg.Logger = a.logger()
	cfg.StopAfterStep = a.stop
	cfg.Observe = a.progress.observe
	if cfg.Plugins, err = a.plugins(ctx, p, cfg.Logger); err != nil {
		return nil, err
	}
	for _, o := range opts {
		o(&cfg)
	}
	e, err := core.New(cfg)
	if err != nil {
		return nil, err
	}
	a.redactor = e.Redactor()
	return e, nil
}

// project reads the project file with all overrides.
func (a *app) project() (*project.Project, error) {
	p, err := project.Load(project.Options{
		File: a.config, Pipeline: a.pipeline, Profiles: a.profiles, Vars: a.vars, Set: a.set,
	})
	if errors.Is(err, project.ErrNotFound) {
		return nil, notFoundError{err}
	}
	return p, err
}

// closing ends the plugins of e within a few seconds.
func closing(ctx context.Context, e *core.Engine) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	// What could not be closed ends with this process.
	_ = e.Close(ctx)
}

// showError writes an error for people, or as JSON where that was asked for.
func (a *app) showError(err error) {
	if a.progress != nil {
		a.progress.end()
	}
	text := a.redactor.Redact(err.Error())
	if a.json() {
		body := struct {
			Error       string           `json:"error"`
			ExitCode    int              `json:"exitCode"`
			Diagnostics diag.Diagnostics `json:"diagnostics,omitempty"`
			Issues      []run.Issue      `json:"issues,omitempty"`
		}{Error: text, ExitCode: exitCode(err), Diagnostics: diag.Of(err)}
		var issues *run.IssuesError
		if errors.As(err, &issues) {
			body.Issues = issues.Issues
		}
		b, jerr := json.MarshalIndent(body, "", "  ")
		if jerr == nil {
			_, _ = fmt.Fprintln(a.stderr, a.redactor.Redact(string(b)))
			return
		}
	}
	w := a.err()
	first, rest, _ := strings.Cut(text, "\n")
	w.Println(w.Paint(terminal.Red, "error: ") + first)
	if rest != "" {
		w.Println(rest)
	}
	var usage usageError
	if errors.As(err, &usage) {
		w.Println("run `flamingock --help` for the commands and their flags")
	}
}
