package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/develop"
	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/registry"
)

// finding is one line of `plugin doctor`.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Text  string `json:"text"`
}

func newPluginDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps plugins from being installed or started",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := a.diagnose(cmd)
			if err != nil {
				return err
			}
			bad := 0
			for _, f := range out {
				if !f.OK {
					bad++
				}
			}
			if a.json() {
				err = a.writeJSON(map[string]any{"findings": out})
			} else {
				w := a.out()
				for _, f := range out {
					mark := w.Paint(terminal.Green, "✓ ")
					if !f.OK {
						mark = w.Paint(terminal.Red, "✗ ")
					}
					w.Printf("%s%-15s %s\n", mark, f.Check, f.Text)
				}
			}
			if bad > 0 {
				return fmt.Errorf("%s", count(bad, "problem"))
			}
			return err
		},
	}
}

// diagnose looks at everything that installing and starting need.
func (a *app) diagnose(cmd *cobra.Command) ([]finding, error) {
	p, err := a.anyProject()
	if err != nil {
		return nil, err
	}
	var out []finding
	say := func(check string, err error, text string) {
		if err != nil {
			text = err.Error()
		}
		out = append(out, finding{Check: check, OK: err == nil, Text: text})
	}
	path, _, err := registry.ConfigFile()
	if err == nil {
		_, err = registry.ReadConfig()
	}
	if _, serr := os.Stat(path); serr != nil {
		path = "none on this machine"
	}
	say("configuration", err, path)
	if err != nil {
		return out, nil //nolint:nilerr // it is a finding
	}
	c, err := a.registry(p)
	if err != nil {
		say("client", err, "")
		return out, nil
	}
	say("cache", writable(c.Store().Dir()), c.Store().Dir())
	say("confinement", nil, kernelText())
	if p == nil {
		say("project", nil, "none here")
		return out, nil
	}
	developed, err := a.developed(p)
	say("development", err, developedNow(developed))
	locked, err := a.lockedProject()
	say("lock file", err, lockPath(p))
	if err != nil {
		return out, nil //nolint:nilerr // it is a finding
	}
	refs, err := locked.choose(nil)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		l := locked.lock.Plugin(ref.Name)
		if why := unlocked(ref, l); why != "" {
			say(ref.Name, fmt.Errorf("it %s; run `flamingock plugin install`", why), "")
			continue
		}
		one := locked.listed(ref.Name)
		if one.State != "installed" {
			say(ref.Name, fmt.Errorf("it is %s; run `flamingock plugin install`", one.State), "")
		} else {
			say(ref.Name, nil, fmt.Sprintf("%s is installed%s", l.Version, signedBy(one.Signer)))
		}
		versions, err := c.Versions(cmd.Context(), ref.Source)
		say(ref.Name+" source", err, fmt.Sprintf("%s has %s", ref.Source, count(len(versions), "version")))
	}
	return out, nil
}

// writable tries to write into a folder.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".doctor-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(filepath.Clean(f.Name())))
}

// developedNow says which plugins are used that are being developed.
func developedNow(list []develop.Override) string {
	if len(list) == 0 {
		return "only installed plugins are used"
	}
	var out []string
	for _, d := range list {
		out = append(out, fmt.Sprintf("%s is used from %s (%s)", d.Name, d.Path, offeredBy(d)))
	}
	return strings.Join(out, "; ")
}
