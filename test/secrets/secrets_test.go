// Package secrets runs the real command with known secrets in every place where a
// secret can be, and looks for them everywhere they must not be.
package secrets

import (
	"net/url"
	"os"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"

	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m, "kafka")) }

// The values that must not show up. Each stands in one place.
const (
	inPayload = "payload-secret-4711"
	inFile    = "file-secret-4712"
	inScript  = "script-secret-4713"
	inKey     = "captured-key-secret-4714"
)

// database is a server's database, as the test sees it.
type database struct {
	// typ is the driver's type; url what the project gets.
	typ, url string
	// driver and dsn are what the test connects with.
	driver, dsn string
	// number casts a text that is none to a number, which fails and quotes it.
	number string
}

func databases() map[string]func(t *testing.T) database {
	return map[string]func(t *testing.T) database{
		"postgresql": func(t *testing.T) database {
			u := sqltest.PostgreSQL(t)
			return database{"postgresql", u, "pgx", u, "CAST('%s' AS INTEGER)"}
		},
		"mariadb": func(t *testing.T) database {
			u := sqltest.MySQL(t)
			user, rest, _ := strings.Cut(strings.TrimPrefix(u, "mysql://"), "@")
			host, name, _ := strings.Cut(rest, "/")
			// Its message quotes the value in a duplicate.
			return database{"mysql", u, "mysql", user + "@tcp(" + host + ")/" + name, "'%s' UNION ALL SELECT '%s'"}
		},
	}
}

func TestSecretsShowUpNowhere(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			u, err := url.Parse(db.url)
			if err != nil {
				t.Fatal("the server's address is no URL") // err would repeat the password
			}
			password, _ := u.User.Password()
			if len(password) < piece {
				t.Fatalf("the server's password is %d characters long, too short to look for", len(password))
			}
			p := e2etest.New(t, "auditStore: {type: "+db.typ+", url: \"${env:DB_URL}\", encryptionKey: \"${env:KEY}\"}\n"+
				"targetSystems: {db: {type: "+db.typ+", url: \"${env:DB_URL}\"}}\n")
			p.Env = []string{"DB_URL=" + db.url, "PAYLOAD=" + inPayload, "SCRIPT=" + inScript, "KEY=" + inKey}
			p.Write("token.txt", inFile+"\n")
			p.Change(1, "users", "apply: CREATE TABLE users (name VARCHAR(100), password VARCHAR(100) PRIMARY KEY)\n")
			p.Change(2, "good", "apply: INSERT INTO users VALUES ('a', '${env:PAYLOAD}'), ('b', '${file:token.txt}')\n")
			p.Change(3, "script", "apply: {sql: \"INSERT INTO users VALUES ('c', '${env:SCRIPT}')\", appliedWhen: \"SELECT count(*) FROM users WHERE password = '${env:SCRIPT}'\"}\n")
			// The server's message, the excerpt and the detail would show the values.
			value := strings.ReplaceAll(db.number, "%s", "${env:PAYLOAD} ${file:token.txt}")
			p.Change(4, "bad", "apply: INSERT INTO users (password) SELECT "+value+"\n")
			// Without a transaction it becomes an issue, which shows the error.
			p.Write("flamingock.yaml", "auditStore: {type: "+db.typ+", url: \"${env:DB_URL}\", encryptionKey: \"${env:KEY}\"}\n"+
				"targetSystems: {db: {type: "+db.typ+", url: \"${env:DB_URL}\"}}\n"+
				"pipeline: {stages: [{name: changes, location: changes}, {name: more, location: more, needs: []}]}\n")
			p.Write("more/_0001__issue.yaml", "id: issue\ntargetSystem: db\ntemplate: sql\ntransactional: false\napply: |\n"+
				"  CREATE TABLE more (password VARCHAR(100) PRIMARY KEY);\n  INSERT INTO more (password) SELECT "+value+";\n")

			f := &finder{}
			for _, args := range [][]string{
				{"validate"},
				{"plan"},
				{"plan", "-o", "json"},
				{"apply", "-l", "debug"},
				{"apply", "-o", "json", "-l", "debug"},
				{"status"},
				{"status", "-o", "json"},
				{"audit", "list", "--history", "--extended"},
				{"audit", "export"},
				{"audit", "export", "--format", "csv"},
				{"issue", "list"},
				{"issue", "get", "-c", "issue", "--guidance"},
				{"issue", "get", "-c", "issue", "--json"},
				{"lock", "status"},
				{"undo", "--change", "good", "--dry-run"},
				{"undo", "--change", "good", "--yes", "-l", "debug"},
			} {
				r := f.run(p, args...)
				if args[0] == "apply" && r.Code != 12 && r.Code != 13 && r.Code != 14 {
					t.Errorf("the bad changes must fail:\n%s", r)
				}
				if len(args) > 1 && args[1] == "get" && !strings.Contains(r.Stdout, "[redacted]") {
					t.Errorf("the issue does not show its error:\n%s", r)
				}
			}
			f.files(t, p, "token.txt")
			// The tables, as anybody can read them who may read the database.
			conn := e2etest.Connect(t, db.driver, db.dsn)
			for _, table := range []string{"flamingockAuditLog", "flamingockCheckpoint", "flamingockMarker", "flamingockStore", "flamingockFence"} {
				rows, err := conn.QueryContext(t.Context(), "SELECT * FROM "+table)
				if err != nil {
					t.Fatal(err)
				}
				columns, err := rows.Columns()
				if err != nil {
					t.Fatal(err)
				}
				for rows.Next() {
					values, into := make([][]byte, len(columns)), make([]any, len(columns))
					for i := range values {
						into[i] = &values[i]
					}
					if err := rows.Scan(into...); err != nil {
						t.Fatal(err)
					}
					for _, v := range values {
						f.said.Write(v)
					}
				}
				if err := rows.Err(); err != nil {
					t.Fatal(err)
				}
				_ = rows.Close()
			}
			f.check(t, inPayload, inFile, inScript, inKey, password)
			// The values did get where they belong.
			var n int
			q := "SELECT count(*) FROM users WHERE password IN ('" + inPayload + "', '" + inFile + "', '" + inScript + "')"
			if err := conn.QueryRowContext(t.Context(), q).Scan(&n); err != nil || n != 3 {
				t.Errorf("%d of 3 values arrived, %v", n, err)
			}
		})
	}
}
