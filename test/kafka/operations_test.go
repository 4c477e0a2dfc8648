package kafka

import (
	"testing"

	"github.com/flamingock/flamingock-go/test/optest"
)

// operation is a case; real says that it needs what kfake does not have.
type operation struct {
	optest.Operation
	real bool
	// killed: an instance is killed, and its connection broken, at each request.
	killed bool
	// refused: brokers refuse it at first.
	refused bool
}

const (
	orders  = "{type: createTopic, topic: orders, partitions: 3, replicationFactor: 1, config: {retention.ms: 604800000}}"
	seeds   = "{type: produceRecords, topic: orders, records: [{key: a, value: '1', partition: 0}, {key: b, value: '2', partition: 0}, {key: c, value: '3', partition: 0}, {key: d, value: '4', partition: 1}]}"
	reading = "{type: resetOffsets, group: billing, topic: orders, to: {offset: 1}, partitions: [0]}"
	access  = "{type: grantAccess, principal: 'User:billing', role: consumer, topics: [orders], group: billing}"
	user    = "{type: upsertScramUser, username: billing, mechanism: SCRAM-SHA-512, password: '${env:BILLING_PASSWORD}'}"
	limited = "{type: setQuota, entity: {user: importer}, quotas: {producer_byte_rate: 1048576, consumer_byte_rate: 1}}"
	avro    = `{"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}`
	schema  = "{type: registerSchema, subject: orders-value, schema: " + avro + "}"
	copying = "{type: upsertConnector, connector: copy, config: {connector.class: org.apache.kafka.connect.file.FileStreamSourceConnector, tasks.max: 1, file: /dev/null, topic: orders}}"
)

func on(name, apply string, setup ...string) operation {
	return operation{Operation: optest.Operation{Name: name, Apply: apply, Setup: setup}}
}

func (o operation) want(texts ...string) operation { o.Want = texts; return o }
func (o operation) gone(texts ...string) operation { o.Gone = texts; return o }
func (o operation) nothing() operation             { o.Nothing = true; return o }
func (o operation) once() operation                { o.Once = true; return o }
func (o operation) without() operation             { o.Rollback = "none"; return o }
func (o operation) onReal() operation              { o.real = true; return o }
func (o operation) kills() operation               { o.killed, o.refused = true, true; return o }
func (o operation) refuses() operation             { o.refused = true; return o }

func operations() []operation {
	return []operation{
		on("createTopic", orders).want("topic orders, partition 2: 1 replicas", "retention.ms=604800000").kills(),
		on("createTopic with the brokers' defaults", "{type: createTopic, topic: orders}").want("topic orders, partition 0"),
		on("createTopic with assignments", "{type: createTopic, topic: orders, assignments: {0: [1], 1: [1]}}").want("topic orders, partition 1: 1 replicas").onReal(),
		on("createTopic that was there", orders, orders).nothing(),
		on("createTopic, adopted", "{type: createTopic, topic: orders, partitions: 7, onConflict: adopt}", orders).nothing(),
		on("createTopic, failing on conflict", "{type: createTopic, topic: orders, onConflict: fail}").once().want("topic orders, partition 0"),
		on("createTopic, with records allowed", "{type: createTopic, topic: orders, allowDataLoss: true}").want("topic orders, partition 0"),
		on("deleteTopic", "{type: deleteTopic, topic: orders, allowDestroy: true}", orders).gone("orders").refuses(),
		on("deleteTopic that was not there", "{type: deleteTopic, topic: orders, allowDestroy: true}").nothing(),

		on("alterTopicConfig", "{type: alterTopicConfig, topic: orders, set: {retention.ms: 1000, cleanup.policy: compact}}", orders).want("retention.ms=1000", "cleanup.policy=compact").kills(),
		on("alterTopicConfig, deleted", "{type: alterTopicConfig, topic: orders, delete: [retention.ms, segment.ms]}", orders).gone("retention.ms"),
		on("alterTopicConfig, appended", "{type: alterTopicConfig, topic: orders, append: {cleanup.policy: compact}}", orders).want("compact"),
		on("alterTopicConfig, subtracted", "{type: alterTopicConfig, topic: orders, subtract: {cleanup.policy: delete}}",
			"{type: createTopic, topic: orders, config: {cleanup.policy: 'compact,delete'}}").want("cleanup.policy=compact").gone("delete"),
		on("alterBrokerConfig", "{type: alterBrokerConfig, broker: 1, set: {log.cleaner.threads: 2}}").want("log.cleaner.threads=2").onReal(),
		on("alterGroupConfig", "{type: alterGroupConfig, group: billing, set: {consumer.session.timeout.ms: 50000}}").want("consumer.session.timeout.ms=50000"),
		on("alterClientMetrics", "{type: alterClientMetrics, name: latencies, set: {interval.ms: 60000, metrics: org.apache.kafka.producer.}}").want("interval.ms=60000"),

		on("addPartitions", "{type: addPartitions, topic: orders, count: 5}", orders).without().want("partition 4"),
		on("addPartitions that are there", "{type: addPartitions, topic: orders, count: 2}", orders).without().nothing(),
		on("addPartitions with assignments", "{type: addPartitions, topic: orders, count: 4, assignments: {3: [2]}}", orders).without().want("partition 3").onReal(),
		on("alterReplicas", "{type: alterReplicas, topic: orders, replicationFactor: 3}", orders, seeds).want("topic orders, partition 0: 3 replicas", "topic orders, partition 2: 3 replicas").onReal(),
		on("alterReplicas, fewer", "{type: alterReplicas, topic: orders, replicationFactor: 1}", "{type: createTopic, topic: orders, partitions: 2, replicationFactor: 2}").want("topic orders, partition 1: 1 replicas").onReal(),
		on("alterReplicas by assignments", "{type: alterReplicas, topic: orders, assignments: {0: [2, 3]}}", orders).want("topic orders, partition 0: 2 replicas", "topic orders, partition 1: 1 replicas").onReal(),
		on("electLeaders", "{type: electLeaders, topic: orders}", orders).without().nothing(),

		on("createAcls", "{type: createAcls, acls: [{resourceType: topic, resourceName: orders., patternType: prefixed, principal: 'User:analytics', operations: [Read, Describe]}, {resourceType: cluster, resourceName: kafka-cluster, principal: 'User:analytics', operations: [IdempotentWrite], permissionType: Deny, host: 10.0.0.1}]}").
			want("TOPIC PREFIXED orders.: ALLOW User:analytics READ from *", "CLUSTER LITERAL kafka-cluster: DENY User:analytics IDEMPOTENT_WRITE from 10.0.0.1"),
		on("createAcls of which some were there", "{type: createAcls, acls: [{resourceType: topic, resourceName: orders, principal: 'User:billing', operations: [Read, Write]}]}", access).want("WRITE").refuses(),
		on("deleteAcls", "{type: deleteAcls, acls: [{resourceType: topic, resourceName: any, patternType: any, principal: 'User:billing', host: any, operations: [any], permissionType: any}]}", access).gone("TOPIC").want("GROUP LITERAL billing"),
		on("grantAccess", access).want("TOPIC LITERAL orders: ALLOW User:billing READ", "GROUP LITERAL billing: ALLOW User:billing READ"),
		on("grantAccess to streams", "{type: grantAccess, principal: 'User:enrich', role: streams, topics: [orders], outputTopics: [enriched], group: enrich}").want("TRANSACTIONAL_ID PREFIXED enrich", "TOPIC LITERAL enriched: ALLOW User:enrich WRITE"),
		on("revokeAccess", "{type: revokeAccess, principal: 'User:billing', role: consumer, topics: [orders], group: billing}", access).gone("acl"),
		on("setQuota", limited).want("producer_byte_rate=1.048576e+06"),
		on("setQuota, changed", "{type: setQuota, entity: {user: importer}, quotas: {producer_byte_rate: 7, request_percentage: 50.5}}", limited).want("producer_byte_rate=7", "request_percentage=50.5").refuses(),
		on("setQuota of all", "{type: setQuota, entity: {user: <default>, client-id: importer}, quotas: {producer_byte_rate: 7}}").want("producer_byte_rate=7"),
		on("removeQuota", "{type: removeQuota, entity: {user: importer}, quotas: [consumer_byte_rate, request_percentage]}", limited).gone("consumer_byte_rate").want("producer_byte_rate"),
		on("upsertScramUser", user).once().want("user billing: SCRAM-SHA-512, 8192 iterations").refuses(),
		on("upsertScramUser that was there", "{type: upsertScramUser, username: billing, mechanism: SCRAM-SHA-512, iterations: 4096, password: '${env:BILLING_PASSWORD}', previousPassword: '${env:BILLING_OLD_PASSWORD}'}", user).want("4096 iterations"),
		on("deleteScramUser", "{type: deleteScramUser, username: billing, mechanism: SCRAM-SHA-512, previousPassword: '${env:BILLING_OLD_PASSWORD}'}", user).gone("user billing"),

		on("resetOffsets", reading, orders, seeds).want("offset of billing in orders/0: 1").refuses(),
		on("resetOffsets to the beginning", "{type: resetOffsets, group: billing, topic: orders, to: earliest}", orders, seeds, reading).want("orders/0: 0", "orders/1: 0", "orders/2: 0"),
		on("resetOffsets to the end", "{type: resetOffsets, group: billing, topic: orders, to: latest}", orders, seeds, reading).want("orders/0: 3", "orders/1: 1"),
		on("resetOffsets by time", "{type: resetOffsets, group: billing, topic: orders, to: {timestamp: '2020-01-01T00:00:00Z'}}", orders, seeds, reading).want("orders/0: 0"),
		on("resetOffsets, shifted", "{type: resetOffsets, group: billing, topic: orders, to: {shiftBy: 1}, partitions: [0]}", orders, seeds, reading).once().want("orders/0: 2"),
		on("resetOffsets of a new group", "{type: resetOffsets, group: billing, topic: orders, to: latest}", "{type: createTopic, topic: orders}").want("orders/0: 0").kills(),
		on("deleteOffsets", "{type: deleteOffsets, group: billing, topics: [orders]}", orders, seeds, reading).gone("offset of billing"),
		on("deleteGroup", "{type: deleteGroup, group: billing}", orders, seeds, reading).gone("billing").refuses(),
		on("produceRecords", "{type: produceRecords, topic: orders, records: [{key: a, value: {id: 1, total: 9.25}, headers: {source: seed}}, {key: b, value: null}, {value: {base64: AAE=}}, {key: c}]}", orders).
			without().once().want(`"a" = "{\"id\":1,\"total\":9.25}" source:seed`, `"b" = none`, `"\x00\x01"`, `"c" = none`).refuses(),

		on("produceRecords to one partition", "{type: produceRecords, topic: orders, records: [{key: a, value: '1'}, {key: b, value: '2'}]}", "{type: createTopic, topic: orders}").
			without().once().want(`"b" = "2"`).kills(),

		on("registerSchema", schema).want("schema of orders-value"),
		on("registerSchema that was there", schema, schema).nothing(),
		on("registerSchema from a file", "{type: registerSchema, subject: orders-value, schemaFile: order-v2.avsc}", schema).want("total"),
		on("deleteSchemaVersion", "{type: deleteSchemaVersion, subject: orders-value, version: 1}", schema).gone("schema of"),
		on("setSubjectConfig", "{type: setSubjectConfig, subject: orders-value, compatibility: FULL}", schema).want("FULL"),
		on("setSubjectConfig, changed", "{type: setSubjectConfig, subject: orders-value, compatibility: FULL}", schema, "{type: setSubjectConfig, subject: orders-value, compatibility: NONE}").want("FULL"),
		on("setSubjectMode", "{type: setSubjectMode, subject: orders-value, mode: READONLY}", schema).want("READONLY"),

		on("upsertConnector", copying, orders).want("connector copy", "RUNNING").onReal(),
		on("upsertConnector that was there", "{type: upsertConnector, connector: copy, config: {connector.class: org.apache.kafka.connect.file.FileStreamSourceConnector, tasks.max: 1, file: /dev/zero0, topic: orders}}", orders, copying).want("/dev/zero0").onReal(),
		on("deleteConnector", "{type: deleteConnector, connector: copy}", orders, copying).gone("connector copy").onReal(),
		on("pauseConnector", "{type: pauseConnector, connector: copy}", orders, copying).want("PAUSED").onReal(),
		on("resumeConnector", "{type: resumeConnector, connector: copy}", orders, copying, "{type: pauseConnector, connector: copy}").want("RUNNING").onReal(),

		on("assertTopic", "{type: assertTopic, topic: orders, partitions: 3, config: {retention.ms: 604800000}, empty: false}", orders, seeds).nothing().once(),
		on("assertCluster", "{type: assertCluster, atLeast: 1}").nothing().once(),
	}
}

// interrupted are the operations that are interrupted at each request; one of them with
// the race detector.
func interrupted() []operation {
	var out []operation
	for _, o := range operations() {
		if o.killed && (optest.Thorough() || len(out) == 0) {
			out = append(out, o)
		}
	}
	return out
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, o := range operations() {
		if o.real {
			continue
		}
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			newFake(t, 1).world(t).Check(o.Operation)
		})
	}
}

// lacking are the operations that kfake answers and does not do.
func lacking() []string {
	return []string{"alterReplicas", "alterBrokerConfig", "upsertConnector", "deleteConnector", "pauseConnector", "resumeConnector"}
}

const readme = "../../plugins/kafka/README.md"

func TestExamples(t *testing.T) {
	t.Parallel()
	newFake(t, 1).world(t).Examples(readme, lacking()...)
}

func TestExamplesOnRealCluster(t *testing.T) {
	t.Parallel()
	newReal(t).world(t).Examples(readme)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	f := newFake(t, 1)
	f.world(t).Cancel(&f.gate, readme, lacking()...)
}

// TestCrashes kills an instance at every request that an operation makes, before the
// broker has done it and after.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, o := range interrupted() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			optest.Crashes(t, func(t testing.TB) *optest.World {
				f := newFake(t, 1)
				w := f.world(t)
				w.Intercept = f.stop.Ask
				return w
			}, o.Operation)
		})
	}
}
