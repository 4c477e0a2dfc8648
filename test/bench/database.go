package main

import (
	"context"
	"fmt"
)

// instance is one empty database for one tool.
type instance struct {
	// name is "sqlite", "postgresql", "mongodb" or "dynamodb".
	name string
	// dsn is what database/sql or the floor program takes.
	dsn string
	// config is flamingock's project file.
	config string
	// target and store are the files of SQLite.
	target, store string
	// id is the name of the database on a server, or the prefix of tables' names.
	id string
}

// database makes instances and looks into them.
type database interface {
	// title names it for people.
	title() string
	// tools names those that are compared on it.
	tools() []string
	// unit is what countWrites counts.
	unit() string
	create(ctx context.Context, dir string) (instance, error)
	drop(ctx context.Context, in instance) error
	// check returns an error unless the table or collection of the benchmark has rows rows.
	check(ctx context.Context, in instance, rows int) error
	// countWrites calls run and returns how many durable writes it made, or what
	// stands for them.
	countWrites(ctx context.Context, in instance, run func() error) (float64, error)
	close(ctx context.Context)
}

func open(ctx context.Context, name string) (database, error) {
	switch name {
	case "postgresql":
		return openPostgreSQL(ctx)
	case "mongodb":
		return openMongoDB(ctx)
	case "dynamodb":
		return openDynamoDB()
	}
	return sqlite{}, nil
}

func wrongRows(got, want int) error {
	return fmt.Errorf("the table has %d rows, want %d", got, want)
}
