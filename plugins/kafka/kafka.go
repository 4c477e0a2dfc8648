// Package kafka is the plugin for Apache Kafka: target system, and the template
// `kafka` with an operation for each thing that an application's owner does to
// topics, access, offsets, schemas and connectors.
//
// Kafka has no transactions for any of it. Every step is done between durable
// checkpoints, and can tell by looking whether it is in place; it looks at brokers and
// never at a client's cache, and waits until every broker that is alive sees what it did.
package kafka

import (
	"context"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Version is the plugin's version.
const Version = "0.1.0"

// New returns the plugin.
func New() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "kafka", Version: Version, Summary: "Apache Kafka, schema registries and Kafka Connect",
		Drivers: []sdk.Driver{
			sdk.NewDriver(sdk.DriverSpec[Config, *Conn]{
				Type: "kafka", Summary: "a Kafka cluster, with its schema registry and Kafka Connect",
				Open: open, Health: health,
				Close: func(_ context.Context, c *Conn) error {
					c.hangUp()
					return nil
				},
			}),
		},
		Templates:   []sdk.Template{template()},
		Environment: variables(),
		Needs: &sdk.Needs{
			Network: true,
			Read:    []string{"~/.aws"},
			// Where the AWS SDK keeps tokens of single sign-on.
			Write: []string{"~/.aws/sso/cache", "~/.aws/cli/cache"},
		},
	}
}

func template() sdk.Template {
	return sdk.NewOperationsTemplate(
		sdk.OperationsSpec{
			Name: "kafka", Summary: "changes topics, access, offsets, schemas and connectors",
			Drivers: []string{"kafka"}, Parameters: true, NeverTransactional: true,
		},
		createTopic(), deleteTopic(), alterTopicConfig(), addPartitions(), alterReplicas(), electLeaders(),
		createACLs(), deleteACLs(), grantAccess(), revokeAccess(),
		setQuota(), removeQuota(), upsertScramUser(), deleteScramUser(),
		alterBrokerConfig(), alterGroupConfig(), alterClientMetrics(),
		resetOffsets(), deleteOffsets(), deleteGroup(), produceRecords(),
		registerSchema(), deleteSchemaVersion(), setSubjectConfig(), setSubjectMode(),
		upsertConnector(), deleteConnector(), pauseConnector(), resumeConnector(),
		assertTopic(), assertCluster(),
	)
}
