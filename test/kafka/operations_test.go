package kafka

import (
	"testing"

	"github.com/flamingock/flamingock-go/test/optest"
)

const orders = "{type: createTopic, topic: orders, partitions: 3, replicationFactor: 1, config: {retention.ms: 604800000}}"

func operations() []optest.Operation {
	return []optest.Operation{
		{Name: "createTopic", Apply: orders, Want: []string{"topic orders, partition 2: 1 replicas", "retention.ms=604800000"}},
		{Name: "createTopic with the brokers' defaults", Apply: "{type: createTopic, topic: orders}", Want: []string{"topic orders, partition 0"}},
		{Name: "createTopic that was there", Setup: []string{orders}, Apply: orders, Nothing: true},
		{Name: "deleteTopic", Setup: []string{orders}, Apply: "{type: deleteTopic, topic: orders, allowDestroy: true}", Gone: []string{"orders"}},
		{
			Name: "alterTopicConfig", Setup: []string{orders}, Want: []string{"retention.ms=1000", "cleanup.policy=compact"},
			Apply: "{type: alterTopicConfig, topic: orders, set: {retention.ms: 1000, cleanup.policy: compact}}",
		},
		{Name: "alterTopicConfig, deleted", Setup: []string{orders}, Apply: "{type: alterTopicConfig, topic: orders, delete: [retention.ms, segment.ms]}", Gone: []string{"retention.ms"}},
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, o := range operations() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			newFake(t, 1).world(t).Check(o)
		})
	}
}
