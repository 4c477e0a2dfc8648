package kafka

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Bytes are a key or a value: text; {base64: …}; null; or anything else, which is
// written as JSON, its keys in order.
type Bytes struct {
	// Data is nil for null.
	Data []byte
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(content []byte) error {
	var text string
	if json.Unmarshal(content, &text) == nil && string(content) != "null" {
		b.Data = []byte(text)
		return nil
	}
	if string(content) == "null" {
		b.Data = nil
		return nil
	}
	var o sdk.Object
	if json.Unmarshal(content, &o) == nil && o.Len() == 1 {
		if encoded, ok := o.Get("base64"); ok {
			text, ok := encoded.(string)
			if !ok {
				return errors.New("base64 is a text")
			}
			if sdk.HasReference(text) {
				return nil
			}
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return fmt.Errorf("base64 cannot be read: %w", err)
			}
			b.Data = data
			return nil
		}
	}
	b.Data = slices.Clone(content)
	return nil
}

// JSONSchema returns that of anything.
func (Bytes) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"description":"a text; {base64: …}; null; or anything else, which is written as JSON"}`)
}

// Record is a record to be written.
type Record struct {
	Key       Bytes             `json:"key,omitzero"`
	Value     Bytes             `json:"value,omitzero" desc:"null, or left out, is a tombstone"`
	Headers   map[string]string `json:"headers,omitempty"`
	Partition *int32            `json:"partition,omitempty" minimum:"0" desc:"default: as clients choose it by the key"`
}

// ProduceRecords is the payload of produceRecords.
type ProduceRecords struct {
	Topic   string       `json:"topic"`
	Records []Record     `json:"records"`
	Timeout sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// mark is the header by which records of a change are known: change, step and number.
const mark = "flamingock-record"

// batchBytes is about how much one request writes to a partition: less than
// message.max.bytes, whose default is 1 MiB.
const batchBytes = 512 << 10

// numbered are records that go to one partition, each with its number in the payload.
type numbered struct {
	record *Record
	number int
}

// spread returns the records of each of n partitions.
func (p *ProduceRecords) spread(n int) (map[int32][]numbered, error) {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	out := map[int32][]numbered{}
	for i := range p.Records {
		r := &p.Records[i]
		partition := int32(i % n) // without a key
		switch {
		case r.Partition != nil:
			if partition = *r.Partition; int(partition) >= n {
				return nil, sdk.Errorf(sdk.NotFound, "topic %s has no partition %d", p.Topic, partition)
			}
		case r.Key.Data != nil:
			partition = int32((kafkago.Murmur2Balancer{}).Balance(kafkago.Message{Key: r.Key.Data}, ids...))
		}
		out[partition] = append(out[partition], numbered{r, i})
	}
	return out, nil
}

// marks are what the mark of the records of a step begins with.
func marks[P any](s *sdk.Step[sdk.None, P]) string {
	return fmt.Sprintf("%s/%d/", s.ChangeID, s.Index)
}

// write writes records to a partition, all of them or none.
func (c *Conn) write(ctx context.Context, topic string, partition int32, prefix string, list []numbered) error {
	leader, err := c.leader(ctx, topic, partition)
	if err != nil {
		return err
	}
	records := make([]protocol.Record, len(list))
	for i, each := range list {
		headers := []protocol.Header{{Key: mark, Value: fmt.Appendf(nil, "%s%d", prefix, each.number)}}
		for _, key := range slices.Sorted(maps.Keys(each.record.Headers)) {
			headers = append(headers, protocol.Header{Key: key, Value: []byte(each.record.Headers[key])})
		}
		records[i] = protocol.Record{Key: protocol.NewBytes(each.record.Key.Data), Value: protocol.NewBytes(each.record.Value.Data), Headers: headers}
	}
	r, err := ask[*produce.Response](ctx, c, leader, &produce.Request{
		Acks: -1, Timeout: brokerTime,
		Topics: []produce.RequestTopic{{Topic: topic, Partitions: []produce.RequestPartition{{
			Partition: partition, RecordSet: protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(records...)},
		}}}},
	})
	if err != nil {
		return err
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if err := said(p.ErrorCode, p.ErrorMessage); err != nil {
				return err
			}
		}
	}
	return nil
}

// leader returns the broker that leads a partition.
func (c *Conn) leader(ctx context.Context, name string, partition int32) (string, error) {
	v, err := c.view(ctx, name)
	if err != nil {
		return "", err
	}
	t, err := v.topic(name)
	if err != nil {
		return "", err
	}
	if t == nil {
		return "", missingTopic(name)
	}
	for _, p := range t.partitions {
		if p.PartitionIndex != partition {
			continue
		}
		if b, ok := v.broker(p.LeaderID); ok {
			return b.addr, nil
		}
		return "", &brokerError{code: kafkago.LeaderNotAvailable}
	}
	return "", sdk.Errorf(sdk.NotFound, "topic %s has no partition %d", name, partition)
}

// fetchBytes and fetchWait bound an answer to a fetch, and the wait for it.
const (
	fetchBytes = 4 << 20
	fetchWait  = 100 // milliseconds
)

// written returns the numbers of the records with the prefix in their mark that a
// partition holds from an offset on.
func (c *Conn) written(ctx context.Context, topic string, partition int32, prefix string, from int64) (map[int]bool, error) {
	out := map[int]bool{}
	for {
		leader, err := c.leader(ctx, topic, partition)
		if err != nil {
			return nil, err
		}
		r, err := ask[*fetch.Response](ctx, c, leader, &fetch.Request{
			ReplicaID: -1, MaxWaitTime: fetchWait, MinBytes: 1, MaxBytes: fetchBytes, SessionEpoch: -1,
			Topics: []fetch.RequestTopic{{Topic: topic, Partitions: []fetch.RequestPartition{{
				Partition: partition, CurrentLeaderEpoch: -1, FetchOffset: from, LogStartOffset: -1, PartitionMaxBytes: fetchBytes,
			}}}},
		})
		if err != nil {
			return nil, err
		}
		end := from
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if err := said(p.ErrorCode, ""); err != nil {
					return nil, err
				}
				end = max(end, p.HighWatermark)
				next, err := numbers(p.RecordSet.Records, prefix, from, out)
				if err != nil {
					return nil, err
				}
				if next == from && end > from {
					next = end // compaction has taken away the rest
				}
				from = next
			}
		}
		if from >= end {
			return out, nil
		}
	}
}

// numbers adds the numbers of marked records to found, and returns the offset after
// the last record.
func numbers(records protocol.RecordReader, prefix string, from int64, found map[int]bool) (int64, error) {
	if records == nil {
		return from, nil
	}
	for {
		r, err := records.ReadRecord()
		if errors.Is(err, io.EOF) || errors.Is(err, protocol.ErrNoRecord) {
			return from, nil
		}
		if err != nil {
			return from, fmt.Errorf("read records: %w", err)
		}
		from = max(from, r.Offset+1)
		for _, h := range r.Headers {
			var n int
			if h.Key == mark && len(h.Value) > len(prefix) && string(h.Value[:len(prefix)]) == prefix {
				if _, err := fmt.Sscan(string(h.Value[len(prefix):]), &n); err == nil {
					found[n] = true
				}
			}
		}
	}
}

// produced returns the numbers of the records that are there, of a step that has saved
// where partitions ended before it.
func (c *Conn) produced(ctx context.Context, s *sdk.Step[sdk.None, ProduceRecords]) (map[int]bool, error) {
	ends, err := kept[map[int32]int64](s.Saved)
	if err != nil {
		return nil, err
	}
	spread, err := s.Payload.spread(len(ends))
	if err != nil {
		return nil, err
	}
	out := map[int]bool{}
	for partition := range spread {
		err := settle(ctx, "look for records in topic "+s.Payload.Topic, s.Payload.Timeout, func(ctx context.Context) (bool, error) {
			found, err := c.written(ctx, s.Payload.Topic, partition, marks(s), ends[partition])
			maps.Copy(out, found)
			return err == nil, err
		}, func(context.Context) error { return nil })
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func produceRecords() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, ProduceRecords]
	return operation(sdk.OperationSpec[*Conn, ProduceRecords]{
		Type: "produceRecords", Summary: "writes records to a topic, each once, and waits until all replicas in sync have them",
		Check: func(c *sdk.Check[sdk.None, ProduceRecords]) {
			for _, s := range c.Steps {
				c.Irreversible("records cannot be taken back; what consumers have read they have read")
				if len(s.Apply.Records) == 0 {
					report(c, s.Index, "/records", "nothing-to-do", "there is no record", "write some")
				}
				for i, r := range s.Apply.Records {
					if _, taken := r.Headers[mark]; taken {
						report(c, s.Index, fmt.Sprintf("/records/%d/headers/%s", i, mark), "reserved", "the header "+mark+" is the plugin's own", "choose another name")
					}
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			out := sdk.Preview{Lines: []string{fmt.Sprintf("write %d records to topic %s", len(s.Payload.Records), s.Payload.Topic)}}
			t, err := c.mustTopic(ctx, s.Payload.Topic)
			if err != nil {
				return out, err
			}
			spread, err := s.Payload.spread(len(t.partitions))
			if err != nil {
				return out, err
			}
			for _, partition := range slices.Sorted(maps.Keys(spread)) {
				out.Lines = append(out.Lines, fmt.Sprintf("  partition %d: %d records", partition, len(spread[partition])))
			}
			return out, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			if s.Saved == nil {
				return sdk.Evidence{Kind: sdk.NotApplied}, nil // nothing was sent
			}
			if _, err := c.mustTopic(ctx, s.Payload.Topic); err != nil {
				return sdk.Evidence{}, err
			}
			found, err := c.produced(ctx, s)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case len(found) == len(s.Payload.Records):
				return sdk.Evidence{Kind: sdk.Applied}, nil
			case len(found) == 0:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d of %d records are there; those are not written again", len(found), len(s.Payload.Records))}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			if s.Saved == nil {
				t, err := c.mustTopic(ctx, p.Topic)
				if err != nil {
					return err
				}
				_, next, err := c.ends(ctx, p.Topic, t)
				if err != nil {
					return err
				}
				if s.Saved, err = keep(next); err != nil {
					return err
				}
				if err := s.Save(ctx, s.Saved); err != nil {
					return err
				}
			}
			return c.produce(ctx, s)
		},
	}, func(p *ProduceRecords) scope { return scope{topics: []string{p.Topic}} })
}

// produce writes the records of a step that are not there yet, partition by partition.
func (c *Conn) produce(ctx context.Context, s *sdk.Step[sdk.None, ProduceRecords]) error {
	p := &s.Payload
	ends, err := kept[map[int32]int64](s.Saved)
	if err != nil {
		return err
	}
	spread, err := p.spread(len(ends))
	if err != nil {
		return err
	}
	done := 0
	for _, partition := range slices.Sorted(maps.Keys(spread)) {
		for _, batch := range batches(spread[partition]) {
			missing := batch
			err := settle(ctx, "write records to topic "+p.Topic, p.Timeout, func(ctx context.Context) (bool, error) {
				found, err := c.written(ctx, p.Topic, partition, marks(s), ends[partition])
				if err != nil {
					return false, err
				}
				missing = slices.DeleteFunc(slices.Clone(batch), func(n numbered) bool { return found[n.number] })
				return len(missing) == 0, nil
			}, func(ctx context.Context) error {
				err := c.write(ctx, p.Topic, partition, marks(s), missing)
				var lost *linkError
				if errors.As(err, &lost) && lost.sent {
					// It may be under way in the broker, and be seen a little later.
					if err := pause(ctx, waitMost); err != nil {
						return err
					}
				}
				return err
			})
			if err != nil {
				return err
			}
			done += len(batch)
			s.Progress(int64(done), int64(len(p.Records)), "records")
		}
	}
	return nil
}

// batches cuts records into what one request writes.
func batches(list []numbered) [][]numbered {
	var out [][]numbered
	size := 0
	for _, each := range list {
		n := len(each.record.Key.Data) + len(each.record.Value.Data)
		for key, value := range each.record.Headers {
			n += len(key) + len(value)
		}
		if len(out) == 0 || size+n > batchBytes {
			out, size = append(out, nil), 0
		}
		out[len(out)-1] = append(out[len(out)-1], each)
		size += n
	}
	return out
}
