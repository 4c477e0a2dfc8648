package kafka

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/alterpartitionreassignments"
	"github.com/segmentio/kafka-go/protocol/createpartitions"
	"github.com/segmentio/kafka-go/protocol/electleaders"
	"github.com/segmentio/kafka-go/protocol/listpartitionreassignments"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// AddPartitions is the payload of addPartitions.
type AddPartitions struct {
	Topic       string       `json:"topic"`
	Count       int32        `json:"count" minimum:"1" desc:"how many partitions there are afterwards"`
	Assignments Assignments  `json:"assignments,omitempty" desc:"the brokers of each new partition"`
	Timeout     sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// request returns what is asked of the cluster where the topic has n partitions.
func (p *AddPartitions) request(n int, validate bool) (*createpartitions.Request, error) {
	t := createpartitions.RequestTopic{Name: p.Topic, Count: p.Count}
	numbers, err := p.Assignments.sorted()
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "assignments: %w", err)
	}
	for i, number := range numbers {
		if int(number) != n+i || int(p.Count) != n+len(numbers) {
			return nil, &sdk.Error{
				Code: sdk.Conflict, Part: -1, Clean: true,
				Message: fmt.Sprintf("topic %s has %d partitions, so partitions %d to %d are new, and assignments says %v", p.Topic, n, n, p.Count-1, numbers),
				Hint:    "assignments names the new partitions, and all of them",
			}
		}
		t.Assignments = append(t.Assignments, createpartitions.RequestAssignment{BrokerIDs: p.Assignments.of(number)})
	}
	return &createpartitions.Request{Topics: []createpartitions.RequestTopic{t}, TimeoutMs: brokerTime, ValidateOnly: validate}, nil
}

func (c *Conn) sendPartitions(ctx context.Context, req *createpartitions.Request) error {
	at, err := c.controller(ctx)
	if err != nil {
		return err
	}
	r, err := ask[*createpartitions.Response](ctx, c, at, req)
	if err != nil {
		return err
	}
	for _, t := range r.Results {
		if err := said(t.ErrorCode, t.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

func addPartitions() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, AddPartitions]
	return operation(sdk.OperationSpec[*Conn, AddPartitions]{
		Type: "addPartitions", Summary: "gives a topic more partitions and waits until every broker knows them; one that has as many is left alone",
		Check: func(c *sdk.Check[sdk.None, AddPartitions]) {
			for _, s := range c.Steps {
				c.Irreversible("partitions cannot be taken away, and keys move to other partitions")
				if numbers, err := s.Apply.Assignments.sorted(); err != nil || len(numbers) > 0 && s.Apply.Assignments.problem(int(numbers[0])) != "" {
					report(c, s.Index, "/assignments", "bad-assignment", "this is no list of brokers for each new partition", "write partition: [broker, …] for each, with each broker once")
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("topic %s: %d partitions", p.Topic, p.Count)}}
			t, err := c.mustTopic(ctx, p.Topic)
			if err != nil {
				return out, err
			}
			if len(t.partitions) >= int(p.Count) {
				out.Notes = append(out.Notes, fmt.Sprintf("it has %d already", len(t.partitions)))
				return out, nil
			}
			out.Lines[0] += fmt.Sprintf(", now %d", len(t.partitions))
			out.Notes = append(out.Notes, "records of a key will be in another partition than those before: order within a key is not kept across the change")
			req, err := p.request(len(t.partitions), true)
			if err != nil {
				return out, err
			}
			return out, failure("add partitions to topic "+p.Topic, c.sendPartitions(ctx, req))
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, err := c.mustTopic(ctx, s.Payload.Topic)
			if err != nil {
				return sdk.Evidence{}, err
			}
			e := sdk.Evidence{Kind: sdk.NotApplied, Detail: fmt.Sprintf("the topic has %d partitions", len(t.partitions))}
			if len(t.partitions) >= int(s.Payload.Count) {
				e.Kind = sdk.Applied
			}
			return e, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			if _, err := c.mustTopic(ctx, p.Topic); err != nil {
				return err
			}
			return settle(ctx, "add partitions to topic "+p.Topic, p.Timeout, func(ctx context.Context) (bool, error) {
				return c.everywhere(ctx, func(ctx context.Context, addr string) (bool, error) {
					t, err := c.topicAt(ctx, addr, p.Topic)
					return err == nil && t != nil && len(t.partitions) >= int(p.Count) && t.led(), err
				})
			}, func(ctx context.Context) error {
				t, err := c.mustTopic(ctx, p.Topic)
				if err != nil || len(t.partitions) >= int(p.Count) {
					return err // not every broker knows it yet
				}
				req, err := p.request(len(t.partitions), false)
				if err != nil {
					return err
				}
				return c.sendPartitions(ctx, req)
			})
		},
	}, func(p *AddPartitions) scope { return scope{topics: []string{p.Topic}} })
}

// AlterReplicas is the payload of alterReplicas.
type AlterReplicas struct {
	Topic             string       `json:"topic"`
	ReplicationFactor int          `json:"replicationFactor,omitempty" minimum:"1" desc:"replicas that are there stay where they are, as far as can be"`
	Assignments       Assignments  `json:"assignments,omitempty" desc:"the brokers of partitions, the preferred leader first"`
	Timeout           sdk.Duration `json:"timeout,omitempty" default:"1h" desc:"after that the run ends, and a later one goes on"`
}

const moveTime = 60 * 60 * 1_000_000_000

// placed tells whether a partition is where p wants it.
func (p *AlterReplicas) placed(partition metadata.ResponsePartition) bool {
	if len(p.Assignments) > 0 {
		want := p.Assignments.of(partition.PartitionIndex)
		return want == nil || slices.Equal(want, partition.ReplicaNodes)
	}
	return len(partition.ReplicaNodes) == p.ReplicationFactor
}

// wanted returns where partitions go that are not where p wants them.
func (p *AlterReplicas) wanted(t *topic, brokers []broker) (Assignments, error) {
	out := Assignments{}
	load := map[int32]int{}
	for _, partition := range t.partitions {
		for _, id := range partition.ReplicaNodes {
			load[id]++
		}
	}
	for _, partition := range t.partitions {
		if p.placed(partition) {
			continue
		}
		key := strconv.Itoa(int(partition.PartitionIndex))
		if len(p.Assignments) > 0 {
			out[key] = p.Assignments[key]
			continue
		}
		replicas := slices.Clone(partition.ReplicaNodes)
		if len(replicas) > p.ReplicationFactor {
			// A replica that is not in sync goes first, the preferred leader last.
			slices.SortStableFunc(replicas[1:], func(a, b int32) int {
				return cmp.Compare(boolInt(!slices.Contains(partition.IsrNodes, a)), boolInt(!slices.Contains(partition.IsrNodes, b)))
			})
			for _, id := range replicas[p.ReplicationFactor:] {
				load[id]--
			}
			out[key] = replicas[:p.ReplicationFactor]
			continue
		}
		for len(replicas) < p.ReplicationFactor {
			next, ok := leastLoaded(brokers, replicas, load)
			if !ok {
				return nil, sdk.Errorf(sdk.Invalid, "topic %s cannot have replication factor %d: the cluster has %d brokers", p.Topic, p.ReplicationFactor, len(brokers))
			}
			load[next]++
			replicas = append(replicas, next)
		}
		out[key] = replicas
	}
	return out, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// leastLoaded returns the broker for another replica: in a rack that has none yet, and
// with the fewest replicas of the topic.
func leastLoaded(brokers []broker, replicas []int32, load map[int32]int) (int32, bool) {
	racks := map[string]bool{}
	for _, b := range brokers {
		if slices.Contains(replicas, b.id) {
			racks[b.rack] = true
		}
	}
	free := slices.DeleteFunc(slices.Clone(brokers), func(b broker) bool { return slices.Contains(replicas, b.id) })
	if len(free) == 0 {
		return 0, false
	}
	best := slices.MinFunc(free, func(a, b broker) int {
		return cmp.Or(cmp.Compare(boolInt(racks[a.rack]), boolInt(racks[b.rack])), cmp.Compare(load[a.id], load[b.id]), cmp.Compare(a.id, b.id))
	})
	return best.id, true
}

// moving tells whether replicas of a topic are being moved.
func (c *Conn) moving(ctx context.Context, name string, t *topic) (bool, error) {
	at, err := c.controller(ctx)
	if err != nil {
		return false, err
	}
	asked := listpartitionreassignments.RequestTopic{Name: name}
	for _, p := range t.partitions {
		asked.PartitionIndexes = append(asked.PartitionIndexes, p.PartitionIndex)
	}
	r, err := ask[*listpartitionreassignments.Response](ctx, c, at, &listpartitionreassignments.Request{
		TimeoutMs: brokerTime, Topics: []listpartitionreassignments.RequestTopic{asked},
	})
	if err != nil {
		return false, err
	}
	if err := said(r.ErrorCode, r.ErrorMessage); err != nil {
		return false, err
	}
	for _, t := range r.Topics {
		if len(t.Partitions) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// assign moves partitions to other brokers; the cluster goes on with it by itself.
func (c *Conn) assign(ctx context.Context, name string, wanted Assignments) error {
	numbers, err := wanted.sorted()
	if err != nil {
		return sdk.Errorf(sdk.Invalid, "assignments: %w", err)
	}
	if len(numbers) == 0 {
		return nil
	}
	asked := alterpartitionreassignments.RequestTopic{Name: name}
	for _, n := range numbers {
		asked.Partitions = append(asked.Partitions, alterpartitionreassignments.RequestPartition{PartitionIndex: n, Replicas: wanted.of(n)})
	}
	at, err := c.controller(ctx)
	if err != nil {
		return err
	}
	r, err := ask[*alterpartitionreassignments.Response](ctx, c, at, &alterpartitionreassignments.Request{
		TimeoutMs: brokerTime, Topics: []alterpartitionreassignments.RequestTopic{asked},
	})
	if err != nil {
		return err
	}
	if err := said(r.ErrorCode, r.ErrorMessage); err != nil {
		return err
	}
	for _, t := range r.Results {
		for _, p := range t.Partitions {
			if err := said(p.ErrorCode, p.ErrorMessage); err != nil {
				return err
			}
		}
	}
	return nil
}

// move moves replicas and waits until all of them are there.
func (c *Conn) move(ctx context.Context, name string, timeout sdk.Duration, placed func(metadata.ResponsePartition) bool, wanted func(t *topic, brokers []broker) (Assignments, error)) error {
	return settle(ctx, "move replicas of topic "+name, sdk.Duration(orTime(timeout, moveTime)), func(ctx context.Context) (bool, error) {
		v, err := c.view(ctx, name)
		if err != nil {
			return false, err
		}
		t, err := v.topic(name)
		if err != nil {
			return false, err
		}
		if t == nil {
			return false, missingTopic(name)
		}
		// While replicas move a partition has the old and the new ones.
		moving, err := c.moving(ctx, name, t)
		return err == nil && !moving && !slices.ContainsFunc(t.partitions, func(p metadata.ResponsePartition) bool {
			return !placed(p) || len(p.IsrNodes) < len(p.ReplicaNodes)
		}), err
	}, func(ctx context.Context) error {
		v, err := c.view(ctx, name)
		if err != nil {
			return err
		}
		t, err := v.topic(name)
		if err != nil {
			return err
		}
		if t == nil {
			return missingTopic(name)
		}
		if moving, err := c.moving(ctx, name, t); err != nil || moving {
			return err // it is under way
		}
		moves, err := wanted(t, v.brokers)
		if err != nil {
			return err
		}
		return c.assign(ctx, name, moves)
	})
}

func alterReplicas() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, AlterReplicas]
	return operation(sdk.OperationSpec[*Conn, AlterReplicas]{
		Type: "alterReplicas", Summary: "moves replicas to other brokers, or gives each partition more or fewer, and waits until they are in sync",
		Check: func(c *sdk.Check[sdk.None, AlterReplicas]) {
			for _, s := range c.Steps {
				p := s.Apply
				if (p.ReplicationFactor > 0) == (len(p.Assignments) > 0) {
					report(c, s.Index, "", "contradiction", "one of replicationFactor and assignments is needed", "write how many replicas, or which brokers have them")
				}
				if numbers, err := p.Assignments.sorted(); err != nil {
					report(c, s.Index, "/assignments", "bad-assignment", err.Error(), "write partition: [broker, …]")
				} else if len(numbers) > 0 {
					for _, n := range numbers {
						if problem := (Assignments{strconv.Itoa(int(n)): p.Assignments.of(n)}).problem(int(n)); problem != "" {
							report(c, s.Index, "/assignments", "bad-assignment", problem, "write partition: [broker, …], each broker once")
						}
					}
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{"move replicas of topic " + p.Topic}}
			v, err := c.view(ctx, p.Topic)
			if err != nil {
				return out, failure("look at topic "+p.Topic, err)
			}
			t, err := v.topic(p.Topic)
			if err == nil && t == nil {
				err = missingTopic(p.Topic)
			}
			if err != nil {
				return out, failure("look at topic "+p.Topic, err)
			}
			moves, err := p.wanted(t, v.brokers)
			if err != nil {
				return out, err
			}
			for _, partition := range t.partitions {
				if want := moves.of(partition.PartitionIndex); want != nil {
					out.Lines = append(out.Lines, fmt.Sprintf("  partition %d: brokers %v, now %v", partition.PartitionIndex, want, partition.ReplicaNodes))
				}
			}
			if len(moves) == 0 {
				out.Notes = append(out.Notes, "they are where they are to be")
			}
			return out, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, err := c.mustTopic(ctx, s.Payload.Topic)
			if err != nil {
				return sdk.Evidence{}, err
			}
			moving, err := c.moving(ctx, s.Payload.Topic, t)
			switch {
			case err != nil:
				return sdk.Evidence{}, failure("look at topic "+s.Payload.Topic, err)
			case moving:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "replicas are being moved"}, nil
			case slices.ContainsFunc(t.partitions, func(p metadata.ResponsePartition) bool { return !s.Payload.placed(p) }):
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			t, err := c.mustTopic(ctx, s.Payload.Topic)
			if err != nil {
				return nil, err
			}
			before := Assignments{}
			for _, p := range t.partitions {
				if !s.Payload.placed(p) {
					before[strconv.Itoa(int(p.PartitionIndex))] = p.ReplicaNodes
				}
			}
			return keep(before)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			err := c.move(ctx, p.Topic, p.Timeout, p.placed, p.wanted)
			return goesOn(err, "replicas of topic "+p.Topic+" are being moved")
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[Assignments](state)
			if err != nil || len(before) == 0 {
				return err
			}
			placed := func(p metadata.ResponsePartition) bool {
				want := before.of(p.PartitionIndex)
				return want == nil || slices.Equal(want, p.ReplicaNodes)
			}
			return c.move(ctx, s.Payload.Topic, s.Payload.Timeout, placed, func(t *topic, _ []broker) (Assignments, error) {
				moves := maps.Clone(before)
				for _, p := range t.partitions {
					if placed(p) {
						delete(moves, strconv.Itoa(int(p.PartitionIndex)))
					}
				}
				return moves, nil
			})
		},
	}, func(p *AlterReplicas) scope { return scope{topics: []string{p.Topic}} })
}

// ElectLeaders is the payload of electLeaders.
type ElectLeaders struct {
	Topic      string       `json:"topic"`
	Partitions []int32      `json:"partitions,omitempty" desc:"default: all"`
	Timeout    sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// strays returns the partitions that another than the preferred leader leads.
func (p *ElectLeaders) strays(t *topic) []int32 {
	var out []int32
	for _, each := range t.partitions {
		asked := len(p.Partitions) == 0 || slices.Contains(p.Partitions, each.PartitionIndex)
		if asked && len(each.ReplicaNodes) > 0 && each.LeaderID != each.ReplicaNodes[0] {
			out = append(out, each.PartitionIndex)
		}
	}
	return out
}

func electLeaders() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, ElectLeaders]
	return operation(sdk.OperationSpec[*Conn, ElectLeaders]{
		Type: "electLeaders", Summary: "makes the first replica of each partition its leader again",
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			t, err := c.mustTopic(ctx, s.Payload.Topic)
			out := sdk.Preview{Lines: []string{"elect the preferred leaders of topic " + s.Payload.Topic}}
			if err == nil {
				out.Lines[0] += fmt.Sprintf(": partitions %v", s.Payload.strays(t))
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, err := c.mustTopic(ctx, s.Payload.Topic)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if strays := s.Payload.strays(t); len(strays) > 0 {
				return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("partitions %v are led by others; doing it again does no harm", strays)}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			return settle(ctx, "elect the leaders of topic "+p.Topic, p.Timeout, func(ctx context.Context) (bool, error) {
				t, err := c.mustTopic(ctx, p.Topic)
				return err == nil && len(p.strays(t)) == 0, err
			}, func(ctx context.Context) error {
				t, err := c.mustTopic(ctx, p.Topic)
				if err != nil {
					return err
				}
				at, err := c.controller(ctx)
				if err != nil {
					return err
				}
				r, err := ask[*electleaders.Response](ctx, c, at, &electleaders.Request{
					TimeoutMs:       brokerTime,
					TopicPartitions: []electleaders.RequestTopicPartitions{{Topic: p.Topic, PartitionIDs: p.strays(t)}},
				})
				if err != nil {
					return err
				}
				if err := said(r.ErrorCode, ""); err != nil {
					return err
				}
				for _, t := range r.ReplicaElectionResults {
					for _, each := range t.PartitionResults {
						if err := said(each.ErrorCode, each.ErrorMessage); err != nil && !isCode(err, kafkago.ElectionNotNeeded) {
							return err
						}
					}
				}
				return nil
			})
		},
	}, func(p *ElectLeaders) scope { return scope{topics: []string{p.Topic}} })
}
