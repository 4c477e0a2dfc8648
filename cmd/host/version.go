package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of the command and of the plugins it finds",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			revision := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = s.Value
					}
				}
			}
			found, err := a.foundPlugins(cmd.Context())
			if a.json() {
				return a.writeJSON(map[string]any{
					"version": version, "revision": revision, "go": runtime.Version(),
					"platform": runtime.GOOS + "/" + runtime.GOARCH, "plugins": found,
				})
			}
			w := a.out()
			w.Printf("flamingock %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			var rows [][]terminal.Cell
			for _, p := range found {
				rows = append(rows, []terminal.Cell{{Text: p.Name}, {Text: p.Version}, {Text: p.Path}})
			}
			w.Table([]string{"PLUGIN", "VERSION", "FILE"}, rows)
			return err
		},
	}
}
