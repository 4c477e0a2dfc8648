package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// NewKeys makes the keys of one launch: an authority that lives no longer than
// this call, and one certificate that it signed for each end. Nobody else can
// connect to the plugin, and nobody else can pose as it.
//
// P-256, because go-plugin's own AutoMTLS takes P-521, whose handshake costs
// several times the whole launch.
func NewKeys() (forHost *tls.Config, forPlugin TLS, err error) {
	ca, err := newCertificate("flamingock host", authority, nil)
	if err != nil {
		return nil, TLS{}, err
	}
	client, err := newCertificate("flamingock host", x509.ExtKeyUsageClientAuth, ca)
	if err != nil {
		return nil, TLS{}, err
	}
	server, err := newCertificate("flamingock plugin", x509.ExtKeyUsageServerAuth, ca)
	if err != nil {
		return nil, TLS{}, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.key)
	if err != nil {
		return nil, TLS{}, fmt.Errorf("encode private key: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.leaf)
	forHost = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{client.leaf.Raw}, PrivateKey: client.key, Leaf: client.leaf}},
		RootCAs:      roots,
		ServerName:   ServerName,
		MinVersion:   tls.VersionTLS13,
	}
	forPlugin = TLS{
		Cert:     encodePEM("CERTIFICATE", server.leaf.Raw),
		Key:      encodePEM("PRIVATE KEY", key),
		ClientCA: encodePEM("CERTIFICATE", ca.leaf.Raw),
	}
	return forHost, forPlugin, nil
}

// certificate is a key and a certificate for it.
type certificate struct {
	key  *ecdsa.PrivateKey
	leaf *x509.Certificate
}

// authority is the usage of a certificate that signs others.
const authority = x509.ExtKeyUsage(-1)

// newCertificate returns a certificate for one usage, signed by parent, or by
// itself where parent is nil.
func newCertificate(name string, usage x509.ExtKeyUsage, parent *certificate) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("generate serial number: %w", err)
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		// Both ends are on one machine, but its clock may be set while they run.
		NotBefore:             now.AddDate(0, 0, -1),
		NotAfter:              now.AddDate(10, 0, 0),
		BasicConstraintsValid: true,
	}
	if usage == authority {
		cert.IsCA = true
		cert.KeyUsage = x509.KeyUsageCertSign
	} else {
		cert.DNSNames = []string{ServerName}
		cert.KeyUsage = x509.KeyUsageDigitalSignature
		cert.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	}
	issuer, signer := cert, key
	if parent != nil {
		issuer, signer = parent.leaf, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, issuer, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return &certificate{key: key, leaf: leaf}, nil
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
