package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
)

const mongoVariable = "TEST_MONGODB_URI"

type mongodb struct {
	server  *url.URL
	client  *mongo.Client
	version string
}

func openMongoDB(ctx context.Context) (*mongodb, error) {
	u, err := url.Parse(os.Getenv(mongoVariable))
	if err != nil {
		return nil, fmt.Errorf("%s is not a URL", mongoVariable) // err would repeat the password
	}
	m := &mongodb{server: u}
	if m.client, err = mongo.Connect(mongooptions.Client().ApplyURI(u.String())); err != nil {
		return nil, fmt.Errorf("connect to the server of %s: %w", mongoVariable, err)
	}
	var build struct{ Version string }
	if err := m.client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
		return nil, fmt.Errorf("ask the server's version: %w", err)
	}
	m.version = build.Version
	return m, nil
}

func (m *mongodb) title() string { return "MongoDB " + m.version }
func (*mongodb) unit() string    { return "journal syncs" }

func (m *mongodb) close(ctx context.Context) { _ = m.client.Disconnect(ctx) } // it only looked

func (*mongodb) tools() []string { return []string{"flamingock", "floor"} }

func (m *mongodb) create(context.Context, string) (instance, error) {
	in := instance{name: "mongodb", id: "flamingock_bench_" + strings.ToLower(rand.Text())}
	u := *m.server
	u.Path = "/" + in.id
	in.dsn = u.String()
	in.config = fmt.Sprintf("auditStore: {type: mongodb, uri: %q}\ntargetSystems: {db: {type: mongodb, uri: %q}}\n", in.dsn, in.dsn)
	return in, nil
}

func (m *mongodb) drop(ctx context.Context, in instance) error {
	if err := m.client.Database(in.id).Drop(ctx); err != nil {
		return fmt.Errorf("drop a database: %w", err)
	}
	return nil
}

func (m *mongodb) check(ctx context.Context, in instance, rows int) error {
	n, err := m.client.Database(in.id).Collection("bench").CountDocuments(ctx, bson.D{})
	if err != nil {
		return fmt.Errorf("count the documents: %w", err)
	}
	if int(n) != rows {
		return wrongRows(int(n), rows)
	}
	return nil
}

// countWrites looks at the server's count of syncs of its journal. The server must
// have nothing else to do; it syncs a few times a second by itself.
func (m *mongodb) countWrites(ctx context.Context, _ instance, run func() error) (float64, error) {
	before, err := m.syncs(ctx)
	if err != nil {
		return 0, err
	}
	if err := run(); err != nil {
		return 0, err
	}
	after, err := m.syncs(ctx)
	return after - before, err
}

func (m *mongodb) syncs(ctx context.Context) (float64, error) {
	var status struct {
		WiredTiger struct {
			Log struct {
				Syncs int64 `bson:"log sync operations"`
			}
		} `bson:"wiredTiger"`
	}
	if err := m.client.Database("admin").RunCommand(ctx, bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status); err != nil {
		return 0, fmt.Errorf("read the count of syncs: %w", err)
	}
	return float64(status.WiredTiger.Log.Syncs), nil
}
