// Command bench compares flamingock with goose and with a floor program, side by
// side: 1,000 changes of one row each, and runs with nothing to do at 1,000 and
// at 10,000 applied changes, on SQLite and on PostgreSQL; and with the floor program
// alone on MongoDB and on DynamoDB, with a document or item each.
//
// Every measurement is of a whole process, from its start to its end; flamingock
// runs as it is installed, with the plugin as a process of its own and the full
// audit trail, in the same database or in the embedded SQLite store. The tools take turns, so that what else the machine does hits all of
// them; medians are shown. Seconds differ from machine to machine: compare ratios.
//
// Durable writes are counted beside the clock: write-ahead log syncs of the
// PostgreSQL server, commits to SQLite files, and syncs of MongoDB's journal. Of
// DynamoDB, requests are counted.
//
// Usage: go run ./bench [flags]
//
// The servers are those of TEST_POSTGRES_URL, TEST_MONGODB_URI and
// TEST_DYNAMODB_ENDPOINT; one that is not set is left out, unless REQUIRE_SERVERS=1
// makes that an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
)

// options are the sizes of a run.
type options struct {
	changes, history, rounds int
	databases                []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "flamingock-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder that is left behind is in the temporary one
	_, _ = fmt.Fprintln(log, "building")
	bin, err := build(ctx, dir)
	if err != nil {
		return err
	}
	var all []*result
	for _, name := range o.databases {
		db, err := open(ctx, name)
		if err != nil {
			return err
		}
		r, err := measure(ctx, o, bin, db, dir, log)
		db.close(context.WithoutCancel(ctx))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, r)
	}
	for _, r := range all {
		r.write(out, o)
	}
	return nil
}

// servers are the databases, and the variables that name their servers.
var servers = map[string]string{"sqlite": "", "postgresql": postgresVariable, "mongodb": mongoVariable, "dynamodb": dynamoVariable}

func parse(args []string, log io.Writer) (options, error) {
	o := options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(log)
	f.IntVar(&o.changes, "changes", 1000, "changes to apply")
	f.IntVar(&o.history, "history", 10_000, "applied changes of the longer run with nothing to do")
	f.IntVar(&o.rounds, "rounds", 5, "times that each is measured")
	databases := f.String("databases", "sqlite,postgresql", "what to measure on")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.changes < 2 || o.history < o.changes || o.rounds < 1 {
		return o, errors.New("give at least 2 changes, at least as many of history, and a round")
	}
	for name := range strings.SplitSeq(*databases, ",") {
		variable, known := servers[name]
		if !known {
			return o, fmt.Errorf("database %q is not known: use some of %v", name, slices.Sorted(maps.Keys(servers)))
		}
		if variable != "" && os.Getenv(variable) == "" {
			if os.Getenv("REQUIRE_SERVERS") == "1" {
				return o, fmt.Errorf("%s is not set, and REQUIRE_SERVERS=1 asks for every server", variable)
			}
			_, _ = fmt.Fprintf(log, "%s is not set: %s is left out (bin/with-servers starts servers)\n", variable, name)
			continue
		}
		o.databases = append(o.databases, name)
	}
	return o, nil
}
