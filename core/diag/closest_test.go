package diag_test

import (
	"testing"

	"github.com/flamingock/flamingock-go/core/diag"
)

func TestClosest(t *testing.T) {
	t.Parallel()

	known := []string{"id", "author", "targetSystem", "rollback", "createTopic", "deleteTopic"}
	for _, test := range []struct{ word, want string }{
		{"rolback", "rollback"},
		{"rollbcak", "rollback"},
		{"targetsystem", "targetSystem"},
		{"target", "targetSystem"},
		{"creatTopic", "createTopic"},
		{"ID", "id"},
		{"x", ""},
		{"", ""},
		{"dependsOn", ""},
	} {
		if got := diag.Closest(test.word, known); got != test.want {
			t.Errorf("Closest(%q) = %q, want %q", test.word, got, test.want)
		}
	}
}
