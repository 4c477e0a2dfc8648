// Package kafka runs changes of Kafka through the engine and the plugin, on kfake and
// on a real cluster of Apache Kafka, and looks at what they leave behind.
package kafka

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	kafkaplugin "github.com/flamingock/flamingock-go/plugins/kafka"
	"github.com/flamingock/flamingock-go/test/gate"
	"github.com/flamingock/flamingock-go/test/optest"
)

// password is that of kfake's admin and of users that changes make.
const password = "pencil-case-4711"

func TestMain(m *testing.M) {
	sdktest.Main(kafkaplugin.New())
	for _, name := range []string{"FLAMINGOCK_TEST_PASSWORD", "BILLING_PASSWORD", "BILLING_OLD_PASSWORD"} {
		if err := os.Setenv(name, password); err != nil {
			panic(err)
		}
	}
	os.Exit(optest.Main(m))
}

// account is a user who may do everything.
type account struct {
	name, password string
	// reference is what a project writes for the password.
	reference string
}

// mechanism is that of the tests' own client.
func (a account) mechanism() sasl.Mechanism {
	return scram.Auth{User: a.name, Pass: a.password}.AsSha512Mechanism()
}

// cluster is a Kafka with what is beside it, as a test looks at it.
type cluster struct {
	t       testing.TB
	brokers []string
	user    account
	// values are the target system.
	values map[string]any
	client *kgo.Client
	admin  *kadm.Client
	// registry and connect are nil and "" where there is none.
	registry             *sr.Client
	registryURL, connect string
}

// fake is a cluster of kfake.
type fake struct {
	*cluster
	kfake *kfake.Cluster
	gate  gate.Gate
	stop  gate.Stop
}

// newFake starts a cluster with ACLs and SASL, and a schema registry.
func newFake(t testing.TB, brokers int) *fake {
	t.Helper()
	f := &fake{}
	k, err := kfake.NewCluster(
		kfake.NumBrokers(brokers), kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("SCRAM-SHA-512", "admin", password),
		kfake.DefaultNumPartitions(1), kfake.ListenFn(gate.Kafka(&f.gate, &f.stop)),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f.kfake = k
	registry := srfake.New()
	t.Cleanup(registry.Close)
	f.cluster = newCluster(t, k.ListenAddrs(), account{"admin", password, "${env:FLAMINGOCK_TEST_PASSWORD}"}, gate.HTTP(t, &f.gate, registry.URL()), "")
	return f
}

// newCluster connects to a cluster.
func newCluster(t testing.TB, brokers []string, user account, registry, connect string) *cluster {
	t.Helper()
	c := &cluster{t: t, brokers: brokers, user: user, connect: connect, values: map[string]any{
		"bootstrapServers": brokers,
		"sasl":             map[string]any{"mechanism": "SCRAM-SHA-512", "username": user.name, "password": user.reference},
	}}
	if registry != "" {
		c.values["schemaRegistry"] = map[string]any{"url": registry}
		client, err := sr.NewClient(sr.URLs(registry))
		if err != nil {
			t.Fatal(err)
		}
		c.registry, c.registryURL = client, registry
	}
	if connect != "" {
		c.values["connect"] = map[string]any{"url": connect}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.SASL(user.mechanism()), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	c.client, c.admin = client, kadm.NewClient(client)
	return c
}

// world is the cluster for operations.
func (c *cluster) world(t testing.TB) *optest.World {
	return &optest.World{
		T: t, Plugin: kafkaplugin.New(), Template: "kafka", Type: "kafka", Values: c.values,
		Files: map[string]string{
			"order-v2.avsc": `{"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}, {"name": "total", "type": "double", "default": 0}]}`,
		},
		Snapshot: c.snapshot,
	}
}

// internal tells whether a topic or group belongs to Kafka or to Kafka Connect itself.
func internal(name string) bool {
	return strings.HasPrefix(name, "__") || strings.HasPrefix(name, "connect-") || name == "connect"
}

// snapshot is all there is, but what belongs to Kafka itself.
func (c *cluster) snapshot() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	c.topics(ctx, say)
	c.access(ctx, say)
	c.groups(ctx, say)
	if c.registry != nil {
		c.schemas(ctx, say)
	}
	if c.connect != "" {
		c.connectors(ctx, say)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// topics tells topics, their configurations and what is in them.
func (c *cluster) topics(ctx context.Context, say func(format string, args ...any)) {
	c.t.Helper()
	c.client.ForceMetadataRefresh()
	topics, err := c.admin.ListTopics(ctx)
	c.must(err)
	var names []string
	for _, t := range topics.Sorted() {
		if internal(t.Topic) {
			continue
		}
		names = append(names, t.Topic)
		for _, p := range t.Partitions.Sorted() {
			say("topic %s, partition %d: %d replicas", t.Topic, p.Partition, len(p.Replicas))
		}
	}
	configs, err := c.admin.DescribeTopicConfigs(ctx, names...)
	c.must(err)
	brokers, err := c.admin.ListBrokers(ctx)
	c.must(err)
	own, err := c.admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
	c.must(err)
	for _, r := range append(configs, own...) {
		c.must(r.Err)
		for _, entry := range r.Configs {
			if entry.Source == kmsg.ConfigSourceDynamicTopicConfig || entry.Source == kmsg.ConfigSourceDynamicBrokerConfig {
				say("config of %s: %s=%s", r.Name, entry.Key, entry.MaybeValue())
			}
		}
	}
	c.records(ctx, names, say)
}

// records tells what topics hold.
func (c *cluster) records(ctx context.Context, names []string, say func(format string, args ...any)) {
	c.t.Helper()
	if len(names) == 0 {
		return // none would be asked for as all
	}
	starts, err := c.admin.ListStartOffsets(ctx, names...)
	c.must(err)
	ends, err := c.admin.ListEndOffsets(ctx, names...)
	c.must(err)
	missing := 0
	at := map[string]map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		start, ok := starts.Lookup(end.Topic, end.Partition)
		if !ok || end.Offset <= start.Offset {
			return
		}
		missing += int(end.Offset - start.Offset)
		if at[end.Topic] == nil {
			at[end.Topic] = map[int32]kgo.Offset{}
		}
		at[end.Topic][end.Partition] = kgo.NewOffset().At(start.Offset)
	})
	if missing == 0 {
		return
	}
	c.client.AddConsumePartitions(at)
	defer func() {
		gone := map[string][]int32{}
		for topic, partitions := range at {
			for p := range partitions {
				gone[topic] = append(gone[topic], p)
			}
		}
		c.client.RemoveConsumePartitions(gone)
	}()
	for missing > 0 {
		fetches := c.client.PollFetches(ctx)
		c.must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			missing--
			headers := ""
			for _, h := range r.Headers {
				if !strings.HasPrefix(h.Key, "flamingock") {
					headers += " " + h.Key + ":" + string(h.Value)
				}
			}
			value := "none"
			if r.Value != nil {
				value = fmt.Sprintf("%q", r.Value)
			}
			say("record in %s/%d: %q = %s%s", r.Topic, r.Partition, r.Key, value, headers)
		})
	}
}

// access tells ACLs, quotas and users.
func (c *cluster) access(ctx context.Context, say func(format string, args ...any)) {
	c.t.Helper()
	all := kmsg.NewPtrDescribeACLsRequest()
	all.ResourceType, all.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	all.Operation, all.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	acls, err := all.RequestWith(ctx, c.client)
	c.must(err)
	for _, r := range acls.Resources {
		for _, a := range r.ACLs {
			say("acl: %s %s %s: %s %s %s from %s", r.ResourceType, r.ResourcePatternType, r.ResourceName, a.PermissionType, a.Principal, a.Operation, a.Host)
		}
	}
	quotas, err := c.admin.DescribeClientQuotas(ctx, false, []kadm.DescribeClientQuotaComponent{})
	c.must(err)
	for _, q := range quotas {
		for _, v := range q.Values {
			say("quota of %s: %s=%v", q.Entity, v.Key, v.Value)
		}
	}
	users, err := c.admin.DescribeUserSCRAMs(ctx)
	c.must(err)
	for _, u := range users.Sorted() {
		if u.User == c.user.name {
			continue
		}
		for _, info := range u.CredInfos {
			say("user %s: %s, %d iterations", u.User, info.Mechanism, info.Iterations)
		}
	}
}

// groups tells groups, their offsets and configurations, and client metrics.
func (c *cluster) groups(ctx context.Context, say func(format string, args ...any)) {
	c.t.Helper()
	groups, err := c.admin.ListGroups(ctx)
	c.must(err)
	for _, g := range groups.Groups() {
		if internal(g) {
			continue
		}
		say("group %s", g)
		offsets, err := c.admin.FetchOffsets(ctx, g)
		c.must(err)
		for _, o := range offsets.Sorted() {
			say("offset of %s in %s/%d: %d %q", g, o.Topic, o.Partition, o.At, o.Metadata)
		}
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, each := range []struct {
		kind kmsg.ConfigResourceType
		name string
	}{{kmsg.ConfigResourceTypeGroupConfig, "billing"}, {kmsg.ConfigResourceTypeClientMetrics, "latencies"}} {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = each.kind, each.name
		req.Resources = append(req.Resources, r)
	}
	configs, err := req.RequestWith(ctx, c.client)
	c.must(err)
	for _, r := range configs.Resources {
		for _, entry := range r.Configs {
			if entry.Source != kmsg.ConfigSourceDefaultConfig && entry.Value != nil && entry.Source != kmsg.ConfigSourceStaticBrokerConfig {
				say("config of %s: %s=%s", r.ResourceName, entry.Name, *entry.Value)
			}
		}
	}
}
