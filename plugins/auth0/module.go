package auth0

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// PublishActionModule is the payload of publishActionModule.
type PublishActionModule struct {
	ActionModule string `json:"actionModule" desc:"its name"`
}

// published is what a module was before it was published.
type published struct {
	// Version is the id of its newest version; "" where it had none.
	Version string `json:"version,omitempty"`
	// All: its draft was published already.
	All bool `json:"all,omitempty"`
	// Draft is what of the draft can be written back.
	Draft sdk.Object `json:"draft"`
}

// module returns a module as it is.
func module(ctx context.Context, c *Conn, name string) (id string, o sdk.Object, err error) {
	id, err = rest.NewFinder(c.client, sdk.Object{}).ID(ctx, actionModules(), name)
	if err != nil {
		return "", o, err
	}
	v, err := c.client.Get(ctx, path("actions", "modules", id), nil)
	o, ok := v.(sdk.Object)
	if err == nil && !ok {
		err = sdk.Errorf(sdk.NotFound, "there is no actionModule %q any more", name)
	}
	return id, o, err
}

func allPublished(o sdk.Object) bool { return rest.Is(o, "all_changes_published", true) }

// publish makes a version of a module's draft.
func publish(ctx context.Context, c *Conn, id, name string) (string, error) {
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: path("actions", "modules", id, "versions")})
	if err == nil {
		return id, nil
	}
	return c.client.Lost(ctx, err, func(ctx context.Context) (string, error) {
		_, o, err := module(ctx, c, name)
		if err != nil || !allPublished(o) {
			return "", err
		}
		return id, nil
	}, func(ctx context.Context) (string, error) { return publish(ctx, c, id, name) })
}

func publishActionModule() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, PublishActionModule]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, PublishActionModule]{
		Type: "publishActionModule", Summary: "makes a version of a module's draft, which actions can use", NotTransactional: noTransactions,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("publish actionModule %q", s.Payload.ActionModule)}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			_, o, err := module(ctx, c, s.Payload.ActionModule)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if allPublished(o) {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "its draft is published"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "its draft is not published"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			_, o, err := module(ctx, c, s.Payload.ActionModule)
			if err != nil {
				return nil, err
			}
			was := published{Version: rest.Text(o, "latest_version.id"), All: allPublished(o)}
			for _, name := range []string{"code", "dependencies"} {
				if v, ok := o.Get(name); ok {
					was.Draft.Set(name, v)
				}
			}
			return json.Marshal(was)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			if err := c.config.protected("actionModule", s.Payload.ActionModule); err != nil {
				return err
			}
			id, o, err := module(ctx, c, s.Payload.ActionModule)
			if err != nil || allPublished(o) {
				return err
			}
			_, err = publish(ctx, c, id, s.Payload.ActionModule)
			return err
		},
		Inverse: func(ctx context.Context, c *Conn, s step, captured []byte) error {
			var was published
			if err := json.Unmarshal(captured, &was); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			id, o, err := module(ctx, c, s.Payload.ActionModule)
			switch {
			case rest.IsMissing(err):
				return nil // it is gone, and its versions with it
			case err != nil || was.All || was.Version == "" || rest.Text(o, "latest_version.id") == was.Version:
				// The API cannot take back the first version.
				return err
			}
			return unpublish(ctx, c, id, s.Payload.ActionModule, was)
		},
	})
}

// unpublish publishes the version from before again, and puts the draft back.
func unpublish(ctx context.Context, c *Conn, id, name string, was published) error {
	var version sdk.Object
	version.Set("module_version_id", was.Version)
	if _, err := c.client.Do(ctx, &rest.Request{
		Method: http.MethodPost, Path: path("actions", "modules", id, "rollback"), Body: version, Repeatable: true,
	}); err != nil {
		return err
	}
	if _, err := publish(ctx, c, id, name); err != nil {
		return err
	}
	_, now, err := module(ctx, c, name)
	if err != nil || rest.Covers(now, was.Draft) {
		return err
	}
	_, err = c.client.Do(ctx, &rest.Request{Method: http.MethodPatch, Path: path("actions", "modules", id), Body: was.Draft})
	return err
}
