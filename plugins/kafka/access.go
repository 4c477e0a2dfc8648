package kafka

import (
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Access is the payload of grantAccess and revokeAccess: what a service of a kind
// needs.
type Access struct {
	Principal       string       `json:"principal" desc:"such as User:billing" pattern:"^[^:]+:.+|\\$\\{"`
	Role            string       `json:"role" enum:"consumer,producer,streams,connect,ksql,schemaRegistry,operator"`
	Topics          []string     `json:"topics,omitempty" desc:"what is read, and, by a producer, written"`
	OutputTopics    []string     `json:"outputTopics,omitempty" desc:"what streams, ksql and connect write"`
	Group           string       `json:"group,omitempty" desc:"consumer group; of streams the application id, of ksql the service id"`
	Prefix          bool         `json:"prefix,omitempty" desc:"topics, outputTopics and, of a consumer, group are the beginnings of names"`
	TransactionalID string       `json:"transactionalId,omitempty" desc:"of a producer"`
	Host            string       `json:"host,omitempty" default:"*"`
	Timeout         sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// bindings returns the ACLs of the role.
func (p *Access) bindings() []Binding {
	var out []Binding
	add := func(resourceType, name string, prefixed bool, operations string) {
		pattern := "literal"
		if prefixed && name != "*" {
			pattern = "prefixed"
		}
		for operation := range strings.FieldsSeq(operations) {
			out = append(out, Binding{resourceType, name, pattern, p.Principal, or(p.Host, "*"), operation, "Allow"})
		}
	}
	each := func(topics []string, operations string) {
		for _, t := range topics {
			add("topic", t, p.Prefix, operations)
		}
	}
	switch p.Role {
	case "consumer":
		each(p.Topics, "Read Describe")
		add("group", p.Group, p.Prefix, "Read Describe")
	case "producer":
		each(p.Topics, "Write Describe")
		if p.TransactionalID != "" {
			add("transactionalId", p.TransactionalID, p.Prefix, "Write Describe")
		}
	case "streams":
		each(p.Topics, "Read Describe")
		each(p.OutputTopics, "Write Describe")
		// Names of its own topics, transactions and groups begin with the application id.
		add("topic", p.Group, true, "Read Write Create Delete Alter Describe DescribeConfigs AlterConfigs")
		add("group", p.Group, true, "Read Describe Delete")
		add("transactionalId", p.Group, true, "Write Describe")
	case "connect":
		each(p.Topics, "Read Describe")
		each(p.OutputTopics, "Write Describe Create")
		add("group", p.Group, p.Prefix, "Read Describe")
	case "ksql":
		each(p.Topics, "Read Describe")
		each(p.OutputTopics, "Read Write Create Delete Describe DescribeConfigs AlterConfigs")
		own := "_confluent-ksql-" + p.Group
		add("topic", own, true, "All")
		add("group", own, true, "All")
		add("transactionalId", p.Group, false, "Write Describe")
		add("topic", p.Group+"ksql_processing_log", false, "All")
		add("cluster", clusterName, false, "DescribeConfigs")
	case "schemaRegistry":
		topics := p.Topics
		if len(topics) == 0 {
			topics = []string{"_schemas"}
		}
		each(topics, "Read Write Create Describe DescribeConfigs")
		add("group", or(p.Group, "schema-registry"), false, "Read Describe")
		add("topic", "__consumer_offsets", false, "Describe")
	case "operator":
		topics := p.Topics
		if len(topics) == 0 {
			topics = []string{"*"}
		}
		each(topics, "Create Delete Alter Describe DescribeConfigs AlterConfigs")
		add("group", or(p.Group, "*"), p.Prefix, "Describe Delete")
		add("cluster", clusterName, false, "Create Alter Describe DescribeConfigs AlterConfigs")
	}
	return distinct(out)
}

// checkAccess reports what a role needs and does not have, or has and does not need.
func checkAccess(c *sdk.Check[sdk.None, Access]) {
	for _, s := range c.Steps {
		p := s.Apply
		grouped := slices.Contains([]string{"consumer", "streams", "connect", "ksql"}, p.Role)
		if grouped && p.Group == "" {
			report(c, s.Index, "/group", "missing-field", "the role "+p.Role+" needs a group", "write group")
		}
		if (p.Role == "consumer" || p.Role == "producer") && len(p.Topics) == 0 {
			report(c, s.Index, "/topics", "missing-field", "the role "+p.Role+" needs topics", "write topics")
		}
		if p.TransactionalID != "" && p.Role != "producer" {
			report(c, s.Index, "/transactionalId", "not-used", "only a producer has a transactionalId", "remove it")
		}
		if len(p.OutputTopics) > 0 && !slices.Contains([]string{"streams", "connect", "ksql"}, p.Role) {
			report(c, s.Index, "/outputTopics", "not-used", "the role "+p.Role+" has no outputTopics", "write topics")
		}
		if slices.Contains(p.Topics, "") || slices.Contains(p.OutputTopics, "") {
			report(c, s.Index, "/topics", "empty-value", "the name of a topic is empty", "write the name, or * for every one")
		}
	}
}

// touches returns the names that the access is about.
func (p *Access) touches() scope { return scope{principals: []string{p.Principal}} }

func grantAccess() sdk.Operation[*Conn] {
	return granting("grantAccess", "makes the ACLs that a service of a kind needs", checkAccess,
		func(p *Access) ([]Binding, sdk.Duration) { return p.bindings(), p.Timeout }, (*Access).touches)
}

func revokeAccess() sdk.Operation[*Conn] {
	return revoking("revokeAccess", "deletes the ACLs that a service of a kind needs", checkAccess,
		func(p *Access) ([]Binding, sdk.Duration) { return p.bindings(), p.Timeout }, (*Access).touches)
}
