package auth0

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestVariables shows what is taken from the environment where it is not written.
func TestVariables(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, []byte("a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		written Config
		env     map[string]string
		want    Config
		wantErr string
	}{
		{
			name: "a client", env: map[string]string{"AUTH0_DOMAIN": "https://acme.eu.auth0.com/", "AUTH0_CLIENT_ID": "id", "AUTH0_CLIENT_SECRET": "s", "AUTH0_AUDIENCE": "a"},
			want: Config{Domain: "acme.eu.auth0.com", ClientID: "id", ClientSecret: "s", Audience: "a"},
		},
		{
			name: "what is written comes first", written: Config{Domain: "b", ClientID: "mine", ClientSecret: "m"},
			env:  map[string]string{"AUTH0_DOMAIN": "a", "AUTH0_CLIENT_ID": "id", "AUTH0_CLIENT_SECRET": "s", "AUTH0_API_TOKEN": "t"},
			want: Config{Domain: "b", ClientID: "mine", ClientSecret: "m"},
		},
		{
			name: "the id of a client whose secret is written", written: Config{Domain: "b", ClientSecret: "m"}, env: map[string]string{"AUTH0_CLIENT_ID": "id"},
			want: Config{Domain: "b", ClientID: "id", ClientSecret: "m"},
		},
		{
			name: "the algorithm of a key that is written", written: Config{Domain: "b", ClientID: "id", PrivateKey: "k"}, env: map[string]string{"AUTH0_CLIENT_ASSERTION_SIGNING_ALG": "PS256"},
			want: Config{Domain: "b", ClientID: "id", PrivateKey: "k", SigningAlgorithm: "PS256"},
		},
		{
			name: "a key, as other tools name it", written: Config{Domain: "b"}, env: map[string]string{"AUTH0_CLIENT_ID": "id", "AUTH0_CLIENT_SIGNING_KEY_PATH": key, "AUTH0_CLIENT_SIGNING_ALGORITHM": "RS384"},
			want: Config{Domain: "b", ClientID: "id", PrivateKey: "a key", SigningAlgorithm: "RS384"},
		},
		{name: "a token", written: Config{Domain: "b"}, env: map[string]string{"AUTH0_ACCESS_TOKEN": "t"}, want: Config{Domain: "b", APIToken: "t"}},
		{name: "no domain", wantErr: "no domain is given"},
		{name: "no credentials", written: Config{Domain: "b"}, wantErr: "no credentials are given"},
		{name: "no secret", written: Config{Domain: "b", ClientID: "id"}, wantErr: "has neither a secret nor a key"},
		{name: "no such key", written: Config{Domain: "b"}, env: map[string]string{"AUTH0_CLIENT_SIGNING_KEY_PATH": key + ".not"}, wantErr: "AUTH0_CLIENT_SIGNING_KEY_PATH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range New().Environment {
				t.Setenv(name, c.env[name])
			}
			got := c.written
			err := got.fill()
			switch {
			case c.wantErr == "" && err != nil, c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)):
				t.Fatalf("got %v, want %q", err, c.wantErr)
			case err != nil:
				return
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
