package sdk

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// inherited returns the file whose descriptor the environment variable names;
// nil where it is not set. Children of the plugin do not inherit it.
func inherited(variable string) (*os.File, error) {
	text := os.Getenv(variable)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q, which is no number of an inherited file descriptor", variable, text)
	}
	if err := closeOnExec(fd); err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	f := os.NewFile(uintptr(fd), variable)
	if f == nil {
		return nil, fmt.Errorf("%s is %q, and no such file is open", variable, text)
	}
	return f, nil
}

// readTLS reads what the host handed over; nil where it did not.
func readTLS() (*tls.Config, error) {
	f, err := inherited(wire.EnvTLSFD)
	if f == nil || err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	var keys wire.TLS
	if err := json.NewDecoder(f).Decode(&keys); err != nil {
		// err might quote what it read, which holds a private key.
		return nil, errors.New("read the certificates that the host handed over: they are not valid JSON")
	}
	cert, err := tls.X509KeyPair([]byte(keys.Cert), []byte(keys.Key))
	if err != nil {
		return nil, fmt.Errorf("read the certificate that the host handed over: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM([]byte(keys.ClientCA)) {
		return nil, errors.New("read the authority of the host's certificate: there is no certificate in it")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		MinVersion:   tls.VersionTLS13,
	}, nil
}
