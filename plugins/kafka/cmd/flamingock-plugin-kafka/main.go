// Command flamingock-plugin-kafka is the kafka plugin as a process.
package main

import (
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/kafka"
)

// version is set when a release is built.
var version string

func main() {
	p := kafka.New()
	if v := strings.TrimPrefix(version, "v"); v != "" {
		p.Version = v
	}
	sdk.Serve(p)
}
