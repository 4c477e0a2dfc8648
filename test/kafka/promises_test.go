package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	kafkaplugin "github.com/flamingock/flamingock-go/plugins/kafka"
)

// TestPromises holds the plugin to the promises of every plugin, in memory and as a
// process.
func TestPromises(t *testing.T) {
	t.Parallel()
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		sdktest.Run(t, kafkaplugin.New(), promises()...)
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		sdktest.RunProcess(t, promises()...)
	})
}

func promises() []sdktest.Case {
	const secret = "hunter2-secret"
	type fields = map[string]any
	target := func(t testing.TB) any {
		k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "admin", secret), kfake.SeedTopics(1, "there"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		return fields{
			"bootstrapServers": k.ListenAddrs(),
			"sasl":             fields{"mechanism": "SCRAM-SHA-256", "username": "admin", "password": secret},
		}
	}
	refused := func(testing.TB) any {
		return fields{
			"bootstrapServers": []string{"127.0.0.1:1"},
			"sasl":             fields{"mechanism": "PLAIN", "username": "admin", "password": secret},
		}
	}
	return []sdktest.Case{{
		Driver: "kafka", Target: target, Template: "kafka", Repeatable: true, Secrets: []string{secret}, Refused: refused,
		Steps: []sdktest.Step{
			{Apply: fields{"type": "createTopic", "topic": "orders", "partitions": 2, "replicationFactor": 1}},
			{Apply: fields{"type": "alterTopicConfig", "topic": "orders", "set": fields{"retention.ms": 1000}}},
			{Apply: fields{"type": "setQuota", "entity": fields{"user": "importer"}, "quotas": fields{"producer_byte_rate": 1048576}}},
		},
		// It says that it moves replicas, and never does.
		Slow:    &sdktest.Step{Apply: fields{"type": "alterReplicas", "topic": "there", "assignments": fields{"0": []int{7}}}},
		Failing: &sdktest.Step{Apply: fields{"type": "addPartitions", "topic": "nowhere", "count": 2}, Rollback: fields{"type": "createTopic", "topic": "nowhere"}},
	}}
}
