package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
)

func newLock(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Look at the lock, and break it",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "status",
		Short: "Show who has the lock",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			h, err := e.Lock(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				if h == nil {
					return a.writeJSON(map[string]any{"held": false})
				}
				return a.writeJSON(map[string]any{
					"held": true, "key": h.Key, "owner": h.Owner, "token": h.Token,
					"expiresAt": h.ExpiresAt, "remainingMs": h.Remaining.Milliseconds(), "foreign": h.Foreign,
				})
			}
			w := a.out()
			if h == nil {
				w.Println("the lock is free")
				return nil
			}
			w.Printf("%s has the lock; %s\n", w.Paint(terminal.Bold, h.Owner), leaseText(h.Remaining))
			if h.Foreign {
				w.Println("it was taken by the Java implementation")
			}
			return nil
		},
	}, newLockRelease(a))
	return cmd
}

func newLockRelease(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Free the lock whoever has it",
		Long: `Free the lock whoever has it. What the evicted instance still writes is refused,
since its token is stale; a change of it that is not a transaction may still be
under way in its target system. A lock whose holder is gone frees itself when its
lease ends.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			h, err := e.Lock(cmd.Context())
			if err != nil {
				return err
			}
			if h != nil && !yes {
				if err := a.confirm(fmt.Sprintf("Take the lock away from %s (%s)?", h.Owner, leaseText(h.Remaining))); err != nil {
					return err
				}
			}
			h, err = e.BreakLock(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				evicted := ""
				if h != nil {
					evicted = h.Owner
				}
				return a.writeJSON(map[string]any{"released": h != nil, "evicted": evicted})
			}
			if h == nil {
				a.out().Println("the lock was free")
				return nil
			}
			a.out().Printf("the lock is free; %s was evicted\n", h.Owner)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
