package dynamodb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// PolicyDocument is a policy as IAM has it (IAM User Guide, "JSON policy element
// reference").
type PolicyDocument string

// UnmarshalJSON implements json.Unmarshaler.
func (p *PolicyDocument) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return errors.New("a mapping is needed here")
	}
	*p = PolicyDocument(b)
	return nil
}

// JSONSchema implements the SDK's way to give a schema.
func (PolicyDocument) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type":"object","required":["Statement"]}`)
}

// samePolicy tells whether two policies say the same, however they are written.
func samePolicy(p, o string) bool {
	var a, b any
	if json.Unmarshal([]byte(p), &a) != nil || json.Unmarshal([]byte(o), &b) != nil {
		return p == o
	}
	return reflect.DeepEqual(a, b)
}

// PutPolicy is the payload of putResourcePolicy.
type PutPolicy struct {
	Table                           string         `json:"table"`
	Policy                          PolicyDocument `json:"policy"`
	ConfirmRemoveSelfResourceAccess bool           `json:"confirmRemoveSelfResourceAccess,omitempty" desc:"allows a policy that takes the right to change it from whoever sets it"`
}

// DeletePolicy is the payload of deleteResourcePolicy.
type DeletePolicy struct {
	Table string `json:"table"`
}

// policy is the captured state of a table's policy; Document is "" where there is
// none.
type policy struct {
	Document string `json:"document,omitempty"`
	arn      *string
	revision *string
}

// arn returns what a table is called by outside its account and region.
func (c *Conn) arn(ctx context.Context, table *string) (*string, error) {
	t, err := c.describe(ctx, table)
	if err == nil && t == nil {
		err = sdk.Errorf(sdk.NotFound, "table %s is not there", *table)
	}
	if err != nil {
		return nil, err
	}
	return t.TableArn, nil
}

func (c *Conn) policy(ctx context.Context, table *string) (policy, error) {
	arn, err := c.arn(ctx, table)
	if err != nil {
		return policy{}, err
	}
	r, err := c.client.GetResourcePolicy(ctx, &dynamodb.GetResourcePolicyInput{ResourceArn: arn})
	if isCode(err, "PolicyNotFoundException") {
		return policy{arn: arn}, nil
	}
	if err != nil {
		return policy{}, failure("read the policy of table "+*table, err)
	}
	return policy{Document: aws.ToString(r.Policy), arn: arn, revision: r.RevisionId}, nil
}

// setPolicy gives a table a policy, or takes it away where there is to be none. It
// overwrites no change that somebody else makes at the same time.
func (c *Conn) setPolicy(ctx context.Context, table *string, want string, confirmed bool) error {
	now, err := c.policy(ctx, table)
	switch {
	case err != nil, samePolicy(now.Document, want):
		return err
	case want == "":
		_, err = c.client.DeleteResourcePolicy(ctx, &dynamodb.DeleteResourcePolicyInput{ResourceArn: now.arn, ExpectedRevisionId: now.revision})
	default:
		if now.revision == nil {
			now.revision = aws.String("NO_POLICY")
		}
		_, err = c.client.PutResourcePolicy(ctx, &dynamodb.PutResourcePolicyInput{
			ResourceArn: now.arn, ExpectedRevisionId: now.revision, Policy: &want, ConfirmRemoveSelfResourceAccess: confirmed,
		})
	}
	return unless("change the policy of table "+*table, err, func() (bool, error) {
		now, err := c.policy(ctx, table)
		return err == nil && samePolicy(now.Document, want), err
	})
}

func putResourcePolicy() sdk.Operation[*Conn] {
	return policing("putResourcePolicy", "gives a table a policy of who may use it, in place of the one that it has", false,
		func(p PutPolicy) (string, string, bool) {
			return p.Table, string(p.Policy), p.ConfirmRemoveSelfResourceAccess
		})
}

func deleteResourcePolicy() sdk.Operation[*Conn] {
	return policing("deleteResourcePolicy", "takes the policy of a table away", true,
		func(p DeletePolicy) (string, string, bool) { return p.Table, "", false })
}

func policing[P any](kind, summary string, removes bool, of func(P) (table, want string, confirmed bool)) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	now := func(ctx context.Context, c *Conn, s step) (policy, error) {
		table, _, _ := of(s.Payload)
		return c.policy(ctx, c.table(table))
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary, Removes: removes, NotTransactional: schema,
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			table, want, _ := of(s.Payload)
			return sdk.Preview{Lines: []string{fmt.Sprintf("policy of table %s: %s", *c.table(table), or(want, "none"))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			found, err := now(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if _, want, _ := of(s.Payload); samePolicy(found.Document, want) {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the policy is another"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) { return both(now(ctx, c, s)) },
		Apply: func(ctx context.Context, c *Conn, s step) error {
			table, want, confirmed := of(s.Payload)
			return c.setPolicy(ctx, c.table(table), want, confirmed)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[policy](state)
			if err != nil {
				return err
			}
			table, _, confirmed := of(s.Payload)
			return c.setPolicy(ctx, c.table(table), before.Document, confirmed)
		},
	})
}
