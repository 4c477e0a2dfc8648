// Package secrets runs the real command with known secrets in every place where a
// secret can be, and looks for them everywhere they must not be.
package secrets

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// secrets are the values that must not show up. Each stands in one place.
const (
	inPayload = "payload-secret-4711"
	inFile    = "file-secret-4712"
	inKey     = "encryption-key-secret-4713"
)

func TestSecretsShowUpNowhere(t *testing.T) {
	t.Parallel()
	url := sqltest.PostgreSQL(t)
	_, rest, _ := strings.Cut(url, "://")
	userinfo, _, _ := strings.Cut(rest, "@")
	_, inURL, _ := strings.Cut(userinfo, ":")
	if len(inURL) < 4 {
		t.Fatalf("the server's password is %d characters long, too short to look for", len(inURL))
	}
	p := e2etest.New(t, `
auditStore: {type: postgresql, url: "${env:DB_URL}", encryptionKey: "${env:KEY}"}
targetSystems: {db: {type: postgresql, url: "${env:DB_URL}"}}
`)
	p.Env = []string{"DB_URL=" + url, "PAYLOAD=" + inPayload, "KEY=" + inKey}
	p.Write("token.txt", inFile+"\n")
	p.Change(1, "users", "apply: CREATE TABLE users (name TEXT, password TEXT)\n")
	p.Change(2, "good", "apply: INSERT INTO users VALUES ('a', '${env:PAYLOAD}'), ('b', '${file:token.txt}')\n")
	// The server's message, the excerpt and the detail would show the values.
	p.Change(3, "bad", "apply: INSERT INTO users SELECT 'x', ('${env:PAYLOAD} ${file:token.txt}')::integer\n")

	var said strings.Builder
	look := func(pr *e2etest.Process) {
		for _, pid := range append(pr.Plugins(), pr.PID()) {
			cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			said.Write(cmdline)
			if pid != pr.PID() {
				environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
				said.Write(environ)
			}
		}
	}
	for _, args := range [][]string{
		{"validate"},
		{"plan"},
		{"plan", "-o", "json"},
		{"apply", "-l", "debug"},
		{"apply", "-o", "json", "-l", "debug"},
		{"status"},
		{"audit", "list", "--history", "--extended"},
		{"audit", "export"},
		{"issue", "list"},
		{"issue", "get", "-c", "bad"},
		{"lock", "status"},
	} {
		pr := p.Start(args...)
		for !pr.Ended() {
			look(pr)
		}
		r := pr.Wait(time.Minute)
		said.WriteString(r.String())
		if args[0] == "apply" && r.Code != 12 {
			t.Errorf("the bad change must fail and be rolled back:\n%s", r)
		}
	}
	if !strings.Contains(said.String(), "bad") || !strings.Contains(said.String(), "[redacted]") {
		t.Error("nothing was said about the bad change, so nothing was looked at")
	}
	// Files that the run wrote into the project.
	err := filepath.WalkDir(p.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "token.txt" {
			return err
		}
		b, err := os.ReadFile(path)
		said.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{inPayload, inFile, inKey, inURL} {
		if i := strings.Index(said.String(), secret); i >= 0 {
			t.Errorf("a secret shows up: …%q…", said.String()[max(0, i-200):min(said.Len(), i+100)])
		}
	}
	// The values did get where they belong.
	d := e2etest.Connect(t, "pgx", url)
	var n int
	if err := d.QueryRowContext(t.Context(), "SELECT count(*) FROM users WHERE password IN ($1, $2)", inPayload, inFile).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d values arrived, %v", n, err)
	}
	for _, table := range []string{"flamingockAuditLog", "flamingockCheckpoint", "flamingockMarker", "flamingockStore"} {
		var text *string
		if err := d.QueryRowContext(t.Context(), "SELECT string_agg(x::text, ' ') FROM "+table+" x").Scan(&text); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{inPayload, inFile, inKey, inURL} {
			if text != nil && strings.Contains(*text, secret) {
				t.Errorf("a secret is in the table %s", table)
			}
		}
	}
}
