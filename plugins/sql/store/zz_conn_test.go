package sqlstore_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	plugin "github.com/flamingock/flamingock-go/plugins/sql"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

func TestConn(t *testing.T) {
	url := sqltest.PostgreSQL(t)
	s, _ := plugin.PostgreSQLConfig{URL: url}.ConnectConfig()
	for range 8 {
		b := time.Now()
		c, err := pgx.ConnectConfig(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		d1 := time.Since(b)
		b = time.Now()
		var n int
		c.QueryRow(t.Context(), "SELECT 1").Scan(&n)
		d2 := time.Since(b)
		b = time.Now()
		c.QueryRow(t.Context(), "SELECT count(*) from pg_attribute where attrelid='pg_class'::regclass").Scan(&n)
		d3 := time.Since(b)
		b = time.Now()
		c.QueryRow(t.Context(), "SELECT count(*) from pg_attribute where attrelid='pg_class'::regclass").Scan(&n)
		t.Log(d1, d2, d3, time.Since(b))
		c.Close(t.Context())
	}
}
