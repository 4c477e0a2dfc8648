package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	plugin "github.com/flamingock/flamingock-go/plugins/sql"
	sqlstore "github.com/flamingock/flamingock-go/plugins/sql/store"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

func pgdb(t testing.TB, url string) *sql.DB {
	cfg, err := plugin.PostgreSQLConfig{URL: url}.ConnectConfig()
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(3)
	db.SetMaxIdleConns(3)
	return db
}
func mydb(t testing.TB, url string) *sql.DB {
	cfg, err := plugin.MySQLConfig{URL: url}.ConnectConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := mysql.NewConnector(cfg)
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(3)
	db.SetMaxIdleConns(3)
	return db
}

func TestBase(t *testing.T) {
	for _, n := range []string{"pg", "my"} {
		t.Run(n, func(t *testing.T) {
			ctx := t.Context()
			var open func() store.Store
			if n == "pg" {
				url := sqltest.PostgreSQL(t)
				open = func() store.Store {
					s, err := sqlstore.OpenPostgreSQL(ctx, pgdb(t, url), sqlstore.Options{})
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
			} else {
				url := sqltest.MySQL(t)
				open = func() store.Store {
					s, err := sqlstore.OpenMySQL(ctx, mydb(t, url), sqlstore.Options{})
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
			}
			b := time.Now()
			s := open()
			t.Logf("first open %s", time.Since(b))
			l, err := s.Acquire(ctx, store.AcquireRequest{Key: "DEFAULT_KEY", Owner: "a@b#1", TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			b = time.Now()
			for i := range 100 {
				if err := s.Append(ctx, l, store.Batch{Entries: []store.Entry{{ChangeID: fmt.Sprintf("x%d", i), State: "APPLIED", CreatedAt: time.Now()}}}); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("append %s each", time.Since(b)/100)
			b = time.Now()
			at := time.Now()
			for k := range 5 {
				for c := 0; c < 10000; c += 500 {
					var list []store.Entry
					for i := range 500 {
						list = append(list, store.Entry{ExecutionID: fmt.Sprint(k), ChangeID: fmt.Sprintf("change-%05d", c+i), State: "APPLIED", CreatedAt: at.Add(time.Duration(k) * time.Second), Author: "ana", Class: "x", Method: "apply", Host: "h", Kind: "STANDARD_TEMPLATE", Recovery: "MANUAL_INTERVENTION", TxStrategy: "NON_TX", Target: "db", Order: "0001"})
					}
					if err := s.Append(ctx, l, store.Batch{Entries: list}); err != nil {
						t.Fatal(err)
					}
				}
			}
			t.Logf("50000 rows %s", time.Since(b))
			for range 3 {
				b = time.Now()
				n := 0
				for _, err := range s.Newest(context.Background()) {
					if err != nil {
						t.Fatal(err)
					}
					n++
				}
				t.Logf("newest %d %s", n, time.Since(b))
			}
			for range 6 {
				b = time.Now()
				s2 := open()
				o := time.Since(b)
				if _, err := s2.Head(ctx, "DEFAULT_KEY"); err != nil {
					t.Fatal(err)
				}
				t.Logf("open %s, open+head %s", o, time.Since(b))
				s2.Close(ctx)
			}
			b = time.Now()
			for range 100 {
				s.Renew(ctx, l, time.Hour)
			}
			t.Logf("renew %s", time.Since(b)/100)
			b = time.Now()
			for i := range 50 {
				l, err := s.Acquire(ctx, store.AcquireRequest{Key: "K2", Owner: fmt.Sprint(i), TTL: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				s.Release(ctx, l)
			}
			t.Logf("acquire+release %s", time.Since(b)/50)
			s.Close(ctx)
		})
	}
}
