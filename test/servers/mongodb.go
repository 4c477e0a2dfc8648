package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// mongoDBReplicaSet is a replica set of one member: what has transactions.
func mongoDBReplicaSet() (recipe, error) { return mongoDB(MongoDB, "TEST_MONGODB_URI", "rs0") }

// mongoDBStandalone is a server that is in no replica set, and so has no
// transactions and no change streams.
func mongoDBStandalone() (recipe, error) {
	return mongoDB(MongoDBStandalone, "TEST_MONGODB_STANDALONE_URI", "")
}

func mongoDB(kind Kind, variable, replicaSet string) (recipe, error) {
	mongod, err := findMongod()
	if err != nil {
		return recipe{}, err
	}
	const user = "flamingock"
	password := rand.Text()
	address := func(port int) string {
		query := url.Values{"authSource": {"admin"}}
		if replicaSet != "" {
			query.Set("replicaSet", replicaSet)
		}
		u := url.URL{
			Scheme:   "mongodb",
			User:     url.UserPassword(user, password),
			Host:     hostOf(port),
			Path:     "/",
			RawQuery: query.Encode(),
		}
		return u.String()
	}
	return recipe{
		kind: kind, // it may run as root
		initialize: func(_ context.Context, dir string, as *account) error {
			if replicaSet != "" {
				// By it the members of a set know one another.
				if _, err := writePrivate(dir, "key", rand.Text(), as); err != nil {
					return err
				}
			}
			return os.Mkdir(filepath.Join(dir, "data"), 0o700)
		},
		command: func(dir string, port int) []string {
			argv := []string{
				mongod, "--dbpath", filepath.Join(dir, "data"),
				"--bind_ip", "127.0.0.1", "--port", strconv.Itoa(port), "--unixSocketPrefix", dir,
				// The data is new and thrown away: what keeps the server small,
				// and leaves its promises as they are.
				"--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false",
				// So that a test can hold a command at the server, with failCommand.
				"--setParameter", "enableTestCommands=1",
			}
			if replicaSet == "" {
				return append(argv, "--auth")
			}
			return append(argv, "--replSet", replicaSet, "--keyFile", filepath.Join(dir, "key"), "--oplogSize", "64")
		},
		ping: func(ctx context.Context, dir string, port int) error {
			// The socket is in the server's own directory: whoever answers
			// there is no other server that has taken the port.
			socket := filepath.Join(dir, fmt.Sprintf("mongodb-%d.sock", port))
			if _, err := os.Stat(socket); err != nil {
				return err
			}
			err := withMongoDB(ctx, "mongodb://"+url.PathEscape(socket)+"/?directConnection=true",
				func(ctx context.Context, admin *mongo.Database) error {
					if replicaSet != "" {
						if err := initiate(ctx, admin, replicaSet, port); err != nil {
							return fmt.Errorf("initiate the replica set: %w", err)
						}
					}
					return createFirstUser(ctx, admin, user, password)
				})
			if err != nil {
				return err
			}
			return withMongoDB(ctx, address(port), func(ctx context.Context, admin *mongo.Database) error {
				return admin.RunCommand(ctx, bson.D{{Key: "listDatabases", Value: 1}}).Err()
			})
		},
		// One process with nothing outside its directory: there is no need to
		// let it write its data out first.
		end: syscall.SIGKILL,
		env: func(port int) []string { return []string{variable + "=" + address(port)} },
	}, nil
}

// initiate makes the server the only member of a replica set, where it is not
// one, and returns nil when it is the primary.
func initiate(ctx context.Context, admin *mongo.Database, replicaSet string, port int) error {
	var is struct {
		SetName string
		Primary bool `bson:"isWritablePrimary"`
	}
	hello := func() error { return admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&is) }
	if err := hello(); err != nil {
		return err
	}
	if is.SetName == "" {
		err := admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: bson.D{
			{Key: "_id", Value: replicaSet},
			{Key: "members", Value: bson.A{bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: hostOf(port)}}}},
		}}}).Err()
		if err != nil {
			return err
		}
		if err := hello(); err != nil {
			return err
		}
	}
	if !is.Primary {
		return errors.New("it is not the primary yet")
	}
	return nil
}

// createFirstUser creates a user who may do everything, where there is no user
// yet: until then the server lets anybody do so who is on the same machine.
func createFirstUser(ctx context.Context, admin *mongo.Database, user, password string) error {
	err := admin.RunCommand(ctx, bson.D{
		{Key: "createUser", Value: user},
		{Key: "pwd", Value: password},
		{Key: "roles", Value: bson.A{"root"}},
	}).Err()
	const unauthorized = 13 // as from the second time on
	if command := (mongo.CommandError{}); errors.As(err, &command) && command.HasErrorCode(unauthorized) {
		return nil
	}
	return err
}

// withMongoDB connects, for one use.
func withMongoDB(ctx context.Context, address string, use func(context.Context, *mongo.Database) error) error {
	// Whoever does not get through asks again, after a look at the process.
	client, err := mongo.Connect(options.Client().ApplyURI(address).SetServerSelectionTimeout(time.Second))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(ctx) }() // the answer is what counts
	return use(ctx, client.Database("admin"))
}

// hostOf returns the address of the port.
func hostOf(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
