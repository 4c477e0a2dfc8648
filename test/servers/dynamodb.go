package servers

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dynamoDB is Amazon's DynamoDB Local. It listens on every address of the
// machine, since it has no option to do otherwise, and it believes everybody:
// an access key only names the database that is used.
func dynamoDB() (recipe, error) { return dynamoDBLocal(DynamoDB, "TEST_DYNAMODB_ENDPOINT") }

// dynamoDBDelayed takes seconds to make and to change a table or an index, as the
// service does, and says meanwhile that it is about it.
func dynamoDBDelayed() (recipe, error) {
	return dynamoDBLocal(DynamoDBDelayed, "TEST_DYNAMODB_DELAYED_ENDPOINT", "-delayTransientStatuses")
}

func dynamoDBLocal(kind Kind, variable string, options ...string) (recipe, error) {
	jar, err := findDynamoDBLocal()
	if err != nil {
		return recipe{}, err
	}
	java, err := find("java", "default-jre-headless", filepath.Join(cmp.Or(os.Getenv("JAVA_HOME"), "/usr"), "bin", "java"))
	if err != nil {
		return recipe{}, err
	}
	return recipe{
		kind:       kind, // it may run as root
		initialize: func(context.Context, string, *account) error { return nil },
		command: func(dir string, port int) []string {
			return append([]string{
				java,
				"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", // half the time to start
				"-XX:-UsePerfData", "-Djava.io.tmpdir=" + dir, // nothing outside its directory
				"-Djava.library.path=" + filepath.Join(filepath.Dir(jar), "DynamoDBLocal_lib"),
				"-jar", jar, "-inMemory", "-disableTelemetry", "-port", strconv.Itoa(port),
			}, options...)
		},
		ping: func(ctx context.Context, _ string, port int) error { return listTables(ctx, dynamoDBAddress(port)) },
		// One process with nothing outside its directory.
		end: syscall.SIGKILL,
		env: func(port int) []string { return []string{variable + "=" + dynamoDBAddress(port)} },
	}, nil
}

func dynamoDBAddress(port int) string { return "http://" + hostOf(port) }

// listTables asks for the tables of a database that nobody uses, which are none.
func listTables(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	req.Close = true // this is its only request
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810.ListTables")
	// The signature is not looked at.
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+
		"Credential=ping/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	const want = `{"TableNames":[]}`
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || strings.ReplaceAll(string(body), " ", "") != want {
		return fmt.Errorf("it answers %s %q, want 200 %q", resp.Status, body, want)
	}
	return nil
}
