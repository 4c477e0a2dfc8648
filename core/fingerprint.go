package core

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/core/change"
)

// fingerprintVersion changes whenever the meaning of a project's text changes,
// so that an older fingerprint proves nothing.
const fingerprintVersion = "2"

// fingerprint identifies everything that decides what is pending: the bytes of
// the files, the Go changes, the stages and the active profiles.
type fingerprint struct {
	value string
	ok    bool
	// keep stores what spares the next run the reading; never nil.
	keep func()
}

// settled is how old the newest file must be before its time stamp is trusted:
// a file written twice within the clock's step would look the same.
const settled = 2 * time.Second

// fingerprint takes the fingerprint. Where anything stands against it (a Go change
// that runs always, a file that cannot be read) it is not ok and the project is
// read in full. That of a project with a file that says so is never stored; see
// decides.
func (e *Engine) fingerprint() fingerprint {
	none := fingerprint{keep: func() {}}
	h := sha256.New()
	enc := json.NewEncoder(h)
	head := struct {
		Version  string
		Profiles []string
		YAML11   bool
	}{fingerprintVersion, slices.Sorted(slices.Values(e.cfg.Profiles)), e.cfg.YAML11}
	if enc.Encode(head) != nil {
		return none
	}
	var onDisk []string
	for _, s := range e.cfg.Stages {
		for _, c := range s.Changes {
			if c.RunPolicy == change.Always {
				return none
			}
			if enc.Encode([]any{c.ID, c.Order, c.TargetSystem, c.Version, c.RunPolicy, c.Profiles, s.Name}) != nil {
				return none
			}
		}
		if s.Dir == "" && s.FS == nil {
			continue
		}
		fsys, dir, _ := e.stageFS(s)
		if enc.Encode([]any{s.Name, dir, s.Needs}) != nil {
			return none
		}
		if s.FS == nil {
			onDisk = append(onDisk, dir)
			continue
		}
		files, err := change.Fingerprint(fsys, dir)
		if err != nil {
			return none
		}
		if enc.Encode(files) != nil {
			return none
		}
	}
	files, keep, ok := e.filesOnDisk(onDisk)
	if !ok || enc.Encode(files) != nil {
		return none
	}
	return fingerprint{value: "fp1:" + hex.EncodeToString(h.Sum(nil)), ok: true, keep: keep}
}

// filesOnDisk fingerprints the files below dirs. With a cache folder it looks
// only at their time stamps, sizes and inodes as long as nothing was touched.
func (e *Engine) filesOnDisk(dirs []string) (files string, keep func(), ok bool) {
	keep = func() {}
	if len(dirs) == 0 {
		return "", keep, true
	}
	var stat string
	var newest time.Time
	cache := ""
	if e.cfg.CacheDir != "" {
		var err error
		if stat, newest, err = change.StatFingerprint(e.cfg.Root, dirs); err == nil {
			key := sha256.Sum256([]byte(e.cfg.Root + "\x00" + strings.Join(dirs, "\x00")))
			cache = filepath.Join(e.cfg.CacheDir, "files-"+hex.EncodeToString(key[:8]))
			if b, err := os.ReadFile(cache); err == nil {
				if was, known, found := strings.Cut(strings.TrimSpace(string(b)), " "); found && was == stat {
					return known, keep, true
				}
			}
		}
	}
	files, err := change.Fingerprint(os.DirFS(e.cfg.Root), dirs...)
	if err != nil {
		return "", keep, false
	}
	if cache != "" && time.Since(newest) > settled {
		keep = func() { writeCache(cache, stat+" "+files+"\n") }
	}
	return files, keep, true
}

// writeCache writes a cache file whole or not at all. What goes wrong is of no
// consequence: the next run reads the files.
func writeCache(path, text string) {
	if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".files-*")
	if err != nil {
		return
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err != nil || cerr != nil || os.Rename(f.Name(), path) != nil {
		_ = os.Remove(f.Name())
	}
}
