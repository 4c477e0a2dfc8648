// Package servers starts real database servers for tests: each with new data
// in a temporary directory, on a free loopback port, with a random password,
// and as durable as its defaults make it. Command with-servers runs a command
// with them. DynamoDB Local is the exception: its data is in memory, it has no
// password, and it listens on every address.
//
// It finds the servers that Debian's packages postgresql, mariadb-server and
// docker-registry install, or those in PATH, and needs no configuration and no running service
// of theirs. The servers refuse to run as root; started by root they run as
// the users that the packages create.
//
// MongoDB, DynamoDB Local, moto and Apache Kafka are no Debian packages: `make
// servers` downloads them into the user's cache, where they are found. TEST_MONGOD
// may name another mongod, which is looked for in PATH too, TEST_DYNAMODB_LOCAL
// another DynamoDBLocal.jar, TEST_REGISTRY_PROGRAM another registry, TEST_KAFKA_LIB another folder of Kafka's libraries (both
// need a Java, default-jre-headless), and TEST_MOTO another folder with the Python
// package moto. They run as whoever starts them.
//
// Tests get databases on these servers from packages plugins/sql/sqltest,
// plugins/mongodb/mongotest and plugins/dynamodb/dynamotest.
package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Kind is a kind of server.
type Kind string

// The kinds of servers that Start can start.
const (
	PostgreSQL        Kind = "postgres"
	MariaDB           Kind = "mariadb"
	MongoDB           Kind = "mongodb" // a replica set of one member
	MongoDBStandalone Kind = "mongodb-standalone"
	DynamoDB          Kind = "dynamodb"
	DynamoDBDelayed   Kind = "dynamodb-delayed" // takes seconds to change a table
	Moto              Kind = "moto"             // an imitation of more of DynamoDB
	Kafka             Kind = "kafka"            // three brokers, and a worker of Kafka Connect
	Registry          Kind = "registry"         // an OCI registry
)

// Kinds returns every kind.
func Kinds() []Kind {
	return []Kind{PostgreSQL, MariaDB, MongoDB, MongoDBStandalone, DynamoDB, DynamoDBDelayed, Moto, Kafka, Registry}
}

// ParseKinds parses a list such as "postgres,mariadb".
func ParseKinds(list string) ([]Kind, error) {
	var kinds []Kind
	for name := range strings.SplitSeq(list, ",") {
		kind := Kind(strings.TrimSpace(name))
		if !slices.Contains(Kinds(), kind) {
			return nil, fmt.Errorf("unknown server %q: want some of %v", kind, Kinds())
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

// recipe returns how servers of the kind are made.
func (k Kind) recipe() (recipe, error) {
	switch k {
	case PostgreSQL:
		return postgreSQL()
	case MariaDB:
		return mariaDB()
	case MongoDB:
		return mongoDBReplicaSet()
	case MongoDBStandalone:
		return mongoDBStandalone()
	case DynamoDB:
		return dynamoDB()
	case DynamoDBDelayed:
		return dynamoDBDelayed()
	case Moto:
		return moto()
	case Kafka:
		return kafka()
	case Registry:
		return registry()
	}
	return recipe{}, fmt.Errorf("unknown kind of server %q", k)
}

// Group is some running servers.
type Group struct {
	servers []*server
	all     bool
}

// Start starts one server of each kind, all at once, and returns when each of
// them answers. Where it returns an error no server runs and no data is left.
// The context bounds the start only; call Stop in the end.
func Start(ctx context.Context, kinds ...Kind) (*Group, error) {
	g := &Group{servers: make([]*server, len(kinds)), all: true}
	for _, kind := range Kinds() {
		g.all = g.all && slices.Contains(kinds, kind)
	}
	errs := make([]error, len(kinds))
	var wg sync.WaitGroup
	for i, kind := range kinds {
		wg.Go(func() {
			r, err := kind.recipe()
			if err == nil {
				g.servers[i], err = boot(ctx, r)
			}
			if err != nil {
				errs[i] = fmt.Errorf("start %s: %w", kind, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

// Env returns what tells a test about the servers, as NAME=value:
//
//   - TEST_POSTGRES_URL, a postgres:// URL of a superuser
//   - TEST_MARIADB_DSN, of a user with all privileges, as the Go driver wants
//     it, and TEST_MARIADB_URL, the same as a mysql:// URL
//   - TEST_MONGODB_URI, a mongodb:// URL of a user who may do everything, on a
//     replica set of one member, and TEST_MONGODB_STANDALONE_URI, on a server
//     that is in no replica set
//   - TEST_DYNAMODB_ENDPOINT, an http:// URL; any credentials will do, but each
//     pair of access key and region has tables of its own; and
//     TEST_DYNAMODB_DELAYED_ENDPOINT, of one that takes seconds to change a table
//   - TEST_MOTO_ENDPOINT, an http:// URL of an imitation, likewise
//   - TEST_KAFKA_BROKERS, host:port,…, with TEST_KAFKA_USERNAME and
//     TEST_KAFKA_PASSWORD of a user who may do everything, by SCRAM-SHA-512, and
//     TEST_KAFKA_CONNECT, the http:// URL of the worker of Kafka Connect
//   - REQUIRE_SERVERS=1 where there is a server of every kind, so that a test
//     that misses one fails and does not skip
func (g *Group) Env() []string {
	var env []string
	for _, s := range g.servers {
		env = append(env, s.env...)
	}
	if g.all {
		env = append(env, "REQUIRE_SERVERS=1")
	}
	return env
}

// Stop ends the servers, whoever is connected to them, and removes their data.
func (g *Group) Stop() error {
	errs := make([]error, len(g.servers))
	var wg sync.WaitGroup
	for i, s := range g.servers {
		if s == nil {
			continue // did not start
		}
		wg.Go(func() { errs[i] = s.stop() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
