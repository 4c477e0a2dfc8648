// Command flamingock-plugin-auth0 is the auth0 plugin as a process.
package main

import (
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/auth0"
)

// version is set when a release is built.
var version string

func main() {
	p := auth0.New()
	if v := strings.TrimPrefix(version, "v"); v != "" {
		p.Version = v
	}
	sdk.Serve(p)
}
