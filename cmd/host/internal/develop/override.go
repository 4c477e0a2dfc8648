// Package develop lets a plugin that is being written take the place of an installed
// one: it watches and builds it, and says to the runs of a project where it is.
package develop

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// Override is a plugin that takes the place of an installed one.
type Override struct {
	Name string `json:"name"`
	// Path is that of the program, or of a socket where Running.
	Path    string `json:"path"`
	Running bool   `json:"running"`
	// Metadata is what it says that it offers; nil where that is not known.
	Metadata json.RawMessage `json:"metadata,omitempty"`
	// Process is the process that offers it; 0 where the environment names it.
	Process int `json:"process"`
}

// Folder is where a project, or a plugin that has none, keeps what is being developed.
func Folder(dir string) string { return filepath.Join(dir, ".flamingock", "dev") }

// Overrides returns what environment, the value of wire.EnvDevelop, says, and what is
// being developed for the project in dir; "" is none. The environment comes first. What
// a process offered that has ended does not count.
func Overrides(environment, dir string) ([]Override, error) {
	var out []Override
	for part := range strings.SplitSeq(environment, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, path, ok := strings.Cut(part, "=")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("%s: %q is not name=path", wire.EnvDevelop, part)
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("%s: plugin %s: %w; start it, or unset the variable", wire.EnvDevelop, name, err)
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, fmt.Errorf("%s: plugin %s: %w", wire.EnvDevelop, name, err)
		}
		out = append(out, Override{Name: name, Path: path, Running: info.Mode().Type() == fs.ModeSocket})
	}
	if dir == "" {
		return out, nil
	}
	offers, err := filepath.Glob(filepath.Join(Folder(dir), "*"+offerSuffix))
	if err != nil {
		return nil, fmt.Errorf("look for plugins that are being developed: %w", err)
	}
	for _, file := range offers {
		o, err := readOffer(file)
		if err != nil {
			return nil, fmt.Errorf("look for plugins that are being developed: %w", err)
		}
		if o != nil && !slices.ContainsFunc(out, func(other Override) bool { return other.Name == o.Name }) {
			out = append(out, *o)
		}
	}
	return out, nil
}

// ErrTaken is wrapped where another process offers a plugin of the same name.
var ErrTaken = errors.New("is being developed already")

const offerSuffix = ".json"

// readOffer returns nil where the process that made the offer has ended.
func readOffer(file string) (*Override, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	held, err := isHeld(f)
	if !held || err != nil {
		return nil, err
	}
	var o Override
	if err := json.NewDecoder(f).Decode(&o); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &o, nil
}

// Offer offers a plugin to the runs of a project until this process ends, or Close.
type Offer struct {
	file string
	held *os.File
}

// Make makes o an offer in a folder, in the place of the one that old is, if any. It
// fails where another process offers a plugin of that name.
func Make(folder string, o Override, old *Offer) (*Offer, error) {
	o.Process = os.Getpid()
	file := filepath.Join(folder, o.Name+offerSuffix)
	if old == nil {
		other, err := readOffer(file)
		if err != nil {
			return nil, fmt.Errorf("offer plugin %s: %w", o.Name, err)
		}
		if other != nil {
			return nil, fmt.Errorf("plugin %s %w, by process %d", o.Name, ErrTaken, other.Process)
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("offer plugin %s: %w", o.Name, err)
	}
	f, err := os.CreateTemp(folder, ".offer-")
	if err != nil {
		return nil, fmt.Errorf("offer plugin %s: %w", o.Name, err)
	}
	err = hold(f)
	if err == nil {
		err = json.NewEncoder(f).Encode(o)
	}
	if err == nil {
		// Held before it can be seen.
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_, _ = f.Close(), os.Remove(f.Name())
		return nil, fmt.Errorf("offer plugin %s: %w", o.Name, err)
	}
	if old != nil {
		_ = old.held.Close() // the file is gone
	}
	return &Offer{file: file, held: f}, nil
}

// Close takes the offer back. Closing nil does nothing.
func (o *Offer) Close() error {
	if o == nil {
		return nil
	}
	return errors.Join(os.Remove(o.file), o.held.Close())
}
