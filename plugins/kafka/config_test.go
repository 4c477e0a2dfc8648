package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/aws_msk_iam_v2"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// TestVariables shows what is taken from the environment where it is not written.
func TestVariables(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		written Config
		env     map[string]string
		want    Config
		wantErr string
	}{
		{name: "nothing", env: map[string]string{"KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2"}, want: Config{BootstrapServers: []string{"a:1", "b:2"}}},
		{
			name: "what is written comes first", written: Config{BootstrapServers: []string{"c:3"}, SASL: &SASL{Mechanism: "PLAIN", Username: "u", Password: "p"}},
			env:  map[string]string{"KAFKA_BOOTSTRAP_SERVERS": "a:1", "KAFKA_SASL_USERNAME": "other", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_SASL_PASSWORD": "x"},
			want: Config{BootstrapServers: []string{"c:3"}, SASL: &SASL{Mechanism: "PLAIN", Username: "u", Password: "p"}},
		},
		{
			name: "as the Terraform provider has it",
			env: map[string]string{
				"KAFKA_ENABLE_TLS": "true", "KAFKA_SKIP_VERIFY": "1", "KAFKA_CA_CERT": "ca.pem", "KAFKA_CLIENT_CERT": "c.pem", "KAFKA_CLIENT_KEY": "-----BEGIN KEY",
				"KAFKA_CLIENT_KEY_PASSPHRASE": "pass", "KAFKA_SASL_MECHANISM": "scram-sha512", "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p",
			},
			want: Config{
				TLS:  &TLS{CACert: "ca.pem", Cert: "c.pem", KeyPEM: "-----BEGIN KEY", KeyPassphrase: "pass", SkipVerify: true},
				SASL: &SASL{Mechanism: "SCRAM-SHA-512", Username: "u", Password: "p"},
			},
		},
		{
			name: "as kafka-gitops has it",
			env:  map[string]string{"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_JAAS_USERNAME": "u", "KAFKA_SASL_JAAS_PASSWORD": "p"},
			want: Config{TLS: &TLS{}, SASL: &SASL{Mechanism: "PLAIN", Username: "u", Password: "p"}},
		},
		{
			name: "tokens",
			env: map[string]string{
				"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p",
				"KAFKA_SASL_TOKEN_URL": "http://idp", "KAFKA_SASL_OAUTH_SCOPES": "a,b",
			},
			want: Config{
				SASL:  &SASL{Mechanism: "OAUTHBEARER", Username: "u", Password: "p"},
				OAuth: &OAuth{TokenURL: "http://idp", ClientID: "u", ClientSecret: "p", Scopes: []string{"a", "b"}},
			},
		},
		{
			name: "AWS", env: map[string]string{"KAFKA_SASL_MECHANISM": "aws-iam", "KAFKA_SASL_IAM_AWS_REGION": "eu-west-1"},
			want: Config{SASL: &SASL{Mechanism: "AWS_MSK_IAM"}, AWS: &AWS{Region: "eu-west-1"}},
		},
		{name: "neither true nor false", env: map[string]string{"KAFKA_ENABLE_TLS": "perhaps"}, wantErr: "KAFKA_ENABLE_TLS is neither true nor false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.written
			err := got.complete(func(name string) string { return tt.env[name] })
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error is %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %s (error %v), want %s", reveal(t, got), err, reveal(t, tt.want))
			}
		})
	}
	for _, v := range variables() {
		if !strings.HasPrefix(v, "KAFKA_") && !strings.HasPrefix(v, "AWS_") {
			t.Errorf("the plugin's process gets %s", v)
		}
	}
}

// reveal shows a configuration, with what is masked.
func reveal(t *testing.T, c Config) string {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPropertiesFile(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "client.properties")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := Config{ClientID: "written"}
	err := c.properties(write("# comment\n\nbootstrap.servers = a:1,b:2\nclient.id=other\nsecurity.protocol: SASL_SSL\nsasl.mechanism=SCRAM-SHA-256\n" +
		"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n    username=\"u\" \\\n    password=\"p\\\"q=1\";\n"))
	want := Config{
		ClientID: "written", BootstrapServers: []string{"a:1", "b:2"}, TLS: &TLS{}, SASL: &SASL{Mechanism: "SCRAM-SHA-256", Username: "u", Password: `p"q=1`},
	}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got %s (error %v)", reveal(t, c), err)
	}
	var e *sdk.Error
	if err := new(Config).properties(write("security.protocol=SSL\nssl.truststore.location=/etc/trust.jks\n")); !errors.As(err, &e) || e.Code != sdk.Unsupported || e.Hint == "" {
		t.Errorf("a truststore that is not PEM: %v", err)
	}
	if err := new(Config).properties("/no/such/file"); !errors.As(err, &e) || e.Code != sdk.Invalid {
		t.Errorf("no file: %v", err)
	}
}

// TestBearer shows that a token is asked for once while it is good, how it is sent, and
// what is said where there is none.
func TestBearer(t *testing.T) {
	t.Parallel()
	asked, lifetime := 0, 3600
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		user, secret, _ := r.BasicAuth()
		if secret != url.QueryEscape("s/cret") || user != "a" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka more" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"who are you"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "the-token", "expires_in": lifetime})
	}))
	t.Cleanup(server.Close)
	from := OAuth{TokenURL: server.URL, ClientID: "a", ClientSecret: "s/cret", Scopes: []string{"kafka", "more"}, Extensions: map[string]string{"z": "1", "logicalCluster": "lkc"}}
	b := &bearer{from: from}
	for range 2 {
		session, say, err := b.Start(t.Context())
		if err != nil || string(say) != "n,,\x01auth=Bearer the-token\x01logicalCluster=lkc\x01z=1\x01\x01" {
			t.Fatalf("says %q, %v", say, err)
		}
		if done, _, err := session.Next(t.Context(), nil); !done || err != nil {
			t.Errorf("accepted: %t, %v", done, err)
		}
		if done, _, err := session.Next(t.Context(), []byte(`{"status":"invalid_token"}`)); done || err == nil || !strings.Contains(err.Error(), "invalid_token") {
			t.Errorf("refused: %t, %v", done, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked for %d tokens, want 1", asked)
	}
	lifetime = 10 // soon over
	b = &bearer{from: from}
	for range 2 {
		if _, _, err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 3 {
		t.Errorf("asked for %d tokens, want 3", asked)
	}
	from.ClientSecret = "wrong-secret"
	var e *sdk.Error
	_, _, err := (&bearer{from: from}).Start(t.Context())
	if !errors.As(err, &e) || e.Code != sdk.Permission || !strings.Contains(e.Message, "who are you") || strings.Contains(e.Message, "wrong-secret") {
		t.Errorf("a wrong secret: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := (&bearer{from: from}).Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestMSK shows what is signed for AWS_MSK_IAM.
func TestMSK(t *testing.T) {
	t.Parallel()
	m := aws_msk_iam_v2.NewMechanism(aws.Config{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret-4711", "session")})
	_, say, err := m.Start(sasl.WithMetadata(t.Context(), &sasl.Metadata{Host: "b-1.example", Port: 9098}))
	if err != nil {
		t.Fatal(err)
	}
	var signed map[string]string
	if err := json.Unmarshal(say, &signed); err != nil {
		t.Fatal(err)
	}
	if signed["host"] != "b-1.example" || signed["action"] != "kafka-cluster:Connect" || signed["x-amz-signature"] == "" || !strings.HasPrefix(signed["x-amz-credential"], "AKIA/") {
		t.Errorf("signed %v", signed)
	}
	if strings.Contains(string(say), "secret-4711") {
		t.Error("the secret key is sent")
	}
	c := Config{BootstrapServers: []string{"a:1"}, SASL: &SASL{Mechanism: mechanismIAM}, AWS: &AWS{Region: "eu-west-1"}}
	conn, err := c.conn(t.Context())
	if err != nil || conn.sasl.Name() != "AWS_MSK_IAM" {
		t.Errorf("connection %v, %v", conn, err)
	}
}

func TestManagedPrefixes(t *testing.T) {
	t.Parallel()
	m := Managed{Topics: []string{"orders.", "billing."}, Principals: []string{"User:orders"}}
	for _, tt := range []struct {
		s    scope
		want string
	}{
		{scope{topics: []string{"orders.created", "billing.x"}, groups: []string{"any"}}, ""},
		{scope{topics: []string{"orders.created", "users"}}, "topic users does not begin with one of orders., billing."},
		{scope{principals: []string{"User:admin"}}, "principal User:admin does not begin with one of User:orders"},
	} {
		err := m.allow(tt.s)
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%v: %v, want %q", tt.s, err, tt.want)
		}
	}
}
