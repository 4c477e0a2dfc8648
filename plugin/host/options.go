package host

import (
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/core/run"
)

// Prefix is how the file name of every plugin begins.
const Prefix = "flamingock-plugin-"

// Options says which plugin to run, and how.
type Options struct {
	// Path is the executable. It may be relative to the working directory.
	Path string
	// Attach is the socket of a plugin that runs already, as its `debug` does, and
	// lives on; Path is not used then. Nothing that it does is given up for taking
	// long: somebody may look at it in a debugger.
	Attach string
	// SHA256 is the digest that the executable must have, in hex; it is read before
	// each start, and what was read is what is started. Defaults to allowing any.
	SHA256 string
	// Memory is a folder of this user's where it is remembered what was read and found
	// right, so that it is read again only when it has changed (by its change time, on
	// Linux). Defaults to reading always.
	Memory string
	// Name is what the plugin must call itself. Defaults to what follows Prefix
	// in the file's name; where that does not begin so, any name is right.
	Name string
	// Metadata is what the plugin offers, where that is known already. Defaults
	// to what the file beside the executable says (its path with ".json"); where
	// there is no such file, the process is started and asked.
	Metadata *run.Metadata
	// Env names environment variables that the process gets beside PATH, HOME,
	// TMPDIR, LANG, LC_ALL, TZ, the proxy variables and SSL_CERT_FILE and _DIR. Nil
	// means those that its metadata names.
	Env []string
	// Sandbox confines the process to what the plugin declares; nil does not.
	Sandbox *Sandbox
	// Logger gets the plugin's log records, with their level and the attribute
	// "plugin". Defaults to discarding them.
	Logger *slog.Logger
	// Redact masks secrets in whatever the plugin says, before it reaches a log
	// or an error. It is called from several goroutines. Defaults to masking
	// nothing.
	Redact func(string) string
	// HostVersion is told to the plugin, for its logs.
	HostVersion string

	// Handshake is how long the process may take to get ready. Defaults to 10
	// seconds.
	Handshake time.Duration
	// Heartbeat is how long the plugin may be silent while it executes changes
	// before it counts as hanging. Defaults to 15 seconds.
	Heartbeat time.Duration
	// Grace is how long it may take to stop when it is asked to stop executing,
	// before its process is killed. Defaults to 5 seconds.
	Grace time.Duration
}

// Bounds of single calls. A call that takes longer is given up with an error
// that wraps context.DeadlineExceeded; ctx may bound it further.
const (
	metadataTime = 5 * time.Second
	checkTime    = time.Minute // for one portion of the changes
	openTime     = 30 * time.Second
	healthTime   = 30 * time.Second
	previewTime  = time.Minute
	probeTime    = time.Minute
	// markersTime is generous, as raising a fence waits for transactions.
	markersTime = 2 * time.Minute
	storeTime   = 30 * time.Second
	lockTime    = 10 * time.Second
	closeTime   = 5 * time.Second
	// idleTime bounds the time between two portions of a stream of entries.
	idleTime = 30 * time.Second
)

func (o *Options) setDefaults() {
	if o.Attach != "" {
		o.Path, o.SHA256 = "", ""
		if o.Heartbeat <= 0 {
			o.Heartbeat = debugTime
		}
	}
	if path, err := filepath.Abs(o.Path); err == nil && o.Path != "" {
		o.Path = path
	}
	if o.Name == "" {
		o.Name = nameOf(o.Path)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Redact == nil {
		o.Redact = func(s string) string { return s }
	}
	if o.Handshake <= 0 {
		o.Handshake = 10 * time.Second
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Grace <= 0 {
		o.Grace = 5 * time.Second
	}
}

// nameOf returns the name that a file name promises; "" where it promises none.
func nameOf(path string) string {
	name, ok := strings.CutPrefix(filepath.Base(path), Prefix)
	if !ok {
		return ""
	}
	return strings.TrimSuffix(name, ".exe")
}
