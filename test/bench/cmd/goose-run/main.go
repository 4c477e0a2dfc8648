// Command goose-run applies a folder of migrations with goose's Provider, as it
// comes: one transaction and one row of history for each file. It is what the
// benchmarks compare flamingock with.
//
// Usage: goose-run postgresql|sqlite DSN FOLDER
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "goose-run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("usage: goose-run postgresql|sqlite DSN FOLDER")
	}
	driver, dialect := "pgx", goose.DialectPostgres
	if args[0] == "sqlite" {
		driver, dialect = "sqlite", goose.DialectSQLite3
	}
	db, err := sql.Open(driver, args[1])
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer db.Close() //nolint:errcheck // everything is committed by then
	p, err := goose.NewProvider(dialect, db, os.DirFS(args[2]))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("apply the migrations: %w", err)
	}
	return nil
}
