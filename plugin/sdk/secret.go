package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// masked is what is shown in place of a secret.
const masked = "***"

// Secret is a text that must not be seen: printed, logged or encoded in any way
// it is "***". Its schema says "x-sensitive", so that users must write a
// reference instead of the value. Keep it in exported fields: package fmt prints
// unexported ones without asking them.
type Secret string

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// String returns "***".
func (Secret) String() string { return masked }

// Format writes "***", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) {
	// Printing has no way to report an error.
	_, _ = io.WriteString(f, masked)
}

// MarshalJSON returns "***".
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(masked) }

// MarshalText returns "***".
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue returns "***".
func (Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// JSONSchema returns that of a sensitive text.
func (Secret) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type":"string","x-sensitive":true}`)
}
