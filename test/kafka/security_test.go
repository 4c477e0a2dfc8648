package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/youmark/pkcs8"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	kafkaplugin "github.com/flamingock/flamingock-go/plugins/kafka"
)

// authority issues certificates.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue(nil)
	return a
}

// issue makes a certificate for this machine; by itself where by is nil.
func (a *authority) issue(by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.last++
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: "kafka"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"brokers.example"}, BasicConstraintsValid: true,
	}
	parent, signer := cert, key
	if by != nil {
		parent, signer = by.cert, by.key
	} else {
		cert.IsCA, cert.KeyUsage = true, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return leaf, key
}

// file writes PEM and returns where.
func (a *authority) file(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// opened opens a target system and returns what the plugin says; "" where it is open.
func opened(t testing.TB, values string) string {
	t.Helper()
	targets := pluginv1.NewTargetSystemServiceClient(sdktest.Start(t, kafkaplugin.New()).Conn)
	r, err := targets.Open(t.Context(), &pluginv1.OpenRequest{Id: "target", Driver: "kafka", Values: []byte(values)})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetFailure().GetMessage()
}

// TestTLS shows that the plugin connects to brokers whose certificate it can check,
// with a certificate of its own whose key is encrypted, and to no others.
func TestTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	brokerCert, brokerKey := a.issue(a)
	clientCert, clientKey := a.issue(a)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{brokerCert.Raw}, PrivateKey: brokerKey}},
		ClientCAs:    pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	encrypted, err := pkcs8.MarshalPrivateKey(clientKey, []byte("passphrase-4711"), nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(clientKey)
	if err != nil {
		t.Fatal(err)
	}
	ca := a.file("ca.pem", "CERTIFICATE", a.cert.Raw)
	cert := a.file("client.pem", "CERTIFICATE", clientCert.Raw)
	locked := a.file("locked.pem", "ENCRYPTED PRIVATE KEY", encrypted)
	open := a.file("open.pem", "PRIVATE KEY", plain)
	both := filepath.Join(a.dir, "both.pem")
	var content []byte
	for _, path := range []string{cert, open} {
		part, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, part...)
	}
	if err := os.WriteFile(both, content, 0o600); err != nil {
		t.Fatal(err)
	}
	properties := filepath.Join(a.dir, "client.properties")
	text := "# of the Java client\nsecurity.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=" + ca + "\nssl.keystore.type=PEM\nssl.keystore.location=" + both + "\n"
	if err := os.WriteFile(properties, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := `"bootstrapServers":["` + k.ListenAddrs()[0] + `"],"timeouts":{"dial":"2s"}`
	for _, tt := range []struct{ name, values, want string }{
		{"an encrypted key", `{` + at + `,"tls":{"caCert":"` + ca + `","cert":"` + cert + `","key":"` + locked + `","keyPassphrase":"passphrase-4711"}}`, ""},
		{"a plain key", `{` + at + `,"tls":{"caCert":"` + ca + `","cert":"` + cert + `","key":"` + open + `","serverName":"brokers.example"}}`, ""},
		{"a client.properties", `{` + at + `,"propertiesFile":"` + properties + `"}`, ""},
		{"a wrong passphrase", `{` + at + `,"tls":{"caCert":"` + ca + `","cert":"` + cert + `","key":"` + locked + `","keyPassphrase":"wrong"}}`, "tls.key cannot be decrypted"},
		{"no passphrase", `{` + at + `,"tls":{"caCert":"` + ca + `","cert":"` + cert + `","key":"` + locked + `"}}`, "write tls.keyPassphrase"},
		{"another authority", `{` + at + `,"tls":{"cert":"` + cert + `","key":"` + open + `"}}`, "certificate signed by unknown authority"},
		{"another name", `{` + at + `,"tls":{"caCert":"` + ca + `","cert":"` + cert + `","key":"` + open + `","serverName":"other.example"}}`, "certificate is valid for"},
		{"no certificate", `{` + at + `,"tls":{"caCert":"` + ca + `"}}`, "certificate required"},
		{"no TLS", `{` + at + `}`, "cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := opened(t, tt.values)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if strings.Contains(got, "4711") {
				t.Errorf("it tells a secret: %s", got)
			}
		})
	}
}

// TestLogin shows who is let in, and what the others are told.
func TestLogin(t *testing.T) {
	t.Parallel()
	k, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.EnableSASL(), kfake.ClusterID("the-cluster"),
		kfake.Superuser("PLAIN", "plain", password), kfake.Superuser("SCRAM-SHA-256", "short", password), kfake.Superuser("SCRAM-SHA-512", "long", password),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	at := `{"bootstrapServers":["127.0.0.1:1","` + k.ListenAddrs()[0] + `"],`
	sasl := func(mechanism, user, password string) string {
		return at + `"sasl":{"mechanism":"` + mechanism + `","username":"` + user + `","password":"` + password + `"}`
	}
	for _, tt := range []struct{ name, values, want string }{
		{"PLAIN", sasl("PLAIN", "plain", password) + `}`, ""},
		{"SCRAM-SHA-256", sasl("SCRAM-SHA-256", "short", password) + `}`, ""},
		{"SCRAM-SHA-512", sasl("SCRAM-SHA-512", "long", password) + `,"clusterId":"the-cluster"}`, ""},
		{"a wrong password", sasl("SCRAM-SHA-512", "long", "wrong-4711") + `,"timeouts":{"dial":"2s"}}`, "refuses the login"},
		{"another cluster", sasl("SCRAM-SHA-512", "long", password) + `,"clusterId":"other"}`, "this is cluster the-cluster, and clusterId says other"},
		{"no password", at + `"sasl":{"mechanism":"PLAIN","username":"plain"}}`, "sasl.username and sasl.password are needed for PLAIN"},
		{"a mechanism that the broker does not have", at + `"sasl":{"mechanism":"OAUTHBEARER"},"oauth":{"tokenUrl":"http://127.0.0.1:1","clientId":"a","clientSecret":"secret-4711"}}`, "it does not take SASL mechanism OAUTHBEARER, but PLAIN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := opened(t, tt.values)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if strings.Contains(got, "4711") {
				t.Errorf("it tells a secret: %s", got)
			}
		})
	}
}
