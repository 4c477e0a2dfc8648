package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// changeService works on open target systems.
type changeService struct {
	pluginv1.UnimplementedChangeServiceServer
	server *server
}

// template finds a template that works on d, or says why there is none.
func (c *catalog) template(name string, d *driverInfo) (template, string) {
	t, ok := c.templates[name]
	if !ok {
		return nil, fmt.Sprintf("plugin %s has no template %q", c.metadata.Name, name)
	}
	for _, m := range c.metadata.Templates {
		if m.Name != t.info().name {
			continue
		}
		for _, typ := range m.Drivers {
			if typ == d.typ {
				return t, ""
			}
		}
	}
	return nil, fmt.Sprintf("template %q does not work on target systems of type %s", name, d.typ)
}

// job is a work that was found fit to be done.
type job struct {
	target *openTarget
	info   *templateInfo
	// steps are in the order in which they are done.
	steps []preparedStep
}

// prepare finds what w needs to be applied or rolled back.
func (s *server) prepare(t *openTarget, w *pluginv1.Work, rollingBack bool) (*job, error) {
	tmpl, problem := s.catalog.template(w.GetTemplate(), t.driver)
	if problem != "" {
		return nil, Errorf(Invalid, "%s", problem)
	}
	steps, found := tmpl.prepare(t.driver.typ, w, rollingBack)
	if len(found) > 0 {
		return nil, invalidPayload(found)
	}
	if rollingBack {
		slices.Reverse(steps)
	}
	return &job{target: t, info: tmpl.info(), steps: steps}, nil
}

func rollsBack(w *pluginv1.Work) bool {
	return w.GetDirection() == pluginv1.Direction_DIRECTION_ROLLBACK
}

// invalidPayload is the error of a work whose payload is not right.
func invalidPayload(found []Diagnostic) *Error {
	first := found[0]
	where := first.Field
	if first.Path != "" {
		where += " " + first.Path
	}
	e := Errorf(Invalid, "%s of step %d is not right: %s", where, first.Step, first.Summary)
	if len(found) > 1 {
		e.Message += fmt.Sprintf(" (and %d more)", len(found)-1)
	}
	e.Hint = first.Fix
	return e
}

// Ready implements the service.
func (s *changeService) Ready(ctx context.Context, req *pluginv1.ReadyRequest) (*pluginv1.ReadyResponse, error) {
	t, err := s.server.target(req.GetHandle())
	if err != nil {
		return nil, err
	}
	if !t.driver.ready {
		return nil, status.Errorf(codes.Unimplemented, "target systems of type %s cannot tell what they allow", t.driver.typ)
	}
	var steps []PendingStep
	for _, w := range req.GetWorks() {
		for _, step := range w.GetSteps() {
			steps = append(steps, PendingStep{
				ChangeID: w.GetChangeId(), Template: w.GetTemplate(), Operation: operationOf(step.GetApply()),
				Auto: step.GetMode() == pluginv1.RollbackMode_ROLLBACK_MODE_AUTO,
			})
		}
	}
	err = t.conn.ready(s.server.callContext(ctx, t.id), steps)
	return &pluginv1.ReadyResponse{Failure: failureOf(err, 0)}, nil
}

// operationOf returns the `type:` of a payload; "" where it has none.
func operationOf(p *pluginv1.Payload) string {
	var o Object
	if json.Unmarshal(p.GetJson(), &o) != nil {
		return ""
	}
	v, _ := o.Get("type")
	name, _ := v.(string)
	return name
}

// Preview implements the service.
func (s *changeService) Preview(ctx context.Context, req *pluginv1.PreviewRequest) (*pluginv1.PreviewResponse, error) {
	t, err := s.server.target(req.GetHandle())
	if err != nil {
		return nil, err
	}
	ctx = s.server.callContext(ctx, t.id)
	j, err := s.server.prepare(t, req.GetWork(), rollsBack(req.GetWork()))
	if err != nil {
		return &pluginv1.PreviewResponse{Failure: failureOf(err, 0)}, nil
	}
	if !j.info.preview {
		return &pluginv1.PreviewResponse{
			Failure: failureOf(Errorf(Unsupported, "template %s cannot show what it would do", j.info.name), 0),
		}, nil
	}
	resp := &pluginv1.PreviewResponse{}
	for _, step := range j.steps {
		p, err := step.preview(ctx, t.conn.value())
		if err != nil {
			return &pluginv1.PreviewResponse{Failure: failureOf(err, step.index())}, nil
		}
		resp.Lines = append(resp.Lines, p.Lines...)
		resp.Notes = append(resp.Notes, p.Notes...)
	}
	return resp, nil
}

// Probe implements the service.
func (s *changeService) Probe(ctx context.Context, req *pluginv1.ProbeRequest) (*pluginv1.ProbeResponse, error) {
	t, err := s.server.target(req.GetHandle())
	if err != nil {
		return nil, err
	}
	ctx = s.server.callContext(ctx, t.id)
	j, err := s.server.prepare(t, req.GetWork(), false)
	if err != nil {
		return &pluginv1.ProbeResponse{Failure: failureOf(err, 0)}, nil
	}
	if !j.info.probe {
		return &pluginv1.ProbeResponse{
			Failure: failureOf(Errorf(Unsupported, "template %s cannot tell what is in place", j.info.name), 0),
		}, nil
	}
	resp := &pluginv1.ProbeResponse{}
	for _, step := range j.steps {
		e, err := step.probe(ctx, t.conn.value())
		if err != nil {
			return &pluginv1.ProbeResponse{Failure: failureOf(err, step.index())}, nil
		}
		resp.Steps = append(resp.Steps, toEvidence(step.index(), e))
	}
	return resp, nil
}

// Markers implements the service.
func (s *changeService) Markers(ctx context.Context, req *pluginv1.MarkersRequest) (*pluginv1.MarkersResponse, error) {
	t, err := s.server.target(req.GetHandle())
	if err != nil {
		return nil, err
	}
	if !t.driver.transactional {
		return nil, status.Errorf(codes.Unimplemented, "target systems of type %s have no markers", t.driver.typ)
	}
	f := Fence{Scope: req.GetFence().GetScope(), Token: req.GetFence().GetToken()}
	found, err := t.conn.markers(s.server.callContext(ctx, t.id), f, req.GetChangeIds())
	if err != nil {
		return &pluginv1.MarkersResponse{Failure: failureOf(err, 0)}, nil
	}
	resp := &pluginv1.MarkersResponse{}
	for _, m := range found {
		resp.Markers = append(resp.Markers, toMarker(m))
	}
	return resp, nil
}
