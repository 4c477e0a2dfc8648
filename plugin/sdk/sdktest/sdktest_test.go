package sdktest_test

import (
	"crypto/rand"
	"os"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
)

const password = "correct-horse-battery"

// cases are the changes of the plugin memory.
func cases() []sdktest.Case {
	value := func(v any) map[string]any { return map[string]any{"key": "k", "value": v} }
	entry := sdktest.Case{
		Name:     "entry",
		Driver:   "memory",
		Target:   target,
		Template: "memory-entry",
		Steps: []sdktest.Step{
			{Apply: value("1")},
			{Apply: map[string]any{"key": "other", "value": "2"}, Rollback: map[string]any{"key": "other"}},
		},
		Repeatable: true,
		Slow:       &sdktest.Step{Apply: map[string]any{"key": "slow", "value": "x", "takes": "10s"}},
		Saving:     &sdktest.Step{Apply: map[string]any{"key": "slow", "value": "x", "takes": "1s"}},
		Secrets:    []string{password},
		Refused: func(testing.TB) any {
			return map[string]any{"name": "not a name", "password": password}
		},
	}
	tx := entry
	tx.Name, tx.Driver, tx.Transactional = "entry in a transaction", "memory-tx", true

	script := sdktest.Case{
		Name:          "script",
		Driver:        "map",
		Target:        target,
		Template:      "memory-script",
		Configuration: map[string]any{"prefix": "p."},
		Steps: []sdktest.Step{
			{
				Apply:    map[string]any{"lines": []string{"set a 1", "set b 2", "set c 3"}},
				Rollback: map[string]any{"lines": []string{"del a", "del b", "del c"}},
			},
			{Apply: map[string]any{"file": "d.txt"}, Rollback: map[string]any{"lines": []string{"del d"}}},
		},
		Files:      map[string][]byte{"d.txt": []byte("set d 4\n")},
		Repeatable: true,
		Failing:    &sdktest.Step{Apply: map[string]any{"lines": []string{"set z 1", "set y fail"}}},
	}
	scriptTx := script
	scriptTx.Name, scriptTx.Driver, scriptTx.Transactional = "script in a transaction", "memory-tx", true
	return []sdktest.Case{entry, tx, script, scriptTx}
}

// target is a database of its own.
func target(testing.TB) any {
	return map[string]any{"name": rand.Text(), "password": password}
}

func TestMain(m *testing.M) {
	sdktest.Main(memory.NewServer().Plugin())
	os.Exit(m.Run())
}

func TestMemoryKeepsItsPromises(t *testing.T) {
	t.Parallel()
	sdktest.Run(t, memory.NewServer().Plugin(), cases()...)
}

func TestProcessKeepsItsPromises(t *testing.T) {
	t.Parallel()
	sdktest.RunProcess(t, cases()...)
}
