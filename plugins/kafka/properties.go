package kafka

import (
	"bufio"
	"os"
	"regexp"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// jaas finds the options of a login module.
var jaas = regexp.MustCompile(`\b(username|password|clientId|clientSecret)\s*=\s*"((?:[^"\\]|\\.)*)"`)

// properties fills in what is left out from a client.properties of the Java client.
// What it says of truststores and keystores is read where they are PEM.
func (c *Config) properties(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return sdk.Errorf(sdk.Invalid, "propertiesFile cannot be read: %w", err)
	}
	p := parseProperties(string(content))
	first := func(at *string, value string) {
		if *at == "" {
			*at = value
		}
	}
	if len(c.BootstrapServers) == 0 {
		c.BootstrapServers = words(p["bootstrap.servers"])
	}
	first(&c.ClientID, p["client.id"])
	protocol := p["security.protocol"]
	if c.TLS == nil && (protocol == "SSL" || protocol == "SASL_SSL") {
		t := &TLS{KeyPassphrase: sdk.Secret(p["ssl.key.password"]), KeyPEM: sdk.Secret(p["ssl.keystore.key"])}
		t.Cert, t.CACert = p["ssl.keystore.certificate.chain"], p["ssl.truststore.certificates"]
		for _, store := range []struct {
			name string
			at   []*string
		}{
			{"truststore", []*string{&t.CACert}},
			{"keystore", []*string{&t.Cert, &t.Key}},
		} {
			file := p["ssl."+store.name+".location"]
			if file == "" {
				continue
			}
			if !strings.EqualFold(p["ssl."+store.name+".type"], "PEM") {
				return &sdk.Error{
					Code: sdk.Unsupported, Part: -1, Message: "propertiesFile has a " + store.name + " that is no PEM file",
					Hint: "write caCert, cert and key under tls, as PEM files",
				}
			}
			for _, at := range store.at {
				*at = file // key and certificate are in one file
			}
		}
		c.TLS = t
	}
	if mechanism := p["sasl.mechanism"]; c.SASL == nil && mechanism != "" && strings.HasPrefix(protocol, "SASL_") {
		s := &SASL{Mechanism: mechanism}
		for _, m := range jaas.FindAllStringSubmatch(p["sasl.jaas.config"], -1) {
			value := unescape.Replace(m[2])
			switch m[1] {
			case "username", "clientId":
				s.Username = value
			default:
				s.Password = sdk.Secret(value)
			}
		}
		c.SASL = s
		if url := p["sasl.oauthbearer.token.endpoint.url"]; url != "" && c.OAuth == nil {
			c.OAuth = &OAuth{TokenURL: url}
		}
	}
	return nil
}

var unescape = strings.NewReplacer(`\"`, `"`, `\\`, `\`)

// parseProperties reads the lines `key=value` of a properties file; one that ends in
// a backslash goes on in the next.
func parseProperties(text string) map[string]string {
	out := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	line := ""
	for lines.Scan() {
		part := strings.TrimLeft(lines.Text(), " \t")
		if line == "" && (part == "" || part[0] == '#' || part[0] == '!') {
			continue
		}
		if more, goesOn := strings.CutSuffix(part, `\`); goesOn {
			line += more
			continue
		}
		line += part
		key, value, found := strings.Cut(line, "=")
		if !found {
			key, value, _ = strings.Cut(line, ":")
		}
		out[strings.TrimSpace(key)] = strings.TrimSpace(value)
		line = ""
	}
	return out
}
