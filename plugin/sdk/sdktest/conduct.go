package sdktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// conductRules are about manners.
func conductRules() []Rule {
	return []Rule{
		{"secrets are never said", func(b *Bench) bool { return len(b.c.Secrets) > 0 }, secretsAreNeverSaid},
		{"calls at once do not disturb one another", always, callsAtOnce},
		{"what a newer host says is ignored", always, newerHostIsIgnored},
		{"every target system has a handle of its own", always, handlesAreSeparate},
		{"the health of an open target can be asked", always, healthIsGood},
		{"an unknown driver is refused", always, unknownDriverIsRefused},
	}
}

func secretsAreNeverSaid(ctx context.Context, b *Bench) error {
	handle, w, r, err := b.applied(ctx)
	if err == nil && b.reversible() {
		_, err = b.execute(ctx, handle, undo(w, r))
	}
	if err != nil {
		return err
	}
	if b.c.Failing != nil {
		if _, err := b.execute(ctx, handle, b.workOf(*b.c.Failing)); err != nil {
			return err
		}
	}
	if b.c.Refused != nil {
		resp, err := b.targets.Open(ctx, &pluginv1.OpenRequest{
			Id: "sdktest", Driver: b.driver.Type, Values: encode(b.t, b.c.Refused(b.t)),
		})
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		if resp.GetFailure() == nil {
			return errors.New("the configuration that is to be refused was accepted")
		}
		b.hear(resp)
	}
	b.mu.Lock()
	said := b.heard.String()
	b.mu.Unlock()
	if b.instance.Logs != nil {
		said += b.instance.Logs()
	}
	for _, secret := range b.c.Secrets {
		if at := strings.Index(said, secret); at >= 0 {
			return fmt.Errorf("a secret was said: …%s***", said[max(0, at-60):at])
		}
	}
	return nil
}

func callsAtOnce(ctx context.Context, b *Bench) error {
	const callers = 8
	shared, err := b.open(ctx)
	if err != nil {
		return err
	}
	errs := make([]error, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() { errs[i] = b.callEverything(ctx, shared) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// callEverything makes every call that changes nothing.
func (b *Bench) callEverything(ctx context.Context, shared uint64) error {
	own, err := b.open(ctx)
	if err != nil {
		return err
	}
	for _, handle := range []uint64{own, shared} {
		if _, err := b.check(ctx, b.work()); err != nil {
			return err
		}
		if _, err := b.targets.Health(ctx, &pluginv1.HealthRequest{Handle: handle}); err != nil {
			return fmt.Errorf("health: %w", err)
		}
		if err := b.preview(ctx, handle, b.work()); err != nil {
			return err
		}
		if b.probed() {
			if _, err := b.evidence(ctx, handle, b.work()); err != nil {
				return err
			}
		}
	}
	if _, err := b.targets.Close(ctx, &pluginv1.CloseRequest{Handle: own}); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// newer is what a later version of the protocol might add: field 1000, a text.
func newer() []byte { return []byte{0xc2, 0x3e, 0x03, 'n', 'e', 'w'} }

func newerHostIsIgnored(ctx context.Context, b *Bench) error {
	open := &pluginv1.OpenRequest{Id: "sdktest", Driver: b.driver.Type, Values: b.values}
	open.ProtoReflect().SetUnknown(newer())
	resp, err := b.targets.Open(ctx, open)
	if err != nil || resp.GetFailure() != nil {
		return errors.Join(err, fmt.Errorf("open with an unknown field: %s", failureText(resp.GetFailure())))
	}
	w := b.work()
	for _, m := range []proto.Message{w, w.GetSteps()[0], w.GetSteps()[0].GetApply(), w.GetFence()} {
		m.ProtoReflect().SetUnknown(newer())
	}
	if _, err := b.check(ctx, w); err != nil {
		return err
	}
	k, err := b.talk(ctx)
	if err != nil {
		return err
	}
	defer k.cancel()
	unknownCommand := &pluginv1.ExecuteRequest{}
	unknownCommand.ProtoReflect().SetUnknown(newer())
	for _, m := range []*pluginv1.ExecuteRequest{
		unknownCommand,
		{},
		{Command: &pluginv1.ExecuteRequest_Ack{Ack: &pluginv1.AckCommand{Checkpoint: 4711}}},
	} {
		if err := k.send(m); err != nil {
			return err
		}
	}
	if err := k.start(0, resp.GetHandle(), w, 0); err != nil {
		return err
	}
	r, err := k.finish(nil)
	if err != nil {
		return fmt.Errorf("after an unknown command: %w", err)
	}
	if f := r.done.GetFailure(); f != nil {
		return fmt.Errorf("after an unknown command: %s", failureText(f))
	}
	return k.end()
}

func handlesAreSeparate(ctx context.Context, b *Bench) error {
	first, err := b.open(ctx)
	if err != nil {
		return err
	}
	second, err := b.open(ctx)
	if err != nil {
		return err
	}
	if first == second {
		return fmt.Errorf("two target systems have the handle %d", first)
	}
	if _, err := b.targets.Close(ctx, &pluginv1.CloseRequest{Handle: first}); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if _, err := b.targets.Health(ctx, &pluginv1.HealthRequest{Handle: first}); !isCode(err, codes.NotFound) {
		return fmt.Errorf("health of a closed target system: %w, want NotFound", orNone(err))
	}
	k, err := b.talk(ctx)
	if err != nil {
		return err
	}
	defer k.cancel()
	if err := k.start(0, first, b.work(), 0); err != nil {
		return err
	}
	for err == nil {
		_, err = k.next(patience)
	}
	if !isCode(errors.Unwrap(err), codes.NotFound) {
		return fmt.Errorf("a change on a closed target system: %w, want NotFound", err)
	}
	if _, err := b.succeed(ctx, second, b.work()); err != nil {
		return fmt.Errorf("one of two target systems was closed, and the other: %w", err)
	}
	return nil
}

var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

func healthIsGood(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	resp, err := b.targets.Health(ctx, &pluginv1.HealthRequest{Handle: handle})
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if f := resp.GetFailure(); f != nil {
		return fmt.Errorf("health of a target system that was just opened: %s", failureText(f))
	}
	return nil
}

func unknownDriverIsRefused(ctx context.Context, b *Bench) error {
	resp, err := b.targets.Open(ctx, &pluginv1.OpenRequest{Id: "sdktest", Driver: unknown, Values: b.values})
	if err == nil && resp.GetFailure() == nil {
		return fmt.Errorf("a target system of the type %q was opened", unknown)
	}
	return nil
}
