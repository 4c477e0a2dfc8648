package dynamotest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// verdict runs f as a test would and returns what it skipped or failed with,
// such as "skip: …" or "fatal: …", or "" where it returned.
func verdict(t *testing.T, f func(testing.TB)) string {
	t.Helper()

	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.said
}

// recorder is a test that only takes note of how it ends.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) { r.end("skip: "+format, args...) }

func (r *recorder) Fatalf(format string, args ...any) { r.end("fatal: "+format, args...) }

func (r *recorder) end(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestWithoutServer(t *testing.T) {
	tests := []struct {
		name    string
		value   string
		require string
		want    string
	}{
		{
			name: "unset",
			want: "skip: TEST_DYNAMODB_ENDPOINT is not set: this test needs a real server (`make test/servers` starts one)",
		},
		{
			name:    "required",
			require: "1",
			want:    "fatal: TEST_DYNAMODB_ENDPOINT is not set, and REQUIRE_SERVERS=1 asks for every server: run the tests with `make test/servers`",
		},
		{
			name:  "not a URL",
			value: "127.0.0.1:8000",
			want:  "fatal: TEST_DYNAMODB_ENDPOINT is not a URL of the form http://host:port",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(endpointVariable, tt.value)
			t.Setenv(requireVariable, tt.require)

			for name, f := range map[string]func(testing.TB){
				"Endpoint": func(t testing.TB) { Endpoint(t) },
				"Prefix":   func(t testing.TB) { Prefix(t) },
			} {
				if got := verdict(t, f); got != tt.want {
					t.Errorf("%s ended with\n%q, want\n%q", name, got, tt.want)
				}
			}
		})
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()

	endpoint := Endpoint(t)
	var used string
	outer := Prefix(t)
	kept := outer + "kept"
	createTable(t, endpoint, kept)
	t.Run("in use", func(t *testing.T) {
		used = Prefix(t)
		if used == outer {
			t.Errorf("two prefixes are the same")
		}
		var want []string
		for i := range 3 {
			name := fmt.Sprintf("%s%d", used, i)
			createTable(t, endpoint, name)
			want = append(want, name)
		}
		got, err := tables(t.Context(), endpoint, used)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("tables are %v (error %v), want %v", got, err, want)
		}
	})
	if left, err := tables(t.Context(), endpoint, used); err != nil || len(left) > 0 {
		t.Errorf("tables %v are left (error %v), want none", left, err)
	}
	if got, err := tables(t.Context(), endpoint, outer); err != nil || !slices.Equal(got, []string{kept}) {
		t.Errorf("the other test's tables are %v (error %v), want [%s]", got, err, kept)
	}
}

func TestCallFails(t *testing.T) {
	t.Parallel()

	err := call(t.Context(), Endpoint(t), "DeleteTable", map[string]any{"TableName": "no_such_table"}, nil)
	if err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") {
		t.Errorf("deleting a table that is not there: %v, want ResourceNotFoundException", err)
	}
}

func createTable(t *testing.T, endpoint, name string) {
	t.Helper()

	err := call(t.Context(), endpoint, "CreateTable", map[string]any{
		"TableName":            name,
		"AttributeDefinitions": []any{map[string]any{"AttributeName": "id", "AttributeType": "S"}},
		"KeySchema":            []any{map[string]any{"AttributeName": "id", "KeyType": "HASH"}},
		"BillingMode":          "PAY_PER_REQUEST",
		// The clean-up has to cope with it.
		"DeletionProtectionEnabled": true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}
