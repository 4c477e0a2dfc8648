package mongotest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
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
	const password = "s3cret"
	replicaSet := func(t testing.TB) { Database(t) }
	standalone := func(t testing.TB) { Standalone(t) }
	tests := []struct {
		name     string
		database func(testing.TB)
		value    string
		require  string
		want     string
	}{
		{
			name:     "replica set, unset",
			database: replicaSet,
			want:     "skip: TEST_MONGODB_URI is not set: this test needs a real server (`make test/servers` starts one)",
		},
		{
			name:     "standalone, unset",
			database: standalone,
			require:  "0",
			want:     "skip: TEST_MONGODB_STANDALONE_URI is not set: this test needs a real server (`make test/servers` starts one)",
		},
		{
			name:     "replica set, required",
			database: replicaSet,
			require:  "1",
			want:     "fatal: TEST_MONGODB_URI is not set, and REQUIRE_SERVERS=1 asks for every server: run the tests with `make test/servers`",
		},
		{
			name:     "standalone, required",
			database: standalone,
			require:  "1",
			want:     "fatal: TEST_MONGODB_STANDALONE_URI is not set, and REQUIRE_SERVERS=1 asks for every server: run the tests with `make test/servers`",
		},
		{
			name:     "replica set, not a URL",
			database: replicaSet,
			value:    "mongodb://u:" + password + "@[",
			want:     "fatal: TEST_MONGODB_URI is not a URL of the form mongodb://user:password@host:port/",
		},
		{
			name:     "standalone, another server",
			database: standalone,
			value:    "postgres://u:" + password + "@localhost/",
			want:     "fatal: TEST_MONGODB_STANDALONE_URI is not a URL of the form mongodb://user:password@host:port/",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(replicaSetVariable, tt.value)
			t.Setenv(standaloneVariable, tt.value)
			t.Setenv(requireVariable, tt.require)

			if got := verdict(t, tt.database); got != tt.want {
				t.Errorf("ended with\n%q, want\n%q", got, tt.want)
			}
		})
	}
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	testDatabase(t, Database, replicaSetVariable, func(t *testing.T, database *mongo.Database) {
		t.Helper()
		// Left open, in a transaction that holds a lock: the clean-up has to cope.
		session, err := database.Client().StartSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := session.StartTransaction(); err != nil {
			t.Fatal(err)
		}
		insert(t, mongo.NewSessionContext(t.Context(), session), database)
	})
}

func TestStandalone(t *testing.T) {
	t.Parallel()
	testDatabase(t, Standalone, standaloneVariable, func(t *testing.T, database *mongo.Database) {
		t.Helper()
		insert(t, t.Context(), database)
	})
}

// testDatabase tests that a database is new, and gone after the test.
func testDatabase(
	t *testing.T, create func(testing.TB) (uri, database string), variable string,
	leave func(*testing.T, *mongo.Database),
) {
	t.Helper()

	var uri, name string
	t.Run("in use", func(t *testing.T) {
		uri, name = create(t)
		if _, other := create(t); other == name {
			t.Errorf("two databases have one name")
		}
		client, err := mongo.Connect(options.Client().ApplyURI(uri))
		if err != nil {
			t.Fatal(err)
		}
		database := client.Database(name) // left connected
		collections, err := database.ListCollectionNames(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		if len(collections) > 0 {
			t.Errorf("the new database has the collections %v, want none", collections)
		}
		insert(t, t.Context(), database)
		leave(t, database)
	})
	if uri == "" {
		return // skipped
	}
	err := with(t.Context(), os.Getenv(variable), func(ctx context.Context, client *mongo.Client) error {
		names, err := client.ListDatabaseNames(ctx, bson.D{{Key: "name", Value: name}})
		if len(names) > 0 {
			t.Errorf("the database %s is left", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	if u.User == nil {
		return // a server without users
	}
	err = run(t.Context(), uri, bson.D{{Key: "ping", Value: 1}})
	if err == nil || !strings.Contains(err.Error(), "AuthenticationFailed") {
		t.Errorf("logging in as the removed user: %v, want AuthenticationFailed", err)
	}
}

//nolint:revive // context-as-argument: the test comes first, as in every helper
func insert(t *testing.T, ctx context.Context, database *mongo.Database) {
	t.Helper()

	if _, err := database.Collection("kept").InsertOne(ctx, bson.D{}); err != nil {
		t.Fatal(err)
	}
}
