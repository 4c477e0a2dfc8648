package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/aws_msk_iam_v2"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/youmark/pkcs8"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// The SASL mechanisms.
const (
	mechanismPlain    = "PLAIN"
	mechanismSCRAM256 = "SCRAM-SHA-256"
	mechanismSCRAM512 = "SCRAM-SHA-512"
	mechanismIAM      = "AWS_MSK_IAM"
	mechanismOAuth    = "OAUTHBEARER"
)

func isPEM(text string) bool { return strings.Contains(text, "-----BEGIN ") }

// pemOf returns PEM: text itself, or what is in the file that it names.
func pemOf(what, text string) ([]byte, error) {
	if isPEM(text) {
		return []byte(text), nil
	}
	content, err := os.ReadFile(text)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "%s cannot be read: %w", what, err)
	}
	return content, nil
}

// believed returns the certificates of caCert; nil, the system's, where it is empty.
func believed(what, caCert string) (*x509.CertPool, error) {
	if caCert == "" {
		return nil, nil //nolint:nilnil // what crypto/tls takes for the system's
	}
	content, err := pemOf(what, caCert)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, sdk.Errorf(sdk.Invalid, "%s holds no certificate in PEM", what)
	}
	return pool, nil
}

// config returns what crypto/tls wants to know.
func (t *TLS) config() (*tls.Config, error) {
	pool, err := believed("tls.caCert", t.CACert)
	if err != nil {
		return nil, err
	}
	out := &tls.Config{
		RootCAs: pool, ServerName: t.ServerName, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: t.SkipVerify, // the user says so, for tests
	}
	if t.Cert == "" && t.Key == "" && t.KeyPEM == "" {
		return out, nil
	}
	if t.Cert == "" || t.Key == "" && t.KeyPEM == "" {
		return nil, sdk.Errorf(sdk.Invalid, "tls.cert and tls.key (or keyPem) belong together; give both, or none")
	}
	cert, err := pemOf("tls.cert", t.Cert)
	if err != nil {
		return nil, err
	}
	key := []byte(t.KeyPEM.Reveal())
	if t.KeyPEM == "" {
		if key, err = pemOf("tls.key", t.Key); err != nil {
			return nil, err
		}
	}
	if key, err = decrypted(key, t.KeyPassphrase); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "tls.cert and tls.key: %w", err)
	}
	out.Certificates = []tls.Certificate{pair}
	return out, nil
}

// decrypted returns a key in PEM that is not encrypted.
func decrypted(key []byte, passphrase sdk.Secret) ([]byte, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, sdk.Errorf(sdk.Invalid, "tls.key holds no key in PEM")
	}
	switch {
	case block.Headers["DEK-Info"] != "":
		return nil, &sdk.Error{
			Code: sdk.Invalid, Part: -1, Message: "tls.key is encrypted in a way that is not safe (PEM with DEK-Info)",
			Hint: "turn it into PKCS #8: openssl pkcs8 -topk8 -v2 aes256",
		}
	case block.Type != "ENCRYPTED PRIVATE KEY":
		return key, nil
	case passphrase == "":
		return nil, sdk.Errorf(sdk.Invalid, "tls.key is encrypted: write tls.keyPassphrase")
	}
	plain, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(passphrase.Reveal()))
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "tls.key cannot be decrypted with tls.keyPassphrase: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(plain)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "tls.key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// mechanism returns how to log in.
func (c *Config) mechanism(ctx context.Context) (sasl.Mechanism, error) {
	s := c.SASL
	switch s.Mechanism {
	case mechanismPlain, mechanismSCRAM256, mechanismSCRAM512:
		if s.Username == "" || s.Password == "" {
			return nil, sdk.Errorf(sdk.Invalid, "sasl.username and sasl.password are needed for %s", s.Mechanism)
		}
	}
	switch s.Mechanism {
	case mechanismPlain:
		return plain.Mechanism{Username: s.Username, Password: s.Password.Reveal()}, nil
	case mechanismSCRAM256, mechanismSCRAM512:
		algorithm := scram.SHA256
		if s.Mechanism == mechanismSCRAM512 {
			algorithm = scram.SHA512
		}
		m, err := scram.Mechanism(algorithm, s.Username, s.Password.Reveal())
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "sasl.username or sasl.password has characters that %s does not allow", s.Mechanism)
		}
		return m, nil
	case mechanismIAM:
		return c.AWS.mechanism(ctx)
	case mechanismOAuth:
		o := c.OAuth
		if o.TokenURL == "" || o.ClientID == "" || o.ClientSecret == "" {
			return nil, sdk.Errorf(sdk.Invalid, "oauth.tokenUrl, oauth.clientId and oauth.clientSecret are needed for %s", s.Mechanism)
		}
		return &bearer{from: *o}, nil
	}
	return nil, sdk.Errorf(sdk.Invalid, "sasl.mechanism is %q; it is one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, AWS_MSK_IAM, OAUTHBEARER", s.Mechanism)
}

// mechanism returns a login that AWS's credentials sign.
func (a *AWS) mechanism(ctx context.Context) (sasl.Mechanism, error) {
	var load []func(*config.LoadOptions) error
	if a.Region != "" {
		load = append(load, config.WithRegion(a.Region))
	}
	if a.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(a.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "the configuration of AWS cannot be read: %w", err)
	}
	if cfg.Region == "" {
		return nil, sdk.Errorf(sdk.Invalid, "no region is given: write aws.region, or name a profile that has one")
	}
	if a.RoleARN != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), a.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = defaultClient
			if a.ExternalID != "" {
				o.ExternalID = aws.String(a.ExternalID)
			}
		}))
	}
	return aws_msk_iam_v2.NewMechanism(cfg), nil
}

// bearer is the mechanism OAUTHBEARER (RFC 7628) with tokens of the grant
// client_credentials (RFC 6749, section 4.4). It is safe for concurrent use.
type bearer struct {
	from OAuth

	mu      sync.Mutex
	token   string
	expires time.Time
}

// Name implements sasl.Mechanism.
func (*bearer) Name() string { return mechanismOAuth }

// Start implements sasl.Mechanism.
func (b *bearer) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	token, err := b.fresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	var say bytes.Buffer
	say.WriteString("n,,\x01auth=Bearer " + token + "\x01")
	names := make([]string, 0, len(b.from.Extensions))
	for name := range b.from.Extensions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		say.WriteString(name + "=" + b.from.Extensions[name] + "\x01")
	}
	say.WriteString("\x01")
	return b, say.Bytes(), nil
}

// Next implements sasl.StateMachine.
func (*bearer) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if len(challenge) == 0 {
		return true, nil, nil
	}
	// The broker refuses, says why, and wants to hear that it was heard.
	var why struct {
		Status string `json:"status"`
		Scope  string `json:"scope"`
	}
	if json.Unmarshal(challenge, &why) != nil || why.Status == "" {
		return false, nil, errors.New("the broker refuses the token")
	}
	return false, nil, fmt.Errorf("the broker refuses the token: %s", why.Status)
}

// early is how long before its end a token is not used any more.
const early = 30 * time.Second

// fresh returns a token that is good for a while.
func (b *bearer) fresh(ctx context.Context) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.token != "" && time.Until(b.expires) > early {
		return b.token, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(b.from.Scopes) > 0 {
		form.Set("scope", strings.Join(b.from.Scopes, " "))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.from.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(b.from.ClientID), url.QueryEscape(b.from.ClientSecret.Reveal()))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       string  `json:"error"`
		Description string  `json:"error_description"`
	}
	_ = json.Unmarshal(body, &answer) // what is no JSON has no token
	if resp.StatusCode != http.StatusOK || answer.AccessToken == "" {
		return "", &sdk.Error{
			Code: sdk.Permission, Part: -1,
			Message: strings.TrimSpace(fmt.Sprintf("%s gives no token: %s %s %s", b.from.TokenURL, resp.Status, answer.Error, answer.Description)),
			Hint:    "are oauth.clientId, oauth.clientSecret and oauth.scopes right?",
		}
	}
	b.token, b.expires = answer.AccessToken, time.Now().Add(time.Duration(answer.ExpiresIn*float64(time.Second)))
	return b.token, nil
}
