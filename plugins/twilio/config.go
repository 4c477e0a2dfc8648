package twilio

import (
	"cmp"
	"net/url"
	"os"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Config is an account and how to reach it.
type Config struct {
	AccountSID   string     `json:"accountSid,omitempty" desc:"TWILIO_ACCOUNT_SID"`
	AuthToken    sdk.Secret `json:"authToken,omitempty" desc:"TWILIO_AUTH_TOKEN"`
	APIKey       string     `json:"apiKey,omitempty" desc:"in place of authToken; TWILIO_API_KEY"`
	APISecret    sdk.Secret `json:"apiSecret,omitempty" desc:"of apiKey; TWILIO_API_SECRET"`
	ClientID     string     `json:"clientId,omitempty" desc:"of an OAuth application, in place of a token or key"`
	ClientSecret sdk.Secret `json:"clientSecret,omitempty" desc:"of clientId"`
	// SubaccountSID is acted on with the credentials of its parent.
	SubaccountSID string `json:"subaccountSid,omitempty" desc:"the subaccount that is acted on, with the credentials of its parent"`
	Region        string `json:"region,omitempty" desc:"such as ie1; credentials belong to a region; TWILIO_REGION"`
	Edge          string `json:"edge,omitempty" desc:"such as dublin; TWILIO_EDGE"`

	Timeout        sdk.Duration `json:"timeout,omitempty" default:"30s" desc:"of one request"`
	MaxConcurrency int          `json:"maxConcurrency,omitempty" default:"5" minimum:"1"`
	RetryWait      sdk.Duration `json:"retryWait,omitempty" default:"500ms" desc:"before a request is sent again for the first time"`
	Patience       sdk.Duration `json:"patience,omitempty" default:"5m" desc:"how long a request is sent again that the service throttles or fails to answer"`

	AllowPurchases bool                `json:"allowPurchases,omitempty" desc:"must be true for changes that cost money"`
	Protected      map[string][]string `json:"protected,omitempty" desc:"names of objects that no change may touch, by kind, such as {messagingService: [Production]}"`

	// Endpoint takes the place of https://*.twilio.com.
	Endpoint string `json:"endpoint,omitempty" desc:"for tests: where the API is, in place of https://*.twilio.com"`
}

// fill takes what is left out from the environment.
func (c *Config) fill() error {
	c.AccountSID = cmp.Or(c.AccountSID, os.Getenv("TWILIO_ACCOUNT_SID"))
	if c.AuthToken == "" && c.APISecret == "" && c.ClientSecret == "" {
		c.AuthToken = sdk.Secret(os.Getenv("TWILIO_AUTH_TOKEN"))
		c.APIKey = cmp.Or(c.APIKey, os.Getenv("TWILIO_API_KEY"))
		c.APISecret = sdk.Secret(os.Getenv("TWILIO_API_SECRET"))
	}
	c.Region = cmp.Or(c.Region, os.Getenv("TWILIO_REGION"))
	c.Edge = cmp.Or(c.Edge, os.Getenv("TWILIO_EDGE"))
	switch {
	case !sid("AC")(c.AccountSID):
		return missing("accountSid is "+quoted(c.AccountSID)+", and no account's SID", "write `accountSid: AC…`, or set TWILIO_ACCOUNT_SID")
	case c.SubaccountSID != "" && !sid("AC")(c.SubaccountSID):
		return missing("subaccountSid is "+quoted(c.SubaccountSID)+", and no account's SID", "write `subaccountSid: AC…`")
	case c.AuthToken == "" && c.APISecret == "" && c.ClientSecret == "":
		return missing("no credentials are given", "write apiKey and apiSecret, or authToken")
	case c.APISecret != "" && c.APIKey == "":
		return missing("there is an apiSecret and no apiKey", "write `apiKey: SK…`")
	case c.ClientSecret != "" && c.ClientID == "":
		return missing("there is a clientSecret and no clientId", "write clientId")
	}
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" {
			return missing("endpoint is no URL", "write it like http://127.0.0.1:4010")
		}
	}
	return nil
}

// account is the account that is acted on.
func (c *Config) account() string { return cmp.Or(c.SubaccountSID, c.AccountSID) }

func missing(message, hint string) error {
	return &sdk.Error{Code: sdk.Invalid, Part: -1, Message: "connect to Twilio: " + message, Hint: hint}
}

func quoted(s string) string { return `"` + s + `"` }

// hide masks the configuration's secrets in a text.
func (c *Config) hide(text string) string {
	for _, s := range []sdk.Secret{c.AuthToken, c.APISecret, c.ClientSecret} {
		if s != "" {
			text = strings.ReplaceAll(text, s.Reveal(), "***")
		}
	}
	return text
}

// purchase refuses what costs money, unless the configuration allows it.
func (c *Config) purchase(what string) error {
	if c.AllowPurchases {
		return nil
	}
	return &sdk.Error{
		Code: sdk.Permission, Part: -1, Clean: true, Message: what + ": it costs money, and the target system does not allow purchases",
		Hint: "write `allowPurchases: true` in the target system's configuration",
	}
}

// protected refuses a change of an object that the configuration protects.
func (c *Config) protected(kind, name string) error {
	for _, p := range c.Protected[kind] {
		if p == name {
			return &sdk.Error{
				Code: sdk.Permission, Part: -1, Clean: true, Message: kind + " " + quoted(name) + " is protected by the target system's configuration",
				Hint: "take it out of `protected` where the change is meant",
			}
		}
	}
	return nil
}
