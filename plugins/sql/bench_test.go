package sql

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

// BenchmarkOneRow compares a change of one row, with its fence and its marker,
// with the least that any tool has to do: a transaction with one row of
// bookkeeping.
func BenchmarkOneRow(b *testing.B) {
	b.Run("change", func(b *testing.B) {
		c, _ := fresh(b, "postgresql")
		ctx := b.Context()
		if err := c.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")); err != nil {
			b.Fatal(err)
		}
		for i := 0; b.Loop(); i++ {
			if err := transact(ctx, c, fmt.Sprint("c", i), 1, fmt.Sprintf("INSERT INTO t VALUES (%d)", i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("floor", func(b *testing.B) {
		ctx := b.Context()
		conn, err := pgx.Connect(ctx, sqltest.PostgreSQL(b))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close(context.Background()) })
		if _, err := conn.Exec(ctx, "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE book (id VARCHAR(255) PRIMARY KEY, state VARCHAR(32))"); err != nil {
			b.Fatal(err)
		}
		for i := 0; b.Loop(); i++ {
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO t VALUES (%d)", i)); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, "INSERT INTO book VALUES ($1, 'APPLIED')", fmt.Sprint("c", i))
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
