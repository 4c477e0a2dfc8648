// Package mongotest gives a test an empty database of its own on a real MongoDB.
//
// It starts no server: it uses the one that an environment variable names, as
// a user who may create users. Where the variable is unset the test is
// skipped, unless REQUIRE_SERVERS=1 says that every server is there, which
// turns the skip into a failure. `make test/servers` starts the servers and
// sets the variables.
package mongotest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	replicaSetVariable = "TEST_MONGODB_URI"            // mongodb://user:password@host:port/?replicaSet=name
	standaloneVariable = "TEST_MONGODB_STANDALONE_URI" // mongodb://user:password@host:port/
	requireVariable    = "REQUIRE_SERVERS"             // 1: a server that is missing is a failure
	limit              = 30 * time.Second              // for creating or dropping one database
	prefix             = "flamingock_test_"            // of the names of databases and users
)

// Database returns the URI of the replica set of TEST_MONGODB_URI, which has
// transactions and change streams, and the name of a database that nobody else
// uses. At the end of the test the database is dropped.
//
// Where the server has users, the URI is that of a new one who may do
// everything. At the end its transactions are aborted, those too that nobody
// is left to end, and it is removed.
func Database(t testing.TB) (uri, database string) {
	t.Helper()
	return create(t, replicaSetVariable)
}

// Standalone does what Database does on the server of
// TEST_MONGODB_STANDALONE_URI, which is in no replica set, and so has neither
// transactions nor change streams.
func Standalone(t testing.TB) (uri, database string) {
	t.Helper()
	return create(t, standaloneVariable)
}

// Connect returns a client that is disconnected at the end of the test.
func Connect(t testing.TB, uri string) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err) // no URI in it: it is the driver's word for a wrong option
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.WithoutCancel(t.Context())); err != nil && !errors.Is(err, mongo.ErrClientDisconnected) {
			t.Errorf("disconnect: %v", err)
		}
	})
	return client
}

func create(t testing.TB, variable string) (uri, database string) {
	t.Helper()

	server := address(t, variable)
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "mongodb" {
		t.Fatalf("%s is not a URL of the form mongodb://user:password@host:port/", variable) // err would repeat the password
	}
	name := prefix + strings.ToLower(rand.Text())
	user := ""
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if u.User == nil {
		// The database comes with its first document: all there is to do is to
		// see that the server is there.
		err = run(ctx, server, bson.D{{Key: "ping", Value: 1}})
	} else {
		user = name
		password := rand.Text()
		err = run(ctx, server, bson.D{
			{Key: "createUser", Value: user}, {Key: "pwd", Value: password}, {Key: "roles", Value: bson.A{"root"}},
		})
		u.User = url.UserPassword(user, password)
		query := u.Query()
		query.Set("authSource", "admin")
		u.RawQuery = query.Encode()
	}
	if err != nil {
		t.Fatalf("create the test's database %s: %v", name, err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		if err := drop(ctx, server, name, user); err != nil {
			t.Errorf("drop the test's database %s: %v", name, err)
		}
	})
	return u.String(), name
}

// address returns the variable's value, or ends the test by the rule in the
// package comment.
func address(t testing.TB, variable string) string {
	t.Helper()

	if value := os.Getenv(variable); value != "" {
		return value
	}
	if os.Getenv(requireVariable) == "1" {
		t.Fatalf("%s is not set, and %s=1 asks for every server: run the tests with `make test/servers`", variable, requireVariable)
	}
	t.Skipf("%s is not set: this test needs a real server (`make test/servers` starts one)", variable)
	return ""
}

// drop drops the database and removes the user, where there is one.
func drop(ctx context.Context, server, database, user string) error {
	return with(ctx, server, func(ctx context.Context, client *mongo.Client) error {
		var errs []error
		admin := client.Database("admin")
		if user != "" {
			// A transaction that was left open holds locks, for a minute: dropping
			// the database would wait for it.
			errs = append(errs, admin.RunCommand(ctx, bson.D{
				{Key: "killAllSessions", Value: bson.A{bson.D{{Key: "user", Value: user}, {Key: "db", Value: "admin"}}}},
			}).Err())
		}
		errs = append(errs, client.Database(database).Drop(ctx))
		if user != "" {
			errs = append(errs, admin.RunCommand(ctx, bson.D{{Key: "dropUser", Value: user}}).Err())
		}
		return errors.Join(errs...)
	})
}

// run runs one command on the database admin.
func run(ctx context.Context, server string, command bson.D) error {
	return with(ctx, server, func(ctx context.Context, client *mongo.Client) error {
		return client.Database("admin").RunCommand(ctx, command).Err()
	})
}

// with connects, for one use.
func with(ctx context.Context, server string, use func(context.Context, *mongo.Client) error) error {
	client, err := mongo.Connect(options.Client().ApplyURI(server))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = client.Disconnect(ctx) }() // the command's result is what counts
	return use(ctx, client)
}
