package kafka

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// The times that stand for the ends of a partition.
const (
	latest   = -1
	earliest = -2
)

// offsets returns, for each partition of a topic, the first offset at or after a time
// in milliseconds since 1970, or one of its ends; -1 where there is none.
func (c *Conn) offsets(ctx context.Context, name string, t *topic, at int64) (map[int32]int64, error) {
	v, err := c.view(ctx)
	if err != nil {
		return nil, err
	}
	byLeader := map[int32][]listoffsets.RequestPartition{}
	for _, p := range t.partitions {
		byLeader[p.LeaderID] = append(byLeader[p.LeaderID], listoffsets.RequestPartition{
			Partition: p.PartitionIndex, CurrentLeaderEpoch: -1, Timestamp: at,
		})
	}
	out := map[int32]int64{}
	for leader, partitions := range byLeader {
		b, ok := v.broker(leader)
		if !ok {
			return nil, &linkError{addr: fmt.Sprint(leader), err: fmt.Errorf("it leads partitions of %s, and is not alive", name)}
		}
		r, err := ask[*listoffsets.Response](ctx, c, b.addr, &listoffsets.Request{
			ReplicaID: -1, Topics: []listoffsets.RequestTopic{{Topic: name, Partitions: partitions}},
		})
		if err != nil {
			return nil, err
		}
		for _, topic := range r.Topics {
			for _, p := range topic.Partitions {
				if err := said(p.ErrorCode, ""); err != nil {
					return nil, err
				}
				out[p.Partition] = p.Offset
			}
		}
	}
	return out, nil
}

// ends returns the first and the next offset of each partition.
func (c *Conn) ends(ctx context.Context, name string, t *topic) (first, next map[int32]int64, err error) {
	both, err := patiently(ctx, "look at the offsets of topic "+name, func(ctx context.Context) ([2]map[int32]int64, error) {
		first, err := c.offsets(ctx, name, t, earliest)
		if err != nil {
			return [2]map[int32]int64{}, err
		}
		next, err := c.offsets(ctx, name, t, latest)
		return [2]map[int32]int64{first, next}, err
	})
	return both[0], both[1], err
}

// holds returns about how many records a topic holds.
func (c *Conn) holds(ctx context.Context, name string, t *topic) (int64, error) {
	first, next, err := c.ends(ctx, name, t)
	if err != nil {
		return 0, err
	}
	var n int64
	for partition, end := range next {
		n += end - first[partition]
	}
	return n, nil
}
