package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// sqlite works on files. Their journal is what each tool makes of it: the default
// (a rollback journal) for the target, a write-ahead log for flamingock's store.
type sqlite struct{}

func (sqlite) title() string         { return "SQLite" }
func (sqlite) unit() string          { return "commits" }
func (sqlite) close(context.Context) {}
func (sqlite) tools() []string       { return []string{"flamingock", "goose", "floor"} }

func (sqlite) create(_ context.Context, dir string) (instance, error) {
	in := instance{name: "sqlite", target: filepath.Join(dir, "target.db"), store: filepath.Join(dir, ".flamingock", "audit.db")}
	in.dsn = "file:" + in.target
	in.config = "targetSystems: {db: {type: sqlite, path: target.db}}\n"
	return in, nil
}

func (sqlite) drop(_ context.Context, in instance) error {
	if err := os.RemoveAll(filepath.Dir(in.target)); err != nil {
		return fmt.Errorf("remove the files: %w", err)
	}
	return nil
}

func (sqlite) check(ctx context.Context, in instance, rows int) error {
	db, err := sql.Open("sqlite", in.dsn)
	if err != nil {
		return fmt.Errorf("open the file: %w", err)
	}
	defer db.Close() //nolint:errcheck // it only looked
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM bench").Scan(&n); err != nil {
		return fmt.Errorf("count the rows: %w", err)
	}
	if n != rows {
		return wrongRows(n, rows)
	}
	return nil
}

// countWrites counts the commits of all files. In a file with a rollback journal
// the header counts them. A write-ahead log is kept whole by a reader that does
// not end, and every commit in it has a mark.
func (sqlite) countWrites(ctx context.Context, in instance, run func() error) (float64, error) {
	db, err := sql.Open("sqlite", "file:"+in.store+"?_pragma=journal_mode(wal)")
	if err != nil {
		return 0, fmt.Errorf("open the store: %w", err)
	}
	defer db.Close() //nolint:errcheck // it only looked
	if err := os.MkdirAll(filepath.Dir(in.store), 0o700); err != nil {
		return 0, fmt.Errorf("make the store's folder: %w", err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("begin to read the store: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // it only looked
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&n); err != nil {
		return 0, fmt.Errorf("read the store: %w", err)
	}
	if err := run(); err != nil {
		return 0, err
	}
	target, err := headerCommits(in.target)
	if err != nil {
		return 0, err
	}
	store, err := logCommits(in.store + "-wal")
	return float64(target + store), err
}

// headerCommits reads the file change counter (SQLite documentation, "Database
// File Format", 1.3.7).
func headerCommits(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open the target: %w", err)
	}
	defer f.Close() //nolint:errcheck // it only looked
	var header [100]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return 0, fmt.Errorf("read the target's header: %w", err)
	}
	return int(binary.BigEndian.Uint32(header[24:])), nil
}

// logCommits counts the commit frames of a write-ahead log (same document, 4.1).
// There is none where the tool has no store.
func logCommits(path string) (int, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || len(b) == 0 && err == nil {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the store's log: %w", err)
	}
	const head, frameHead = 32, 24
	if len(b) < head {
		return 0, errors.New("the store's log has no header")
	}
	page := int(binary.BigEndian.Uint32(b[8:]))
	salt := b[16:24]
	n := 0
	for at := head; at+frameHead+page <= len(b); at += frameHead + page {
		if frame := b[at:]; bytes.Equal(frame[8:16], salt) && binary.BigEndian.Uint32(frame[4:]) != 0 {
			n++
		}
	}
	return n, nil
}
