// Command flamingock-plugin-twilio is the twilio plugin as a process.
package main

import (
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/twilio"
)

// version is set when a release is built.
var version string

func main() {
	p := twilio.New()
	if v := strings.TrimPrefix(version, "v"); v != "" {
		p.Version = v
	}
	sdk.Serve(p)
}
