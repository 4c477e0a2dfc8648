package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/deletetopics"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// topic is what a broker knows of a topic.
type topic struct {
	// partitions are in the order of their numbers.
	partitions []metadata.ResponsePartition
}

// topicAt returns what the broker at addr knows of a topic; nil where it knows none.
func (c *Conn) topicAt(ctx context.Context, addr, name string) (*topic, error) {
	v, err := c.metadataAt(ctx, addr, name)
	if err != nil {
		return nil, err
	}
	return v.topic(name)
}

// topic returns what was asked of a topic; nil where there is none.
func (v *view) topic(name string) (*topic, error) {
	for _, t := range v.topics {
		if t.Name != name {
			continue
		}
		err := said(t.ErrorCode, "")
		if isCode(err, kafkago.UnknownTopicOrPartition) {
			return nil, nil //nolint:nilnil // the topic is not there
		}
		if err != nil && !isCode(err, kafkago.LeaderNotAvailable) {
			return nil, err
		}
		slices.SortFunc(t.Partitions, func(a, b metadata.ResponsePartition) int { return int(a.PartitionIndex - b.PartitionIndex) })
		return &topic{t.Partitions}, nil
	}
	return nil, nil //nolint:nilnil // the topic is not there
}

// topic returns what the cluster knows of a topic; nil where there is none.
func (c *Conn) topic(ctx context.Context, name string) (*topic, error) {
	v, err := c.view(ctx, name)
	var t *topic
	if err == nil {
		t, err = v.topic(name)
	}
	return t, failure("look at topic "+name, err)
}

// mustTopic is topic, and an error of the code NotFound where there is none.
func (c *Conn) mustTopic(ctx context.Context, name string) (*topic, error) {
	t, err := c.topic(ctx, name)
	if err == nil && t == nil {
		err = missingTopic(name)
	}
	return t, err
}

func missingTopic(name string) error {
	e := sdk.Errorf(sdk.NotFound, "topic %s is not there", name)
	e.Clean = true
	return e
}

// led tells whether every partition has a leader.
func (t *topic) led() bool {
	return !slices.ContainsFunc(t.partitions, func(p metadata.ResponsePartition) bool { return p.LeaderID < 0 })
}

// factor returns the number of replicas; 0 where partitions have different ones.
func (t *topic) factor() int {
	n := 0
	for i, p := range t.partitions {
		if i > 0 && len(p.ReplicaNodes) != n {
			return 0
		}
		n = len(p.ReplicaNodes)
	}
	return n
}

// Assignments say which brokers have a partition's replicas, the preferred leader
// first.
type Assignments map[string][]int32

// sorted returns the partitions in the order of their numbers.
func (a Assignments) sorted() ([]int32, error) {
	var out []int32
	for key := range a {
		n, err := strconv.ParseInt(key, 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no number of a partition", key)
		}
		out = append(out, int32(n))
	}
	slices.Sort(out)
	return out, nil
}

func (a Assignments) of(partition int32) []int32 { return a[strconv.Itoa(int(partition))] }

// problem says what is wrong with the assignments of partitions from first on.
func (a Assignments) problem(first int) string {
	numbers, err := a.sorted()
	if err != nil {
		return err.Error()
	}
	for i, n := range numbers {
		if int(n) != first+i {
			return fmt.Sprintf("partition %d has no assignment", first+i)
		}
		replicas := slices.Clone(a.of(n))
		slices.Sort(replicas)
		if len(replicas) == 0 || len(slices.Compact(replicas)) != len(a.of(n)) {
			return fmt.Sprintf("partition %d needs brokers, each once", n)
		}
	}
	return ""
}

// CreateTopic is the payload of createTopic.
type CreateTopic struct {
	Topic             string          `json:"topic" pattern:"^[a-zA-Z0-9._-]{1,249}$|\\$\\{"`
	Partitions        int32           `json:"partitions,omitempty" minimum:"1" desc:"default: num.partitions of the brokers"`
	ReplicationFactor int16           `json:"replicationFactor,omitempty" minimum:"1" desc:"default: default.replication.factor of the brokers"`
	Assignments       Assignments     `json:"assignments,omitempty" desc:"the brokers of each partition, in place of partitions and replicationFactor"`
	Config            map[string]Text `json:"config,omitempty" desc:"keys of topic configurations, such as retention.ms"`
	OnConflict        string          `json:"onConflict,omitempty" enum:"verify,fail,adopt" default:"verify" desc:"what to do with a topic that is there: verify takes it if it is the same, adopt as it is"`
	AllowDataLoss     bool            `json:"allowDataLoss,omitempty" desc:"let a rollback delete the topic with records in it"`
	Timeout           sdk.Duration    `json:"timeout,omitempty" default:"2m"`
}

// request returns what is asked of the cluster.
func (p *CreateTopic) request(validate bool) (*createtopics.Request, error) {
	t := createtopics.RequestTopic{Name: p.Topic, NumPartitions: -1, ReplicationFactor: -1}
	if p.Partitions > 0 {
		t.NumPartitions = p.Partitions
	}
	if p.ReplicationFactor > 0 {
		t.ReplicationFactor = p.ReplicationFactor
	}
	numbers, err := p.Assignments.sorted()
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "assignments: %w", err)
	}
	for _, n := range numbers {
		t.NumPartitions, t.ReplicationFactor = -1, -1
		t.Assignments = append(t.Assignments, createtopics.RequestAssignment{PartitionIndex: n, BrokerIDs: p.Assignments.of(n)})
	}
	for _, key := range slices.Sorted(maps.Keys(p.Config)) {
		t.Configs = append(t.Configs, createtopics.RequestConfig{Name: key, Value: string(p.Config[key])})
	}
	return &createtopics.Request{Topics: []createtopics.RequestTopic{t}, TimeoutMs: brokerTime, ValidateOnly: validate}, nil
}

// brokerTime is how long a broker works on a request before it answers, in
// milliseconds.
const brokerTime = 10_000

// differs says what of a topic is not as p says; "" where all is.
func (p *CreateTopic) differs(t *topic, configs settings) string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if p.Partitions > 0 && len(t.partitions) != int(p.Partitions) {
		say("it has %d partitions, not %d", len(t.partitions), p.Partitions)
	}
	if p.ReplicationFactor > 0 && t.factor() != int(p.ReplicationFactor) {
		say("it has replication factor %d, not %d", t.factor(), p.ReplicationFactor)
	}
	if len(p.Assignments) > 0 && len(t.partitions) != len(p.Assignments) {
		say("it has %d partitions, not %d", len(t.partitions), len(p.Assignments))
	}
	for _, each := range t.partitions {
		if want := p.Assignments.of(each.PartitionIndex); want != nil && !slices.Equal(want, each.ReplicaNodes) {
			say("partition %d is on brokers %v, not %v", each.PartitionIndex, each.ReplicaNodes, want)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Config)) {
		if now := configs[key]; now.Value != string(p.Config[key]) {
			say("%s is %q, not %q", key, now.Value, p.Config[key])
		}
	}
	return strings.Join(out, "; ")
}

// look returns a topic and its configuration as the broker at addr knows them; nil
// where it knows none.
func (c *Conn) look(ctx context.Context, addr, name string) (*topic, settings, error) {
	configs, err := c.settingsAt(ctx, addr, entity{kind: ofTopic, name: name})
	if isCode(err, kafkago.UnknownTopicOrPartition) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	t, err := c.topicAt(ctx, addr, name)
	return t, configs, err
}

// lookAny is look at any broker.
func (c *Conn) lookAny(ctx context.Context, name string) (*topic, settings, error) {
	v, err := c.view(ctx)
	var t *topic
	var s settings
	if err == nil {
		t, s, err = c.look(ctx, v.at, name)
	}
	return t, s, failure("look at topic "+name, err)
}

func createTopic() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, CreateTopic]
	return operation(sdk.OperationSpec[*Conn, CreateTopic]{
		Type: "createTopic", Summary: "makes a topic and waits until every broker knows it; one that is there must be the same",
		Check: func(c *sdk.Check[sdk.None, CreateTopic]) {
			for _, s := range c.Steps {
				p := s.Apply
				if len(p.Assignments) > 0 {
					if p.Partitions > 0 || p.ReplicationFactor > 0 {
						report(c, s.Index, "/assignments", "contradiction", "assignments say how many partitions and replicas there are", "remove partitions and replicationFactor")
					}
					if problem := p.Assignments.problem(0); problem != "" {
						report(c, s.Index, "/assignments", "bad-assignment", problem, "list the brokers of every partition, from 0 on")
					}
				}
				emptyValues(c, s.Index, "/config", p.Config)
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{"create topic " + p.describe()}}
			for _, key := range slices.Sorted(maps.Keys(p.Config)) {
				out.Lines = append(out.Lines, fmt.Sprintf("  %s=%s", key, p.Config[key]))
			}
			t, configs, err := c.lookAny(ctx, p.Topic)
			if err != nil {
				return out, err
			}
			if t != nil {
				out.Notes = append(out.Notes, or(p.differs(t, configs), "it is there already, and the same"))
				return out, nil
			}
			return out, c.validate(ctx, p)
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			p := &s.Payload
			t, configs, err := c.lookAny(ctx, p.Topic)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case t == nil:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the topic is not there"}, nil
			case p.OnConflict == "fail" && s.Saved == nil:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the topic was there before"}, nil
			case p.OnConflict == "adopt" || p.differs(t, configs) == "":
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the topic is there"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: p.differs(t, configs)}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			t, err := c.topic(ctx, s.Payload.Topic)
			return both(existed{t != nil}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			t, configs, err := c.lookAny(ctx, p.Topic)
			if err != nil {
				return err
			}
			if t != nil {
				switch diff := p.differs(t, configs); {
				case p.OnConflict == "fail" && s.Saved == nil:
					return conflict("onConflict: verify takes one that is the same", "topic %s is there already", p.Topic)
				case p.OnConflict != "adopt" && diff != "":
					return conflict("alterTopicConfig, addPartitions and alterReplicas change a topic; onConflict: adopt takes it as it is",
						"topic %s is there already, and differs: %s", p.Topic, diff)
				}
			} else if p.OnConflict == "fail" {
				if err := s.Save(ctx, []byte("begun")); err != nil {
					return err
				}
			}
			return c.create(ctx, p)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[existed](state)
			if err != nil || before.Existed {
				return err // it was not this change that made it
			}
			t, err := c.topic(ctx, s.Payload.Topic)
			if err != nil || t == nil {
				return err
			}
			if !s.Payload.AllowDataLoss {
				n, err := c.holds(ctx, s.Payload.Topic, t)
				if err != nil {
					return err
				}
				if n > 0 {
					return conflict("write allowDataLoss: true in the change, or delete the topic by deleteTopic",
						"topic %s holds records by now (about %d), which deleting it would lose", s.Payload.Topic, n)
				}
			}
			return c.delete(ctx, s.Payload.Topic, s.Payload.Timeout)
		},
	}, func(p *CreateTopic) scope { return scope{topics: []string{p.Topic}} })
}

func (p *CreateTopic) describe() string {
	out := []string{p.Topic}
	if p.Partitions > 0 {
		out = append(out, fmt.Sprintf("%d partitions", p.Partitions))
	}
	if p.ReplicationFactor > 0 {
		out = append(out, fmt.Sprintf("replication factor %d", p.ReplicationFactor))
	}
	if len(p.Assignments) > 0 {
		out = append(out, fmt.Sprintf("assigned to %v", p.Assignments))
	}
	return strings.Join(out, ", ")
}

// validate asks the cluster whether it would make the topic.
func (c *Conn) validate(ctx context.Context, p *CreateTopic) error {
	req, err := p.request(true)
	if err != nil {
		return err
	}
	return failure("create topic "+p.Topic, c.sendCreate(ctx, req))
}

func (c *Conn) sendCreate(ctx context.Context, req *createtopics.Request) error {
	at, err := c.controller(ctx)
	if err != nil {
		return err
	}
	r, err := ask[*createtopics.Response](ctx, c, at, req)
	if err != nil {
		return err
	}
	for _, t := range r.Topics {
		if err := said(t.ErrorCode, t.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

// create makes a topic and waits until every broker knows all of it.
func (c *Conn) create(ctx context.Context, p *CreateTopic) error {
	req, err := p.request(false)
	if err != nil {
		return err
	}
	known := func(ctx context.Context, addr string) (bool, error) {
		t, _, err := c.look(ctx, addr, p.Topic)
		return err == nil && t != nil && len(t.partitions) > 0 && t.led(), err
	}
	return settle(ctx, "create topic "+p.Topic, p.Timeout, func(ctx context.Context) (bool, error) {
		return c.everywhere(ctx, known)
	}, func(ctx context.Context) error {
		err := c.sendCreate(ctx, req)
		if isCode(err, kafkago.TopicAlreadyExists) {
			return nil // not every broker knows it yet
		}
		return err
	})
}

// delete deletes a topic and waits until no broker knows it.
func (c *Conn) delete(ctx context.Context, name string, timeout sdk.Duration) error {
	return settle(ctx, "delete topic "+name, timeout, func(ctx context.Context) (bool, error) {
		return c.everywhere(ctx, func(ctx context.Context, addr string) (bool, error) {
			t, err := c.topicAt(ctx, addr, name)
			return t == nil, err
		})
	}, func(ctx context.Context) error {
		at, err := c.controller(ctx)
		if err != nil {
			return err
		}
		r, err := ask[*deletetopics.Response](ctx, c, at, &deletetopics.Request{TopicNames: []string{name}, TimeoutMs: brokerTime})
		if err != nil {
			return err
		}
		for _, t := range r.Responses {
			if err := said(t.ErrorCode, ""); err != nil && !isCode(err, kafkago.UnknownTopicOrPartition) {
				return err
			}
		}
		return nil
	})
}

// DeleteTopic is the payload of deleteTopic.
type DeleteTopic struct {
	Topic        string       `json:"topic"`
	AllowDestroy bool         `json:"allowDestroy" desc:"says that the records are to be lost"`
	Timeout      sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// shape is what is captured of a topic that is deleted.
type shape struct {
	Existed           bool            `json:"existed"`
	Partitions        int32           `json:"partitions"`
	ReplicationFactor int16           `json:"replicationFactor"`
	Config            map[string]Text `json:"config,omitempty"`
}

func deleteTopic() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DeleteTopic]
	return operation(sdk.OperationSpec[*Conn, DeleteTopic]{
		Type: "deleteTopic", Removes: true, Summary: "deletes a topic and waits until no broker knows it",
		Check: func(c *sdk.Check[sdk.None, DeleteTopic]) {
			for _, s := range c.Steps {
				c.Irreversible("the records of " + s.Apply.Topic + " are lost; a rollback makes the topic anew, empty")
				if !s.Apply.AllowDestroy {
					needsWord(c, s.Index, "allowDestroy", "deleting a topic loses its records")
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			out := sdk.Preview{Lines: []string{"delete topic " + s.Payload.Topic}}
			t, err := c.topic(ctx, s.Payload.Topic)
			if err != nil || t == nil {
				return out, err
			}
			n, err := c.holds(ctx, s.Payload.Topic, t)
			if n > 0 {
				out.Notes = append(out.Notes, fmt.Sprintf("about %d records are lost", n))
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, err := c.topic(ctx, s.Payload.Topic)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if t == nil {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the topic is not there"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the topic is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			t, configs, err := c.lookAny(ctx, s.Payload.Topic)
			if err != nil || t == nil {
				return both(shape{}, err)
			}
			out := shape{Existed: true, Partitions: int32(len(t.partitions)), ReplicationFactor: int16(t.factor()), Config: map[string]Text{}}
			for key, now := range configs {
				if now.Dynamic {
					out.Config[key] = Text(now.Value)
				}
			}
			return keep(out)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.delete(ctx, s.Payload.Topic, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[shape](state)
			if err != nil || !before.Existed {
				return err
			}
			t, err := c.topic(ctx, s.Payload.Topic)
			if err != nil || t != nil {
				return err // it was not deleted, or somebody has made it again
			}
			return c.create(ctx, &CreateTopic{
				Topic: s.Payload.Topic, Partitions: before.Partitions, ReplicationFactor: before.ReplicationFactor,
				Config: before.Config, Timeout: s.Payload.Timeout,
			})
		},
	}, func(p *DeleteTopic) scope { return scope{topics: []string{p.Topic}} })
}
