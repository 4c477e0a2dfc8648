package project

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// SetPlugin writes where a plugin comes from into a project file, and leaves all else
// of the file as it is. It tells whether the file changed.
func SetPlugin(file, name, source, version string) (changed bool, err error) {
	return edit(file, func(lines []string, plugins *yaml.Node) ([]string, error) {
		line := fmt.Sprintf("{source: %s, version: %s}", source, strconv.Quote(version))
		if version == "" {
			line = fmt.Sprintf("{source: %s}", source)
		}
		switch key, value := entry(plugins, name); {
		case plugins == nil:
			return append(lines, "plugins:", "  "+name+": "+line), nil
		case key != nil && value.Kind == yaml.MappingNode && text(value, "source") == source && text(value, "version") == version:
			return lines, nil
		case key != nil:
			return nil, fmt.Errorf("%s:%d: plugin %s is there already; change it there", file, key.Line, name)
		case plugins.Style&yaml.FlowStyle != 0 || len(plugins.Content) == 0:
			return nil, fmt.Errorf("%s:%d: `plugins` stands on one line; add `%s: %s` to it", file, plugins.Line, name, line)
		default:
			first := plugins.Content[0]
			indent := strings.Repeat(" ", first.Column-1)
			return slices.Insert(lines, first.Line-1, indent+name+": "+line), nil
		}
	})
}

// RemovePlugin takes a plugin out of a project file, and leaves all else of the file as
// it is. It tells whether the file changed.
func RemovePlugin(file, name string) (changed bool, err error) {
	return edit(file, func(lines []string, plugins *yaml.Node) ([]string, error) {
		key, value := entry(plugins, name)
		if key == nil {
			return lines, nil
		}
		if plugins.Style&yaml.FlowStyle != 0 {
			return nil, fmt.Errorf("%s:%d: `plugins` stands on one line; remove %s from it", file, plugins.Line, name)
		}
		first, last := key.Line, lastLine(value)
		if len(plugins.Content) == 2 {
			first = plugins.Line - 1 // the key `plugins` itself, which would be empty
			for first > 1 && !strings.HasPrefix(lines[first-1], "plugins") {
				first--
			}
		}
		return slices.Delete(lines, first-1, last), nil
	})
}

// edit changes the lines of a file, given the node under `plugins`.
func edit(file string, f func(lines []string, plugins *yaml.Node) ([]string, error)) (bool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("change the project file: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return false, fmt.Errorf("change the project file %s: %w", file, err)
	}
	var plugins *yaml.Node
	if len(doc.Content) > 0 {
		if key, value := entry(doc.Content[0], "plugins"); key != nil {
			plugins = value
		}
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if lines, err = f(lines, plugins); err != nil {
		return false, err
	}
	out := []byte(strings.Join(lines, "\n") + "\n")
	if bytes.Equal(out, data) || bytes.Equal(out, append(slices.Clone(data), '\n')) {
		return false, nil
	}
	if err := yaml.Unmarshal(out, &yaml.Node{}); err != nil {
		return false, fmt.Errorf("change the project file %s by hand: %w", file, err)
	}
	if err := replace(file, out); err != nil {
		return false, fmt.Errorf("change the project file: %w", err)
	}
	return true, nil
}

// replace writes a file whole or not at all.
func replace(file string, data []byte) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	t, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return err
	}
	_, err = t.Write(data)
	if err = errors.Join(err, t.Chmod(mode), t.Sync(), t.Close()); err == nil {
		err = os.Rename(t.Name(), file)
	}
	if err != nil {
		_ = os.Remove(t.Name())
	}
	return err
}

// entry returns the key and the value of a map.
func entry(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

func text(n *yaml.Node, name string) string {
	if _, v := entry(n, name); v != nil {
		return v.Value
	}
	return ""
}

// lastLine is the last line that a node stands on.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}
