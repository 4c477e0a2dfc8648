package lock

import (
	"os"
	"strings"

	"github.com/google/uuid"
)

// maxOwnerPart bounds the two named parts of an owner, so that the whole fits
// into the 255 characters that the Java implementation's lock tables have for it.
const maxOwnerPart = 100

// NewOwner returns a new name for an instance of service: "<service>@<host>#<uuid>",
// the form of the Java implementation. As there, characters other than letters,
// digits, dot, underscore and hyphen are written as an underscore in the parts.
// No two calls return the same name.
func NewOwner(service string) string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return ownerPart(service) + "@" + ownerPart(host) + "#" + uuid.NewString()
}

func ownerPart(s string) string {
	if s == "" {
		return "unknown"
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), maxOwnerPart)] // one byte a character by now
}
