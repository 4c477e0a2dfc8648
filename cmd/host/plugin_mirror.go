package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/registry/lockfile"
)

func newPluginMirror(a *app) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "mirror --to place [name]...",
		Short: "Copy the project's plugins to another registry or a folder",
		Long: `Copy the plugins of ` + lockfile.Name + `, for all platforms and with their signatures, to
another registry or into a folder (an OCI image layout). {path} stands for the
source without its registry, {name} for the last part of it.

Installing from there needs a mirror in the configuration:

    registry:
      mirrors:
        - {source: "registry.example.com/*", to: "mirror.corp/plugins/{path}"}`,
		Example: `  flamingock plugin mirror --to "mirror.corp/plugins/{path}"
  flamingock plugin mirror --to oci-layout:/media/stick/plugins`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usageError{errors.New("--to is missing")}
			}
			p, err := a.lockedProject()
			if err != nil {
				return err
			}
			plugins, err := p.chosen(args)
			if err != nil {
				return err
			}
			if err := p.client.Mirror(cmd.Context(), plugins, to); err != nil {
				return missingPlugin(err)
			}
			return a.copied(plugins, to)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "registry and repository, with {name} or {path}; or oci-layout:FOLDER")
	return cmd
}

func (a *app) copied(plugins []lockfile.Plugin, to string) error {
	if a.json() {
		names := make([]string, 0, len(plugins))
		for _, p := range plugins {
			names = append(names, p.Name)
		}
		return a.writeJSON(map[string]any{"plugins": names, "to": to})
	}
	a.out().Printf("%s copied to %s\n", count(len(plugins), "plugin"), to)
	return nil
}

func newPluginBundle(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "bundle --file file [name]...",
		Short: "Write the project's plugins into one file for machines without network",
		Long: `Write the plugins of ` + lockfile.Name + `, for all platforms and with their signatures,
into one tar file. Where there is no network, a mirror in the configuration names it:

    registry:
      mirrors:
        - {source: "*", to: "oci-layout:plugins.tar"}`,
		Example: "  flamingock plugin bundle --file plugins.tar",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.lockedProject()
			if err != nil {
				return err
			}
			plugins, err := p.chosen(args)
			if err != nil {
				return err
			}
			if err := p.client.Bundle(cmd.Context(), plugins, out); err != nil {
				return missingPlugin(err)
			}
			return a.copied(plugins, out)
		},
	}
	cmd.Flags().StringVar(&out, "file", "plugins.tar", "the file to write")
	return cmd
}

func newPluginPrune(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove from the cache what no project needs",
		Long: `Remove from the cache what no project needs. Projects are known by their lock files,
from the time they were installed from; those whose lock file is gone count no more.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.registry(nil)
			if err != nil {
				return err
			}
			out, err := c.Prune(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(out)
			}
			a.out().Printf("removed %s and %s from %s (%s); kept those of %s\n",
				count(out.Programs, "program"), count(out.Blobs, "download"), c.Store().Dir(), megabytes(out.Bytes), count(len(out.Projects), "project"))
			return nil
		},
	}
}
