package change

import (
	"slices"
	"strings"
)

// Included tells whether c runs where these profiles are active. A change
// without profiles always does. A negated profile (`!dev`) that is active leaves
// it out; apart from that one of its other profiles must be active, if it has
// any.
func Included(c *Change, active []string) bool {
	positive, wanted := false, false
	for _, p := range c.Profiles {
		if name, negated := strings.CutPrefix(p, "!"); negated {
			if slices.Contains(active, name) {
				return false
			}
			continue
		}
		positive = true
		wanted = wanted || slices.Contains(active, p)
	}
	return wanted || !positive
}

// profile checks one profile of a change and returns it without white space; a
// problem where it names nothing.
func profile(s string) (name, problem string) {
	s = strings.TrimSpace(s)
	name, negated := strings.CutPrefix(s, "!")
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", "a profile is empty"
	case strings.ContainsAny(name, "!, \t\n"):
		return "", "a profile is one word, with an exclamation mark before it or not"
	case negated:
		return "!" + name, ""
	}
	return name, ""
}
