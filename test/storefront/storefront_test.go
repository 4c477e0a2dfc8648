// Package storefront runs the example of the same name with the command and the
// plugins as processes, on an in-process Kafka and fakes of Auth0 and Twilio.
package storefront

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/flamingock/flamingock-go/test/auth0fake"
	"github.com/flamingock/flamingock-go/test/e2etest"
	"github.com/flamingock/flamingock-go/test/restfake"
	"github.com/flamingock/flamingock-go/test/twiliofake"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m, "kafka", "auth0", "twilio")) }

// store is the example with everything that it depends on.
type store struct {
	*e2etest.Project
	t        testing.TB
	kafka    *kadm.Client
	registry *sr.Client
	auth0    *auth0fake.Tenant
	twilio   *twiliofake.Account
}

func open(t *testing.T) *store {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	registry := srfake.New()
	t.Cleanup(registry.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	schemas, err := sr.NewClient(sr.URLs(registry.URL()))
	if err != nil {
		t.Fatal(err)
	}
	s := &store{t: t, kafka: kadm.NewClient(client), registry: schemas, auth0: auth0fake.New(t), twilio: twiliofake.New(t)}
	const example = "../../examples/storefront"
	config, err := os.ReadFile(filepath.Join(example, "flamingock.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.Project = e2etest.New(t, string(config))
	err = fs.WalkDir(os.DirFS(example), "changes", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(example, name))
		s.Write(name, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Env = append(s.Env,
		"FLAMINGOCK_KEY=a key that only tests have", "KAFKA_BROKER="+cluster.ListenAddrs()[0], "SCHEMA_REGISTRY_URL="+registry.URL(),
		"AUTH0_DOMAIN="+auth0fake.Domain, "AUTH0_CLIENT_ID="+auth0fake.ClientID, "AUTH0_CLIENT_SECRET="+auth0fake.ClientSecret,
		"TWILIO_ACCOUNT_SID="+twiliofake.AccountSID, "TWILIO_AUTH_TOKEN="+twiliofake.AuthToken,
		"FLAMINGOCK_TARGET_SYSTEMS_TENANT_ENDPOINT="+s.auth0.URL, "FLAMINGOCK_TARGET_SYSTEMS_PHONES_ENDPOINT="+s.twilio.URL,
		"FLAMINGOCK_TARGET_SYSTEMS_TENANT_RETRY_WAIT=10ms", "FLAMINGOCK_TARGET_SYSTEMS_PHONES_RETRY_WAIT=10ms",
	)
	return s
}

// has tells which of the four systems have what the example makes.
func (s *store) has() (topic, schema, api, messages bool) {
	s.t.Helper()
	topics, err := s.kafka.ListTopics(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	_, missing := s.registry.SchemaByVersion(s.t.Context(), "orders.created.v1-value", -1)
	return topics.Has("orders.created.v1"), missing == nil, len(s.auth0.Objects("clients")) == 2, len(s.twilio.Objects("messaging/v1/Services")) == 1
}

// want compares what the systems have.
func (s *store) want(when string, topic, schema, api, messages bool) {
	s.t.Helper()
	var a, b, c, d bool
	// Kafka's client keeps what it has heard for a while.
	for range 50 {
		if a, b, c, d = s.has(); a == topic && b == schema && c == api && d == messages {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Errorf("%s: topic %t, schema %t, API %t, messages %t", when, a, b, c, d)
}

func (s *store) secret(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir, "secrets", name))
	if err != nil {
		return ""
	}
	return string(b)
}

func TestStorefront(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Must(0, "validate")
	s.Must(0, "plan")
	s.want("before", false, false, false, false)
	applied := s.Must(0, "apply")
	s.want("applied", true, true, true, true)
	if !strings.Contains(applied.Stderr, "gave a secret to local/auth0/billing-job") {
		t.Errorf("apply said\n%s", applied.Stderr)
	}
	for _, name := range []string{"auth0/billing-job", "twilio/storefront"} {
		value := s.secret(name)
		if value == "" {
			t.Errorf("there is no secret %s", name)
		}
		if said := applied.Stdout + applied.Stderr + s.Must(0, "audit", "list", "--history", "-o", "json").Stdout; strings.Contains(said, value) {
			t.Errorf("the secret %s shows in\n%s", name, said)
		}
		if info, err := os.Stat(filepath.Join(s.Dir, "secrets", name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if again := s.Must(0, "apply"); !strings.Contains(again.Stdout, "nothing to do") {
		t.Errorf("the second run said\n%s", again.Stdout)
	}
	s.Must(0, "undo", "--last", "--yes")
	s.want("undone", false, false, false, false)
	s.Must(0, "apply")
	s.want("applied again", true, true, true, true)
}

// TestLastSystemFails refuses the last step of the last change: what the change did
// before is taken back, and what other changes did stays.
func TestLastSystemFails(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.twilio.Fail(func(_ int, r *http.Request) *restfake.Fault {
		if r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/Keys.json") {
			return &restfake.Fault{Status: 403, Body: `{"code": 20003, "message": "Permission denied", "status": 403}`}
		}
		return nil
	})
	failed := s.Must(12, "apply")
	if !strings.Contains(failed.Stderr, "Permission denied") {
		t.Errorf("apply said\n%s", failed.Stderr)
	}
	s.want("failed", true, true, true, false)
	if n := len(s.twilio.Objects("verify/v2/Services")); n != 0 {
		t.Errorf("%d services of Verify are left", n)
	}
	s.twilio.Fail(nil)
	s.Must(0, "apply")
	s.want("mended", true, true, true, true)
}

// TestKilled kills the command while Auth0 is being changed.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Env = append(s.Env, "FLAMINGOCK_LOCK_LEASE=2s")
	s.auth0.Fail(func(_ int, r *http.Request) *restfake.Fault {
		if r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/client-grants") {
			return &restfake.Fault{Slow: time.Minute}
		}
		return nil
	})
	p := s.Start("apply")
	p.Eventually("the grant is being made", func() bool { return s.auth0.Mutations("POST", "/api/v2/client-grants") > 0 })
	p.Kill()
	s.auth0.Fail(nil)
	if resumed := s.Must(0, "apply"); !strings.Contains(resumed.Stderr, "it was interrupted in the middle; it is known what is in place") {
		t.Errorf("apply said\n%s", resumed.Stderr)
	}
	s.want("after a kill", true, true, true, true)
	if clients := s.auth0.Objects("clients"); len(clients) != 2 {
		t.Errorf("%d clients", len(clients))
	}
}
