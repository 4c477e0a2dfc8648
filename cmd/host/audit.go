package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
)

func newAudit(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Look at the audit trail, and correct it by a recorded decision",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditList(a), newAuditFix(a), newAuditExport(a))
	return cmd
}

// auditQuery are the flags that select entries.
type auditQuery struct {
	change, execution, state, since string
	limit                           int
}

func (q *auditQuery) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&q.change, "change-id", "c", "", "only this change")
	f.StringVar(&q.execution, "execution", "", "only this execution")
	f.StringVar(&q.state, "state", "", "only this state")
	f.StringVar(&q.since, "since", "", "only since a time (2026-11-23, 2026-11-23T10:00:00) or a duration ago (24h)")
	f.IntVarP(&q.limit, "limit", "n", 0, "at most so many, the newest")
}

func (q *auditQuery) query() (audit.Query, error) {
	out := audit.Query{ChangeID: q.change, ExecutionID: q.execution, State: audit.State(strings.ToUpper(q.state)), Limit: q.limit}
	if out.State != "" && !out.State.Valid() {
		return out, usageError{fmt.Errorf("--state %q is no state", q.state)}
	}
	if q.since == "" {
		return out, nil
	}
	if d, err := time.ParseDuration(q.since); err == nil {
		out.Since = time.Now().Add(-d)
		return out, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, q.since, time.Local); err == nil {
			out.Since = t
			return out, nil
		}
	}
	return out, usageError{fmt.Errorf("--since %q: give a time such as 2026-11-23T10:00:00, or a duration such as 24h", q.since)}
}

func newAuditList(a *app) *cobra.Command {
	var q auditQuery
	var history, extended, tags bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the newest entry of each change, or the whole history",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query, err := q.query()
			if err != nil {
				return err
			}
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			entries, err := a.entries(cmd, e, query, history)
			if err != nil {
				return err
			}
			kept := entries[:0]
			for _, en := range entries {
				if _, tag := run.IsTag(en); tag == tags {
					kept = append(kept, en)
				}
			}
			if a.json() {
				return a.writeJSON(map[string]any{"entries": append([]audit.Entry{}, kept...)})
			}
			a.showEntries(kept, extended)
			return nil
		},
	}
	q.flags(cmd)
	cmd.Flags().BoolVar(&history, "history", false, "every entry, not only the newest of each change")
	cmd.Flags().BoolVarP(&extended, "extended", "e", false, "more columns")
	cmd.Flags().BoolVar(&tags, "tags", false, "only tags")
	return cmd
}

func (a *app) entries(cmd *cobra.Command, e *core.Engine, q audit.Query, history bool) ([]audit.Entry, error) {
	if !history && q == (audit.Query{}) {
		return e.Newest(cmd.Context())
	}
	if !history {
		// The newest of each change, among those selected.
		newest, err := e.Newest(cmd.Context())
		if err != nil {
			return nil, err
		}
		var out []audit.Entry
		for _, en := range newest {
			if (q.ChangeID == "" || en.ChangeID == q.ChangeID) && (q.ExecutionID == "" || en.ExecutionID == q.ExecutionID) &&
				(q.State == "" || en.State == q.State) && (q.Since.IsZero() || !en.CreatedAt.Before(q.Since)) {
				out = append(out, en)
			}
		}
		if q.Limit > 0 && len(out) > q.Limit {
			out = out[len(out)-q.Limit:]
		}
		return out, nil
	}
	var out []audit.Entry
	for en, err := range e.History(cmd.Context(), q) {
		if err != nil {
			return nil, err
		}
		out = append(out, en)
	}
	return out, nil
}

func (a *app) showEntries(entries []audit.Entry, extended bool) {
	w := a.out()
	if len(entries) == 0 {
		w.Println("no entries")
		return
	}
	header := []string{"WHEN", "CHANGE", "STATE", "STAGE", "TARGET", "AUTHOR", "TOOK"}
	if extended {
		header = append(header, "EXECUTION", "HOST", "TX", "TOKEN", "OPERATION", "ACTOR", "REASON")
	}
	var rows [][]terminal.Cell
	for _, en := range entries {
		id := en.ChangeID
		if name, ok := run.IsTag(en); ok {
			id = "tag " + name
		}
		row := []terminal.Cell{
			{Text: stamp(en.CreatedAt)},
			{Text: id},
			{Text: string(en.State), Style: stateStyle(en.State)},
			{Text: en.Stage},
			{Text: en.Target},
			{Text: en.Author},
			{Text: short(en.Duration)},
		}
		if extended {
			row = append(row,
				terminal.Cell{Text: en.ExecutionID}, terminal.Cell{Text: en.Host}, terminal.Cell{Text: string(en.TxStrategy)},
				terminal.Cell{Text: fmt.Sprint(en.Token)}, terminal.Cell{Text: string(en.Operation)},
				terminal.Cell{Text: en.Actor}, terminal.Cell{Text: en.Reason})
		}
		rows = append(rows, row)
	}
	w.Table(header, rows)
}

func newAuditFix(a *app) *cobra.Command {
	var (
		fix        core.Fix
		resolution string
		actor      string
	)
	cmd := &cobra.Command{
		Use:   "fix",
		Short: "Record a decision about a change whose state is uncertain",
		Long: `Record, under the lock, what you found out about a change: that it is in place
(APPLIED), or that nothing of it is (ROLLED_BACK), so that it runs again. Look at
` + "`flamingock issue get --guidance`" + ` first. The same command accepts the new text of
an applied change that was edited.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch strings.ToUpper(strings.ReplaceAll(resolution, "-", "_")) {
			case "APPLIED":
				fix.Applied = true
			case "ROLLED_BACK", "NOT_APPLIED":
			default:
				return usageError{fmt.Errorf("--resolution %q: use APPLIED or ROLLED_BACK", resolution)}
			}
			if fix.ChangeID == "" {
				return usageError{errors.New("say which change with --change-id")}
			}
			e, err := a.engine(cmd.Context(), withActor(actor))
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			entry, err := e.Fix(cmd.Context(), fix)
			if errors.Is(err, core.ErrNoIssue) && a.json() {
				return a.writeJSON(map[string]any{"changeId": fix.ChangeID, "result": "NO_ISSUE_FOUND", "message": err.Error()})
			}
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(map[string]any{"changeId": fix.ChangeID, "result": "APPLIED", "resolution": resolution, "entry": entry})
			}
			next := "it counts as applied now"
			if !fix.Applied {
				next = "it is pending now; run apply"
			}
			w := a.out()
			w.Printf("%s %s is %s; %s\n", w.Paint(terminal.Green, "✓"), fix.ChangeID, entry.State, next)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&fix.ChangeID, "change-id", "c", "", "the change")
	f.StringVarP(&resolution, "resolution", "r", "", "APPLIED or ROLLED_BACK")
	f.StringVar(&fix.Reason, "reason", "", "why; goes into the audit trail")
	f.StringVar(&actor, "actor", "", "who decides (default the user's name)")
	f.BoolVar(&fix.Force, "force", false, "decide also where the change is no issue")
	return cmd
}

func newAuditExport(a *app) *cobra.Command {
	var q auditQuery
	var format, file string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the whole history as JSON lines or CSV",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "jsonl" && format != "csv" {
				return usageError{fmt.Errorf("--format %q: use jsonl or csv", format)}
			}
			query, err := q.query()
			if err != nil {
				return err
			}
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			// All of it first, so that a failure leaves no half file.
			var buf bytes.Buffer
			n, err := a.export(cmd, e, query, format, &buf)
			if err != nil {
				return err
			}
			if file == "" {
				_, err = a.stdout.Write(buf.Bytes())
				return err
			}
			if err := os.WriteFile(file, buf.Bytes(), 0o600); err != nil {
				return fmt.Errorf("write the export: %w", err)
			}
			a.err().Printf("%d entries written to %s\n", n, file)
			return nil
		},
	}
	q.flags(cmd)
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl or csv")
	cmd.Flags().StringVar(&file, "file", "", "write to this file (mode 0600) and not to standard output")
	return cmd
}

func (a *app) export(cmd *cobra.Command, e *core.Engine, q audit.Query, format string, w io.Writer) (int, error) {
	n := 0
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	table := csv.NewWriter(w)
	if format == "csv" {
		if err := table.Write([]string{
			"seq", "createdAt", "changeId", "state", "stageId", "author", "targetSystemId", "executionId",
			"executionMillis", "executionHostname", "txStrategy", "recoveryStrategy", "order", "sourceFile",
			"operation", "actor", "reason", "checksum", "token", "errorTrace",
		}); err != nil {
			return 0, err
		}
	}
	for en, err := range e.History(cmd.Context(), q) {
		if err != nil {
			return n, err
		}
		n++
		if format == "jsonl" {
			err = enc.Encode(en)
		} else {
			err = table.Write([]string{
				fmt.Sprint(en.Seq), en.CreatedAt.UTC().Format(time.RFC3339Nano), en.ChangeID, string(en.State), en.Stage,
				en.Author, en.Target, en.ExecutionID, fmt.Sprint(en.Duration.Milliseconds()), en.Host, string(en.TxStrategy),
				en.Recovery, en.Order, en.Source, string(en.Operation), en.Actor, en.Reason, en.Checksum, fmt.Sprint(en.Token), en.Error,
			})
		}
		if err != nil {
			return n, fmt.Errorf("write the export: %w", err)
		}
	}
	table.Flush()
	return n, table.Error()
}
