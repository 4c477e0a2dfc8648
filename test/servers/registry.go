package servers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// registry is an OCI registry (github.com/distribution/distribution) with TLS and a
// login.
func registry() (recipe, error) {
	program, err := find("docker-registry", "docker-registry", os.Getenv("TEST_REGISTRY_PROGRAM"))
	if err != nil {
		return recipe{}, err
	}
	certificate, key, err := selfSigned()
	if err != nil {
		return recipe{}, fmt.Errorf("make a certificate: %w", err)
	}
	const user = "flamingock"
	password := rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return recipe{}, fmt.Errorf("hash the password: %w", err)
	}
	return recipe{
		kind: Registry, // it may run as root
		initialize: func(_ context.Context, dir string, as *account) error {
			for name, text := range map[string]string{
				"tls.crt": string(pemOf("CERTIFICATE", certificate)), "tls.key": string(pemOf("PRIVATE KEY", key)),
				"htpasswd": user + ":" + string(hash) + "\n",
				"config.yml": "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: " + filepath.Join(dir, "data") + "}, delete: {enabled: true}}\n" +
					"auth: {htpasswd: {realm: test, path: " + filepath.Join(dir, "htpasswd") + "}}\n" +
					"http: {tls: {certificate: " + filepath.Join(dir, "tls.crt") + ", key: " + filepath.Join(dir, "tls.key") + "}}\n",
			} {
				if _, err := writePrivate(dir, name, text, as); err != nil {
					return err
				}
			}
			return nil
		},
		command: func(dir string, port int) []string {
			return []string{"/usr/bin/env", "OTEL_TRACES_EXPORTER=none", "REGISTRY_HTTP_ADDR=" + hostOf(port), program, "serve", filepath.Join(dir, "config.yml")}
		},
		ping: func(ctx context.Context, _ string, port int) error {
			return pingRegistry(ctx, port, certificate, user, password)
		},
		end: syscall.SIGKILL,
		env: func(port int) []string {
			return []string{
				"TEST_REGISTRY=" + hostOf(port), "TEST_REGISTRY_USER=" + user, "TEST_REGISTRY_PASSWORD=" + password,
				"TEST_REGISTRY_CERTIFICATE=" + base64.StdEncoding.EncodeToString(certificate),
			}
		},
	}, nil
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// selfSigned returns a certificate for this machine, and its key.
func selfSigned() (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if certificate, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private); err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	return certificate, key, err
}

func pingRegistry(ctx context.Context, port int, certificate []byte, user, password string) error {
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+hostOf(port)+"/v2/", http.NoBody)
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, password)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}
