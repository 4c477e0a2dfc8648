package kafka

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// The variables that tell of a real cluster; `make test/servers` sets them.
const (
	brokersVariable  = "TEST_KAFKA_BROKERS" // host:port,…
	userVariable     = "TEST_KAFKA_USERNAME"
	passwordVariable = "TEST_KAFKA_PASSWORD"
	connectVariable  = "TEST_KAFKA_CONNECT" // http://host:port
	requireVariable  = "REQUIRE_SERVERS"    // 1: a server that is missing is a failure
)

// alone is held by the test that has the real cluster. There is one, which has names
// such as those of brokers and users that all share.
var alone sync.Mutex

// newReal returns the real cluster, with nothing in it, and a schema registry. No
// other test has it until this one ends.
func newReal(t testing.TB) *cluster {
	t.Helper()
	brokers := os.Getenv(brokersVariable)
	switch {
	case brokers != "":
	case os.Getenv(requireVariable) == "1":
		t.Fatalf("%s is not set, and %s=1 asks for every server: run the tests with `make test/servers`", brokersVariable, requireVariable)
	default:
		t.Skipf("%s is not set: this test needs a real server (`make test/servers` starts one)", brokersVariable)
	}
	alone.Lock()
	t.Cleanup(alone.Unlock)
	registry := srfake.New()
	t.Cleanup(registry.Close)
	user := account{os.Getenv(userVariable), os.Getenv(passwordVariable), "${env:" + passwordVariable + "}"}
	c := newCluster(t, strings.Split(brokers, ","), user, registry.URL(), os.Getenv(connectVariable))
	c.clear()
	return c
}

// clear takes away what tests before have left.
func (c *cluster) clear() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	c.clearConnectors(ctx)
	c.client.ForceMetadataRefresh()
	topics, err := c.admin.ListTopics(ctx)
	c.must(err)
	for _, name := range topics.Names() {
		if internal(name) {
			continue
		}
		_, err := c.admin.DeleteTopics(ctx, name)
		c.must(err)
	}
	all := kmsg.NewDeleteACLsRequestFilter()
	all.ResourceType, all.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	all.Operation, all.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	acls := kmsg.NewPtrDeleteACLsRequest()
	acls.Filters = []kmsg.DeleteACLsRequestFilter{all}
	_, err = acls.RequestWith(ctx, c.client)
	c.must(err)
	quotas, err := c.admin.DescribeClientQuotas(ctx, false, []kadm.DescribeClientQuotaComponent{})
	c.must(err)
	for _, q := range quotas {
		alter := kadm.AlterClientQuotaEntry{Entity: q.Entity}
		for _, v := range q.Values {
			alter.Ops = append(alter.Ops, kadm.AlterClientQuotaOp{Key: v.Key, Remove: true})
		}
		_, err := c.admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{alter})
		c.must(err)
	}
	users, err := c.admin.DescribeUserSCRAMs(ctx)
	c.must(err)
	for _, u := range users.Sorted() {
		for _, info := range u.CredInfos {
			if u.User != c.user.name {
				_, err := c.admin.AlterUserSCRAMs(ctx, []kadm.DeleteSCRAM{{User: u.User, Mechanism: info.Mechanism}}, nil)
				c.must(err)
			}
		}
	}
	groups, err := c.admin.ListGroups(ctx)
	c.must(err)
	for _, g := range groups.Groups() {
		if !internal(g) {
			_, err := c.admin.DeleteGroups(ctx, g)
			c.must(err)
		}
	}
	c.clearConfigs(ctx)
}

// clearConfigs takes away the configurations of brokers, groups and client metrics.
func (c *cluster) clearConfigs(ctx context.Context) {
	c.t.Helper()
	brokers, err := c.admin.ListBrokers(ctx)
	c.must(err)
	own, err := c.admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
	c.must(err)
	for i, r := range own {
		for _, entry := range r.Configs {
			if entry.Source == kmsg.ConfigSourceDynamicBrokerConfig {
				_, err := c.admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: entry.Key}}, brokers.NodeIDs()[i])
				c.must(err)
			}
		}
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for name, keys := range map[string][]string{"billing": {"consumer.session.timeout.ms"}, "latencies": {"interval.ms", "metrics"}} {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceName, r.ResourceType = name, kmsg.ConfigResourceTypeGroupConfig
		if name == "latencies" {
			r.ResourceType = kmsg.ConfigResourceTypeClientMetrics
		}
		for _, key := range keys {
			entry := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			entry.Name, entry.Op = key, kmsg.IncrementalAlterConfigOpDelete
			r.Configs = append(r.Configs, entry)
		}
		req.Resources = append(req.Resources, r)
	}
	_, err = req.RequestWith(ctx, c.client)
	c.must(err)
}

// clearConnectors deletes all connectors.
func (c *cluster) clearConnectors(ctx context.Context) {
	c.t.Helper()
	var b bytes.Buffer
	for _, name := range []string{"copy", "orders-file"} {
		for {
			req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.connect+"/connectors/"+name, &b)
			c.must(err)
			resp, err := http.DefaultClient.Do(req)
			c.must(err)
			c.must(resp.Body.Close())
			if resp.StatusCode != http.StatusConflict {
				break
			}
			time.Sleep(100 * time.Millisecond) // the workers are about something else
		}
	}
}

func TestOperationsOnRealCluster(t *testing.T) {
	t.Parallel()
	for _, o := range operations() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			newReal(t).world(t).Check(o.Operation)
		})
	}
}
