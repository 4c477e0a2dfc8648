// Command floor-run is the least that applying a folder of scripts can be: for
// each file whose name is not recorded yet, what it says and a durable record of its
// name. On SQL databases both are one transaction; on MongoDB and DynamoDB a file is
// a document or item in JSON, and both are a write each. It has no lock, no record of
// what was begun, and no checksum. The benchmarks show how far above it the others are.
//
// Usage: floor-run postgresql|sqlite|mongodb|dynamodb DSN FOLDER
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// database is where scripts are applied.
type database interface {
	// applied makes what records the names, and returns those that it has.
	applied(ctx context.Context) (map[string]bool, error)
	// apply does what a script says and records its name.
	apply(ctx context.Context, script []byte, name string) error
	close(ctx context.Context)
}

const usage = "usage: floor-run postgresql|sqlite|mongodb|dynamodb DSN FOLDER"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "floor-run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New(usage)
	}
	db, err := open(args[0], args[1])
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer db.close(ctx)
	done, err := db.applied(ctx)
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
		if err := db.apply(ctx, script, f.Name()); err != nil {
			return fmt.Errorf("apply %s: %w", f.Name(), err)
		}
	}
	return nil
}

func open(kind, dsn string) (database, error) {
	switch kind {
	case "postgresql":
		return openSQL("pgx", dsn, "INSERT INTO applied (name) VALUES ($1)")
	case "sqlite":
		return openSQL("sqlite", dsn, "INSERT INTO applied (name) VALUES (?)")
	case "mongodb":
		return openMongoDB(dsn)
	case "dynamodb":
		return openDynamoDB(dsn), nil
	}
	return nil, errors.New(usage)
}
