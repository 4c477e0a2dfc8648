package host

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host/internal/untrusted"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// target is an open connection to one target system.
type target struct {
	session *session
	origin  origin
	handle  uint64
	closed  atomic.Bool
	// lacks says why it has no transactions.
	lacks string
}

var (
	_ run.Target     = (*target)(nil)
	_ run.Deployment = (*target)(nil)
)

func (s *session) openTarget(ctx context.Context, cfg run.Config) (run.Target, error) {
	t := &target{session: s, origin: s.plugin.origin().of("target", cfg.ID)}
	const doing = "open"
	var resp *pluginv1.OpenResponse
	err := s.call(ctx, t.origin, doing, openTime, func(ctx context.Context) (err error) {
		resp, err = s.targets.Open(ctx, &pluginv1.OpenRequest{Id: cfg.ID, Driver: cfg.Driver, Values: cfg.Values})
		return err
	})
	if err != nil {
		return nil, err
	}
	if f := resp.GetFailure(); f != nil {
		return nil, t.failed(doing, f)
	}
	t.handle = resp.GetHandle()
	t.lacks = s.text(resp.GetNoTransactions(), excerptBytes)
	return t, nil
}

// NoTransactions implements run.Deployment.
func (t *target) NoTransactions() string { return t.lacks }

// failed returns what the target said as an error; nil where it said nothing.
func (t *target) failed(doing string, f *pluginv1.Failure) error {
	if f == nil {
		return nil
	}
	return t.origin.errorf("%s: %w", doing, t.session.targetError(f))
}

// Health implements run.Target.
func (t *target) Health(ctx context.Context) error {
	const doing = "check health"
	var resp *pluginv1.HealthResponse
	err := t.session.call(ctx, t.origin, doing, healthTime, func(ctx context.Context) (err error) {
		resp, err = t.session.targets.Health(ctx, &pluginv1.HealthRequest{Handle: t.handle})
		return err
	})
	if err != nil {
		return err
	}
	return t.failed(doing, resp.GetFailure())
}

// Preview implements run.Target.
func (t *target) Preview(ctx context.Context, w run.Work) (run.Preview, error) {
	doing := fmt.Sprintf("preview change %q", w.ChangeID)
	var resp *pluginv1.PreviewResponse
	err := t.session.call(ctx, t.origin, doing, previewTime, func(ctx context.Context) (err error) {
		resp, err = t.session.changes.Preview(ctx, &pluginv1.PreviewRequest{Handle: t.handle, Work: toWork(w)})
		return err
	})
	if err != nil {
		return run.Preview{}, err
	}
	if err := t.failed(doing, resp.GetFailure()); err != nil {
		return run.Preview{}, err
	}
	return run.Preview{Lines: t.session.texts(resp.GetLines()), Notes: t.session.texts(resp.GetNotes())}, nil
}

// Ready implements run.Readier.
func (t *target) Ready(ctx context.Context, works []run.Work) error {
	const doing = "look at what the target allows"
	req := &pluginv1.ReadyRequest{Handle: t.handle}
	for _, w := range works {
		req.Works = append(req.Works, toWork(w))
	}
	var resp *pluginv1.ReadyResponse
	err := t.session.call(ctx, t.origin, doing, healthTime, func(ctx context.Context) (err error) {
		resp, err = t.session.changes.Ready(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	return t.failed(doing, resp.GetFailure())
}

// Probe implements run.Target. It returns one element for each step of w, in the
// order of the steps: Unknown for those that the plugin said nothing of.
func (t *target) Probe(ctx context.Context, w run.Work) ([]run.StepEvidence, error) {
	doing := fmt.Sprintf("probe change %q", w.ChangeID)
	var resp *pluginv1.ProbeResponse
	err := t.session.call(ctx, t.origin, doing, probeTime, func(ctx context.Context) (err error) {
		resp, err = t.session.changes.Probe(ctx, &pluginv1.ProbeRequest{Handle: t.handle, Work: toWork(w)})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := t.failed(doing, resp.GetFailure()); err != nil {
		return nil, err
	}
	said := map[int]*pluginv1.StepEvidence{}
	for _, e := range resp.GetSteps() {
		said[int(e.GetStep())] = e
	}
	evidence := make([]run.StepEvidence, len(w.Steps))
	for i, step := range w.Steps {
		evidence[i] = t.session.stepEvidence(step.Index, said[step.Index])
	}
	return evidence, nil
}

// Markers implements run.Target. Markers of changes that were not asked about are
// left out.
func (t *target) Markers(ctx context.Context, f run.Fence, changeIDs []string) ([]run.Marker, error) {
	const doing = "read markers"
	var resp *pluginv1.MarkersResponse
	err := t.session.call(ctx, t.origin, doing, markersTime, func(ctx context.Context) (err error) {
		resp, err = t.session.changes.Markers(ctx, &pluginv1.MarkersRequest{
			Handle: t.handle, Fence: toFence(f), ChangeIds: changeIDs,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := t.failed(doing, resp.GetFailure()); err != nil {
		return nil, err
	}
	asked := make(map[string]bool, len(changeIDs))
	for _, id := range changeIDs {
		asked[id] = true
	}
	var markers []run.Marker
	for _, m := range resp.GetMarkers() {
		if asked[m.GetChangeId()] {
			markers = append(markers, fromMarker(m))
		}
	}
	return markers, nil
}

// Close implements run.Target. Closing again, or after the process ended, does
// nothing.
func (t *target) Close(ctx context.Context) error {
	if t.closed.Swap(true) || t.session.ended() {
		return nil
	}
	return t.session.call(ctx, t.origin, "close", closeTime, func(ctx context.Context) error {
		_, err := t.session.targets.Close(ctx, &pluginv1.CloseRequest{Handle: t.handle})
		return err
	})
}

// checkBytes bounds one portion of the changes that Check sends.
const checkBytes = 8 << 20

// check asks about works in portions that fit into messages.
func (s *session) check(ctx context.Context, driver string, works []run.Work) ([]run.Checked, error) {
	o := s.plugin.origin()
	const doing = "check changes"
	all := make([]run.Checked, 0, len(works))
	for len(all) < len(works) {
		req := &pluginv1.CheckRequest{Driver: driver}
		rest := works[len(all):]
		for size := 0; len(req.Works) < len(rest) && size < checkBytes; {
			w := toWork(rest[len(req.Works)])
			req.Works = append(req.Works, w)
			size += proto.Size(w)
		}
		var resp *pluginv1.CheckResponse
		err := s.call(ctx, o, doing, checkTime, func(ctx context.Context) (err error) {
			resp, err = s.general.Check(ctx, req)
			return err
		})
		if err != nil {
			return nil, err
		}
		if got, want := len(resp.GetChecked()), len(req.Works); got != want {
			return nil, o.errorf("%s: it was asked about %d changes and answered about %d", doing, want, got)
		}
		for i, c := range resp.GetChecked() {
			all = append(all, s.checked(rest[i], c))
		}
	}
	return all, nil
}

// text cleans a message from the plugin.
func (s *session) text(text string, limit int) string {
	return untrusted.Text(text, limit, s.plugin.opts.Redact)
}

// excerptRunes bounds what is shown of a statement or request.
const excerptRunes = 160

// excerpt shortens what a plugin quotes to one line. Secrets are masked in the
// whole of it first; cut or folded they would not be found.
func (s *session) excerpt(text string) string {
	line := []rune(strings.Join(strings.Fields(s.text(text, math.MaxInt)), " "))
	if len(line) > excerptRunes {
		line = append(line[:excerptRunes-1], '…')
	}
	return string(line)
}

func (s *session) texts(texts []string) []string {
	if len(texts) == 0 {
		return nil
	}
	cleaned := make([]string, len(texts))
	for i, t := range texts {
		cleaned[i] = s.text(t, messageBytes)
	}
	return cleaned
}
