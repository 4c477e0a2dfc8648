package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/lockfile"
)

func newPluginVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [name]...",
		Short: "Check installed plugins, their signatures and the lock file",
		Long: `Check plugins against ` + lockfile.Name + `: the installed file byte by byte, the index
and what it names for every platform, the signature by the policy that holds now,
and that the registry still has the version as it was. With --offline the registry
is not asked. It ends with 19 where something is wrong.`,
		Example: "  flamingock plugin verify --offline",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.lockedProject()
			if err != nil {
				return err
			}
			plugins, err := p.chosen(args)
			if err != nil {
				return err
			}
			out, wrong := make([]registry.Verified, 0, len(plugins)), 0
			for i := range plugins {
				v, err := p.client.Verify(cmd.Context(), &plugins[i])
				if err != nil {
					return missingPlugin(err)
				}
				if len(v.Problems) > 0 {
					wrong++
				}
				out = append(out, v)
			}
			if a.json() {
				err = a.writeJSON(map[string]any{"plugins": out})
			} else {
				a.showVerified(out)
			}
			if wrong > 0 {
				return untrustedError{fmt.Errorf("%s of %d not as it should be", count(wrong, "plugin"), len(out))}
			}
			return err
		},
	}
}

func (a *app) showVerified(all []registry.Verified) {
	w := a.out()
	if len(all) == 0 {
		w.Println("the lock file names no plugin")
	}
	for _, v := range all {
		if len(v.Problems) == 0 {
			w.Printf("%s%s %s  %s%s\n", w.Paint(terminal.Green, "✓ "), v.Name, v.Version, shortDigest(v.Digest), signedBy(v.Signer))
			continue
		}
		w.Printf("%s%s %s\n", w.Paint(terminal.Red, "✗ "), v.Name, v.Version)
		for _, p := range v.Problems {
			w.Println("    " + p)
		}
	}
}
