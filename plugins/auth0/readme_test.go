package auth0

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestReadmeCountsResources holds the number that the README gives to what there is.
func TestReadmeCountsResources(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range resources() {
		names[r.Name] = true
	}
	if line := fmt.Sprintf("| resources | %d |", len(names)); !strings.Contains(string(readme), line) {
		t.Errorf("there is no line %s", line)
	}
}
