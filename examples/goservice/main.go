// Command goservice is a service that brings its database up to date when it
// starts, and then serves. The change files are inside the binary, the sql plugin
// is linked in and needs no child process, and one change is written in Go.
package main

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"

	_ "modernc.org/sqlite"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	sqlplugin "github.com/flamingock/flamingock-go/plugins/sql"
)

//go:embed changes/*.yaml
var changes embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := start(ctx); err != nil {
		slog.Error("the service cannot start", "error", err)
		os.Exit(1)
	}
}

func start(ctx context.Context) error {
	db, err := sql.Open("sqlite", "file:notes.db?_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // the process ends

	engine, err := core.New(core.Config{
		Service: "notes",
		Stages: []core.Stage{{
			Name: "notes", FS: changes, Dir: "changes",
			// Go changes sort among the files by the same rule.
			Changes: []core.Change{{
				ID: "count-words", Order: "0002", Author: "notes-team", TargetSystem: "notes-db",
				Func: change.Func{Apply: countWords, Rollback: forgetWords},
			}},
		}},
		Targets: []core.Target{{
			ID: "notes-db", Type: "sqlite", Values: map[string]any{"path": "notes.db"},
			// The service's own handle, for Go changes: they commit together
			// with the marker that proves them.
			SQL: db, Dialect: "sqlite",
		}},
		Plugins: []run.Plugin{host.InProcess(sqlplugin.New(), host.Options{})},
		Observe: func(e run.Event) {
			if ended, ok := e.(run.ChangeEnded); ok {
				slog.Info("change", "id", ended.ChangeID, "status", ended.Status)
			}
		},
	})
	if err != nil {
		return err
	}
	defer engine.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the process ends

	report, err := engine.Apply(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Println("database:", report)

	// From here on the service can rely on its schema.
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM notes").Scan(&n); err != nil {
		return err
	}
	fmt.Println("serving", n, "notes")
	return nil
}

// countWords is a change that SQL alone does badly.
func countWords(ctx context.Context, tx change.Tx) error {
	if _, err := tx.SQL().ExecContext(ctx, "INSERT INTO notes (text) VALUES (?)", "the first note of all"); err != nil {
		return err
	}
	rows, err := tx.SQL().QueryContext(ctx, "SELECT id, text FROM notes")
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // read to the end below
	words := map[int]int{}
	for rows.Next() {
		var id int
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return err
		}
		words[id] = len(strings.Fields(text))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for id, n := range words {
		if _, err := tx.SQL().ExecContext(ctx, "UPDATE notes SET words = ? WHERE id = ?", n, id); err != nil {
			return err
		}
	}
	tx.Logger().Info("counted", "notes", len(words))
	return nil
}

func forgetWords(ctx context.Context, tx change.Tx) error {
	_, err := tx.SQL().ExecContext(ctx, "DELETE FROM notes WHERE text = ?", "the first note of all")
	return err
}
