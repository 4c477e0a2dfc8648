package auth0

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/auth0/go-auth0/management"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Config is a tenant and how to reach it.
type Config struct {
	Domain       string     `json:"domain,omitempty" desc:"such as acme.eu.auth0.com; AUTH0_DOMAIN"`
	ClientID     string     `json:"clientId,omitempty" desc:"of a machine-to-machine application; AUTH0_CLIENT_ID"`
	ClientSecret sdk.Secret `json:"clientSecret,omitempty" desc:"AUTH0_CLIENT_SECRET"`
	// PrivateKey signs an assertion in place of a secret.
	PrivateKey       sdk.Secret `json:"privateKey,omitempty" desc:"PEM; signs an assertion in place of clientSecret; AUTH0_CLIENT_ASSERTION_PRIVATE_KEY, or the file AUTH0_CLIENT_SIGNING_KEY_PATH"`
	SigningAlgorithm string     `json:"signingAlgorithm,omitempty" desc:"of privateKey, such as RS256; AUTH0_CLIENT_ASSERTION_SIGNING_ALG"`
	APIToken         sdk.Secret `json:"apiToken,omitempty" desc:"a token of the Management API in place of a client; AUTH0_API_TOKEN"`
	Audience         string     `json:"audience,omitempty" desc:"of the Management API, where domain is a custom one; AUTH0_AUDIENCE"`

	CustomDomainHeader   string       `json:"customDomainHeader,omitempty" desc:"the custom domain that mails and tickets are made for"`
	ExpectedTenant       string       `json:"expectedTenant,omitempty" desc:"the tenant's own domain, such as acme.eu.auth0.com; any other is refused"`
	MaxRequestsPerSecond float64      `json:"maxRequestsPerSecond,omitempty" default:"8" minimum:"0"`
	MaxConcurrency       int          `json:"maxConcurrency,omitempty" default:"4" minimum:"1"`
	RetryWait            sdk.Duration `json:"retryWait,omitempty" default:"500ms" desc:"before a request is sent again for the first time"`
	Patience             sdk.Duration `json:"patience,omitempty" default:"5m" desc:"how long a request is sent again that the service throttles or fails to answer"`
	// Protected are objects that no change may touch.
	Protected map[string][]string `json:"protected,omitempty" desc:"names of objects that no change may touch, by kind, such as {client: [Default App]}"`

	// Endpoint takes the place of https://domain.
	Endpoint string `json:"endpoint,omitempty" desc:"for tests: where the API is, in place of https://domain"`
}

// fill takes what is left out from the environment.
func (c *Config) fill() error {
	c.Domain = cmp.Or(c.Domain, os.Getenv("AUTH0_DOMAIN"))
	c.Audience = cmp.Or(c.Audience, os.Getenv("AUTH0_AUDIENCE"))
	c.ClientID = cmp.Or(c.ClientID, os.Getenv("AUTH0_CLIENT_ID"))
	c.SigningAlgorithm = cmp.Or(c.SigningAlgorithm, os.Getenv("AUTH0_CLIENT_ASSERTION_SIGNING_ALG"), os.Getenv("AUTH0_CLIENT_SIGNING_ALGORITHM"))
	if c.ClientSecret == "" && c.PrivateKey == "" && c.APIToken == "" {
		c.APIToken = sdk.Secret(cmp.Or(os.Getenv("AUTH0_API_TOKEN"), os.Getenv("AUTH0_ACCESS_TOKEN")))
		c.ClientSecret = sdk.Secret(os.Getenv("AUTH0_CLIENT_SECRET"))
		c.PrivateKey = sdk.Secret(os.Getenv("AUTH0_CLIENT_ASSERTION_PRIVATE_KEY"))
		if path := os.Getenv("AUTH0_CLIENT_SIGNING_KEY_PATH"); c.PrivateKey == "" && path != "" {
			b, err := os.ReadFile(path)
			if err != nil {
				return sdk.Errorf(sdk.Invalid, "read the key that AUTH0_CLIENT_SIGNING_KEY_PATH names: %w", err)
			}
			c.PrivateKey = sdk.Secret(b)
		}
	}
	c.Domain = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(c.Domain, "https://"), "http://"), "/")
	switch {
	case c.Domain == "":
		return missing("no domain is given", "write `domain: acme.eu.auth0.com`, or set AUTH0_DOMAIN")
	case c.APIToken == "" && c.ClientID == "":
		return missing("no credentials are given", "write clientId and clientSecret of a machine-to-machine application, or apiToken")
	case c.APIToken == "" && c.ClientSecret == "" && c.PrivateKey == "":
		return missing("the client "+c.ClientID+" has neither a secret nor a key", "write clientSecret or privateKey")
	}
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" {
			return missing("endpoint is no URL", "write it like http://127.0.0.1:4010")
		}
	}
	return nil
}

func missing(message, hint string) error {
	return &sdk.Error{Code: sdk.Invalid, Part: -1, Message: "connect to Auth0: " + message, Hint: hint}
}

// management returns the library's client. It is transport and authentication, no
// more: retries are done by whoever knows what may be sent twice.
func (c *Config) management(ctx context.Context, o *observer) (*management.Management, error) {
	options := []management.Option{management.WithClient(o.client()), management.WithNoRetries(), management.WithUserAgent("flamingock/" + Version)}
	if c.CustomDomainHeader != "" {
		options = append(options, management.WithCustomDomainHeader(c.CustomDomainHeader))
	}
	ctx = o.tokens(ctx)
	audience := cmp.Or(c.Audience, "https://"+c.Domain+"/api/v2/")
	switch {
	case c.APIToken != "":
		options = append(options, management.WithStaticToken(c.APIToken.Reveal()))
	case c.PrivateKey != "":
		options = append(options, management.WithClientCredentialsPrivateKeyJwtAndAudience(ctx, c.ClientID, c.PrivateKey.Reveal(), cmp.Or(c.SigningAlgorithm, "RS256"), audience))
	default:
		options = append(options, management.WithClientCredentialsAndAudience(ctx, c.ClientID, c.ClientSecret.Reveal(), audience))
	}
	m, err := management.New(c.Domain, options...)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "connect to Auth0 tenant %s: %s", c.Domain, c.hide(err.Error()))
	}
	return m, nil
}

// hide masks the configuration's secrets in a text.
func (c *Config) hide(text string) string {
	for _, s := range []sdk.Secret{c.ClientSecret, c.PrivateKey, c.APIToken} {
		if s != "" {
			text = strings.ReplaceAll(text, s.Reveal(), "***")
		}
	}
	return text
}

// protected refuses a change of an object that the configuration protects.
func (c *Config) protected(kind, name string) error {
	for _, p := range c.Protected[kind] {
		if p == name {
			return &sdk.Error{
				Code: sdk.Permission, Part: -1, Clean: true, Message: fmt.Sprintf("%s %q is protected by the target system's configuration", kind, name),
				Hint: "take it out of `protected` where the change is meant",
			}
		}
	}
	return nil
}

var errOtherTenant = errors.New("it is another tenant")
