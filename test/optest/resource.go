package optest

import "strings"

// Resource returns the name of the resource that an operation is one of, so that
// createClient and patchClient are alike.
func Resource(operation string) string {
	for _, verb := range []string{"create", "patch", "delete", "assert"} {
		if rest, ok := strings.CutPrefix(operation, verb); ok {
			return rest
		}
	}
	return operation
}
