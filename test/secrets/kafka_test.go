package secrets

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// Further values that must not show up.
const (
	inSASL     = "sasl-secret-4715"
	inRegistry = "registry-secret-4716"
	inConnect  = "connect-secret-4717"
)

// TestSecretsOfKafka gives passwords to a cluster's users, to a schema registry and to
// Kafka Connect, which is not there.
func TestSecretsOfKafka(t *testing.T) {
	t.Parallel()
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "admin", inSASL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	registry := srfake.New(srfake.WithAuth("Basic " + base64.StdEncoding.EncodeToString([]byte("registry:"+inRegistry))))
	t.Cleanup(registry.Close)

	p := e2etest.New(t, fmt.Sprintf(`targetSystems:
  db:
    type: kafka
    bootstrapServers: [%q]
    sasl: {mechanism: SCRAM-SHA-512, username: admin, password: "${env:SASL}"}
    schemaRegistry: {url: %q, username: registry, password: "${env:REGISTRY}"}
    connect: {url: "http://127.0.0.1:1", username: connect, password: "${env:CONNECT}"}
    timeouts: {request: 1s}
`, k.ListenAddrs()[0], registry.URL()))
	p.Template = "kafka"
	p.Env = []string{"SASL=" + inSASL, "REGISTRY=" + inRegistry, "CONNECT=" + inConnect, "PAYLOAD=" + inPayload}
	p.Write("token.txt", inFile+"\n")
	p.Change(1, "good", "steps:\n"+
		"  - apply: {type: upsertScramUser, username: billing, mechanism: SCRAM-SHA-512, iterations: 4096, password: \"${env:PAYLOAD}\"}\n    rollback: auto\n"+
		"  - apply: {type: registerSchema, subject: orders-value, schema: '\"string\"'}\n    rollback: auto\n")
	p.Change(2, "replaced", "apply: {type: upsertScramUser, username: billing, mechanism: SCRAM-SHA-512, iterations: 4096, password: \"${file:token.txt}\", previousPassword: \"${env:PAYLOAD}\"}\nrollback: auto\n")
	p.Change(3, "bad", "apply: {type: upsertConnector, connector: \"copy-${env:PAYLOAD}\", timeout: 2s, config: {connector.class: Copy, password: \"${env:PAYLOAD}\"}}\nrollback: auto\n")

	f := &finder{}
	for _, args := range [][]string{
		{"validate"},
		{"plan"},
		{"plan", "-o", "json"},
		{"apply", "-l", "debug"},
		{"status", "-o", "json"},
		{"audit", "list", "--history", "--extended"},
		{"audit", "export"},
		{"issue", "list"},
	} {
		r := f.run(p, args...)
		if args[0] == "apply" && r.Code == 0 {
			t.Errorf("the bad change must fail:\n%s", r)
		}
	}
	f.files(t, p, "token.txt")
	login(t, k.ListenAddrs()[0], inFile)
	f.run(p, "undo", "--change", "replaced", "--yes", "-l", "debug")
	login(t, k.ListenAddrs()[0], inPayload)
	f.files(t, p, "token.txt")
	f.check(t, inPayload, inFile, inSASL, inRegistry, inConnect)
	if !registry.SubjectExists("orders-value") {
		t.Error("the schema was not registered")
	}
}

// login shows that a password got where it belongs.
func login(t *testing.T, broker, password string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.SASL(scram.Auth{User: "billing", Pass: password}.AsSha512Mechanism()), kgo.RequestRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), client); err != nil {
		t.Errorf("billing cannot log in: %v", err)
	}
}
