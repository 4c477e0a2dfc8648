package restfake_test

import (
	"fmt"
	"testing"
)

// watcher keeps what a server says to its test.
type watcher struct {
	testing.TB
	said string
}

func (w *watcher) Errorf(format string, args ...any) { w.said += fmt.Sprintf(format, args...) }
