package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/plugin/scaffold"
)

func newPluginNew(a *app) *cobra.Command {
	var o scaffold.Options
	cmd := &cobra.Command{
		Use:   "new name",
		Short: "Begin a plugin",
		Long: `Write the beginning of a plugin into a folder of its name: a Go program that works,
a test that checks what every plugin promises, README and CI.`,
		Example: `  flamingock plugin new acme
  flamingock plugin new acme --target acme-cloud --module example.com/acme/flamingock-plugin-acme`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			o.Name = args[0]
			if o.Dir == "" {
				o.Dir = "flamingock-plugin-" + o.Name
			}
			if strings.HasPrefix(version, "v") && !strings.Contains(version, "-") {
				o.SDK = version
			}
			names, err := scaffold.Write(o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(map[string]any{"folder": o.Dir, "files": names})
			}
			w := a.out()
			for _, n := range names {
				w.Println(w.Paint(terminal.Green, "✓ ") + filepath.Join(o.Dir, n))
			}
			w.Printf("\nNext:\n  cd %s\n  go mod tidy && go test ./...\n", o.Dir)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "the folder (default flamingock-plugin-NAME)")
	f.StringVar(&o.Target, "target", "", "the type of its target systems (default the name)")
	f.StringVar(&o.Module, "module", "", "the path of the Go module (default flamingock-plugin-NAME)")
	f.StringVar(&o.SDKDir, "sdk-dir", "", "a folder with the source of Flamingock, in place of a release of it")
	return cmd
}
