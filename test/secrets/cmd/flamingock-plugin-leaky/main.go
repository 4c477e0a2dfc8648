// Command flamingock-plugin-leaky is a plugin that says its secrets wherever it
// can: on standard error, in its log, in progress, in errors, in a preview, and in
// a panic. The host has to mask them.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// config is a target system with a secret.
type config struct {
	Token sdk.Secret `json:"token" sensitive:"true"`
}

// payload says which secret to tell, and how to end.
type payload struct {
	Value string `json:"value"`
	End   string `json:"end,omitempty" enum:"well,error,panic,exit"`
}

type step = *sdk.Step[sdk.None, payload]

func main() {
	sdk.Serve(&sdk.Plugin{
		Name: "leaky", Version: "0.1.0", Summary: "tells secrets",
		Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[config, string]{
			Type: "leaky", Summary: "nothing",
			Open: func(_ context.Context, c config) (string, error) {
				fmt.Fprintln(os.Stderr, "opened with", c.Token.Reveal())
				return c.Token.Reveal(), nil
			},
		})},
		Templates: []sdk.Template{sdk.NewTemplate(sdk.TemplateSpec[string, sdk.None, payload]{
			Name: "leak", Summary: "tells a secret",
			Preview: func(_ context.Context, token string, s step) (sdk.Preview, error) {
				return sdk.Preview{Lines: []string{"tell " + s.Payload.Value}, Notes: []string{"with " + token}}, nil
			},
			Apply: apply,
		})},
	})
}

func apply(ctx context.Context, token string, s step) error {
	both := s.Payload.Value + " " + token
	fmt.Fprintln(os.Stderr, both)
	fmt.Fprintln(os.Stderr, strings.Repeat("x", 5000)+both) // across what a line is cut at
	fmt.Fprint(os.Stderr, "no newline "+both)
	sdk.Logger(ctx).Info("message "+both, "value", s.Payload.Value, token, "as a key")
	sdk.Logger(ctx).Debug(both)
	s.Progress(1, 2, both)
	switch s.Payload.End {
	case "error":
		return &sdk.Error{Code: sdk.Invalid, Message: both, Excerpt: both, Hint: both, TargetCode: token}
	case "panic":
		panic(both)
	case "exit":
		os.Exit(3)
	}
	return nil
}
