package mongodb

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Config says how to reach a database: by a connection string, or by its parts.
type Config struct {
	URI      string `json:"uri,omitempty" desc:"mongodb://user:password@host:port/database?replicaSet=…, or mongodb+srv://…; or the parts below"`
	Database string `json:"database,omitempty" desc:"the database; by default the one in uri"`

	Hosts      []string `json:"hosts,omitempty" desc:"host:port of each server"`
	SRV        bool     `json:"srv,omitempty" desc:"hosts is one DNS name with SRV records"`
	ReplicaSet string   `json:"replicaSet,omitempty"`
	Auth       *Auth    `json:"auth,omitempty"`
	TLS        *TLS     `json:"tls,omitempty"`

	WriteConcern           string       `json:"writeConcern,omitempty" desc:"majority, or a number of members" default:"majority"`
	ServerSelectionTimeout sdk.Duration `json:"serverSelectionTimeout,omitempty" desc:"how long to look for a server" default:"10s"`
	OperationTimeout       sdk.Duration `json:"operationTimeout,omitempty" desc:"how long one operation may take; unbounded when left out"`
	Compressors            []string     `json:"compressors,omitempty" enum:"snappy,zlib,zstd"`
	AppName                string       `json:"appName,omitempty" default:"flamingock"`

	MarkerCollection string `json:"markerCollection,omitempty" desc:"collection of the markers" default:"flamingockMarker" pattern:"^[A-Za-z_][A-Za-z0-9_.-]*$"`
	FenceCollection  string `json:"fenceCollection,omitempty" desc:"collection of the fence" default:"flamingockFence" pattern:"^[A-Za-z_][A-Za-z0-9_.-]*$"`
}

// Auth says who connects.
type Auth struct {
	Mechanism string     `json:"mechanism,omitempty" enum:"SCRAM-SHA-1,SCRAM-SHA-256,MONGODB-X509,MONGODB-AWS,PLAIN,GSSAPI"`
	Source    string     `json:"source,omitempty" desc:"database of the user" default:"admin"`
	Username  string     `json:"username,omitempty"`
	Password  sdk.Secret `json:"password,omitempty" sensitive:"true"`
}

// TLS says how the connection is secured.
type TLS struct {
	CAFile             string `json:"caFile,omitempty" desc:"file of the certificate authority"`
	CertificateKeyFile string `json:"certificateKeyFile,omitempty" desc:"file of the client's certificate and key"`
	Insecure           bool   `json:"insecure,omitempty" desc:"do not verify the server"`
}

const (
	defaultSelection = 10 * time.Second
	connectTimeout   = 10 * time.Second
)

// client returns the settings of the driver and the database's name. No error of
// it holds the connection string.
func (c *Config) client() (*options.ClientOptions, string, error) {
	o := options.Client().SetAppName(or(c.AppName, "flamingock")).SetConnectTimeout(connectTimeout).
		SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary()).
		// A write that is sent again is not done again, on servers that can tell.
		SetRetryWrites(true).SetRetryReads(true)
	database := c.Database
	switch {
	case c.URI != "" && len(c.Hosts) > 0:
		return nil, "", sdk.Errorf(sdk.Invalid, "uri and hosts are both given; give one")
	case c.URI == "" && len(c.Hosts) == 0:
		return nil, "", sdk.Errorf(sdk.Invalid, "neither uri nor hosts is given; write uri: mongodb://host:27017/database")
	case c.URI != "":
		o.ApplyURI(c.URI)
		if err := o.Validate(); err != nil {
			return nil, "", sdk.Errorf(sdk.Invalid, "uri is not right: %s; it looks like mongodb://user:password@host:27017/database?replicaSet=name, "+
				"with the characters : / ? # [ ] @ %% of a password written as %%3A %%2F %%3F %%23 %%5B %%5D %%40 %%25", uriText(err, c.URI))
		}
		if database == "" {
			database = databaseOf(c.URI)
		}
	case c.SRV:
		if len(c.Hosts) != 1 {
			return nil, "", sdk.Errorf(sdk.Invalid, "hosts must be one name where srv is true")
		}
		o.ApplyURI("mongodb+srv://" + c.Hosts[0])
	default:
		o.SetHosts(c.Hosts)
	}
	if database == "" {
		return nil, "", sdk.Errorf(sdk.Invalid, "the database is not named: write `database:`, or put it at the end of the uri")
	}
	// Whatever the uri says: a fence that a failover takes back protects nothing.
	w, err := concern(c.WriteConcern)
	if err != nil {
		return nil, "", err
	}
	o.SetWriteConcern(w)
	if c.ReplicaSet != "" {
		o.SetReplicaSet(c.ReplicaSet)
	}
	o.SetServerSelectionTimeout(defaultSelection)
	if d := c.ServerSelectionTimeout.Std(); d > 0 {
		o.SetServerSelectionTimeout(d)
	}
	if d := c.OperationTimeout.Std(); d > 0 {
		o.SetTimeout(d)
	}
	if len(c.Compressors) > 0 {
		o.SetCompressors(c.Compressors)
	}
	if a := c.Auth; a != nil {
		o.SetAuth(options.Credential{
			AuthMechanism: a.Mechanism, AuthSource: a.Source, Username: a.Username,
			Password: a.Password.Reveal(), PasswordSet: a.Password.Reveal() != "",
		})
	}
	if c.TLS != nil {
		t, err := c.TLS.config()
		if err != nil {
			return nil, "", err
		}
		o.SetTLSConfig(t)
	}
	if err := o.Validate(); err != nil {
		return nil, "", sdk.Errorf(sdk.Invalid, "the connection settings are not right: %s", uriText(err, c.URI))
	}
	return o, database, nil
}

// concern reads a write concern. Whatever it is, a write is in the journal before
// it is acknowledged.
func concern(text string) (*writeconcern.WriteConcern, error) {
	journal := true
	if text == "" || text == "majority" {
		w := writeconcern.Majority()
		w.Journal = &journal
		return w, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return nil, sdk.Errorf(sdk.Invalid, "writeConcern is %q; it is majority or a number of members from 1", text)
	}
	return &writeconcern.WriteConcern{W: n, Journal: &journal}, nil
}

func (t *TLS) config() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure} //nolint:gosec // the user asks for it in so many words
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "tls.caFile: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, sdk.Errorf(sdk.Invalid, "tls.caFile: there is no certificate in %s", t.CAFile)
		}
	}
	if t.CertificateKeyFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertificateKeyFile, t.CertificateKeyFile)
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "tls.certificateKeyFile: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}

// databaseOf returns the database that a connection string names.
func databaseOf(uri string) string {
	u, err := url.Parse(uri)
	if err == nil {
		return strings.TrimPrefix(u.Path, "/")
	}
	// Several hosts with ports are no URL.
	_, rest, _ := strings.Cut(uri, "://")
	_, rest, _ = strings.Cut(rest, "/")
	name, _, _ := strings.Cut(rest, "?")
	return name
}

// uriText is what an error of the driver says, without what the connection string
// holds.
func uriText(err error, uri string) string {
	text := err.Error()
	if _, rest, ok := strings.Cut(uri, "://"); ok {
		if i := strings.LastIndex(rest, "@"); i >= 0 {
			for _, part := range strings.SplitN(rest[:i], ":", 2) {
				text = strings.ReplaceAll(text, part, "***")
				if plain, err := url.PathUnescape(part); err == nil && plain != "" {
					text = strings.ReplaceAll(text, plain, "***")
				}
			}
		}
		text = strings.ReplaceAll(text, rest, "***")
	}
	return text
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
