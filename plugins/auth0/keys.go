package auth0

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// rotation is what a rotation of keys saves of itself.
type rotation struct {
	// Before are the ids of the keys that there were.
	Before []string `json:"before"`
	Done   bool     `json:"done,omitempty"`
}

// rotating describes the operations that rotate keys. The API makes a new key that
// comes next each time, so that one is what tells whether it was done.
type rotating[P any] struct {
	operation, summary string
	// place returns the path of the list of keys.
	place func(ctx context.Context, c *Conn, p *P) (string, error)
	body  func(p *P) any
}

// kids returns the ids of the keys at path.
func kids(ctx context.Context, c *Conn, path string) ([]string, error) {
	out := []string{}
	err := c.client.List(ctx, plain{}, path, nil, func(o sdk.Object) bool {
		out = append(out, rest.Text(o, "kid"))
		return true
	})
	if rest.IsStatus(err, http.StatusNotFound) {
		return out, nil
	}
	return out, err
}

// made returns the id of the key that came since; "" where there is none.
func (r *rotation) made(now []string) string {
	for _, kid := range now {
		if !slices.Contains(r.Before, kid) {
			return kid
		}
	}
	return ""
}

func (r *rotation) read(b []byte) error {
	if err := json.Unmarshal(b, r); err != nil {
		return sdk.Errorf(sdk.Internal, "what the step saved cannot be read: %w", err)
	}
	return nil
}

// rotate asks for a rotation, and looks whether it was done where the answer is lost.
func (r *rotation) rotate(ctx context.Context, c *Conn, path string, body any) (string, error) {
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: path + "/rotate", Body: body})
	if err == nil {
		return "", nil
	}
	return c.client.Lost(ctx, err, func(ctx context.Context) (string, error) {
		now, err := kids(ctx, c, path)
		return r.made(now), err
	}, func(ctx context.Context) (string, error) { return r.rotate(ctx, c, path, body) })
}

func (r rotating[P]) make() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, P]{
		Type: r.operation, Summary: r.summary, NotTransactional: noTransactions,
		Preview: func(context.Context, *Conn, step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{r.summary}, Notes: []string{"the key from before cannot be made the current one again"}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			if s.Saved == nil {
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it has not begun"}, nil
			}
			var was rotation
			if err := was.read(s.Saved); err != nil {
				return sdk.Evidence{}, err
			}
			path, err := r.place(ctx, c, &s.Payload)
			if err != nil {
				return sdk.Evidence{}, err
			}
			now, err := kids(ctx, c, path)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case was.Done || was.made(now) != "":
				return sdk.Evidence{Kind: sdk.Applied, Detail: "there is a new key"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "there is no new key"}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			path, err := r.place(ctx, c, &s.Payload)
			if err != nil {
				return err
			}
			now, err := kids(ctx, c, path)
			if err != nil {
				return err
			}
			was := rotation{Before: now}
			save := func() error {
				state, err := json.Marshal(was)
				if err != nil {
					return err
				}
				return s.Save(ctx, state)
			}
			if s.Saved == nil {
				err = save()
			} else {
				err = was.read(s.Saved)
			}
			if err != nil || was.Done {
				return err
			}
			if was.made(now) == "" {
				if _, err := was.rotate(ctx, c, path, r.body(&s.Payload)); err != nil {
					return err
				}
			}
			was.Done = true
			return save()
		},
	})
}

// RotateSigningKey is the payload of rotateSigningKey.
type RotateSigningKey struct{}

func rotateSigningKey() sdk.Operation[*Conn] {
	return rotating[RotateSigningKey]{
		operation: "rotateSigningKey", summary: "lets the tenant sign with its next key",
		place: func(context.Context, *Conn, *RotateSigningKey) (string, error) { return "keys/signing", nil },
		body:  func(*RotateSigningKey) any { return nil },
	}.make()
}

// RotateConnectionKeys is the payload of rotateConnectionKeys.
type RotateConnectionKeys struct {
	Connection string `json:"connection"`
	Algorithm  string `json:"signing_alg,omitempty" desc:"of the new key, such as RS256"`
}

func rotateConnectionKeys() sdk.Operation[*Conn] {
	return rotating[RotateConnectionKeys]{
		operation: "rotateConnectionKeys", summary: "lets a connection sign with its next key",
		place: func(ctx context.Context, c *Conn, p *RotateConnectionKeys) (string, error) {
			f := rest.NewFinder(c.client, sdk.Object{})
			if err := f.Guard(ctx, connections(), p.Connection); err != nil {
				return "", err
			}
			id, err := f.ID(ctx, connections(), p.Connection)
			return path("connections", id, "keys"), err
		},
		body: func(p *RotateConnectionKeys) any {
			if p.Algorithm == "" {
				return nil
			}
			return map[string]any{"signing_alg": p.Algorithm}
		},
	}.make()
}
