package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/deletegroups"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetdelete"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// committed is what a group has committed for a partition.
type committed struct {
	Offset   int64  `json:"offset"`
	Metadata string `json:"metadata,omitempty"`
}

// commits are a group's offsets, by topic and partition.
type commits map[string]map[int32]committed

func (m commits) set(topic string, partition int32, c committed) {
	if m[topic] == nil {
		m[topic] = map[int32]committed{}
	}
	m[topic][partition] = c
}

// only returns the offsets of some topics.
func (m commits) only(topics []string) commits {
	out := commits{}
	for _, t := range topics {
		if m[t] != nil {
			out[t] = m[t]
		}
	}
	return out
}

func (m commits) empty() bool {
	for _, partitions := range m {
		if len(partitions) > 0 {
			return false
		}
	}
	return true
}

// fetch returns all offsets of a group.
func (c *Conn) fetch(ctx context.Context, group string) (commits, error) {
	at, err := c.coordinator(ctx, group)
	if err != nil {
		return nil, err
	}
	r, err := ask[*offsetfetch.Response](ctx, c, at, &offsetfetch.Request{GroupID: group})
	if err != nil {
		return nil, err
	}
	if err := said(r.ErrorCode, ""); err != nil && !isCode(err, kafkago.GroupIdNotFound) {
		return nil, err
	}
	out := commits{}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if err := said(p.ErrorCode, ""); err != nil {
				return nil, err
			}
			if p.CommittedOffset >= 0 {
				out.set(t.Name, p.PartitionIndex, committed{p.CommittedOffset, p.Metadata})
			}
		}
	}
	return out, nil
}

// patiently looks until the brokers that can tell are there: the coordinator of a
// group, the leader of a partition.
func patiently[R any](ctx context.Context, what string, look func(ctx context.Context) (R, error)) (out R, err error) {
	err = settle(ctx, what, 0, func(ctx context.Context) (bool, error) {
		var err error
		out, err = look(ctx)
		return err == nil, err
	}, func(context.Context) error { return nil })
	return out, err
}

// commits returns all offsets of a group.
func (c *Conn) commits(ctx context.Context, group string) (commits, error) {
	return patiently(ctx, "look at the offsets of group "+group, func(ctx context.Context) (commits, error) { return c.fetch(ctx, group) })
}

// The states of a group that has no members.
const (
	stateEmpty = "Empty"
	stateDead  = "Dead" // there is no such group
)

// state returns that of a group.
func (c *Conn) state(ctx context.Context, group string) (string, error) {
	return patiently(ctx, "look at group "+group, func(ctx context.Context) (string, error) {
		at, err := c.coordinator(ctx, group)
		if err != nil {
			return "", err
		}
		r, err := ask[*describegroups.Response](ctx, c, at, &describegroups.Request{Groups: []string{group}})
		if err != nil {
			return "", err
		}
		if len(r.Groups) == 0 {
			return stateDead, nil
		}
		g := r.Groups[0]
		err = said(g.ErrorCode, "")
		if isCode(err, kafkago.GroupIdNotFound) {
			return stateDead, nil
		}
		return g.GroupState, err
	})
}

// quiet returns an error where a group has members.
func (c *Conn) quiet(ctx context.Context, group string) error {
	state, err := c.state(ctx, group)
	if err != nil || state == stateEmpty || state == stateDead {
		return err
	}
	return busy(group, state)
}

func busy(group, state string) error {
	return conflict("stop its consumers, wait until their session has ended, and run apply again",
		"group %s has members (its state is %s), and they alone may commit offsets", group, state)
}

// commit makes offsets those of a group, which has no members.
func (c *Conn) commit(ctx context.Context, group string, offsets commits) error {
	if offsets.empty() {
		return nil
	}
	// The leader's epoch is not known: a consumer then does not compare it.
	const unknownEpoch = -1
	req := &offsetcommit.Request{GroupID: group, GenerationID: -1, RetentionTimeMs: -1}
	for _, topic := range slices.Sorted(maps.Keys(offsets)) {
		t := offsetcommit.RequestTopic{Name: topic}
		for _, partition := range slices.Sorted(maps.Keys(offsets[topic])) {
			at := offsets[topic][partition]
			t.Partitions = append(t.Partitions, offsetcommit.RequestPartition{
				PartitionIndex: partition, CommittedOffset: at.Offset, CommitTimestamp: -1,
				CommittedLeaderEpoch: unknownEpoch, CommittedMetadata: at.Metadata,
			})
		}
		req.Topics = append(req.Topics, t)
	}
	at, err := c.coordinator(ctx, group)
	if err != nil {
		return err
	}
	r, err := ask[*offsetcommit.Response](ctx, c, at, req)
	if err != nil {
		return err
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			err := said(p.ErrorCode, "")
			if isCode(err, kafkago.UnknownMemberId, kafkago.RebalanceInProgress, kafkago.IllegalGeneration) {
				return busy(group, "not Empty")
			}
			if err != nil {
				return fmt.Errorf("topic %s, partition %d: %w", t.Name, p.PartitionIndex, err)
			}
		}
	}
	return nil
}

// forget takes the offsets of partitions away from a group.
func (c *Conn) forget(ctx context.Context, group string, offsets commits) error {
	if offsets.empty() {
		return nil
	}
	req := &offsetdelete.Request{GroupID: group}
	for _, topic := range slices.Sorted(maps.Keys(offsets)) {
		t := offsetdelete.RequestTopic{Name: topic}
		for _, partition := range slices.Sorted(maps.Keys(offsets[topic])) {
			t.Partitions = append(t.Partitions, offsetdelete.RequestPartition{PartitionIndex: partition})
		}
		req.Topics = append(req.Topics, t)
	}
	at, err := c.coordinator(ctx, group)
	if err != nil {
		return err
	}
	r, err := ask[*offsetdelete.Response](ctx, c, at, req)
	if err != nil {
		return err
	}
	if err := said(r.ErrorCode, ""); err != nil && !isCode(err, kafkago.GroupIdNotFound) {
		return err
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if err := said(p.ErrorCode, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// reach makes a group's offsets of partitions what want says; those that it does not
// have, but that are in gone, are taken away.
func (c *Conn) reach(ctx context.Context, group string, want, gone commits, timeout sdk.Duration) error {
	forgotten := commits{}
	for topic, partitions := range gone {
		for partition, at := range partitions {
			if _, stays := want[topic][partition]; !stays {
				forgotten.set(topic, partition, at)
			}
		}
	}
	return settle(ctx, "set the offsets of group "+group, timeout, func(ctx context.Context) (bool, error) {
		now, err := c.fetch(ctx, group)
		return err == nil && now.has(want) && now.lacks(forgotten), err
	}, func(ctx context.Context) error {
		if err := c.commit(ctx, group, want); err != nil {
			return err
		}
		return c.forget(ctx, group, forgotten)
	})
}

// has tells whether all of want is committed.
func (m commits) has(want commits) bool {
	for topic, partitions := range want {
		for partition, at := range partitions {
			if now, ok := m[topic][partition]; !ok || now.Offset != at.Offset {
				return false
			}
		}
	}
	return true
}

// lacks tells whether nothing of the partitions of gone is committed.
func (m commits) lacks(gone commits) bool {
	for topic, partitions := range gone {
		for partition := range partitions {
			if _, ok := m[topic][partition]; ok {
				return false
			}
		}
	}
	return true
}

// Place is where offsets go: earliest, latest, {timestamp: …}, {offset: …} or
// {shiftBy: …}.
type Place struct {
	Word      string `json:"-"`
	Timestamp Text   `json:"timestamp,omitempty" desc:"RFC 3339, or milliseconds since 1970: the first record from then on"`
	Offset    *int64 `json:"offset,omitempty" minimum:"0"`
	ShiftBy   *int64 `json:"shiftBy,omitempty" desc:"how many records forward, or back where it is negative"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Place) UnmarshalJSON(b []byte) error {
	*p = Place{}
	if json.Unmarshal(b, &p.Word) == nil {
		if (p.Word == "earliest" || p.Word == "latest") || sdk.HasReference(p.Word) {
			return nil
		}
		return fmt.Errorf("it is earliest, latest, {timestamp: …}, {offset: …} or {shiftBy: …}, and not %q", p.Word)
	}
	type fields Place
	if err := sdk.Decode(b, (*fields)(p)); err != nil {
		return err
	}
	n := 0
	for _, given := range []bool{p.Timestamp != "", p.Offset != nil, p.ShiftBy != nil} {
		if given {
			n++
		}
	}
	if n != 1 {
		return errors.New("it has one of timestamp, offset and shiftBy")
	}
	if p.Timestamp != "" && !sdk.HasReference(string(p.Timestamp)) {
		_, err := p.time()
		return err
	}
	return nil
}

// JSONSchema returns that of a word or a mapping.
func (Place) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"anyOf":[{"type":"string"},{"type":"object","properties":{"timestamp":{"type":["string","number"],` +
		`"description":"RFC 3339, or milliseconds since 1970: the first record from then on"},"offset":{"type":"integer","minimum":0},` +
		`"shiftBy":{"type":"integer","description":"how many records forward, or back where it is negative"}},"additionalProperties":false}],` +
		`"description":"earliest, latest, {timestamp: …}, {offset: …} or {shiftBy: …}"}`)
}

// time returns the timestamp in milliseconds since 1970.
func (p *Place) time() (int64, error) {
	var n int64
	if json.Unmarshal([]byte(p.Timestamp), &n) == nil {
		return n, nil
	}
	at, err := time.Parse(time.RFC3339, string(p.Timestamp))
	if err != nil {
		return 0, errors.New("a timestamp is like 2026-11-01T00:00:00Z, or a number of milliseconds since 1970")
	}
	return at.UnixMilli(), nil
}

// String returns p as it is written.
func (p *Place) String() string {
	switch {
	case p.Offset != nil:
		return fmt.Sprintf("offset %d", *p.Offset)
	case p.ShiftBy != nil:
		return fmt.Sprintf("%+d records", *p.ShiftBy)
	case p.Timestamp != "":
		return string(p.Timestamp)
	}
	return p.Word
}

// ResetOffsets is the payload of resetOffsets.
type ResetOffsets struct {
	Group      string       `json:"group"`
	Topic      string       `json:"topic"`
	To         Place        `json:"to"`
	Partitions []int32      `json:"partitions,omitempty" desc:"default: all"`
	Timeout    sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// targets returns the offset that each partition goes to, from those that it has.
func (p *ResetOffsets) targets(ctx context.Context, c *Conn, now commits) (commits, error) {
	t, err := c.mustTopic(ctx, p.Topic)
	if err != nil {
		return nil, err
	}
	first, next, err := c.ends(ctx, p.Topic, t)
	if err != nil {
		return nil, err
	}
	var byTime map[int32]int64
	if p.To.Timestamp != "" {
		at, err := p.To.time()
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "to: %w", err)
		}
		if byTime, err = c.offsets(ctx, p.Topic, t, at); err != nil {
			return nil, failure("look at the offsets of topic "+p.Topic, err)
		}
	}
	out := commits{}
	for _, partition := range p.Partitions {
		if _, ok := next[partition]; !ok {
			return nil, sdk.Errorf(sdk.NotFound, "topic %s has no partition %d", p.Topic, partition)
		}
	}
	for partition, end := range next {
		if len(p.Partitions) > 0 && !slices.Contains(p.Partitions, partition) {
			continue
		}
		target := end
		switch {
		case p.To.Word == "earliest":
			target = first[partition]
		case p.To.Timestamp != "":
			if found := byTime[partition]; found >= 0 {
				target = found
			}
		case p.To.Offset != nil:
			if target = *p.To.Offset; target < first[partition] || target > end {
				return nil, &sdk.Error{
					Code: sdk.Invalid, Part: -1, Clean: true,
					Message: fmt.Sprintf("partition %d of topic %s has offsets from %d to %d, so %d is not one of them", partition, p.Topic, first[partition], end, target),
					Hint:    "name the partitions that are meant",
				}
			}
		case p.To.ShiftBy != nil:
			was, ok := now[p.Topic][partition]
			if !ok {
				return nil, sdk.Errorf(sdk.NotFound, "group %s has no offset in partition %d of topic %s that could be shifted", p.Group, partition, p.Topic)
			}
			target = min(max(was.Offset+*p.To.ShiftBy, first[partition]), end)
		}
		out.set(p.Topic, partition, committed{Offset: target})
	}
	return out, nil
}

func resetOffsets() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, ResetOffsets]
	return operation(sdk.OperationSpec[*Conn, ResetOffsets]{
		Type: "resetOffsets", Summary: "makes a group read a topic from another place; it must have no members",
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("set the offsets of group %s in topic %s to %s", p.Group, p.Topic, p.To.String())}}
			now, err := c.commits(ctx, p.Group)
			if err != nil {
				return out, err
			}
			targets, err := p.targets(ctx, c, now)
			if err != nil {
				return out, err
			}
			for _, partition := range slices.Sorted(maps.Keys(targets[p.Topic])) {
				line := fmt.Sprintf("  partition %d: %d", partition, targets[p.Topic][partition].Offset)
				if was, ok := now[p.Topic][partition]; ok {
					line += fmt.Sprintf(", now %d", was.Offset)
				}
				out.Lines = append(out.Lines, line)
			}
			state, err := c.state(ctx, p.Group)
			if err == nil && state != stateEmpty && state != stateDead {
				out.Notes = append(out.Notes, fmt.Sprintf("the group has members (its state is %s), which must be stopped before", state))
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			if s.Saved == nil {
				return sdk.Evidence{Kind: sdk.NotApplied}, nil // where to was not even decided
			}
			targets, err := kept[commits](s.Saved)
			if err != nil {
				return sdk.Evidence{}, err
			}
			now, err := c.commits(ctx, s.Payload.Group)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if now.has(targets) {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "doing it again does no harm"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			state, err := c.state(ctx, s.Payload.Group)
			if err != nil {
				return nil, err
			}
			now, err := c.commits(ctx, s.Payload.Group)
			return both(readers{state != stateDead, now.only([]string{s.Payload.Topic})}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			if err := c.quiet(ctx, p.Group); err != nil {
				return err
			}
			targets, err := p.decided(ctx, c, s)
			if err != nil {
				return err
			}
			return c.reach(ctx, p.Group, targets, nil, p.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			if s.Saved == nil {
				return nil // nothing was sent
			}
			before, err := kept[readers](state)
			if err != nil {
				return err
			}
			targets, err := kept[commits](s.Saved)
			if err != nil {
				return err
			}
			return s.Payload.back(ctx, c, before, targets)
		},
	}, func(p *ResetOffsets) scope { return scope{groups: []string{p.Group}} })
}

// readers are what is captured of a group.
type readers struct {
	Existed bool    `json:"existed"`
	Offsets commits `json:"offsets,omitempty"`
}

// back puts the offsets of the partitions of targets back.
func (p *ResetOffsets) back(ctx context.Context, c *Conn, before readers, targets commits) error {
	// Other partitions are not this change's.
	for topic, partitions := range before.Offsets {
		maps.DeleteFunc(partitions, func(partition int32, _ committed) bool {
			_, ours := targets[topic][partition]
			return !ours
		})
	}
	if err := c.quiet(ctx, p.Group); err != nil {
		return err
	}
	if err := c.reach(ctx, p.Group, before.Offsets, targets, p.Timeout); err != nil || before.Existed {
		return err
	}
	// The group was made by its first offset.
	if now, err := c.commits(ctx, p.Group); err != nil || !now.empty() {
		return err
	}
	return c.removeGroup(ctx, p.Group, p.Timeout)
}

// decided returns where partitions go. That is decided once, and durable before
// anything is sent: what is latest today is not so tomorrow.
func (p *ResetOffsets) decided(ctx context.Context, c *Conn, s *sdk.Step[sdk.None, ResetOffsets]) (commits, error) {
	if s.Saved != nil {
		return kept[commits](s.Saved)
	}
	now, err := c.commits(ctx, p.Group)
	if err != nil {
		return nil, err
	}
	targets, err := p.targets(ctx, c, now)
	if err != nil {
		return nil, err
	}
	state, err := keep(targets)
	if err != nil {
		return nil, err
	}
	return targets, s.Save(ctx, state)
}

// DeleteOffsets is the payload of deleteOffsets.
type DeleteOffsets struct {
	Group   string       `json:"group"`
	Topics  []string     `json:"topics"`
	Timeout sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

func deleteOffsets() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DeleteOffsets]
	look := func(ctx context.Context, c *Conn, s step) (commits, error) {
		now, err := c.commits(ctx, s.Payload.Group)
		return now.only(s.Payload.Topics), err
	}
	return operation(sdk.OperationSpec[*Conn, DeleteOffsets]{
		Type: "deleteOffsets", Removes: true, Summary: "makes a group forget how far it has read topics",
		Check: func(c *sdk.Check[sdk.None, DeleteOffsets]) {
			for _, s := range c.Steps {
				if len(s.Apply.Topics) == 0 {
					report(c, s.Index, "/topics", "nothing-to-do", "no topic is named", "name some")
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			now, err := look(ctx, c, s)
			out := sdk.Preview{Lines: []string{fmt.Sprintf("delete the offsets of group %s in topics %v", s.Payload.Group, s.Payload.Topics)}}
			for _, topic := range slices.Sorted(maps.Keys(now)) {
				for _, partition := range slices.Sorted(maps.Keys(now[topic])) {
					out.Lines = append(out.Lines, fmt.Sprintf("  %s, partition %d: now %d", topic, partition, now[topic][partition].Offset))
				}
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			now, err := look(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if now.empty() {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "there are offsets; doing it again does no harm"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) { return both(look(ctx, c, s)) },
		Apply: func(ctx context.Context, c *Conn, s step) error {
			now, err := look(ctx, c, s)
			if err != nil {
				return err
			}
			return c.reach(ctx, s.Payload.Group, nil, now, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[commits](state)
			if err != nil {
				return err
			}
			return c.recommit(ctx, s.Payload.Group, before, s.Payload.Timeout)
		},
	}, func(p *DeleteOffsets) scope { return scope{groups: []string{p.Group}} })
}

// recommit puts back offsets that were deleted. What the group has committed since
// stays.
func (c *Conn) recommit(ctx context.Context, group string, before commits, timeout sdk.Duration) error {
	now, err := c.commits(ctx, group)
	if err != nil {
		return err
	}
	want := commits{}
	for topic, partitions := range before {
		for partition, at := range partitions {
			if _, since := now[topic][partition]; !since {
				want.set(topic, partition, at)
			}
		}
	}
	if want.empty() {
		return nil
	}
	if err := c.quiet(ctx, group); err != nil {
		return err
	}
	return c.reach(ctx, group, want, nil, timeout)
}

// DeleteGroup is the payload of deleteGroup.
type DeleteGroup struct {
	Group   string       `json:"group"`
	Timeout sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// removeGroup deletes a group.
func (c *Conn) removeGroup(ctx context.Context, group string, timeout sdk.Duration) error {
	return settle(ctx, "delete group "+group, timeout, func(ctx context.Context) (bool, error) {
		state, err := c.state(ctx, group)
		return state == stateDead, err
	}, func(ctx context.Context) error {
		at, err := c.coordinator(ctx, group)
		if err != nil {
			return err
		}
		r, err := ask[*deletegroups.Response](ctx, c, at, &deletegroups.Request{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		for _, each := range r.Responses {
			err := said(each.ErrorCode, "")
			switch {
			case isCode(err, kafkago.NonEmptyGroup):
				return busy(group, "not Empty")
			case err != nil && !isCode(err, kafkago.GroupIdNotFound):
				return err
			}
		}
		return nil
	})
}

func deleteGroup() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DeleteGroup]
	return operation(sdk.OperationSpec[*Conn, DeleteGroup]{
		Type: "deleteGroup", Removes: true, Summary: "deletes a group, which must have no members, with its offsets",
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			state, err := c.state(ctx, s.Payload.Group)
			return sdk.Preview{Lines: []string{fmt.Sprintf("delete group %s, now %s", s.Payload.Group, state)}}, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			state, err := c.state(ctx, s.Payload.Group)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if state == stateDead {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the group is not there"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the group is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return both(c.commits(ctx, s.Payload.Group))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.removeGroup(ctx, s.Payload.Group, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[commits](state)
			if err != nil {
				return err
			}
			return c.recommit(ctx, s.Payload.Group, before, s.Payload.Timeout)
		},
	}, func(p *DeleteGroup) scope { return scope{groups: []string{p.Group}} })
}
