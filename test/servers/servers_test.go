package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

func TestParseKinds(t *testing.T) {
	t.Parallel()

	tests := []struct {
		list    string
		want    []Kind
		wantErr string
	}{
		{list: "postgres", want: []Kind{PostgreSQL}},
		{list: "mariadb, postgres,mariadb", want: []Kind{MariaDB, PostgreSQL}},
		{list: "", wantErr: `unknown server "": want some of [postgres mariadb mongodb mongodb-standalone dynamodb dynamodb-delayed moto kafka registry]`},
		{list: "postgres,oracle", wantErr: `unknown server "oracle": want some of [postgres mariadb mongodb mongodb-standalone dynamodb dynamodb-delayed moto kafka registry]`},
	}
	for _, tt := range tests {
		t.Run(tt.list, func(t *testing.T) {
			t.Parallel()

			got, err := ParseKinds(tt.list)
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Fatalf("error is %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("kinds are %v (error %v), want %v", got, err, tt.want)
			}
		})
	}
}

func TestNewestFirst(t *testing.T) {
	t.Parallel()

	got := newestFirst([]string{
		"/usr/lib/postgresql/9/bin/postgres",
		"/usr/lib/postgresql/x/bin/postgres",
		"/usr/lib/postgresql/17/bin/postgres",
		"/usr/lib/postgresql/15/bin/postgres",
	})
	want := []string{
		"/usr/lib/postgresql/17/bin/postgres",
		"/usr/lib/postgresql/15/bin/postgres",
		"/usr/lib/postgresql/9/bin/postgres",
		"/usr/lib/postgresql/x/bin/postgres",
	}
	if !slices.Equal(got, want) {
		t.Errorf("order is %v, want %v", got, want)
	}
}

func TestEnv(t *testing.T) {
	t.Parallel()

	servers := []*server{{env: []string{"A=1"}}, {env: []string{"B=2", "C=3"}}}
	some := &Group{servers: servers}
	if got, want := some.Env(), []string{"A=1", "B=2", "C=3"}; !slices.Equal(got, want) {
		t.Errorf("with some servers the variables are %v, want %v", got, want)
	}
	all := &Group{servers: servers, all: true}
	if got, want := all.Env(), []string{"A=1", "B=2", "C=3", "REQUIRE_SERVERS=1"}; !slices.Equal(got, want) {
		t.Errorf("with all servers the variables are %v, want %v", got, want)
	}
}

// script is a recipe of a server that is a shell script. The directory that it
// was given is stored in dir.
func script(text string, dir *string) recipe {
	return recipe{
		kind: "script",
		user: "nobody",
		initialize: func(_ context.Context, d string, _ *account) error {
			*dir = d
			return nil
		},
		command: func(string, int) []string { return []string{"/bin/sh", "-c", text} },
		ping:    func(context.Context, string, int) error { return errors.New("no answer") },
		end:     syscall.SIGTERM,
		env:     func(int) []string { return nil },
	}
}

func TestBootFails(t *testing.T) {
	t.Parallel()

	refuse := func(r *recipe) {
		initialize := r.initialize
		r.initialize = func(ctx context.Context, dir string, as *account) error {
			return errors.Join(initialize(ctx, dir, as), as.run(ctx, dir, "/bin/sh", "-c", "echo first; echo second >&2; exit 4"))
		}
	}
	tests := []struct {
		name   string
		text   string
		change func(*recipe)
		giveUp error
		want   string
	}{
		{
			name: "ends",
			text: "echo no memory; exit 3",
			want: "sh ended before it was ready: exit status 3\n  no memory",
		},
		{
			name: "ends as if all were well",
			text: "exit 0",
			want: "sh ended before it was ready: exit status 0\n  (it wrote nothing)",
		},
		{
			name: "ends, with a long log",
			text: "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo $i; done; exit 3",
			want: "sh ended before it was ready: exit status 3\n  2\n  3\n  4\n  5\n  6\n  7\n  8\n  9\n  10\n  11\n  12\n  13\n  14\n  15\n  16",
		},
		{
			name: "never gets its port",
			text: "echo 'bind: Address already in use'; exit 1",
			want: "its port was taken by somebody else\n  bind: Address already in use",
		},
		{
			name:   "given up",
			text:   "exec sleep 600",
			giveUp: errors.New("told to give up"),
			want:   "told to give up; it last answered: nothing yet\n  (it wrote nothing)",
		},
		{
			name:   "no data",
			change: refuse,
			want:   "create its data: run /bin/sh: exit status 4\n  first\n  second",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()

			var dir string
			r := script(tt.text, &dir)
			if tt.change != nil {
				tt.change(&r)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if tt.giveUp != nil {
				cancel(tt.giveUp)
			}
			s, err := boot(ctx, r)
			if err == nil {
				t.Fatalf("it started; stopping it: %v", s.stop())
			}
			if err.Error() != tt.want {
				t.Errorf("error is\n%q, want\n%q", err, tt.want)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its directory %s is left: %v", dir, err)
			}
		})
	}
}

func TestBootTakesAnotherPort(t *testing.T) {
	t.Parallel()

	var dir string
	r := script("", &dir)
	var ports []int
	r.command = func(_ string, port int) []string {
		ports = append(ports, port)
		if len(ports) == 1 {
			return []string{"/bin/sh", "-c", "echo 'bind: Address already in use'; exit 1"}
		}
		return []string{"/bin/sh", "-c", "exec sleep 600"}
	}
	var pinged int
	r.ping = func(_ context.Context, _ string, port int) error {
		pinged = port
		if len(ports) == 1 {
			return errors.New("somebody else's answer")
		}
		return nil
	}
	s, err := boot(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != 2 || pinged != ports[1] {
		t.Errorf("started at ports %v and asked at %d, want the second of two", ports, pinged)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if err := s.process.process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signalling the stopped server: %v, want %v", err, os.ErrProcessDone)
	}
}

func TestStartReportsEachServer(t *testing.T) {
	t.Parallel()

	_, err := Start(t.Context(), "oracle", "db2")
	want := "start oracle: unknown kind of server \"oracle\"\nstart db2: unknown kind of server \"db2\""
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestBootEndsWhoIsLeftWithoutAPort(t *testing.T) {
	t.Parallel()

	var dir string
	r := script("", &dir)
	starts := 0
	r.command = func(string, int) []string {
		starts++
		if starts == 1 {
			return []string{"/bin/sh", "-c", "echo $$ >pid; echo 'BindException: Address already in use'; sleep 600"}
		}
		return []string{"/bin/sh", "-c", "exec sleep 600"}
	}
	r.ping = func(context.Context, string, int) error {
		// Somebody else answers, as soon as the first one has said that.
		_, err := os.Stat(filepath.Join(dir, "pid"))
		return err
	}
	s, err := boot(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if starts != 2 {
		t.Errorf("started %d times, want 2", starts)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("signalling the first server, process %d: %v, want %v", pid, err, syscall.ESRCH)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func TestFindDownloads(t *testing.T) {
	cache := t.TempDir()
	file := func(elem ...string) string {
		path := filepath.Join(append([]string{cache}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	t.Setenv("PATH", cache)
	t.Setenv("TEST_MONGOD", "")
	t.Setenv("TEST_DYNAMODB_LOCAL", "")
	t.Setenv("TEST_MOTO", "")
	t.Setenv("TEST_KAFKA_LIB", "")
	check := func(find func() (string, error), want, wantErr string) {
		t.Helper()
		got, err := find()
		if got != want || (err != nil) != (wantErr != "") || err != nil && err.Error() != wantErr {
			t.Errorf("found %q (error %v), want %q (error %s)", got, err, want, wantErr)
		}
	}

	check(findMongod, "", "mongod is not installed: download it by `make servers`, or set TEST_MONGOD to its path: "+
		`exec: "mongod": executable file not found in $PATH`)
	check(findDynamoDBLocal, "", "DynamoDB Local is not installed: download it by `make servers`, "+
		"or set TEST_DYNAMODB_LOCAL to the path of its DynamoDBLocal.jar")
	check(findMoto, "", "moto is not installed: download it by `make servers`, "+
		"or set TEST_MOTO to the path of the folder that it was installed into")
	check(findKafka, "", "Apache Kafka is not installed: download it by `make servers`, or set TEST_KAFKA_LIB to the folder of its libraries")

	check(findMongod, file("mongod"), "")
	if dir, err := os.UserCacheDir(); err != nil || dir != cache {
		t.Skipf("the user's cache is %s (error %v), not where this test can write", dir, err)
	}
	check(findMongod, file("flamingock-go", "servers", "mongodb-6.0.5", "mongod"), "")
	check(findDynamoDBLocal, file("flamingock-go", "servers", "dynamodb-local-1.25.1", "DynamoDBLocal.jar"), "")
	check(findKafka, filepath.Dir(file("flamingock-go", "servers", "kafka-4.3.1", "kafka.jar")), "")

	t.Setenv("TEST_MONGOD", file("other"))
	check(findMongod, filepath.Join(cache, "other"), "")
	t.Setenv("TEST_DYNAMODB_LOCAL", "/no/such.jar")
	check(findDynamoDBLocal, "", "TEST_DYNAMODB_LOCAL: stat /no/such.jar: no such file or directory")
}

// kafkaPort returns the port of the first broker.
func kafkaPort(t *testing.T, brokers string) int {
	t.Helper()
	first, _, _ := strings.Cut(brokers, ",")
	_, text, err := net.SplitHostPort(first)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// askPostgreSQL returns an error where the query's single value is not want.
func askPostgreSQL(t *testing.T, address, query, want string) error {
	t.Helper()

	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var got string
	if err := conn.QueryRow(t.Context(), query, pgx.QueryExecModeSimpleProtocol).Scan(&got); err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	if got != want {
		return fmt.Errorf("%s answers %q, want %q", query, got, want)
	}
	return nil
}

// askMariaDB returns an error where the query's single value is not want.
func askMariaDB(t *testing.T, dsn, query, want string) error {
	t.Helper()

	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	var got string
	if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	if got != want {
		return fmt.Errorf("%s answers %q, want %q", query, got, want)
	}
	return nil
}

// askMongoDB returns an error where the command on the database admin fails.
// The answer is stored in answer, unless that is nil.
func askMongoDB(t *testing.T, address string, command bson.D, answer any) error {
	t.Helper()

	return withMongoDB(t.Context(), address, func(ctx context.Context, admin *mongo.Database) error {
		result := admin.RunCommand(ctx, command)
		if answer == nil {
			return result.Err()
		}
		return result.Decode(answer)
	})
}

// TestStart starts servers beside those that the other tests use.
func TestStart(t *testing.T) {
	t.Parallel()
	// All are there where the tests were given servers, and only there.
	sqltest.PostgreSQL(t)
	sqltest.MySQL(t)
	mongotest.Database(t)
	mongotest.Standalone(t)
	dynamotest.Endpoint(t)

	g, err := Start(t.Context(), Kinds()...)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, assignment := range g.Env() {
		name, value, _ := strings.Cut(assignment, "=")
		env[name] = value
	}
	var dirs []string
	for _, s := range g.servers {
		dirs = append(dirs, s.dir)
	}
	if err := askPostgreSQL(t, env["TEST_POSTGRES_URL"], "SELECT 1", "1"); err != nil {
		t.Error(err)
	}
	if err := askMariaDB(t, env["TEST_MARIADB_DSN"], "SELECT 1", "1"); err != nil {
		t.Error(err)
	}
	ping := bson.D{{Key: "ping", Value: 1}}
	for _, variable := range []string{"TEST_MONGODB_URI", "TEST_MONGODB_STANDALONE_URI"} {
		if err := askMongoDB(t, env[variable], ping, nil); err != nil {
			t.Error(err)
		}
	}
	if err := listTables(t.Context(), env["TEST_DYNAMODB_ENDPOINT"]); err != nil {
		t.Error(err)
	}
	port := kafkaPort(t, env["TEST_KAFKA_BROKERS"])
	if err := errors.Join(pingKafka(t.Context(), port, env["TEST_KAFKA_PASSWORD"]), pingConnect(t.Context(), port)); err != nil {
		t.Error(err)
	}
	if err := pingKafka(t.Context(), port, "wrong"); err == nil {
		t.Error("Kafka lets in who has a wrong password")
	}
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	if err := askPostgreSQL(t, env["TEST_POSTGRES_URL"], "SELECT 1", "1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("asking the stopped PostgreSQL: %v, want %v", err, syscall.ECONNREFUSED)
	}
	if err := askMariaDB(t, env["TEST_MARIADB_DSN"], "SELECT 1", "1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("asking the stopped MariaDB: %v, want %v", err, syscall.ECONNREFUSED)
	}
	for _, variable := range []string{"TEST_MONGODB_URI", "TEST_MONGODB_STANDALONE_URI"} {
		err := askMongoDB(t, env[variable], ping, nil)
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("asking the stopped MongoDB of %s: %v, want connection refused", variable, err)
		}
	}
	for _, variable := range []string{"TEST_DYNAMODB_ENDPOINT", "TEST_DYNAMODB_DELAYED_ENDPOINT", "TEST_MOTO_ENDPOINT"} {
		if err := listTables(t.Context(), env[variable]); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("asking the stopped server of %s: %v, want %v", variable, err, syscall.ECONNREFUSED)
		}
	}
	for i := range kafkaPorts {
		_, err := new(net.Dialer).DialContext(t.Context(), "tcp", hostOf(port+i))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting to port %d of the stopped Kafka: %v, want %v", i, err, syscall.ECONNREFUSED)
		}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
}

func TestPostgreSQLSettings(t *testing.T) {
	t.Parallel()

	server := sqltest.PostgreSQL(t)
	for query, want := range map[string]string{
		"SHOW fsync":              "on",
		"SHOW synchronous_commit": "on",
		"SHOW full_page_writes":   "on",
		"SHOW server_encoding":    "UTF8",
		"SHOW listen_addresses":   "127.0.0.1",
	} {
		if err := askPostgreSQL(t, server, query, want); err != nil {
			t.Error(err)
		}
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), "wrong")
	err = askPostgreSQL(t, u.String(), "SELECT 1", "1")
	if err == nil || !strings.Contains(err.Error(), "SQLSTATE 28P01") {
		t.Errorf("logging in with a wrong password: %v, want SQLSTATE 28P01", err)
	}
}

func TestMariaDBSettings(t *testing.T) {
	t.Parallel()

	sqltest.MySQL(t) // the rule for servers that are not there
	dsn := os.Getenv("TEST_MARIADB_DSN")
	for query, want := range map[string]string{
		"SELECT @@innodb_flush_log_at_trx_commit": "1",
		"SELECT @@innodb_doublewrite":             "1",
		"SELECT @@innodb_flush_method":            "O_DIRECT",
		"SELECT @@character_set_server":           "utf8mb4",
		"SELECT @@bind_address":                   "127.0.0.1",
		// Nobody gets in over the network but the user of the DSN.
		"SELECT group_concat(user, '@', host) FROM mysql.user WHERE host <> 'localhost'": "flamingock@127.0.0.1",
	} {
		if err := askMariaDB(t, dsn, query, want); err != nil {
			t.Error(err)
		}
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Passwd = "wrong"
	err = askMariaDB(t, cfg.FormatDSN(), "SELECT 1", "1")
	if err == nil || !strings.Contains(err.Error(), "Error 1045") {
		t.Errorf("logging in with a wrong password: %v, want error 1045", err)
	}
}

func TestMongoDBSettings(t *testing.T) {
	t.Parallel()

	mongotest.Database(t) // the rule for servers that are not there
	mongotest.Standalone(t)
	tests := []struct {
		variable    string
		replicaSet  string
		transaction string // its error
	}{
		{variable: "TEST_MONGODB_URI", replicaSet: "rs0"},
		{
			variable:    "TEST_MONGODB_STANDALONE_URI",
			transaction: "Transaction numbers are only allowed on a replica set member or mongos",
		},
	}
	for _, tt := range tests {
		t.Run(tt.variable, func(t *testing.T) {
			t.Parallel()

			address := os.Getenv(tt.variable)
			var hello struct {
				SetName string
				Hosts   []string
			}
			if err := askMongoDB(t, address, bson.D{{Key: "hello", Value: 1}}, &hello); err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			var hosts []string
			if tt.replicaSet != "" {
				hosts = []string{u.Host}
			}
			if hello.SetName != tt.replicaSet || !slices.Equal(hello.Hosts, hosts) {
				t.Errorf("it is in the replica set %q of %v, want %q of %v", hello.SetName, hello.Hosts, tt.replicaSet, hosts)
			}
			if err := inTransaction(t, address); !matches(err, tt.transaction) {
				t.Errorf("a transaction: %v, want %q", err, tt.transaction)
			}

			var options struct {
				Parsed struct {
					Net struct{ BindIP string }
				}
			}
			if err := askMongoDB(t, address, bson.D{{Key: "getCmdLineOpts", Value: 1}}, &options); err != nil {
				t.Error(err)
			}
			if got := options.Parsed.Net.BindIP; got != "127.0.0.1" {
				t.Errorf("it listens on %q, want only 127.0.0.1", got)
			}

			list := bson.D{{Key: "listDatabases", Value: 1}}
			u.User = url.UserPassword(u.User.Username(), "wrong")
			if err := askMongoDB(t, u.String(), list, nil); !matches(err, "AuthenticationFailed") {
				t.Errorf("logging in with a wrong password: %v, want AuthenticationFailed", err)
			}
			u.User = nil
			if err := askMongoDB(t, u.String(), list, nil); !matches(err, "requires authentication") {
				t.Errorf("asking without a user: %v, want that it requires authentication", err)
			}
			create := bson.D{
				{Key: "createUser", Value: "second"},
				{Key: "pwd", Value: "x"},
				{Key: "roles", Value: bson.A{}},
			}
			if err := askMongoDB(t, u.String(), create, nil); !matches(err, "requires authentication") {
				t.Errorf("creating another first user: %v, want that it requires authentication", err)
			}
		})
	}
}

// matches tells whether the error says so; "" is none.
func matches(err error, text string) bool {
	if err == nil || text == "" {
		return err == nil && text == ""
	}
	return strings.Contains(err.Error(), text)
}

// inTransaction does nothing of consequence in a transaction.
func inTransaction(t *testing.T, address string) error {
	t.Helper()

	return withMongoDB(t.Context(), address, func(ctx context.Context, admin *mongo.Database) error {
		session, err := admin.Client().StartSession()
		if err != nil {
			return err
		}
		defer session.EndSession(ctx)
		_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
			return admin.Client().Database("flamingock").Collection("none").DeleteMany(ctx, bson.D{})
		})
		return err
	})
}

func TestDynamoDBKeepsToItself(t *testing.T) {
	t.Parallel()

	dynamotest.Endpoint(t) // it is installed where the tests were given one
	g, err := Start(t.Context(), DynamoDB)
	if err != nil {
		t.Fatal(err)
	}
	s := g.servers[0]
	for _, tt := range []struct {
		pattern string
		want    int
		why     string
	}{
		{filepath.Join(s.dir, "*.db"), 0, "it keeps everything in memory"},
		{filepath.Join(s.dir, "sqlite-*"), 1, "what it writes to the temporary directory goes with its own"},
		{fmt.Sprintf("/tmp/hsperfdata_*/%d", s.process.process.Pid), 0, "it would be left when the server is killed"},
	} {
		files, err := filepath.Glob(tt.pattern)
		if err != nil || len(files) != tt.want {
			t.Errorf("%s is %v (error %v), want %d of them: %s", tt.pattern, files, err, tt.want, tt.why)
		}
	}
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
}
