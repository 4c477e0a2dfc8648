// Package dynamotest gives a test a DynamoDB Local, Amazon's own, and a prefix
// for the names of its tables.
//
// It starts no server: it uses the one that TEST_DYNAMODB_ENDPOINT names.
// Where the variable is unset the test is skipped, unless REQUIRE_SERVERS=1
// says that every server is there, which turns the skip into a failure.
// `make test/servers` starts the servers and sets the variables.
package dynamotest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// What a test signs its requests with. DynamoDB Local looks at no signature,
// but it keeps tables of their own for each pair of access key and region.
const (
	Region          = "us-east-1"
	AccessKeyID     = "FLAMINGOCKTEST"
	SecretAccessKey = "not-looked-at"
)

const (
	endpointVariable = "TEST_DYNAMODB_ENDPOINT"         // http://host:port
	delayedVariable  = "TEST_DYNAMODB_DELAYED_ENDPOINT" // http://host:port
	motoVariable     = "TEST_MOTO_ENDPOINT"             // http://host:port
	requireVariable  = "REQUIRE_SERVERS"                // 1: a server that is missing is a failure
	limit            = 30 * time.Second                 // for deleting a test's tables
	pause            = 100 * time.Millisecond           // between attempts of that
	prefix           = "flamingock_test_"               // of the prefixes of tables' names
)

// Endpoint returns the URL of the server of TEST_DYNAMODB_ENDPOINT, http://host:port.
func Endpoint(t testing.TB) string {
	t.Helper()
	return server(t, endpointVariable)
}

// Delayed returns the URL of the server of TEST_DYNAMODB_DELAYED_ENDPOINT, which takes
// seconds to make and to change a table or an index, as the service does, and a
// prefix for the names of the test's tables. They are left there: it would take
// longer to delete them than the server lives.
func Delayed(t testing.TB) (endpoint, own string) {
	t.Helper()
	return server(t, delayedVariable), prefix + strings.ToLower(rand.Text()) + "_"
}

// Moto returns the URL of the server of TEST_MOTO_ENDPOINT, which imitates what
// DynamoDB Local has not, such as tags and backups, and a prefix for the names of the
// test's tables, which are left there.
func Moto(t testing.TB) (endpoint, own string) {
	t.Helper()
	return server(t, motoVariable), prefix + strings.ToLower(rand.Text()) + "_"
}

// server returns the URL of the server that a variable names.
func server(t testing.TB, variable string) string {
	t.Helper()

	value := os.Getenv(variable)
	switch {
	case value != "":
	case os.Getenv(requireVariable) == "1":
		t.Fatalf("%s is not set, and %s=1 asks for every server: run the tests with `make test/servers`", variable, requireVariable)
	default:
		t.Skipf("%s is not set: this test needs a real server (`make test/servers` starts one)", variable)
	}
	if u, err := url.Parse(value); err != nil || u.Scheme != "http" || u.Host == "" {
		t.Fatalf("%s is not a URL of the form http://host:port", variable)
	}
	return value
}

// Prefix returns what the names of the test's tables have to begin with, on
// the server of Endpoint: no other test's begin so. At the end of the test the
// tables that do are deleted, of those that were made with this package's
// region and access key.
func Prefix(t testing.TB) string {
	t.Helper()

	endpoint := Endpoint(t)
	own := prefix + strings.ToLower(rand.Text()) + "_"
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
		defer cancel()
		if err := deleteTables(ctx, endpoint, own); err != nil {
			t.Errorf("delete the test's tables %s*: %v", own, err)
		}
	})
	return own
}

// deleteTables deletes the tables whose names begin so.
func deleteTables(ctx context.Context, endpoint, prefix string) error {
	names, err := tables(ctx, endpoint, prefix)
	if err != nil {
		return fmt.Errorf("list them: %w", err)
	}
	var errs []error
	for _, name := range names {
		if err := deleteTable(ctx, endpoint, name); err != nil {
			errs = append(errs, fmt.Errorf("delete %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// deleteTable deletes the table, even where it is protected against that. One that is
// just being changed, by a process that was killed, cannot be deleted until then.
func deleteTable(ctx context.Context, endpoint, name string) error {
	for {
		err := call(ctx, endpoint, "DeleteTable", map[string]any{"TableName": name}, nil)
		if err == nil {
			return nil
		}
		input := map[string]any{"TableName": name, "DeletionProtectionEnabled": false}
		if call(ctx, endpoint, "UpdateTable", input, nil) == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// tables returns the tables whose names begin so.
func tables(ctx context.Context, endpoint, prefix string) ([]string, error) {
	var names []string
	// The list is in the order of names, and a name is greater than a prefix of it.
	for last := prefix; last != ""; {
		var page struct {
			TableNames             []string
			LastEvaluatedTableName string
		}
		if err := call(ctx, endpoint, "ListTables", map[string]any{"ExclusiveStartTableName": last}, &page); err != nil {
			return nil, err
		}
		for _, name := range page.TableNames {
			if !strings.HasPrefix(name, prefix) {
				return names, nil
			}
			names = append(names, name)
		}
		last = page.LastEvaluatedTableName
	}
	return names, nil
}

// call calls an operation. The answer is stored in output, unless that is nil.
//
// It does without Amazon's SDK: what it asks for is little, and nothing has to
// be signed.
func call(ctx context.Context, endpoint, operation string, input, output any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 "+
		"Credential=%s/20260101/%s/dynamodb/aws4_request, SignedHeaders=host, Signature=none", AccessKeyID, Region))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, answer)
	}
	if output == nil {
		return nil
	}
	return json.Unmarshal(answer, output)
}
