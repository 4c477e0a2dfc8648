package servers

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const (
	kafkaBrokers = 3
	kafkaUser    = "flamingock"
	// The ports, from the one that the recipe is given: a broker's each, then these.
	kafkaController = kafkaBrokers
	kafkaConnect    = kafkaBrokers + 1
	kafkaPorts      = kafkaBrokers + 2
)

// kafka is a cluster of Apache Kafka in KRaft mode, of three brokers, one of which is
// the controller, and a worker of Kafka Connect with connectors for files. ACLs are
// enforced, and who logs in does so by SCRAM.
func kafka() (recipe, error) {
	lib, err := findKafka()
	if err != nil {
		return recipe{}, err
	}
	java, err := find("java", "default-jre-headless", filepath.Join(cmp.Or(os.Getenv("JAVA_HOME"), "/usr"), "bin", "java"))
	if err != nil {
		return recipe{}, err
	}
	password := rand.Text()
	jvm := func(dir string, heap int) []string {
		return []string{
			java,
			"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", fmt.Sprintf("-Xmx%dm", heap), // small, and half the time to start
			"-XX:-UsePerfData", "-Djava.io.tmpdir=" + dir, // nothing outside its directory
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"-cp", filepath.Join(lib, "*"),
		}
	}
	return recipe{
		kind: Kafka, ports: kafkaPorts, // it may run as root
		initialize: func(ctx context.Context, dir string, as *account) error {
			return formatKafka(ctx, dir, as, jvm(dir, 128), lib, password)
		},
		command: func(dir string, port int) []string {
			// When one of them ends, all do; and all end when this is told to.
			script := "trap 'kill -KILL 0' TERM\n"
			start := func(words ...string) {
				script += "(" + shell(words...) + "; kill -KILL 0) &\n"
			}
			// Of a key that is there twice the last one counts.
			script += shell("printf", `%s\n`, "bootstrap.servers="+kafkaAddresses(port), "listeners=HTTP://"+hostOf(port+kafkaConnect)) + " >> connect.properties\n"
			for i := range kafkaBrokers {
				listeners := "SASL_PLAINTEXT://" + hostOf(port+i)
				override := []string{"--override", "advertised.listeners=" + listeners}
				if i == 0 {
					listeners += ",CONTROLLER://" + hostOf(port+kafkaController)
				}
				override = append(override, "--override", "listeners="+listeners, "--override", "controller.quorum.voters=1@"+hostOf(port+kafkaController))
				start(append(append(jvm(dir, 256), "kafka.Kafka", kafkaFile(i)), override...)...)
			}
			start(append(jvm(dir, 256), "org.apache.kafka.connect.cli.ConnectDistributed", "connect.properties")...)
			return []string{"/bin/sh", "-c", script + "wait\n"}
		},
		ping: func(ctx context.Context, _ string, port int) error {
			return errors.Join(pingKafka(ctx, port, password), pingConnect(ctx, port))
		},
		end: syscall.SIGTERM,
		env: func(port int) []string {
			return []string{
				"TEST_KAFKA_BROKERS=" + kafkaAddresses(port), "TEST_KAFKA_USERNAME=" + kafkaUser, "TEST_KAFKA_PASSWORD=" + password,
				"TEST_KAFKA_CONNECT=http://" + hostOf(port+kafkaConnect),
			}
		},
	}, nil
}

// shell quotes words for a shell.
func shell(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// kafkaFile returns the name of a broker's configuration.
func kafkaFile(i int) string { return fmt.Sprintf("broker-%d.properties", i+1) }

// kafkaAddresses returns the brokers' addresses.
func kafkaAddresses(port int) string {
	var list []string
	for i := range kafkaBrokers {
		list = append(list, hostOf(port+i))
	}
	return strings.Join(list, ",")
}

// formatKafka writes configurations and creates the brokers' data.
func formatKafka(ctx context.Context, dir string, as *account, java []string, lib, password string) error {
	module := func(name, more string) string {
		return fmt.Sprintf("org.apache.kafka.common.security.%s required username=%q password=%q%s;", name, kafkaUser, password, more)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	for i := range kafkaBrokers {
		roles := "broker"
		if i == 0 {
			roles = "broker,controller"
		}
		lines := []string{
			"process.roles=" + roles,
			"node.id=" + strconv.Itoa(i+1),
			"log.dirs=" + filepath.Join(dir, "data-"+strconv.Itoa(i+1)),
			// The ports are given when it is started.
			"controller.quorum.voters=1@127.0.0.1:1",
			"listeners=SASL_PLAINTEXT://127.0.0.1:2" + map[bool]string{true: ",CONTROLLER://127.0.0.1:1"}[i == 0],
			"advertised.listeners=SASL_PLAINTEXT://127.0.0.1:2",
			"listener.security.protocol.map=CONTROLLER:SASL_PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
			"controller.listener.names=CONTROLLER",
			"inter.broker.listener.name=SASL_PLAINTEXT",
			// A controller cannot look SCRAM's passwords up before it is one.
			"sasl.mechanism.controller.protocol=PLAIN",
			"listener.name.controller.sasl.enabled.mechanisms=PLAIN",
			"listener.name.controller.plain.sasl.jaas.config=" + module("plain.PlainLoginModule", fmt.Sprintf(" user_%s=%q", kafkaUser, password)),
			"sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
			"sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256",
			"listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=" + module("scram.ScramLoginModule", ""),
			"listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=" + module("scram.ScramLoginModule", ""),
			"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users=User:" + kafkaUser,
			"auto.create.topics.enable=false",
			"offsets.topic.replication.factor=1",
			"offsets.topic.num.partitions=1",
			"transaction.state.log.replication.factor=1",
			"transaction.state.log.min.isr=1",
			"group.initial.rebalance.delay.ms=0",
		}
		if _, err := writePrivate(dir, kafkaFile(i), strings.Join(lines, "\n")+"\n", as); err != nil {
			return err
		}
		format := append(append([]string{}, java...), "kafka.tools.StorageTool", "format", "--cluster-id", base64.RawURLEncoding.EncodeToString(id), "--config", kafkaFile(i))
		if i == 0 {
			format = append(format, "--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", kafkaUser, password))
		}
		if err := as.run(ctx, dir, format...); err != nil {
			return err
		}
	}
	return configureConnect(dir, as, lib, module("scram.ScramLoginModule", ""))
}

// configureConnect writes the configuration of the worker of Kafka Connect. It finds
// connectors in a directory that has no others.
func configureConnect(dir string, as *account, lib, jaas string) error {
	connectors := filepath.Join(dir, "connectors")
	if err := os.Mkdir(connectors, 0o700); err != nil {
		return err
	}
	jars, err := filepath.Glob(filepath.Join(lib, "connect-file-*.jar"))
	if err != nil {
		return err
	}
	for _, jar := range jars {
		if err := os.Symlink(jar, filepath.Join(connectors, filepath.Base(jar))); err != nil {
			return err
		}
	}
	lines := []string{
		"group.id=connect",
		"key.converter=org.apache.kafka.connect.storage.StringConverter",
		"value.converter=org.apache.kafka.connect.storage.StringConverter",
		"config.storage.topic=connect-configs",
		"offset.storage.topic=connect-offsets",
		"status.storage.topic=connect-status",
		"config.storage.replication.factor=1",
		"offset.storage.replication.factor=1",
		"offset.storage.partitions=1",
		"status.storage.replication.factor=1",
		"status.storage.partitions=1",
		"plugin.path=" + connectors,
		"plugin.discovery=only_scan",
	}
	for _, prefix := range []string{"", "producer.", "consumer.", "admin."} {
		lines = append(lines,
			prefix+"security.protocol=SASL_PLAINTEXT", prefix+"sasl.mechanism=SCRAM-SHA-512", prefix+"sasl.jaas.config="+jaas)
	}
	_, err = writePrivate(dir, "connect.properties", strings.Join(lines, "\n")+"\n", as)
	return err
}

// pingKafka returns nil when all brokers are there.
func pingKafka(ctx context.Context, port int, password string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(hostOf(port)), kgo.SASL(scram.Auth{User: kafkaUser, Pass: password}.AsSha512Mechanism()), kgo.RequestRetries(0),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	r, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if len(r.Brokers) < kafkaBrokers {
		return fmt.Errorf("%d brokers of %d are there", len(r.Brokers), kafkaBrokers)
	}
	return nil
}

// pingConnect returns nil when the worker of Kafka Connect takes requests.
func pingConnect(ctx context.Context, port int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+hostOf(port+kafkaConnect)+"/connectors", nil)
	if err != nil {
		return err
	}
	req.Close = true // this is its only request
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("Kafka Connect answers %s", resp.Status) //nolint:staticcheck // a name
	}
	return nil
}
