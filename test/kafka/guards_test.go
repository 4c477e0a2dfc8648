package kafka

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// refuses applies a change that must fail, and must say why.
func (c *cluster) refuses(t *testing.T, setup []string, apply, want string) {
	t.Helper()
	w := c.world(t)
	w.Setup(setup)
	before := c.snapshot()
	err := w.Run("change", apply, "auto")
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
	if got := c.snapshot(); got != before {
		t.Errorf("it left behind\n%s\nwant\n%s", got, before)
	}
}

// TestRefused shows what is refused, and that it leaves nothing behind.
func TestRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		setup []string
		apply string
		want  string
	}{
		{"a topic that differs", []string{orders}, "{type: createTopic, topic: orders, partitions: 5, config: {retention.ms: 1}}", `differs: it has 3 partitions, not 5; retention.ms is "604800000", not "1"`},
		{"a topic that is there, where it may not be", []string{orders}, "{type: createTopic, topic: orders, onConflict: fail}", "topic orders is there already"},
		{"a configuration of a topic that is not there", nil, "{type: alterTopicConfig, topic: nowhere, set: {retention.ms: 1}}", "topic nowhere is not there"},
		{"a password that cannot be put back", []string{user}, user, "write previousPassword"},
		{"a user who is there, where none may be", []string{user}, "{type: upsertScramUser, username: billing, mechanism: SCRAM-SHA-512, password: '${env:BILLING_PASSWORD}', onConflict: fail}", "has a password for SCRAM-SHA-512 already"},
		{"an offset that is none", []string{orders, seeds}, "{type: resetOffsets, group: billing, topic: orders, to: {offset: 3}}", "so 3 is not one of them"},
		{"an offset that is not there to be shifted", []string{orders}, "{type: resetOffsets, group: billing, topic: orders, to: {shiftBy: 3}}", "has no offset in partition"},
		{"an assertion that does not hold", []string{orders}, "{type: assertTopic, topic: orders, partitions: 4, empty: false}", "it has 3 partitions, not 4; it holds about 0 records"},
		{"another cluster", nil, "{type: assertCluster, clusterId: other, brokers: [77]}", "brokers [77] are not alive"},
		{"a connector where there is no Kafka Connect", nil, copying, "the target system names no Kafka Connect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			newFake(t, 1).refuses(t, tt.setup, tt.apply, tt.want)
		})
	}
}

// TestNotTakenBack shows what an undo refuses, since it would lose what others did.
func TestNotTakenBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		setup        []string
		apply, since string
		want         string
	}{
		{"a topic with records", nil, "{type: createTopic, topic: orders}", "{type: produceRecords, topic: orders, records: [{key: a}]}", "holds records by now (about 1)"},
		{"a key that others have set", []string{orders}, "{type: alterTopicConfig, topic: orders, set: {retention.ms: 1}}", "{type: alterTopicConfig, topic: orders, set: {retention.ms: 2}}", "was changed by somebody else since"},
		{"a quota that others have set", nil, limited, "{type: setQuota, entity: {user: importer}, quotas: {producer_byte_rate: 9}}", "was changed by somebody else since"},
		{"a mode that others have set", []string{schema}, "{type: setSubjectMode, subject: orders-value, mode: READONLY}", "{type: setSubjectMode, subject: orders-value, mode: IMPORT}", "was changed by somebody else since"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newFake(t, 1)
			w := c.world(t)
			w.Setup(tt.setup)
			if err := w.Run("change", tt.apply, "auto"); err != nil {
				t.Fatal(err)
			}
			if err := w.Run("since", tt.since, ""); err != nil {
				t.Fatal(err)
			}
			before := c.snapshot()
			if err := w.Undo("change"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
			if got := c.snapshot(); got != before {
				t.Errorf("it left behind\n%s\nwant\n%s", got, before)
			}
		})
	}
}

// TestChecks shows what is found wrong before anything is connected to.
func TestChecks(t *testing.T) {
	t.Parallel()
	w := newFake(t, 1).world(t)
	for apply, want := range map[string]string{
		"{type: deleteTopic, topic: orders, allowDestroy: false}":                                                        "write allowDestroy: true",
		"{type: createTopic, topic: orders, partitions: 1, assignments: {0: [1]}}":                                       "assignments say how many partitions",
		"{type: createTopic, topic: orders, assignments: {1: [1]}}":                                                      "partition 0 has no assignment",
		"{type: createTopic, topic: orders, config: {cleanup.policy: ''}}":                                               "the value of cleanup.policy is empty",
		"{type: alterTopicConfig, topic: orders}":                                                                        "nothing is to be changed",
		"{type: alterTopicConfig, topic: orders, set: {a: 1}, delete: [a]}":                                              "a is there more than once",
		"{type: alterReplicas, topic: orders}":                                                                           "one of replicationFactor and assignments is needed",
		"{type: createAcls, acls: [{resourceType: cluster, resourceName: x, principal: 'User:a', operations: [Alter]}]}": "has the name kafka-cluster",
		"{type: createAcls, acls: [{resourceType: topic, resourceName: x, principal: a, operations: [Read]}]}":           "principal",
		"{type: deleteAcls, acls: [{resourceType: topic, resourceName: x, principal: 'User:a', operations: [Read]}]}":    "host",
		"{type: grantAccess, principal: 'User:a', role: consumer, topics: [orders]}":                                     "the role consumer needs a group",
		"{type: setQuota, entity: {ip: 10.0.0.1, user: a}, quotas: {producer_byte_rate: 1}}":                             "a quota is for a user, a client-id, both, or an ip",
		"{type: upsertScramUser, username: a, mechanism: SCRAM-SHA-512, password: in-the-clear}":                         "reference",
		"{type: deleteScramUser, username: a, mechanism: SCRAM-SHA-512}":                                                 "cannot be read",
		"{type: resetOffsets, group: a, topic: orders, to: somewhere}":                                                   "earliest, latest",
		"{type: resetOffsets, group: a, topic: orders, to: {offset: 1, shiftBy: 1}}":                                     "it has one of timestamp, offset and shiftBy",
		"{type: resetOffsets, group: a, topic: orders, to: {timestamp: yesterday}}":                                      "a timestamp is like 2026-11-01T00:00:00Z",
		"{type: registerSchema, subject: a, schema: '{'}":                                                                "the schema is no JSON",
		"{type: registerSchema, subject: a}":                                                                             "one of schema and schemaFile is needed",
		"{type: deleteSchemaVersion, subject: a, version: 1, permanent: true}":                                           "write allowDestroy: true",
		"{type: upsertConnector, connector: a, config: {tasks.max: 1}}":                                                  "the configuration has no connector.class",
		"{type: assertTopic, topic: orders, exists: false, partitions: 1}":                                               "a topic that is not there has nothing else",
		"{type: assertCluster}": "nothing is asserted",
	} {
		err := w.Run("change", apply, "auto")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %s", apply, err, want)
		}
		w = newFake(t, 1).world(t)
	}
}

// TestBusyGroup shows that offsets of a group with members are left alone.
func TestBusyGroup(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t testing.TB) *cluster{
		"kfake": func(t testing.TB) *cluster { return newFake(t, 1).cluster },
		"real":  newReal,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t)
			w := c.world(t)
			w.Setup([]string{orders, seeds})
			member, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.SASL(c.user.mechanism()), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if fetches := member.PollFetches(ctx); fetches.Err() != nil {
				t.Fatal(fetches.Err())
			}
			for _, apply := range []string{"{type: resetOffsets, group: billing, topic: orders, to: earliest}", "{type: deleteGroup, group: billing}"} {
				if err := w.Run("change", apply, "auto"); err == nil || !strings.Contains(err.Error(), "group billing has members") {
					t.Errorf("%s: error is %v", apply, err)
				}
				w = c.world(t)
			}
			member.Close()
			if err := w.Run("again", "{type: resetOffsets, group: billing, topic: orders, to: {offset: 0}, partitions: [0]}", "auto"); err != nil {
				t.Errorf("when its member has gone: %v", err)
			}
			// A consumer does not compare the epoch of the leader: it is not known.
			offsets, err := c.admin.FetchOffsets(ctx, "billing")
			if err != nil {
				t.Fatal(err)
			}
			at, _ := offsets.Lookup("orders", 0)
			if at.At != 0 || at.LeaderEpoch != -1 {
				t.Errorf("committed %d of epoch %d, want 0 of -1", at.At, at.LeaderEpoch)
			}
		})
	}
}

// TestRights shows what a user is told who lacks an ACL.
func TestRights(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t testing.TB) *cluster{
		"kfake": func(t testing.TB) *cluster { return newFake(t, 1).cluster },
		"real":  newReal,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t)
			if _, err := c.admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{
				User: "weak", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password,
			}}); err != nil {
				t.Fatal(err)
			}
			c.values["sasl"] = map[string]any{"mechanism": "SCRAM-SHA-512", "username": "weak", "password": "${env:FLAMINGOCK_TEST_PASSWORD}"}
			err := c.world(t).Run("change", orders, "auto")
			if err == nil || !strings.Contains(err.Error(), "AUTHORIZATION_FAILED") || !strings.Contains(err.Error(), "hint: the plugin's documents list the ACLs") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestManagedPrefixes shows that nothing else is changed.
func TestManagedPrefixes(t *testing.T) {
	t.Parallel()
	c := newFake(t, 1)
	c.values["managedPrefixes"] = map[string]any{"topics": []string{"billing."}}
	c.refuses(t, []string{"{type: createTopic, topic: billing.a}"}, orders, "topic orders does not begin with one of billing.")
}
