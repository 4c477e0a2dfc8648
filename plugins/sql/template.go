package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// step is what the template's functions are given.
type step = *sdk.Step[Configuration, Payload]

func template() sdk.Template {
	return sdk.NewTemplate(sdk.TemplateSpec[*Conn, Configuration, Payload]{
		Name: "sql", Aliases: []string{"sql-template"}, Class: "io.flamingock.template.sql.SqlTemplate",
		Summary: "runs SQL", Drivers: []string{"sqlite", "postgresql", "mysql"}, Parts: true,
		Check: check, Preview: preview, Probe: probe, Apply: apply,
	})
}

// check looks at a change without a connection.
func check(c *sdk.Check[Configuration, Payload]) {
	d := dialectOf(c.Driver)
	probed := true
	for _, s := range c.Steps {
		list := checkScript(c, d, s.Index, sdk.FieldApply, s.Apply, s.File)
		for _, st := range list {
			switch st.Tx {
			case split.TxForbidden, split.TxImplicitCommit:
				c.NotTransactional(fmt.Sprintf("%s in line %d: %s", st.Keyword, st.Line, st.Reason))
			case split.TxSafe, split.TxControl:
			}
		}
		if c.Transactional && len(c.Steps) == 1 && len(list) == 1 && list[0].Tx == split.TxImplicitCommit {
			// Alone, it happens whole or not at all, as a transaction does.
			c.Report(sdk.Diagnostic{
				Severity: sdk.SeverityWarning, Field: sdk.FieldApply, Step: s.Index, Line: list[0].Line, Column: list[0].Column, File: list[0].file,
				Path: list[0].pointer, Code: "not-transactional", Excerpt: excerpt(list[0].Text),
				Summary: list[0].Keyword + " commits by itself, so the change is no transaction with a marker: after a crash a person may be asked",
				Fix:     "leave `transactional` out, and give the step `appliedWhen`",
			})
		}
		probed = probed && canProbe(s.Apply, list)
		if s.Rollback != nil {
			checkScript(c, d, s.Index, sdk.FieldRollback, *s.Rollback, s.File)
		}
	}
	if !probed {
		c.NotProbed()
	}
}

// checkScript reports what is wrong with one script and returns its statements.
func checkScript(c *sdk.Check[Configuration, Payload], d split.Dialect, index int, field string, p Payload, file func(string) ([]byte, bool)) []statement {
	list, pointer, err := p.statements(d, c.Config, file)
	var se *scriptError
	switch {
	case errors.As(err, &se):
		c.Report(sdk.Diagnostic{
			Field: field, Step: index, Path: pointer, Line: se.cause.Line, Column: se.cause.Column, File: se.file,
			Code: "sql-syntax", Summary: se.cause.Problem, Fix: se.cause.Fix,
		})
		return nil
	case err != nil:
		c.Report(sdk.Diagnostic{Field: field, Step: index, Path: pointer, Code: "sql-script", Summary: err.Error()})
		return nil
	case len(list) == 0:
		c.Report(sdk.Diagnostic{
			Field: field, Step: index, Path: pointer, Code: "sql-empty", Summary: "there is no statement in it",
			Fix: "write SQL, or leave it out",
		})
	}
	for _, st := range list {
		if st.Tx == split.TxControl {
			c.Report(sdk.Diagnostic{
				Field: field, Step: index, Path: pointer, Line: st.Line, Column: st.Column, File: st.file,
				Code: "sql-transaction", Summary: fmt.Sprintf("%s: %s", st.Keyword, st.Reason), Excerpt: excerpt(st.Text),
				Fix: "remove it: a change is one transaction where its statements allow",
			})
		}
	}
	return list
}

// canProbe tells whether a probe can answer for a step.
func canProbe(p Payload, list []statement) bool {
	if p.AppliedWhen != "" {
		return true
	}
	if len(list) != 1 {
		return false
	}
	_, _, ok := split.ConcurrentIndex(list[0].Statement)
	return ok
}

func preview(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
	list, _, err := s.Payload.statements(c.dialect, s.Config, s.File)
	if err != nil {
		return sdk.Preview{}, asSDK(err)
	}
	var p sdk.Preview
	for _, st := range list {
		p.Lines = append(p.Lines, strings.TrimSpace(st.Text)+";")
		if st.Note != "" {
			p.Notes = append(p.Notes, fmt.Sprintf("line %d: %s", st.Line, st.Note))
		}
	}
	return p, nil
}

// probe tells whether a step is in place.
func probe(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
	list, _, err := s.Payload.statements(c.dialect, s.Config, s.File)
	if err != nil {
		return sdk.Evidence{}, asSDK(err)
	}
	if s.Payload.AppliedWhen != "" {
		ok, err := c.db.truth(ctx, s.Payload.AppliedWhen)
		switch {
		case err != nil:
			return sdk.Evidence{}, err
		case ok:
			return sdk.Evidence{Kind: sdk.Applied, Detail: "appliedWhen is true"}, nil
		case len(list) == 1:
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "appliedWhen is false"}, nil
		}
		// Of several statements some may be in place.
		return sdk.Evidence{Kind: sdk.Unknown, Detail: "appliedWhen is false, and there are several statements"}, nil
	}
	if len(list) == 1 {
		if schema, name, ok := split.ConcurrentIndex(list[0].Statement); ok && c.dialect == split.PostgreSQL {
			return probeIndex(ctx, c, schema, name)
		}
	}
	return sdk.Evidence{Kind: sdk.Unknown, Detail: "nothing tells; give the step appliedWhen"}, nil
}

// probeIndex looks for an index that CREATE INDEX CONCURRENTLY makes. An invalid
// one is what a failed attempt leaves behind.
func probeIndex(ctx context.Context, c *Conn, schema, name string) (sdk.Evidence, error) {
	valid, err := c.db.truth(ctx, indexQuery(schema, name, true))
	if err != nil {
		return sdk.Evidence{}, err
	}
	if valid {
		return sdk.Evidence{Kind: sdk.Applied, Detail: "the index is there and valid"}, nil
	}
	return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the index is not there, or invalid"}, nil
}

// indexQuery asks whether an index is there with the validity wanted.
func indexQuery(schema, name string, valid bool) string {
	where := "pg_table_is_visible(c.oid)"
	if schema != "" {
		where = "n.nspname = " + literal(schema)
	}
	return fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "+
		"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = %s AND %s AND i.indisvalid = %t)", literal(name), where, valid)
}

// literal writes a text as a PostgreSQL literal.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// identifier writes a name as a PostgreSQL identifier.
func identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// apply runs a step's script; a rollback's script as well.
func apply(ctx context.Context, c *Conn, s step) error {
	list, _, err := s.Payload.statements(c.dialect, s.Config, s.File)
	if err != nil {
		return asSDK(err)
	}
	if s.Transactional {
		for _, st := range list {
			if err := c.tx.exec(ctx, st); err != nil {
				return err
			}
		}
		return nil
	}
	if s.RollingBack && allSafe(list) {
		// All of it at once, with the markers of what is taken away.
		return c.retry(ctx, func() error {
			return c.db.transact(ctx, s.Fence, false, func(ctx context.Context, tx transaction) ([]mark, error) {
				for _, st := range list {
					if err := tx.exec(ctx, st); err != nil {
						return nil, err
					}
				}
				return []mark{{changeID: s.ChangeID, step: s.Index, clear: true}}, nil
			})
		})
	}
	if s.RollingBack {
		// It is taken back statement by statement: from here on the markers do
		// not prove any more that the step is in place.
		err := c.retry(ctx, func() error {
			return c.db.transact(ctx, s.Fence, false, func(context.Context, transaction) ([]mark, error) {
				return []mark{{changeID: s.ChangeID, step: s.Index, taking: true}}, nil
			})
		})
		if err != nil {
			return err
		}
	}
	return applyParts(ctx, c, s, list)
}

func allSafe(list []statement) bool {
	for _, st := range list {
		if st.Tx != split.TxSafe {
			return false
		}
	}
	return true
}

// applyParts commits statement by statement.
func applyParts(ctx context.Context, c *Conn, s step, list []statement) error {
	var before []statement
	for i, st := range list {
		st.before = before
		if st.session() {
			before = append(before[:len(before):len(before)], st)
		}
		if st.pragma() {
			defer c.db.forget()
		}
		if i < s.PartsApplied {
			if st.pragma() {
				if err := c.db.exec(ctx, st); err != nil {
					return err
				}
			}
			continue
		}
		s.Progress(int64(i), int64(len(list)), st.Keyword)
		if st.Tx == split.TxSafe && !s.RollingBack {
			m := mark{changeID: s.ChangeID, executionID: s.ExecutionID, step: s.Index, part: i}
			if err := c.part(ctx, s.Fence, m, st); err != nil {
				return err
			}
			continue
		}
		err := s.Do(ctx, i, func(ctx context.Context) error {
			if err := c.db.check(ctx, s.Fence); err != nil {
				return err
			}
			return c.retry(ctx, func() error {
				// Before every attempt: the one before may have left an index.
				if err := dropInvalid(ctx, c, st); err != nil {
					return err
				}
				return c.db.exec(ctx, st)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropInvalid removes the invalid index that a failed CREATE INDEX CONCURRENTLY
// left behind, which would stand in the way of the next.
func dropInvalid(ctx context.Context, c *Conn, st statement) error {
	schema, name, ok := split.ConcurrentIndex(st.Statement)
	if !ok || c.dialect != split.PostgreSQL {
		return nil
	}
	invalid, err := c.db.truth(ctx, indexQuery(schema, name, false))
	if err != nil || !invalid {
		return err
	}
	full := identifier(name)
	if schema != "" {
		full = identifier(schema) + "." + full
	}
	sdk.Logger(ctx).Warn("an invalid index that a failed attempt left behind is dropped first", "index", name)
	return c.db.exec(ctx, statement{Statement: split.Statement{Text: "DROP INDEX CONCURRENTLY " + full, Line: st.Line}, index: st.index, file: st.file})
}
