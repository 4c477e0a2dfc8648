package main

import (
	"context"
	"database/sql"
	"fmt"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

type sqlDatabase struct {
	db *sql.DB
	// insert records a name.
	insert string
}

func openSQL(driver, dsn, insert string) (*sqlDatabase, error) {
	db, err := sql.Open(driver, dsn)
	return &sqlDatabase{db, insert}, err
}

func (d *sqlDatabase) close(context.Context) { _ = d.db.Close() } // everything is committed by then

func (d *sqlDatabase) applied(ctx context.Context) (map[string]bool, error) {
	if _, err := d.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS applied (name VARCHAR(255) PRIMARY KEY)"); err != nil {
		return nil, fmt.Errorf("create the table of names: %w", err)
	}
	rows, err := d.db.QueryContext(ctx, "SELECT name FROM applied")
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

func (d *sqlDatabase) apply(ctx context.Context, script []byte, name string) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, d.insert, name); err != nil {
		return err
	}
	return tx.Commit()
}
