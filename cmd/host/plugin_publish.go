package main

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/signature"
)

func newPluginPush(a *app) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "push folder source",
		Short: "Publish a version that `plugin build` built",
		Long: `Publish a version that ` + "`plugin build`" + ` built to a registry, with its SBOM and
provenance, and sign it with --key. A version that is published is not replaced by
another.`,
		Example: "  flamingock plugin push dist/acme-1.2.0 registry.example.com/acme/acme --key plugin.key",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			private, err := a.privateKey(key)
			if err != nil {
				return err
			}
			c, err := a.anyRegistry()
			if err != nil {
				return err
			}
			out, err := c.Push(cmd.Context(), args[0], args[1], private)
			if err != nil {
				return missingPlugin(err)
			}
			return a.pushed("published", out)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "file of the private key to sign with; its password is asked for, or in FLAMINGOCK_KEY_PASSWORD")
	return cmd
}

// anyRegistry is the client of the project, or of no project.
func (a *app) anyRegistry() (*registry.Client, error) {
	p, err := a.anyProject()
	if err != nil {
		return nil, err
	}
	return a.registry(p)
}

func (a *app) pushed(what string, out registry.Pushed) error {
	if a.json() {
		return a.writeJSON(out)
	}
	a.out().Printf("%s %s:%s%s\n  %s\n", what, out.Source, out.Version, signedBy(out.Signer), out.Digest)
	return nil
}

func newPluginSign(a *app) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "sign source@version",
		Short: "Sign a version that is published",
		Long: `Sign a version that is published, as ` + "`cosign sign --key`" + ` would; ` + "`cosign verify --key`" + `
accepts it.`,
		Example: "  flamingock plugin sign registry.example.com/acme/acme@1.2.0 --key plugin.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, version, ok := strings.Cut(args[0], "@")
			if !ok || key == "" {
				return usageError{errors.New("a version and --key are needed: sign registry.example.com/acme/acme@1.2.0 --key plugin.key")}
			}
			private, err := a.privateKey(key)
			if err != nil {
				return err
			}
			c, err := a.anyRegistry()
			if err != nil {
				return err
			}
			out, err := c.Sign(cmd.Context(), source, version, private)
			if err != nil {
				return missingPlugin(err)
			}
			return a.pushed("signed", out)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "file of the private key; its password is asked for, or in FLAMINGOCK_KEY_PASSWORD")
	return cmd
}

// privateKey reads a key; nil where none is named.
func (a *app) privateKey(file string) (*ecdsa.PrivateKey, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	password := []byte(nil)
	if strings.Contains(string(data), "ENCRYPTED") {
		if password, err = a.password("Password of " + file + ": "); err != nil {
			return nil, err
		}
	}
	key, err := signature.ParsePrivateKey(data, password)
	if err != nil {
		return nil, fmt.Errorf("private key %s: %w", file, err)
	}
	return key, nil
}

// password is that of a key: from the environment, where cosign's is known too, or from
// a person.
func (a *app) password(question string) ([]byte, error) {
	for _, name := range []string{"FLAMINGOCK_KEY_PASSWORD", "COSIGN_PASSWORD"} {
		if p, ok := os.LookupEnv(name); ok {
			return []byte(p), nil
		}
	}
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, usageError{errors.New("there is no terminal to ask for the key's password on; set FLAMINGOCK_KEY_PASSWORD")}
	}
	a.err().Printf("%s", question)
	p, err := term.ReadPassword(int(in.Fd()))
	a.err().Println()
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	return p, nil
}

func newPluginKeygen(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "keygen [name]",
		Short: "Make a key to sign plugins with",
		Long: `Make a key to sign plugins with: name.key, which a password protects and which stays
with you, and name.pub, which users may have. cosign uses both too.`,
		Example: "  flamingock plugin keygen acme",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := "plugin"
			if len(args) > 0 {
				name = args[0]
			}
			for _, f := range []string{name + ".key", name + ".pub"} {
				if _, err := os.Lstat(f); !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%s is there already; choose another name, or remove it", f)
				}
			}
			password, err := a.password("Password for the new key: ")
			if err != nil {
				return err
			}
			key, err := signature.GenerateKey()
			if err != nil {
				return err
			}
			private, err := signature.EncryptKey(key, password)
			if err != nil {
				return usageError{err}
			}
			public, err := signature.PublicKeyOf(key)
			if err != nil {
				return err
			}
			if err := os.WriteFile(name+".key", private, 0o600); err != nil {
				return fmt.Errorf("write the key: %w", err)
			}
			if err := os.WriteFile(name+".pub", public.PEM(), 0o644); err != nil { //nolint:gosec // it is public
				return fmt.Errorf("write the key: %w", err)
			}
			if a.json() {
				return a.writeJSON(map[string]string{"private": name + ".key", "public": name + ".pub", "fingerprint": public.Fingerprint()})
			}
			a.out().Printf("wrote %s.key and %s.pub, %s\n", name, name, public.Fingerprint())
			return nil
		},
	}
}

func newPluginCatalog(a *app) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "catalog",
		Short: "Publish a catalog for `plugin search`",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	push := &cobra.Command{
		Use:   "push file source",
		Short: "Publish a catalog",
		Long: `Publish a catalog: a JSON file with the plugins that ` + "`plugin search`" + ` finds.

    {"plugins": [{"name": "acme", "source": "registry.example.com/acme/acme",
                  "summary": "…", "targets": ["acme"], "templates": ["acme"], "latest": "1.2.0"}]}`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(filepath.Clean(args[0]))
			if err != nil {
				return fmt.Errorf("read the catalog: %w", err)
			}
			catalog, err := registry.ParseCatalog(data)
			if err != nil {
				return usageError{fmt.Errorf("%s: %w", args[0], err)}
			}
			catalog.Updated = time.Now().UTC().Truncate(time.Second)
			private, err := a.privateKey(key)
			if err != nil {
				return err
			}
			c, err := a.anyRegistry()
			if err != nil {
				return err
			}
			out, err := c.PushCatalog(cmd.Context(), catalog, args[1], private)
			if err != nil {
				return missingPlugin(err)
			}
			return a.pushed("published", out)
		},
	}
	push.Flags().StringVar(&key, "key", "", "file of the private key to sign with")
	cmd.AddCommand(push)
	return cmd
}
