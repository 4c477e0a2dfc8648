package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/project"
	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/compare"
	"github.com/flamingock/flamingock-go/registry/lockfile"
)

// update is one plugin's way from one version to another.
type update struct {
	Name   string `json:"name"`
	From   string `json:"from,omitempty"`
	To     string `json:"to"`
	Signer string `json:"signer,omitempty"`
	// Differences are those that the project's changes meet; Others is how many there
	// are beside them.
	Differences []compare.Difference `json:"differences"`
	Others      int                  `json:"others"`
	// Unknown says why there is nothing to compare with.
	Unknown string `json:"unknown,omitempty"`

	plugin lockfile.Plugin
}

func newPluginUpdate(a *app) *cobra.Command {
	var opts installOptions
	var yes, dry, all bool
	cmd := &cobra.Command{
		Use:   "update [name]...",
		Short: "Move plugins to the newest versions that the project file allows",
		Long: `Move plugins to the newest versions that the project file allows. Before anything is
written it shows what is different for the changes of this project: templates,
operations and fields that they use and that were removed or changed. What is marked
with ! may make a change invalid that was valid; run ` + "`flamingock validate`" + ` after it.`,
		Example: `  flamingock plugin update --dry-run
  flamingock plugin update kafka --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.lockedProject()
			if err != nil {
				return err
			}
			refs, err := p.choose(args)
			if err != nil {
				return err
			}
			updates, err := p.updates(cmd.Context(), refs, opts, all)
			if err != nil {
				return missingPlugin(err)
			}
			if !a.json() {
				a.showUpdates(updates)
			}
			if len(updates) == 0 || dry {
				return a.updated(updates, false)
			}
			if !yes {
				if err := a.confirm("Update " + count(len(updates), "plugin") + "?"); err != nil {
					return err
				}
			}
			for _, u := range updates {
				p.lock.Set(u.plugin)
			}
			if err := p.install(cmd.Context(), refs); err != nil {
				return err
			}
			if _, err := p.lock.Write(p.path); err != nil {
				return err
			}
			return a.updated(updates, true)
		},
	}
	opts.flags(cmd)
	must(cmd.Flags().MarkHidden("locked"))
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show what would be updated")
	cmd.Flags().BoolVar(&all, "all", false, "show also what this project does not use")
	return cmd
}

func (a *app) updated(updates []update, done bool) error {
	if a.json() {
		if updates == nil {
			updates = []update{}
		}
		return a.writeJSON(map[string]any{"updates": updates, "updated": done})
	}
	if len(updates) == 0 {
		a.out().Println("all plugins are at the newest versions that the project file allows")
	}
	return nil
}

// updates resolves each plugin anew and returns those that would move.
func (p *lockedProject) updates(ctx context.Context, refs []project.PluginRef, opts installOptions, all bool) ([]update, error) {
	text, err := changesText(p.Dir)
	if err != nil {
		return nil, err
	}
	var out []update
	for _, ref := range refs {
		l := p.lock.Plugin(ref.Name)
		r, err := p.client.Resolve(ctx, registry.Request{
			Name: ref.Name, Source: ref.Source, Constraint: ref.Version, Locked: l,
			AcceptSigner: opts.acceptSigner, AllowDowngrade: opts.allowDowngrade,
		})
		if err != nil {
			return nil, err
		}
		if l != nil && l.Digest == r.Plugin.Digest {
			continue
		}
		u := update{Name: ref.Name, To: r.Plugin.Version, plugin: r.Plugin, Differences: []compare.Difference{}}
		if r.Plugin.Signer != nil {
			u.Signer = r.Plugin.Signer.Fingerprint
		}
		if l != nil {
			u.From = l.Version
			u.compare(ctx, p.client, l, r.Metadata, text, all)
		}
		out = append(out, u)
	}
	return out, nil
}

// compare finds out what is different for a project.
func (u *update) compare(ctx context.Context, c *registry.Client, l *lockfile.Plugin, after []byte, text string, all bool) {
	before, err := c.Metadata(ctx, l)
	var differences []compare.Difference
	if err == nil {
		differences, err = compare.Metadata(before, after)
	}
	if err != nil {
		u.Unknown = err.Error()
		return
	}
	for _, d := range differences {
		if all || uses(text, d) {
			u.Differences = append(u.Differences, d)
		} else {
			u.Others++
		}
	}
}

// changesText is all that the project's YAML files say.
func changesText(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) || d.Name() == lockfile.Name:
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		b.Write(data)
		b.WriteByte('\n')
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the project's changes: %w", err)
	}
	return b.String(), nil
}

// uses tells whether a project says the word by which it would meet a difference.
func uses(text string, d compare.Difference) bool {
	if d.Process {
		return true
	}
	word := d.Operation
	if word == "" {
		word = d.Template + d.Driver
	}
	if d.Kind == compare.Added && !d.Breaking && d.Field == "" {
		return false // what is new nobody uses yet
	}
	if alias, ok := strings.CutPrefix(d.Field, "alias "); ok {
		word = alias
	}
	return regexp.MustCompile(`(^|[^\w-])` + regexp.QuoteMeta(word) + `($|[^\w-])`).MatchString(text)
}

func (a *app) showUpdates(updates []update) {
	w := a.out()
	for _, u := range updates {
		from := u.From
		if from == "" {
			from = "(none)"
		}
		w.Printf("%s  %s → %s%s\n", w.Paint(terminal.Bold, u.Name), from, u.To, signedBy(u.Signer))
		for _, d := range u.Differences {
			mark := "   "
			if d.Breaking {
				mark = w.Paint(terminal.Red, " ! ")
			}
			w.Println(mark + d.String())
		}
		switch {
		case u.Unknown != "":
			w.Println("   what is different is not known: " + u.Unknown)
		case len(u.Differences) == 0 && u.From != "":
			w.Println("   nothing that this project uses is different")
		}
		if u.Others > 0 {
			w.Printf("   %s in what this project does not use (--all shows them)\n", count(u.Others, "difference"))
		}
	}
}
