// Command flamingock-plugin-couchbase is the couchbase plugin as a process.
package main

import (
	"io"
	"os"
	"strings"

	"github.com/grpc-ecosystem/go-grpc-middleware/logging/settable"
	"google.golang.org/grpc/grpclog"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/couchbase"
)

// version is set when a release is built.
var version string

func main() {
	// A client for couchbase2:// replaces gRPC's logger by one of this type while the
	// plugin's own server uses it. With one of another type that could end in a panic.
	grpc_logsettable.ReplaceGrpcLoggerV2().Set(grpclog.NewLoggerV2(io.Discard, io.Discard, os.Stderr))
	p := couchbase.New()
	if v := strings.TrimPrefix(version, "v"); v != "" {
		p.Version = v
	}
	sdk.Serve(p)
}
