// Command flamingock-plugin-files is the example plugin as a process.
package main

import (
	files "github.com/flamingock/flamingock-go/examples/filesplugin"
	"github.com/flamingock/flamingock-go/plugin/sdk"
)

func main() { sdk.Serve(files.New()) }
