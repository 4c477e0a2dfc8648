package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/build"
	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/signature"
)

func newPluginBuild(a *app) *cobra.Command {
	var (
		o         build.Options
		platforms []string
		binaries  []string
		key       string
	)
	cmd := &cobra.Command{
		Use:   "build [folder] --version version",
		Short: "Build a plugin for all platforms, ready to be published",
		Long: `Build a plugin for all platforms from the main package in a folder: without cgo,
without paths and times of this machine, so that the same code gives the same
digest. What comes out is an OCI image layout with the programs, what they offer,
README and licence, an SBOM (SPDX) and the provenance (SLSA).

The version is given to the program in the variable main.version. Programs in other
languages are built before and named by --binary.`,
		Example: `  flamingock plugin build --version 1.2.0 --public-key acme.pub
  flamingock plugin build --version 1.2.0 --binary linux/amd64=./acme --out dist/acme`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Dir = "."
			if len(args) > 0 {
				o.Dir = args[0]
			}
			if o.Version == "" {
				return usageError{errors.New("--version is missing")}
			}
			for _, p := range platforms {
				parsed, err := artifact.ParsePlatform(p)
				if err != nil {
					return usageError{err}
				}
				o.Platforms = append(o.Platforms, parsed)
			}
			if err := parseBinaries(&o, binaries); err != nil {
				return err
			}
			if key != "" {
				data, err := os.ReadFile(key)
				if err != nil {
					return fmt.Errorf("read the public key: %w", err)
				}
				public, err := signature.ParsePublicKey(string(data))
				if err != nil {
					return usageError{fmt.Errorf("public key %s: %w", key, err)}
				}
				o.PublicKey = public.String()
			}
			if o.Out == "" {
				abs, err := filepath.Abs(o.Dir)
				if err != nil {
					return err
				}
				o.Out = filepath.Join("dist", strings.TrimPrefix(filepath.Base(abs), artifact.Prefix)+"-"+o.Version)
			}
			w := a.err()
			o.Observe = func(what string) {
				if w.Live() {
					w.Rewrite("… building for " + what)
				}
			}
			out, err := build.Build(cmd.Context(), o)
			if w.Live() {
				w.Rewrite("")
			}
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(out)
			}
			a.showBuilt(out)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Version, "version", "", "the version, such as 1.2.0")
	f.StringSliceVar(&platforms, "platforms", build.DefaultPlatforms(), "what to build for")
	f.StringArrayVar(&binaries, "binary", nil, "a program that is built already, as os/arch=path (repeatable)")
	f.StringVar(&o.Metadata, "metadata", "", "file with what the program prints at `describe`, where it cannot be run here")
	f.StringVar(&key, "public-key", "", "the public key of who will sign it, for users who trust on first use")
	f.StringVar(&o.Out, "out", "", "the folder to write (default dist/name-version)")
	return cmd
}

func parseBinaries(o *build.Options, binaries []string) error {
	for _, b := range binaries {
		platform, path, ok := strings.Cut(b, "=")
		p, err := artifact.ParsePlatform(platform)
		if !ok || err != nil {
			return usageError{fmt.Errorf("--binary %q: write it as linux/amd64=path", b)}
		}
		if o.Binaries == nil {
			o.Binaries = map[artifact.Platform]string{}
		}
		o.Binaries[p] = path
	}
	return nil
}

func (a *app) showBuilt(r *build.Result) {
	w := a.out()
	w.Printf("%s %s in %s\n", w.Paint(terminal.Bold, r.Name), r.Version, r.Folder)
	for _, p := range sortedKeys(r.Platforms) {
		w.Printf("  %-14s %s\n", p, shortDigest(r.Platforms[p]))
	}
	w.Printf("  %-14s %s\n", "digest", r.Digest)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
