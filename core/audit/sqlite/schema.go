package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// schemaVersion is written to the database's user_version once everything below
// is there, so that opening an up-to-date store asks one question.
const schemaVersion = 4601

// extraColumns are ours; Java reads its own columns by name and leaves them
// alone. They are added to a table that Java made before.
func extraColumns() []string {
	return []string{
		"fencing_token INTEGER", "checksum TEXT", "operation TEXT", "actor TEXT", "reason TEXT", "metadata_json TEXT",
	}
}

// names are the tables of one store.
type names struct{ audit, lock, store, checkpoint string }

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

func newNames(audit, lock string) (names, error) {
	if audit == "" {
		audit = "flamingockAuditLog"
	}
	if lock == "" {
		lock = "flamingockLock"
	}
	for _, n := range []string{audit, lock} {
		if !identifier.MatchString(n) {
			return names{}, fmt.Errorf("table name %q: use letters, digits and underscores", n)
		}
	}
	return names{audit: audit, lock: lock, store: "flamingockStore", checkpoint: "flamingockCheckpoint"}, nil
}

// create makes what is missing. The two tables of the Java implementation are
// made with its own statements.
func (s *Store) create(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := s.createIn(ctx, conn); err != nil {
		_, rerr := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, rerr)
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}

func (s *Store) createIn(ctx context.Context, conn *sql.Conn) error {
	n := s.names
	for _, q := range []string{
		"CREATE TABLE IF NOT EXISTS " + n.audit + " (id INTEGER PRIMARY KEY, execution_id TEXT, stage_id TEXT, change_id TEXT, author TEXT, " +
			"created_at DATETIME, state TEXT, invoked_class TEXT, invoked_method TEXT, source_file TEXT, metadata TEXT, " +
			"execution_millis BIGINT, execution_hostname TEXT, error_trace TEXT, type TEXT, tx_strategy TEXT, target_system_id TEXT, " +
			"change_order TEXT, recovery_strategy TEXT, transaction_flag INTEGER, system_change INTEGER)",
		"CREATE TABLE IF NOT EXISTS " + n.lock + " (`key` VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)",
		"CREATE TABLE IF NOT EXISTS " + n.store + " (name TEXT PRIMARY KEY, id TEXT, token INTEGER, owner TEXT, fingerprint TEXT, fingerprint_seq INTEGER)",
		"CREATE TABLE IF NOT EXISTS " + n.checkpoint + " (id INTEGER PRIMARY KEY, change_id TEXT NOT NULL, execution_id TEXT NOT NULL, " +
			"step INTEGER NOT NULL, part INTEGER NOT NULL, kind TEXT NOT NULL, data BLOB, fencing_token INTEGER NOT NULL)",
		"CREATE INDEX IF NOT EXISTS " + n.audit + "_change ON " + n.audit + " (change_id, id)",
		"CREATE INDEX IF NOT EXISTS " + n.checkpoint + "_change ON " + n.checkpoint + " (change_id, execution_id)",
	} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("create the tables: %w", err)
		}
	}
	for _, column := range extraColumns() {
		_, err := conn.ExecContext(ctx, "ALTER TABLE "+n.audit+" ADD COLUMN "+column)
		if err != nil && !strings.Contains(err.Error(), "duplicate column name") {
			return fmt.Errorf("add a column to %s: %w", n.audit, err)
		}
	}
	if _, err := conn.ExecContext(ctx, "INSERT INTO "+n.store+" (name, id) VALUES ('', ?) ON CONFLICT (name) DO NOTHING", rand.Text()); err != nil {
		return fmt.Errorf("name the store: %w", err)
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
	return err
}
