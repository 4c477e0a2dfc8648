package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// AssertTopic is the payload of assertTopic.
type AssertTopic struct {
	Topic             string          `json:"topic"`
	Exists            *bool           `json:"exists,omitempty" default:"true"`
	Partitions        int32           `json:"partitions,omitempty" minimum:"1"`
	ReplicationFactor int16           `json:"replicationFactor,omitempty" minimum:"1"`
	Config            map[string]Text `json:"config,omitempty" desc:"values in force, whoever has set them"`
	Empty             *bool           `json:"empty,omitempty" desc:"whether it may hold no record, or must hold one"`
}

// asserting makes an operation that fails where false is not "".
func asserting[P any](kind, summary string, check func(*sdk.Check[sdk.None, P]), describe func(p *P) string, broken func(ctx context.Context, c *Conn, p *P) (string, error)) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	return operation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary, Check: check,
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			out := sdk.Preview{Lines: []string{describe(&s.Payload)}}
			problem, err := broken(ctx, c, &s.Payload)
			if problem != "" {
				out.Notes = append(out.Notes, "it does not hold now: "+problem)
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			problem, err := broken(ctx, c, &s.Payload)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if problem != "" {
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: problem}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			problem, err := broken(ctx, c, &s.Payload)
			if err != nil || problem == "" {
				return err
			}
			e := sdk.Errorf(sdk.Conflict, "%s does not hold: %s", describe(&s.Payload), problem)
			e.Clean = true
			return e
		},
		Inverse: func(context.Context, *Conn, step, []byte) error { return nil },
	}, nil)
}

func assertTopic() sdk.Operation[*Conn] {
	return asserting("assertTopic", "fails where a topic is not as it should be", func(c *sdk.Check[sdk.None, AssertTopic]) {
		for _, s := range c.Steps {
			p := s.Apply
			if p.Exists != nil && !*p.Exists && (p.Partitions > 0 || p.ReplicationFactor > 0 || len(p.Config) > 0 || p.Empty != nil) {
				report(c, s.Index, "/exists", "contradiction", "a topic that is not there has nothing else", "remove what is said of it")
			}
		}
	}, func(p *AssertTopic) string { return "the assertion on topic " + p.Topic },
		func(ctx context.Context, c *Conn, p *AssertTopic) (string, error) {
			t, configs, err := c.lookAny(ctx, p.Topic)
			wanted := p.Exists == nil || *p.Exists
			switch {
			case err != nil:
				return "", err
			case t == nil && wanted:
				return "it is not there", nil
			case t != nil && !wanted:
				return "it is there", nil
			case t == nil:
				return "", nil
			}
			shape := CreateTopic{Partitions: p.Partitions, ReplicationFactor: p.ReplicationFactor, Config: p.Config}
			problem := shape.differs(t, configs)
			if p.Empty != nil {
				n, err := c.holds(ctx, p.Topic, t)
				if err != nil {
					return "", err
				}
				if (n == 0) != *p.Empty {
					problem = strings.TrimPrefix(problem+fmt.Sprintf("; it holds about %d records", n), "; ")
				}
			}
			return problem, nil
		})
}

// AssertCluster is the payload of assertCluster.
type AssertCluster struct {
	ClusterID string  `json:"clusterId,omitempty"`
	Brokers   []int32 `json:"brokers,omitempty" desc:"ids of brokers that must be alive"`
	AtLeast   int     `json:"atLeast,omitempty" minimum:"1" desc:"how many brokers must be alive"`
}

func assertCluster() sdk.Operation[*Conn] {
	return asserting("assertCluster", "fails where the cluster is another one, or brokers are missing", func(c *sdk.Check[sdk.None, AssertCluster]) {
		for _, s := range c.Steps {
			if p := s.Apply; p.ClusterID == "" && len(p.Brokers) == 0 && p.AtLeast == 0 {
				report(c, s.Index, "", "nothing-to-do", "nothing is asserted", "write clusterId, brokers or atLeast")
			}
		}
	}, func(*AssertCluster) string { return "the assertion on the cluster" },
		func(ctx context.Context, c *Conn, p *AssertCluster) (string, error) {
			v, err := c.view(ctx)
			if err != nil {
				return "", failure("look at the cluster", err)
			}
			var out []string
			if p.ClusterID != "" && p.ClusterID != v.cluster {
				out = append(out, "it is cluster "+v.cluster)
			}
			missing := slices.DeleteFunc(slices.Clone(p.Brokers), func(id int32) bool {
				_, alive := v.broker(id)
				return alive
			})
			if len(missing) > 0 {
				out = append(out, fmt.Sprintf("brokers %v are not alive", missing))
			}
			if len(v.brokers) < p.AtLeast {
				out = append(out, fmt.Sprintf("%d brokers are alive", len(v.brokers)))
			}
			return strings.Join(out, "; "), nil
		})
}
