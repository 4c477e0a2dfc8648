package main

import (
	"context"
	"fmt"
)

// instance is one empty database for one tool.
type instance struct {
	// name is "sqlite" or "postgresql".
	name string
	// dsn is what database/sql takes.
	dsn string
	// config is flamingock's project file.
	config string
	// target and store are the files of SQLite.
	target, store string
	// id is the database's name in PostgreSQL.
	id string
}

// database makes instances and looks into them.
type database interface {
	// title names it for people.
	title() string
	// unit is what countWrites counts.
	unit() string
	create(ctx context.Context, dir string) (instance, error)
	drop(ctx context.Context, in instance) error
	// check returns an error unless the table of the benchmark has rows rows.
	check(ctx context.Context, in instance, rows int) error
	// countWrites calls run and returns how many durable writes it made.
	countWrites(ctx context.Context, in instance, run func() error) (float64, error)
	close(ctx context.Context)
}

func open(ctx context.Context, name, _ string) (database, error) {
	if name == "postgresql" {
		return openPostgreSQL(ctx)
	}
	return sqlite{}, nil
}

func wrongRows(got, want int) error {
	return fmt.Errorf("the table has %d rows, want %d", got, want)
}
