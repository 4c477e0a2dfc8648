package memory_test

import (
	"testing"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/audit/memory"
)

func TestPromises(t *testing.T) {
	t.Parallel()
	audittest.Run(t, func(*testing.T) audit.Store { return memory.New() })
}
