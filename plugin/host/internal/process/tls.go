package process

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

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// newTLS makes the keys of one launch: an authority that lives no longer than
// this call, and one certificate that it signed for each end. Nobody else can
// connect to the plugin, and nobody else can pose as it.
//
// P-256, because go-plugin's own AutoMTLS takes P-521, whose handshake costs
// several times the whole launch.
func newTLS() (forHost *tls.Config, forPlugin wire.TLS, err error) {
	ca, err := newCertificate("flamingock host", nil, 0)
	if err != nil {
		return nil, wire.TLS{}, err
	}
	client, err := newCertificate("flamingock host", ca, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, wire.TLS{}, err
	}
	server, err := newCertificate("flamingock plugin", ca, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, wire.TLS{}, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return nil, wire.TLS{}, fmt.Errorf("encode private key: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	forHost = &tls.Config{
		Certificates: []tls.Certificate{*client},
		RootCAs:      roots,
		ServerName:   wire.ServerName,
		MinVersion:   tls.VersionTLS13,
	}
	forPlugin = wire.TLS{
		Cert:     encodePEM("CERTIFICATE", server.Leaf.Raw),
		Key:      encodePEM("PRIVATE KEY", key),
		ClientCA: encodePEM("CERTIFICATE", ca.Leaf.Raw),
	}
	return forHost, forPlugin, nil
}

// newCertificate returns a key and a certificate for it, signed by parent, or an
// authority of its own where parent is nil.
func newCertificate(name string, parent *tls.Certificate, usage x509.ExtKeyUsage) (*tls.Certificate, error) {
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
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	issuer, signer := cert, key
	if parent == nil {
		cert.IsCA = true
		cert.KeyUsage = x509.KeyUsageCertSign
	} else {
		cert.DNSNames = []string{wire.ServerName}
		cert.ExtKeyUsage = []x509.ExtKeyUsage{usage}
		issuer, signer = parent.Leaf, parent.PrivateKey.(*ecdsa.PrivateKey)
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, issuer, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
