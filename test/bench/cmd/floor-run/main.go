// Command floor-run is the least that applying a folder of scripts can be: for
// each file that has no row in a table of names, one transaction with the script
// and that row. It has no lock, no record of what was begun, and no checksum.
// The benchmarks show how far above it the others are.
//
// Usage: floor-run postgresql|sqlite DSN FOLDER
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "floor-run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("usage: floor-run postgresql|sqlite DSN FOLDER")
	}
	driver, insert := "pgx", "INSERT INTO applied (name) VALUES ($1)"
	if args[0] == "sqlite" {
		driver, insert = "sqlite", "INSERT INTO applied (name) VALUES (?)"
	}
	db, err := sql.Open(driver, args[1])
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer db.Close() //nolint:errcheck // everything is committed by then
	done, err := applied(ctx, db)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(args[2])
	if err != nil {
		return fmt.Errorf("list the scripts: %w", err)
	}
	for _, f := range files {
		if done[f.Name()] {
			continue
		}
		script, err := os.ReadFile(filepath.Join(args[2], f.Name()))
		if err != nil {
			return fmt.Errorf("read a script: %w", err)
		}
		if err := apply(ctx, db, string(script), insert, f.Name()); err != nil {
			return fmt.Errorf("apply %s: %w", f.Name(), err)
		}
	}
	return nil
}

// applied returns the names that have a row.
func applied(ctx context.Context, db *sql.DB) (map[string]bool, error) {
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS applied (name VARCHAR(255) PRIMARY KEY)"); err != nil {
		return nil, fmt.Errorf("create the table of names: %w", err)
	}
	rows, err := db.QueryContext(ctx, "SELECT name FROM applied")
	if err != nil {
		return nil, fmt.Errorf("read the names: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	out := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("read the names: %w", err)
		}
		out[name] = true
	}
	return out, rows.Err()
}

func apply(ctx context.Context, db *sql.DB, script, insert, name string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, script); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, insert, name); err != nil {
		return err
	}
	return tx.Commit()
}
