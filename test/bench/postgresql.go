package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresVariable names the server, as a user who may create databases.
const postgresVariable = "TEST_POSTGRES_URL"

type postgresql struct {
	server  *url.URL
	conn    *pgx.Conn
	version string
}

func openPostgreSQL(ctx context.Context) (*postgresql, error) {
	u, err := url.Parse(os.Getenv(postgresVariable))
	if err != nil {
		return nil, fmt.Errorf("%s is not a URL", postgresVariable) // err would repeat the password
	}
	p := &postgresql{server: u}
	if p.conn, err = pgx.Connect(ctx, u.String()); err != nil {
		return nil, fmt.Errorf("connect to the server of %s: %w", postgresVariable, err)
	}
	if err := p.conn.QueryRow(ctx, "SHOW server_version").Scan(&p.version); err != nil {
		return nil, fmt.Errorf("ask the server's version: %w", err)
	}
	p.version, _, _ = strings.Cut(p.version, " ")
	return p, nil
}

func (p *postgresql) title() string { return "PostgreSQL " + p.version }
func (*postgresql) unit() string    { return "WAL syncs" }
func (*postgresql) tools() []string { return []string{"flamingock", "goose", "floor"} }

func (p *postgresql) close(ctx context.Context) { _ = p.conn.Close(ctx) }

func (p *postgresql) create(ctx context.Context, _ string) (instance, error) {
	in := instance{name: "postgresql", id: "flamingock_bench_" + strings.ToLower(rand.Text())}
	if _, err := p.conn.Exec(ctx, "CREATE DATABASE "+in.id); err != nil {
		return in, fmt.Errorf("create a database: %w", err)
	}
	u := *p.server
	u.Path = "/" + in.id
	in.dsn = u.String()
	in.config = fmt.Sprintf("auditStore: {type: postgresql, url: %q}\ntargetSystems: {db: {type: postgresql, url: %q}}\n", in.dsn, in.dsn)
	return in, nil
}

func (p *postgresql) drop(ctx context.Context, in instance) error {
	if _, err := p.conn.Exec(ctx, "DROP DATABASE "+in.id+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop a database: %w", err)
	}
	return nil
}

func (*postgresql) check(ctx context.Context, in instance, rows int) error {
	conn, err := pgx.Connect(ctx, in.dsn)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // it only looked
	var n int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM bench").Scan(&n); err != nil {
		return fmt.Errorf("count the rows: %w", err)
	}
	if n != rows {
		return wrongRows(n, rows)
	}
	return nil
}

// countWrites looks at the server's count of syncs of its write-ahead log. The
// server must have nothing else to do.
func (p *postgresql) countWrites(ctx context.Context, in instance, run func() error) (float64, error) {
	before, err := p.syncs(ctx, in)
	if err != nil {
		return 0, err
	}
	if err := run(); err != nil {
		return 0, err
	}
	after, err := p.syncs(ctx, in)
	return after - before, err
}

// syncs waits until every session in the database has ended, since each reports
// its numbers at its end, and reads their sum.
func (p *postgresql) syncs(ctx context.Context, in instance) (float64, error) {
	for {
		var busy int
		err := p.conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", in.id).Scan(&busy)
		if err != nil {
			return 0, fmt.Errorf("look for sessions: %w", err)
		}
		if busy == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	var n float64
	if err := p.conn.QueryRow(ctx, "SELECT wal_sync FROM pg_stat_wal").Scan(&n); err != nil {
		return 0, fmt.Errorf("read the count of syncs (PostgreSQL 14 to 17 have it): %w", err)
	}
	return n, nil
}
