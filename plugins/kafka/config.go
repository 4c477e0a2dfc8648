package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// Config says which cluster, and how to log in. What is left out is taken from
// PropertiesFile and then from the variables that other tools for Kafka read; see
// variables.
type Config struct {
	BootstrapServers []string `json:"bootstrapServers,omitempty" desc:"host:port of some of the brokers" pattern:"^\\S+:[0-9]+$|\\$\\{"`
	ClusterID        string   `json:"clusterId,omitempty" desc:"refuse any other cluster"`
	ClientID         string   `json:"clientId,omitempty" desc:"default: flamingock"`
	PropertiesFile   string   `json:"propertiesFile,omitempty" desc:"a client.properties of the Java client, for what is not written here"`

	TLS   *TLS   `json:"tls,omitempty"`
	SASL  *SASL  `json:"sasl,omitempty"`
	AWS   *AWS   `json:"aws,omitempty" desc:"for the mechanism AWS_MSK_IAM"`
	OAuth *OAuth `json:"oauth,omitempty" desc:"for the mechanism OAUTHBEARER"`

	SchemaRegistry *Service `json:"schemaRegistry,omitempty"`
	Connect        *Service `json:"connect,omitempty"`

	Timeouts        Timeouts `json:"timeouts,omitzero"`
	ManagedPrefixes Managed  `json:"managedPrefixes,omitzero" desc:"refuse to change anything whose name does not begin so"`
}

// TLS is how connections are encrypted. Certificates and keys are paths of PEM files,
// or PEM itself.
type TLS struct {
	Enabled       *bool      `json:"enabled,omitempty" desc:"default true where tls is there"`
	CACert        string     `json:"caCert,omitempty" desc:"whom to believe; default: the system's list"`
	Cert          string     `json:"cert,omitempty" desc:"the client's certificate"`
	Key           string     `json:"key,omitempty" desc:"path of its key"`
	KeyPEM        sdk.Secret `json:"keyPem,omitempty" sensitive:"true" desc:"its key itself"`
	KeyPassphrase sdk.Secret `json:"keyPassphrase,omitempty" sensitive:"true"`
	ServerName    string     `json:"serverName,omitempty" desc:"name in the brokers' certificates, where it is not their host's"`
	SkipVerify    bool       `json:"skipVerify,omitempty" desc:"believe every certificate: for tests only"`
}

// SASL is how to log in.
type SASL struct {
	Mechanism string     `json:"mechanism,omitempty" enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,AWS_MSK_IAM,OAUTHBEARER"`
	Username  string     `json:"username,omitempty"`
	Password  sdk.Secret `json:"password,omitempty" sensitive:"true"`
}

// AWS says where credentials for AWS_MSK_IAM come from; what is left out is found as
// every program that uses AWS finds it.
type AWS struct {
	Region     string `json:"region,omitempty"`
	Profile    string `json:"profile,omitempty"`
	RoleARN    string `json:"roleArn,omitempty" desc:"a role to take on"`
	ExternalID string `json:"externalId,omitempty"`
}

// OAuth says where tokens for OAUTHBEARER come from: the grant client_credentials.
type OAuth struct {
	TokenURL     string            `json:"tokenUrl,omitempty"`
	ClientID     string            `json:"clientId,omitempty"`
	ClientSecret sdk.Secret        `json:"clientSecret,omitempty" sensitive:"true"`
	Scopes       []string          `json:"scopes,omitempty"`
	Extensions   map[string]string `json:"extensions,omitempty" desc:"SASL extensions, such as logicalCluster"`
}

// Service is a REST service beside the cluster: a schema registry, or Kafka Connect.
type Service struct {
	URL      string     `json:"url"`
	Username string     `json:"username,omitempty"`
	Password sdk.Secret `json:"password,omitempty" sensitive:"true"`
	Token    sdk.Secret `json:"token,omitempty" sensitive:"true" desc:"sent as a bearer token"`
	CACert   string     `json:"caCert,omitempty" desc:"whom to believe; default: the system's list"`
}

// Timeouts bound single requests. How long an operation waits for the cluster is said
// by its own key timeout.
type Timeouts struct {
	Dial    sdk.Duration `json:"dial,omitempty" default:"5s" desc:"for connecting and logging in"`
	Request sdk.Duration `json:"request,omitempty" default:"30s" desc:"for one request"`
}

// Managed are beginnings of names; none means that every name may be used.
type Managed struct {
	Topics     []string `json:"topics,omitempty"`
	Groups     []string `json:"groups,omitempty"`
	Principals []string `json:"principals,omitempty" desc:"such as User:orders"`
	Subjects   []string `json:"subjects,omitempty"`
	Connectors []string `json:"connectors,omitempty"`
}

const (
	defaultDial    = 5 * time.Second
	defaultRequest = 30 * time.Second
	defaultClient  = "flamingock"
)

// variables are those that other tools for Kafka read as well: the Terraform provider,
// kafka-gitops, and the AWS SDK. A process gets no others.
func variables() []string {
	return []string{
		"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CLIENT_ID", "KAFKA_SECURITY_PROTOCOL",
		"KAFKA_ENABLE_TLS", "KAFKA_SKIP_VERIFY", "KAFKA_CA_CERT", "KAFKA_CLIENT_CERT", "KAFKA_CLIENT_KEY", "KAFKA_CLIENT_KEY_PASSPHRASE",
		"KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_JAAS_USERNAME", "KAFKA_SASL_JAAS_PASSWORD",
		"KAFKA_SASL_TOKEN_URL", "KAFKA_SASL_OAUTH_SCOPES", "KAFKA_SASL_IAM_AWS_REGION",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
		"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CA_BUNDLE",
	}
}

// complete fills in what is left out from the variables of an environment.
func (c *Config) complete(env func(name string) string) error {
	first := func(at *string, names ...string) {
		for _, name := range names {
			if *at == "" {
				*at = env(name)
			}
		}
	}
	yes := func(name string) (bool, error) {
		text := env(name)
		if text == "" {
			return false, nil
		}
		value, err := strconv.ParseBool(text)
		if err != nil {
			return false, sdk.Errorf(sdk.Invalid, "the variable %s is neither true nor false", name)
		}
		return value, nil
	}
	if len(c.BootstrapServers) == 0 {
		c.BootstrapServers = words(env("KAFKA_BOOTSTRAP_SERVERS"))
	}
	first(&c.ClientID, "KAFKA_CLIENT_ID")
	enable, err := yes("KAFKA_ENABLE_TLS")
	if err != nil {
		return err
	}
	skip, err := yes("KAFKA_SKIP_VERIFY")
	if err != nil {
		return err
	}
	protocol := env("KAFKA_SECURITY_PROTOCOL")
	if c.TLS == nil && (enable || protocol == "SSL" || protocol == "SASL_SSL" || env("KAFKA_CA_CERT") != "" || env("KAFKA_CLIENT_CERT") != "") {
		c.TLS = &TLS{SkipVerify: skip}
	}
	if t := c.TLS; t != nil {
		first(&t.CACert, "KAFKA_CA_CERT")
		if t.Cert == "" && t.Key == "" && t.KeyPEM == "" {
			t.Cert, t.Key = env("KAFKA_CLIENT_CERT"), env("KAFKA_CLIENT_KEY")
			if isPEM(t.Key) {
				t.Key, t.KeyPEM = "", sdk.Secret(t.Key)
			}
		}
		if t.KeyPassphrase == "" {
			t.KeyPassphrase = sdk.Secret(env("KAFKA_CLIENT_KEY_PASSPHRASE"))
		}
	}
	if c.SASL == nil {
		c.SASL = &SASL{}
	}
	s := c.SASL
	first(&s.Mechanism, "KAFKA_SASL_MECHANISM")
	first(&s.Username, "KAFKA_SASL_USERNAME", "KAFKA_SASL_JAAS_USERNAME")
	if s.Password == "" {
		s.Password = sdk.Secret(env("KAFKA_SASL_PASSWORD"))
	}
	if s.Password == "" {
		s.Password = sdk.Secret(env("KAFKA_SASL_JAAS_PASSWORD"))
	}
	s.Mechanism = strings.ToUpper(s.Mechanism)
	switch {
	case s.Mechanism == "AWS-IAM": // as the Terraform provider says
		s.Mechanism = mechanismIAM
	case s.Mechanism == "SCRAM-SHA256":
		s.Mechanism = mechanismSCRAM256
	case s.Mechanism == "SCRAM-SHA512":
		s.Mechanism = mechanismSCRAM512
	case s.Mechanism == "" && s.Username != "":
		s.Mechanism = mechanismPlain
	case s.Mechanism == "":
		c.SASL = nil
		return nil
	}
	switch s.Mechanism {
	case mechanismIAM:
		if c.AWS == nil {
			c.AWS = &AWS{}
		}
		first(&c.AWS.Region, "KAFKA_SASL_IAM_AWS_REGION")
	case mechanismOAuth:
		if c.OAuth == nil {
			c.OAuth = &OAuth{}
		}
		o := c.OAuth
		first(&o.TokenURL, "KAFKA_SASL_TOKEN_URL")
		if o.ClientID == "" {
			o.ClientID, o.ClientSecret = s.Username, s.Password
		}
		if len(o.Scopes) == 0 {
			o.Scopes = words(env("KAFKA_SASL_OAUTH_SCOPES"))
		}
	}
	return nil
}

// words splits a list at commas and spaces.
func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// Conn is a cluster with the services beside it: what operations work on.
type Conn struct {
	bootstrap   []string
	clientID    string
	dialTime    time.Duration
	requestTime time.Duration
	tls         *tls.Config
	sasl        sasl.Mechanism
	managed     Managed
	// registry and connect are nil where the configuration has none.
	registry, connect *rest.Client

	mu     sync.Mutex
	idle   map[string][]*link
	closed bool
}

// dialer opens a connection to a broker.
func (c *Conn) dialer(ctx context.Context, addr string) (net.Conn, error) {
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil || c.tls == nil {
		return plain, err
	}
	config := c.tls
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	encrypted := tls.Client(plain, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = plain.Close() // it is of no use
		return nil, err
	}
	return encrypted, nil
}

func open(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.PropertiesFile != "" {
		if err := cfg.properties(cfg.PropertiesFile); err != nil {
			return nil, err
		}
	}
	if err := cfg.complete(os.Getenv); err != nil {
		return nil, err
	}
	c, err := cfg.conn(ctx)
	if err != nil {
		return nil, err
	}
	v, err := c.view(ctx)
	if err != nil {
		c.hangUp()
		return nil, failure("connect to the cluster at "+strings.Join(c.bootstrap, ", "), err)
	}
	if cfg.ClusterID != "" && cfg.ClusterID != v.cluster {
		c.hangUp()
		return nil, &sdk.Error{
			Code: sdk.Invalid, Part: -1, Message: fmt.Sprintf("this is cluster %s, and clusterId says %s", v.cluster, cfg.ClusterID),
			Hint: "do bootstrapServers lead to the environment that is meant?",
		}
	}
	return c, nil
}

// conn makes what the configuration says, without talking to anybody but AWS's
// services.
func (c *Config) conn(ctx context.Context) (*Conn, error) {
	if len(c.BootstrapServers) == 0 {
		return nil, sdk.Errorf(sdk.Invalid, "no broker is named: write bootstrapServers, or set KAFKA_BOOTSTRAP_SERVERS")
	}
	out := &Conn{
		bootstrap: c.BootstrapServers, clientID: or(c.ClientID, defaultClient), managed: c.ManagedPrefixes, idle: map[string][]*link{},
		dialTime: orTime(c.Timeouts.Dial, defaultDial), requestTime: orTime(c.Timeouts.Request, defaultRequest),
	}
	var err error
	if t := c.TLS; t != nil && (t.Enabled == nil || *t.Enabled) {
		if out.tls, err = t.config(); err != nil {
			return nil, err
		}
	}
	if c.SASL != nil {
		if out.sasl, err = c.mechanism(ctx); err != nil {
			return nil, err
		}
	}
	if c.SchemaRegistry != nil {
		if out.registry, err = c.SchemaRegistry.client("schema registry", registryType, out.requestTime); err != nil {
			return nil, err
		}
	}
	if c.Connect != nil {
		if out.connect, err = c.Connect.client("Kafka Connect", "application/json", out.requestTime); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func health(ctx context.Context, c *Conn) error {
	_, err := c.view(ctx)
	return failure("reach the cluster at "+strings.Join(c.bootstrap, ", "), err)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func orTime(d sdk.Duration, otherwise time.Duration) time.Duration {
	if d.Std() <= 0 {
		return otherwise
	}
	return d.Std()
}

// scope are the names that an operation works on.
type scope struct {
	topics, groups, principals, subjects, connectors []string
}

// allow refuses names that do not begin as they have to.
func (m *Managed) allow(s scope) error {
	for _, each := range []struct {
		kind            string
		names, prefixes []string
	}{
		{"topic", s.topics, m.Topics},
		{"group", s.groups, m.Groups},
		{"principal", s.principals, m.Principals},
		{"subject", s.subjects, m.Subjects},
		{"connector", s.connectors, m.Connectors},
	} {
		for _, name := range each.names {
			begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
			if len(each.prefixes) > 0 && !slices.ContainsFunc(each.prefixes, begins) {
				return &sdk.Error{
					Code: sdk.Permission, Part: -1, Clean: true,
					Message: fmt.Sprintf("%s %s does not begin with one of %s", each.kind, name, strings.Join(each.prefixes, ", ")),
					Hint:    "managedPrefixes of the target system says what may be changed",
				}
			}
		}
	}
	return nil
}
