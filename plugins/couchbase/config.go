package couchbase

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/couchbase/gocb/v2"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	couchbasestore "github.com/flamingock/flamingock-go/plugins/couchbase/store"
)

// Config is the configuration of an audit store.
type Config struct {
	ConnectionString string     `json:"connectionString" desc:"couchbase://, couchbases:// or couchbase2:// with the nodes"`
	Username         string     `json:"username,omitempty"`
	Password         sdk.Secret `json:"password,omitempty" sensitive:"true"`
	CAFile           string     `json:"caFile,omitempty" desc:"certificates to trust, as PEM; otherwise those of the system"`
	CertificateFile  string     `json:"certificateFile,omitempty" desc:"certificate of the client, as PEM, in place of user name and password"`
	KeyFile          string     `json:"keyFile,omitempty" desc:"its key, as PEM"`
	SkipVerify       bool       `json:"skipVerify,omitempty" desc:"trust any certificate; for tests only"`

	Bucket          string `json:"bucket"`
	Scope           string `json:"scope,omitempty" default:"_default"`
	AuditCollection string `json:"auditCollection,omitempty" default:"flamingockAuditLog"`
	LockCollection  string `json:"lockCollection,omitempty" default:"flamingockLock"`
	StoreCollection string `json:"storeCollection,omitempty" default:"flamingockStore"`

	Durability     string       `json:"durability,omitempty" enum:"none,majority,majorityAndPersistToActive,persistToMajority" default:"majorityAndPersistToActive"`
	ConnectTimeout sdk.Duration `json:"connectTimeout,omitempty" default:"10s"`
	Shared         bool         `json:"shared,omitempty" desc:"Java instances write to the collections too"`
}

const defaultConnect = 10 * time.Second

var levels = map[string]gocb.DurabilityLevel{
	"":                           gocb.DurabilityLevelMajorityAndPersistOnMaster,
	"none":                       gocb.DurabilityLevelNone,
	"majority":                   gocb.DurabilityLevelMajority,
	"majorityAndPersistToActive": gocb.DurabilityLevelMajorityAndPersistOnMaster,
	"persistToMajority":          gocb.DurabilityLevelPersistToMajority,
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9_.%-]{1,100}$`)

// check refuses what the schema cannot.
func (c *Config) check() error {
	scheme, rest, ok := strings.Cut(c.ConnectionString, "://")
	if !ok || scheme != "couchbase" && scheme != "couchbases" && scheme != "couchbase2" {
		return sdk.Errorf(sdk.Invalid, "connectionString must begin with couchbase://, couchbases:// or couchbase2://")
	}
	if strings.Contains(rest, "@") {
		return sdk.Errorf(sdk.Invalid, "connectionString must not hold a user name or a password; write `username:` and `password:`")
	}
	if !bucketName.MatchString(c.Bucket) {
		return sdk.Errorf(sdk.Invalid, "bucket %q: use 1 to 100 letters, digits, dots, underscores, hyphens and percent signs", c.Bucket)
	}
	if (c.CertificateFile == "") != (c.KeyFile == "") {
		return sdk.Errorf(sdk.Invalid, "certificateFile and keyFile belong together; give both, or none")
	}
	if c.CertificateFile != "" && (scheme == "couchbase2" || c.Username != "" || c.Password.Reveal() != "") {
		return sdk.Errorf(sdk.Invalid, "certificateFile stands in place of username and password, and couchbase2:// has user names only")
	}
	if c.CertificateFile == "" && (c.Username == "" || c.Password.Reveal() == "") {
		return sdk.Errorf(sdk.Invalid, "no credentials are given: write `username:` and `password:`, or `certificateFile:` and `keyFile:`")
	}
	if c.SkipVerify && c.CAFile != "" {
		return sdk.Errorf(sdk.Invalid, "skipVerify trusts any certificate and caFile some; give one of them")
	}
	return nil
}

// cluster makes the client; it does not wait for the cluster.
func (c *Config) cluster() (*gocb.Cluster, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	o := gocb.ClusterOptions{
		Authenticator:  gocb.PasswordAuthenticator{Username: c.Username, Password: c.Password.Reveal()},
		SecurityConfig: gocb.SecurityConfig{TLSSkipVerify: c.SkipVerify},
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "caFile: %w", err)
		}
		o.SecurityConfig.TLSRootCAs = x509.NewCertPool()
		if !o.SecurityConfig.TLSRootCAs.AppendCertsFromPEM(pem) {
			return nil, sdk.Errorf(sdk.Invalid, "caFile %s: there is no certificate in it", c.CAFile)
		}
	}
	if c.CertificateFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile)
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "certificateFile and keyFile: %w", err)
		}
		o.Authenticator = gocb.CertificateAuthenticator{ClientCertificate: &pair}
	}
	cluster, err := gocb.Connect(c.ConnectionString, o)
	if err != nil {
		return nil, failure("connect to "+c.ConnectionString, err)
	}
	return cluster, nil
}

func open(ctx context.Context, cfg store.Config[Config]) (store.Store, error) {
	v := cfg.Values
	cluster, err := v.cluster()
	if err != nil {
		return nil, err
	}
	closing := func() error { return cluster.Close(nil) }
	limit := v.ConnectTimeout.Std()
	if limit <= 0 {
		limit = defaultConnect
	}
	err = cluster.Bucket(v.Bucket).WaitUntilReady(limit, &gocb.WaitUntilReadyOptions{
		Context: ctx, ServiceTypes: []gocb.ServiceType{gocb.ServiceTypeKeyValue},
	})
	if err != nil {
		_ = closing() // the first error says why
		return nil, failure("reach bucket "+v.Bucket+" at "+v.ConnectionString, err)
	}
	s, err := couchbasestore.Open(ctx, cluster, couchbasestore.Options{
		Bucket: v.Bucket, Scope: v.Scope, AuditCollection: v.AuditCollection, LockCollection: v.LockCollection,
		StoreCollection: v.StoreCollection, Shared: v.Shared, Durability: levels[v.Durability],
		Place: "couchbase bucket " + v.Bucket, Close: closing,
	})
	if err != nil {
		_ = closing()
		return nil, failure("open the audit store", err)
	}
	return s, nil
}

// failure gives an error of the client a code.
func failure(what string, err error) error {
	e := &sdk.Error{Code: sdk.Transient, Part: -1, Message: what + ": " + err.Error(), Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Code = sdk.Cancelled
	case errors.Is(err, gocb.ErrAuthenticationFailure):
		e.Code = sdk.Permission
	case errors.Is(err, gocb.ErrBucketNotFound):
		e.Code = sdk.NotFound
	case errors.Is(err, gocb.ErrInvalidArgument), errors.Is(err, gocb.ErrDurabilityImpossible), errors.Is(err, gocb.ErrDurabilityLevelNotAvailable):
		e.Code = sdk.Invalid
	case errors.Is(err, gocb.ErrTimeout):
		e.Hint = "are connectionString, bucket, user name, password and caFile right, and is the cluster up?"
	}
	return e
}
