package kafka

import (
	"slices"
	"strings"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// TestRoles shows the ACLs of each role.
func TestRoles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		access Access
		want   []string
	}{
		{
			Access{Principal: "User:a", Role: "consumer", Topics: []string{"t"}, Group: "g"},
			[]string{"Describe on group g", "Read on group g", "Describe on topic t", "Read on topic t"},
		},
		{
			Access{Principal: "User:a", Role: "producer", Topics: []string{"t."}, Prefix: true, TransactionalID: "x", Host: "10.0.0.1"},
			[]string{"Describe on topics t.… from 10.0.0.1", "Write on topics t.… from 10.0.0.1", "Describe on transactionalIds x… from 10.0.0.1", "Write on transactionalIds x… from 10.0.0.1"},
		},
		{
			Access{Principal: "User:a", Role: "connect", Topics: []string{"in"}, OutputTopics: []string{"out"}, Group: "g"},
			[]string{"Describe on group g", "Read on group g", "Describe on topic in", "Read on topic in", "Create on topic out", "Describe on topic out", "Write on topic out"},
		},
		{
			Access{Principal: "User:a", Role: "schemaRegistry"},
			[]string{
				"Describe on group schema-registry", "Read on group schema-registry", "Describe on topic __consumer_offsets",
				"Create on topic _schemas", "Describe on topic _schemas", "DescribeConfigs on topic _schemas", "Read on topic _schemas", "Write on topic _schemas",
			},
		},
		{
			Access{Principal: "User:a", Role: "operator", Prefix: true},
			[]string{
				"Alter on cluster kafka-cluster", "AlterConfigs on cluster kafka-cluster", "Create on cluster kafka-cluster", "Describe on cluster kafka-cluster",
				"DescribeConfigs on cluster kafka-cluster", "Delete on group *", "Describe on group *",
				"Alter on topic *", "AlterConfigs on topic *", "Create on topic *", "Delete on topic *", "Describe on topic *", "DescribeConfigs on topic *",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.access.Role, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, b := range tt.access.bindings() {
				got = append(got, strings.TrimPrefix(b.String(), "allow User:a: "))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestWantedReplicas shows where replicas go.
func TestWantedReplicas(t *testing.T) {
	t.Parallel()
	brokers := []broker{{1, "", "a"}, {2, "", "a"}, {3, "", "b"}, {4, "", "b"}}
	at := func(replicas ...int32) metadata.ResponsePartition {
		return metadata.ResponsePartition{ReplicaNodes: replicas, IsrNodes: replicas}
	}
	tests := []struct {
		name       string
		payload    AlterReplicas
		partitions []metadata.ResponsePartition
		want       [][]int32 // nil: it stays
	}{
		{"another rack first, then the least loaded", AlterReplicas{ReplicationFactor: 2}, []metadata.ResponsePartition{at(1), at(1), at(3)}, [][]int32{{1, 4}, {1, 3}, {3, 2}}},
		{"what is there stays", AlterReplicas{ReplicationFactor: 2}, []metadata.ResponsePartition{at(4, 1), at(2)}, [][]int32{nil, {2, 3}}},
		{"the last goes", AlterReplicas{ReplicationFactor: 1}, []metadata.ResponsePartition{at(2, 3)}, [][]int32{{2}}},
		{
			"who is not in sync goes first",
			AlterReplicas{ReplicationFactor: 2},
			[]metadata.ResponsePartition{{ReplicaNodes: []int32{1, 2, 3}, IsrNodes: []int32{1, 3}}},
			[][]int32{{1, 3}},
		},
		{"as it is said", AlterReplicas{Assignments: Assignments{"1": {4, 3}}}, []metadata.ResponsePartition{at(1), at(1), at(1)}, [][]int32{nil, {4, 3}, nil}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for i := range tt.partitions {
				tt.partitions[i].PartitionIndex = int32(i)
			}
			got, err := tt.payload.wanted(&topic{tt.partitions}, brokers)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range tt.want {
				if !slices.Equal(got.of(int32(i)), want) {
					t.Errorf("partition %d goes to %v, want %v", i, got.of(int32(i)), want)
				}
			}
		})
	}
	too := AlterReplicas{Topic: "t", ReplicationFactor: 5}
	if _, err := too.wanted(&topic{[]metadata.ResponsePartition{at(1)}}, brokers); err == nil || !strings.Contains(err.Error(), "the cluster has 4 brokers") {
		t.Errorf("five replicas on four brokers: %v", err)
	}
}

// TestRestore shows what undoes an alteration of a configuration.
func TestRestore(t *testing.T) {
	t.Parallel()
	const (
		set, del    = kafkago.ConfigOperationSet, kafkago.ConfigOperationDelete
		add, remove = kafkago.ConfigOperationAppend, kafkago.ConfigOperationSubtract
	)
	dynamic := func(value string) setting { return setting{Value: value, Dynamic: true} }
	tests := []struct {
		name        string
		done        alteration
		before, now setting
		want        string // "" is nothing, "!" is refused
	}{
		{"a value that was set", alteration{"k", set, "2", false}, dynamic("1"), dynamic("2"), "k=1"},
		{"a default", alteration{"k", set, "2", false}, setting{Value: "1"}, dynamic("2"), "delete k"},
		{"the same value, but a default", alteration{"k", set, "1", false}, setting{Value: "1"}, dynamic("1"), "delete k"},
		{"what was so before", alteration{"k", set, "1", false}, dynamic("1"), dynamic("1"), ""},
		{"undone already", alteration{"k", set, "2", false}, dynamic("1"), dynamic("1"), ""},
		{"set by somebody else since", alteration{"k", set, "2", false}, dynamic("1"), dynamic("3"), "!"},
		{"deleted", alteration{"k", del, "", false}, dynamic("1"), setting{Value: "d"}, "k=1"},
		{"deleted, and set by somebody else since", alteration{"k", del, "", false}, dynamic("1"), dynamic("3"), "!"},
		{"added to a default", alteration{"k", add, "b", false}, setting{Value: "a"}, dynamic("a,b"), "delete k"},
		{"added to a list that was set", alteration{"k", add, "b", false}, dynamic("a"), dynamic("a,b"), "k=a"},
		{"added, and somebody else has added more", alteration{"k", add, "b", false}, dynamic("a"), dynamic("a,b,c"), "k -= b"},
		{"added what was there", alteration{"k", add, "a", false}, dynamic("a"), dynamic("a"), ""},
		{"subtracted", alteration{"k", remove, "b", false}, dynamic("a,b"), dynamic("a"), "k=a,b"},
		{"subtracted, and somebody else has added more", alteration{"k", remove, "b", false}, dynamic("a,b"), dynamic("a,c"), "k += b"},
		{"subtracted what was not there", alteration{"k", remove, "x", false}, dynamic("a"), dynamic("a"), ""},
		{"a secret where there was none", alteration{"k", set, "s", true}, setting{}, setting{Dynamic: true, Sensitive: true}, "delete k"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			back, err := restore(entity{ofTopic, "t"}, []alteration{tt.done}, settings{"k": tt.before}, settings{"k": tt.now})
			got := ""
			for _, a := range back {
				got += a.String()
			}
			if err != nil {
				got = "!"
			}
			if got != tt.want {
				t.Errorf("got %q (error %v), want %q", got, err, tt.want)
			}
		})
	}
}
