package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// metadataSuffix is added to the path of an executable.
const metadataSuffix = ".json"

// readMetadata reads the metadata file of the executable at path; nil where there
// is none.
func readMetadata(path, name string) (*run.Metadata, error) {
	file := path + metadataSuffix
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, wire.MaxMessage+1))
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	if len(data) > wire.MaxMessage {
		return nil, fmt.Errorf("read metadata %s: it is larger than %d MiB", file, wire.MaxMessage>>20)
	}
	md, err := parseMetadata(data, name)
	if err != nil {
		return nil, fmt.Errorf("metadata %s: %w; %s", file, err, refresh(path))
	}
	return md, nil
}

// ParseMetadata reads what a plugin of a name offers, as `describe` prints it.
func ParseMetadata(data []byte, name string) (*run.Metadata, error) {
	md, err := parseMetadata(data, name)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return md, nil
}

// refresh says how to make the metadata file anew.
func refresh(path string) string {
	return fmt.Sprintf("refresh it with: %s describe > %s", path, path+metadataSuffix)
}

// parseMetadata decodes and checks metadata. A name that is not empty must be the
// plugin's.
func parseMetadata(data []byte, name string) (*run.Metadata, error) {
	md := &run.Metadata{}
	if err := json.Unmarshal(data, md); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	switch {
	case md.Name == "":
		return nil, errors.New("it names no plugin")
	case name != "" && md.Name != name:
		return nil, fmt.Errorf("it is that of plugin %q and the file is named for %q", md.Name, name)
	case md.Version == "":
		return nil, errors.New("it states no version")
	case !speaks(md.Protocols):
		return nil, fmt.Errorf("version %s of the plugin speaks protocol %s and this host speaks %d; "+
			"install a version of the plugin that fits this host, or another version of this host",
			md.Version, strings.Join(md.Protocols, ", "), wire.ProtocolVersion)
	}
	for i, d := range md.Drivers {
		if d.Type == "" {
			return nil, fmt.Errorf("driver %d has no type", i+1)
		}
	}
	for i, t := range md.Templates {
		if t.Name == "" {
			return nil, fmt.Errorf("template %d has no name", i+1)
		}
	}
	return md, nil
}

// speaks tells whether one of the protocols, which are "major" or "major.minor",
// is this host's. No list means the first.
func speaks(protocols []string) bool {
	if len(protocols) == 0 {
		return wire.ProtocolVersion == 1
	}
	for _, p := range protocols {
		major, _, _ := strings.Cut(p, ".")
		if major == strconv.Itoa(wire.ProtocolVersion) {
			return true
		}
	}
	return false
}

// difference tells how what a file says differs from what the process says; ""
// where it does not.
func difference(file, process *run.Metadata) string {
	switch {
	case file.Name != process.Name:
		return fmt.Sprintf("the name is %q in the file and %q in the program", file.Name, process.Name)
	case file.Version != process.Version:
		return fmt.Sprintf("the version is %s in the file and %s in the program", file.Version, process.Version)
	}
	driver := func(d change.Driver) string { return d.Type }
	template := func(t change.Template) string { return t.Name }
	if name := firstDifference(file.Drivers, process.Drivers, driver); name != "" {
		return fmt.Sprintf("driver %q differs", name)
	}
	if name := firstDifference(file.Templates, process.Templates, template); name != "" {
		return fmt.Sprintf("template %q differs", name)
	}
	if !sameJSON(file, process) {
		return "the summary, the protocols, the environment or the needs differ"
	}
	return ""
}

// firstDifference returns the name of the first element that is not the same, at
// the same place, in both.
func firstDifference[T any](a, b []T, name func(T) string) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return name(b[i])
		case i >= len(b), !sameJSON(a[i], b[i]):
			return name(a[i])
		}
	}
	return ""
}

// sameJSON tells whether a and b mean the same; the order of keys in a schema
// means nothing.
func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	if errX != nil || errY != nil {
		return false
	}
	if bytes.Equal(x, y) {
		return true
	}
	var v, w any
	return json.Unmarshal(x, &v) == nil && json.Unmarshal(y, &w) == nil && reflect.DeepEqual(v, w)
}
