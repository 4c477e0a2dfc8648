package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
)

func faults() []fault {
	return slices.Concat(offerFaults(), changeFaults(), transactionFaults(), executeFaults(), conductFaults())
}

func offerFaults() []fault {
	return []fault{
		{"no version", entryCase, func(k *kit) { k.call = metadataWith(`"version":"1.0.0"`, `"version":"one"`) }, []string{"metadata is right"}},
		{"unknown key in the metadata", entryCase, func(k *kit) { k.call = metadataWith(`"version"`, `"extra":1,"version"`) }, []string{"metadata is right"}},
		{"metadata changes", entryCase, func(k *kit) {
			var calls atomic.Int64
			k.call = answers(func(r *pluginv1.GetMetadataResponse) {
				r.Metadata = fmt.Appendf(nil, `{"summary":"call %d",%s`, calls.Add(1), r.GetMetadata()[1:])
			})
		}, []string{"metadata is always the same"}},
		{"schema of an unknown type", entryCase, func(k *kit) { k.call = metadataWith(`"type":"integer"`, `"type":"integre"`) }, []string{"schemas are right"}},
		{"schema of something else", entryCase, func(k *kit) { k.call = metadataWith(`^[a-z0-9.-]+$`, `^[0-9]+$`) }, []string{"the case fits the schemas"}},
		{"check finds what is not there", entryCase, func(k *kit) {
			k.entry.Check = func(c *sdk.Check[sdk.None, memory.EntryPayload]) { c.Report(sdk.Diagnostic{Summary: "no"}) }
		}, []string{"the case passes the check"}},
		{"check does not say why", entryCase, func(k *kit) {
			k.call = answers(func(r *pluginv1.CheckResponse) {
				for _, c := range r.GetChecked() {
					c.Reason = ""
				}
			})
		}, []string{"the case passes the check"}},
		{"check finds nothing", entryCase, func(k *kit) {
			k.call = answers(func(r *pluginv1.CheckResponse) {
				for _, c := range r.GetChecked() {
					c.Diagnostics = nil
				}
			})
		}, []string{"unknown fields are found, each at its place", "an unknown template is found", "changes are answered in their order"}},
		{"check loses the place", scriptCase, func(k *kit) {
			k.call = answers(func(r *pluginv1.CheckResponse) {
				for _, c := range r.GetChecked() {
					for _, d := range c.GetDiagnostics() {
						d.Path = ""
					}
				}
			})
		}, []string{"unknown fields are found, each at its place"}},
		{"check answers backwards", entryCase, func(k *kit) {
			k.call = answers(func(r *pluginv1.CheckResponse) { slices.Reverse(r.Checked) })
		}, []string{"changes are answered in their order"}},
		{"unknown configuration is accepted", entryCase, func(k *kit) {
			k.call = questions(func(r *pluginv1.OpenRequest) { r.Values = known(r.GetValues()) })
		}, []string{"unknown fields of a target are refused"}},
		{"unknown fields are applied", entryCase, func(k *kit) {
			k.toPlugin = func(m *pluginv1.ExecuteRequest) error {
				for _, s := range m.GetStart().GetWork().GetSteps() {
					s.Apply.Json = known(s.GetApply().GetJson())
				}
				return nil
			}
		}, []string{"a change that is not right is not begun"}},
	}
}

func changeFaults() []fault {
	return []fault{
		{"apply fails", entryCase, func(k *kit) {
			k.entry.Apply = func(context.Context, conn, *entryStep) error { return errors.New("no") }
		}, []string{"the case can be applied"}},
		{"apply does nothing", entryCase, func(k *kit) {
			k.entry.Apply = func(context.Context, conn, *entryStep) error { return nil }
		}, []string{"the probe sees what apply did"}},
		{"probe always says yes", entryCase, func(k *kit) {
			k.entry.Probe = func(context.Context, conn, *entryStep) (sdk.Evidence, error) {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
		}, []string{"the probe sees what apply did", "the rollback takes back what apply did"}},
		{"preview applies", entryCase, func(k *kit) {
			k.entry.Preview = func(_ context.Context, c conn, s *entryStep) (sdk.Preview, error) {
				c.Set(s.Payload.Key, s.Payload.Value)
				return sdk.Preview{Lines: []string{"x"}}, nil
			}
		}, []string{"looking changes nothing"}},
		{"empty preview", entryCase, func(k *kit) {
			k.entry.Preview = func(context.Context, conn, *entryStep) (sdk.Preview, error) { return sdk.Preview{}, nil }
		}, []string{"looking changes nothing"}},
		{"cannot be repeated", entryCase, func(k *kit) {
			k.entry.Apply = func(_ context.Context, c conn, s *entryStep) error {
				if _, ok := c.Get(s.Payload.Key); ok {
					return sdk.Errorf(sdk.Conflict, "it is there")
				}
				c.Set(s.Payload.Key, s.Payload.Value)
				return nil
			}
		}, []string{"applying again does no harm"}},
		{"inverse does nothing", entryCase, func(k *kit) {
			k.entry.Inverse = func(context.Context, conn, *entryStep, []byte) error { return nil }
		}, []string{"the rollback takes back what apply did"}},
		{"inverse fails", entryCase, func(k *kit) {
			k.entry.Inverse = func(context.Context, conn, *entryStep, []byte) error { return errors.New("no") }
		}, []string{"the rollback succeeds", "the rollback takes back what apply did"}},
		{"a checkpoint is missing", scriptCase, func(k *kit) {
			k.toHost = func(m *pluginv1.ExecuteResponse) bool {
				return m.GetCheckpoint().GetKind() != pluginv1.CheckpointKind_CHECKPOINT_KIND_APPLIED || m.GetCheckpoint().GetPart() >= 0
			}
		}, []string{"steps leave their checkpoints in order"}},
		{"rollback begins with the first step", entryCase, func(k *kit) {
			k.toHost = func(m *pluginv1.ExecuteResponse) bool {
				if c := m.GetCheckpoint(); c.GetKind() == pluginv1.CheckpointKind_CHECKPOINT_KIND_UNDONE {
					c.Step = 1 - c.GetStep()
				}
				return true
			}
		}, []string{"a rollback begins with the last step"}},
		{"works before it is allowed to", entryCase, func(k *kit) {
			k.entry.Capture = func(_ context.Context, c conn, s *entryStep) ([]byte, error) {
				c.Set(s.Payload.Key, s.Payload.Value)
				return []byte("{}"), nil
			}
		}, []string{"nothing is touched before the host has answered"}},
		{"failure of the wrong step", scriptCase, func(k *kit) {
			k.toHost = func(m *pluginv1.ExecuteResponse) bool {
				if f := m.GetDone().GetFailure(); f != nil {
					f.Step = 0
				}
				return true
			}
		}, []string{"a failure names its step"}},
		{"failure claims to be clean", scriptCase, func(k *kit) {
			k.toHost = func(m *pluginv1.ExecuteResponse) bool {
				if d := m.GetDone(); d.GetFailure() != nil {
					d.Clean = true
				}
				return true
			}
		}, []string{"a failure names its step"}},
	}
}

func transactionFaults() []fault {
	var plain memory.Transactor
	return []fault{
		{"no transaction", scriptTxCase, func(k *kit) {
			k.tx.Transactor = transactor{transact: func(ctx context.Context, c conn, w sdk.Transaction, fn txFunc) error {
				return plain.Transact(ctx, c, w, func(ctx context.Context, _ conn) (sdk.Captured, error) { return fn(ctx, c) })
			}}
		}, []string{"a failure names its step"}},
		{"a flush that does nothing", entryTxCase, func(k *kit) {
			k.tx.Transactor = forgetful{}
		}, []string{"what has ended is committed"}},
		{"no marker", entryTxCase, func(k *kit) {
			k.tx.Transactor = transactor{markers: func(context.Context, conn, sdk.Fence, []string) ([]sdk.Marker, error) { return nil, nil }}
		}, []string{"a marker is committed with the change"}},
		{"marker without the captured state", entryTxCase, func(k *kit) {
			k.tx.Transactor = transactor{transact: func(ctx context.Context, c conn, w sdk.Transaction, fn txFunc) error {
				return plain.Transact(ctx, c, w, func(ctx context.Context, tx conn) (sdk.Captured, error) {
					_, err := fn(ctx, tx)
					return nil, err
				})
			}}
		}, []string{"a marker is committed with the change"}},
		{"marker that forgets the rollback", entryTxCase, func(k *kit) {
			k.tx.Transactor = transactor{transact: func(ctx context.Context, c conn, w sdk.Transaction, fn txFunc) error {
				w.RolledBack = false
				return plain.Transact(ctx, c, w, fn)
			}}
		}, []string{"the marker tells of a rollback"}},
		{"the fence is not looked at", entryTxCase, func(k *kit) {
			k.tx.Transactor = transactor{transact: func(ctx context.Context, c conn, w sdk.Transaction, fn txFunc) error {
				w.Fence.Token += 1000
				return plain.Transact(ctx, c, w, fn)
			}}
		}, []string{"a stale token commits nothing"}},
		{"the fence can be lowered", entryTxCase, func(k *kit) {
			k.tx.Transactor = transactor{markers: func(ctx context.Context, c conn, f sdk.Fence, ids []string) ([]sdk.Marker, error) {
				f.Scope += fmt.Sprint(f.Token)
				return plain.Markers(ctx, c, f, ids)
			}}
		}, []string{"a raised fence is never lowered"}},
		{"marker of a failure", scriptTxCase, func(k *kit) {
			k.tx.Transactor = transactor{transact: func(ctx context.Context, c conn, w sdk.Transaction, fn txFunc) error {
				var failed error
				err := plain.Transact(ctx, c, w, func(ctx context.Context, tx conn) (sdk.Captured, error) {
					captured, err := fn(ctx, tx)
					failed = err
					return captured, nil
				})
				return errors.Join(failed, err)
			}}
		}, []string{"a change that failed leaves no marker"}},
		{"a cancelled transaction goes on", entryTxCase, deaf, []string{"a work whose conversation is gone lets go of its target"}},
	}
}

// deaf does not hear that its context has ended.
func deaf(k *kit) {
	apply := k.entry.Apply
	k.entry.Apply = func(ctx context.Context, c conn, s *entryStep) error { return apply(context.WithoutCancel(ctx), c, s) }
}

func executeFaults() []fault {
	return []fault{
		{"no heartbeats", entryCase, func(k *kit) {
			k.toHost = func(m *pluginv1.ExecuteResponse) bool { return m.GetHeartbeat() == nil }
		}, []string{"a slow work shows that it is alive"}},
		{"cannot be stopped", entryCase, deaf, []string{"a work that is stopped ends within a second", "a work ends with its lease"}},
		{"cannot be stopped in a transaction", entryTxCase, deaf, []string{"a work that is stopped ends within a second", "a work ends with its lease"}},
		{"lease is not looked at", entryCase, func(k *kit) {
			k.toPlugin = func(m *pluginv1.ExecuteRequest) error {
				if s := m.GetStart(); s != nil {
					s.Lease = nil
				}
				return nil
			}
		}, []string{"a work ends with its lease"}},
		{"lease is never extended", entryCase, func(k *kit) {
			k.toPlugin = func(m *pluginv1.ExecuteRequest) error {
				if l := m.GetLease(); l != nil {
					l.Lease = nil
				}
				return nil
			}
		}, []string{"a lease can be extended"}},
		{"does not stop after the step", entryCase, func(k *kit) {
			k.toPlugin = func(m *pluginv1.ExecuteRequest) error {
				if m.GetStop().GetMode() == pluginv1.StopMode_STOP_MODE_AFTER_STEP {
					m.Command = nil
				}
				return nil
			}
		}, []string{"stop after the step lets the step end"}},
		{"goes on where it is refused", scriptCase, func(k *kit) {
			k.toPlugin = func(m *pluginv1.ExecuteRequest) error {
				if a := m.GetAck(); a != nil {
					a.Refused = false
				}
				return nil
			}
		}, []string{"a refused checkpoint ends the work"}},
		{"does not know what it saved", entryCase, func(k *kit) {
			apply := k.entry.Apply
			k.entry.Apply = func(ctx context.Context, c conn, s *entryStep) error {
				if s.Saved != nil {
					return errors.New("what is this?")
				}
				return apply(ctx, c, s)
			}
		}, []string{"a step goes on from what it saved"}},
		{"goes on after a failure", entryCase, func(k *kit) {
			k.toHost = func(m *pluginv1.ExecuteResponse) bool {
				if d := m.GetDone(); d != nil {
					d.Skipped = false
				}
				return true
			}
		}, []string{"after a failure nothing more is begun"}},
		{"confuses works", entryCase, func(k *kit) {
			k.toHost = func(m *pluginv1.ExecuteResponse) bool {
				m.Sequence = 0
				return true
			}
		}, []string{"works are done one after another"}},
	}
}

func conductFaults() []fault {
	return []fault{
		{"logs a password", entryCase, func(k *kit) {
			open := k.driver.Open
			k.driver.Open = func(ctx context.Context, cfg memory.Config) (conn, error) {
				sdk.Logger(ctx).Info("connecting", "password", cfg.Password.Reveal())
				return open(ctx, cfg)
			}
		}, []string{"secrets are never said"}},
		{"shows a password in an error", entryCase, func(k *kit) {
			k.call = answers(func(r *pluginv1.OpenResponse) {
				if r.GetFailure() != nil {
					r.Failure.Hint = "is " + password + " right?"
				}
			})
		}, []string{"secrets are never said"}},
		{"one call at a time", entryCase, func(k *kit) {
			var calls atomic.Int64
			k.call = func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				if calls.Add(1) > 1 {
					return nil, status.Error(codes.ResourceExhausted, "one at a time")
				}
				defer calls.Add(-1)
				time.Sleep(time.Millisecond) // long enough to be met by another
				return next(ctx, req)
			}
		}, []string{"calls at once do not disturb one another"}},
		{"refuses what it does not know", entryCase, func(k *kit) {
			k.toPlugin = func(m *pluginv1.ExecuteRequest) error {
				if m.GetCommand() == nil {
					return status.Error(codes.InvalidArgument, "unknown command")
				}
				return nil
			}
		}, []string{"what a newer host says is ignored"}},
		{"one handle for all", entryCase, func(k *kit) {
			k.call = answers(func(r *pluginv1.OpenResponse) { r.Handle = 1 })
		}, []string{"every target system has a handle of its own"}},
		{"ill from the start", entryCase, func(k *kit) {
			k.driver.Health = func(context.Context, conn) error { return errors.New("not well") }
		}, []string{"the health of an open target can be asked"}},
		{"takes any driver", entryCase, func(k *kit) {
			k.call = questions(func(r *pluginv1.OpenRequest) { r.Driver = "memory" })
		}, []string{"an unknown driver is refused"}},
	}
}
