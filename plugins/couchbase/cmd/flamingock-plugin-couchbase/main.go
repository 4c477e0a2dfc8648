// Command flamingock-plugin-couchbase is the couchbase plugin as a process.
package main

import (
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/couchbase"
)

// version is set when a release is built.
var version string

func main() {
	p := couchbase.New()
	if v := strings.TrimPrefix(version, "v"); v != "" {
		p.Version = v
	}
	sdk.Serve(p)
}
