package sdk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Folder is the configuration of a target system.
type Folder struct {
	Path string `json:"path" desc:"the folder that changes write into"`
}

// File is the payload of a step.
type File struct {
	Name    string     `json:"name" desc:"name of the file" pattern:"^[a-z.]+$"`
	Content sdk.Secret `json:"content" desc:"what is written into it"`
}

// A whole plugin: one driver, one template, and main.
func Example() {
	plugin := &sdk.Plugin{
		Name:    "folder",
		Version: "1.0.0",
		Summary: "Writes files.",
		Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[Folder, string]{
			Type: "folder",
			Open: func(_ context.Context, cfg Folder) (string, error) { return cfg.Path, nil },
		})},
		Templates: []sdk.Template{sdk.NewTemplate(sdk.TemplateSpec[string, sdk.None, File]{
			Name:    "folder-file",
			Summary: "Writes one file.",
			Apply: func(_ context.Context, dir string, s *sdk.Step[sdk.None, File]) error {
				return os.WriteFile(filepath.Join(dir, s.Payload.Name), []byte(s.Payload.Content.Reveal()), 0o600)
			},
			Inverse: func(_ context.Context, dir string, s *sdk.Step[sdk.None, File], _ []byte) error {
				return os.Remove(filepath.Join(dir, s.Payload.Name))
			},
		})},
	}
	if err := plugin.Validate(); err != nil {
		fmt.Println(err)
	}
	main := func() { sdk.Serve(plugin) }
	_ = main
	// Output:
}

func ExampleSchema() {
	schema, err := sdk.Schema[File]()
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(string(schema))
	// Output:
	// {"type":"object","properties":{"name":{"type":"string","pattern":"^[a-z.]+$","description":"name of the file"},"content":{"type":"string","x-sensitive":true,"description":"what is written into it"}},"required":["name","content"],"additionalProperties":false}
}

func ExampleErrorf() {
	err := sdk.Errorf(sdk.NotFound, "create index: no collection %q", "orders")
	err.Hint = "create the collection in an earlier change"
	fmt.Println(err)
	// Output: create index: no collection "orders"
}
