package dynamodb

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// TimeToLive is the payload of updateTimeToLive.
type TimeToLive struct {
	Table     string       `json:"table"`
	Attribute string       `json:"attribute" desc:"holds the second of expiry since 1970, as a number"`
	Enabled   *bool        `json:"enabled,omitempty" default:"true"`
	Timeout   sdk.Duration `json:"timeout,omitempty" default:"75m" desc:"the service takes up to an hour"`
}

func (p *TimeToLive) on() bool { return p.Enabled == nil || *p.Enabled }

// ttl is the captured state of a time to live.
type ttl struct {
	Enabled   bool   `json:"enabled"`
	Attribute string `json:"attribute"`
	// Moving: the service is still about an earlier change.
	Moving bool `json:"-"`
}

func (c *Conn) ttl(ctx context.Context, table *string) (t ttl, err error) {
	r, err := c.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: table})
	if err != nil {
		return t, failure("look at the time to live of table "+*table, err)
	}
	d := r.TimeToLiveDescription
	if d == nil {
		return t, nil
	}
	t.Attribute = aws.ToString(d.AttributeName)
	t.Enabled = d.TimeToLiveStatus == types.TimeToLiveStatusEnabled || d.TimeToLiveStatus == types.TimeToLiveStatusEnabling
	t.Moving = d.TimeToLiveStatus == types.TimeToLiveStatusEnabling || d.TimeToLiveStatus == types.TimeToLiveStatusDisabling
	return t, nil
}

// ttlTime is how long a change of a time to live may take (DynamoDB API Reference,
// "UpdateTimeToLive").
const ttlTime = 75 * 60 * 1_000_000_000

// setTTL turns a time to live on or off. The same again would be refused by the
// service, so it looks first.
func (c *Conn) setTTL(ctx context.Context, table *string, attribute string, enabled bool, timeout sdk.Duration) error {
	now, err := c.ttl(ctx, table)
	if err != nil {
		return err
	}
	if now.Enabled != enabled || enabled && now.Attribute != attribute {
		if enabled && now.Enabled {
			return &sdk.Error{
				Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("the time to live of table %s is on %q; turn that off first", *table, now.Attribute),
			}
		}
		_, err := c.client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName: table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &attribute, Enabled: &enabled},
		})
		err = unless("change the time to live of table "+*table, err, func() (bool, error) {
			now, err := c.ttl(ctx, table)
			return now.Enabled == enabled && (!enabled || now.Attribute == attribute), err
		})
		if err != nil {
			if e, ok := err.(*sdk.Error); ok && e.TargetCode == "ValidationException" { //nolint:errorlint // made here
				e.Hint = "the service allows one change of it an hour; try again later"
			}
			return err
		}
	}
	return await(ctx, "wait for the time to live of table "+*table, orTime(timeout, ttlTime), func(ctx context.Context) (bool, error) {
		t, err := c.ttl(ctx, table)
		return t.Enabled == enabled && !t.Moving, err
	})
}

func updateTimeToLive() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, TimeToLive]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, TimeToLive]{
		Type: "updateTimeToLive", Summary: "turns the expiry of items on or off", NotTransactional: schema,
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("time to live of table %s: %s, %t", *c.table(s.Payload.Table), s.Payload.Attribute, s.Payload.on())}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, err := c.ttl(ctx, c.table(s.Payload.Table))
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case t.Enabled != s.Payload.on() || t.Enabled && t.Attribute != s.Payload.Attribute:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			case t.Moving:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the service is about it"}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return both(c.ttl(ctx, c.table(s.Payload.Table)))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.setTTL(ctx, c.table(s.Payload.Table), s.Payload.Attribute, s.Payload.on(), s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[ttl](state)
			if err != nil || before.Enabled == s.Payload.on() {
				return err
			}
			return c.setTTL(ctx, c.table(s.Payload.Table), or(before.Attribute, s.Payload.Attribute), before.Enabled, s.Payload.Timeout)
		},
	})
}

// Stream is the payload of updateStream.
type Stream struct {
	Table    string       `json:"table"`
	Enabled  *bool        `json:"enabled,omitempty" default:"true"`
	ViewType string       `json:"viewType,omitempty" enum:"KEYS_ONLY,NEW_IMAGE,OLD_IMAGE,NEW_AND_OLD_IMAGES" default:"NEW_AND_OLD_IMAGES"`
	Timeout  sdk.Duration `json:"timeout,omitempty" default:"30m"`
}

// stream is the captured state of a stream: its view, "" where it is off.
type stream struct {
	View string `json:"view"`
}

func (p *Stream) view() string {
	if p.Enabled != nil && !*p.Enabled {
		return ""
	}
	return or(p.ViewType, "NEW_AND_OLD_IMAGES")
}

func (c *Conn) stream(ctx context.Context, table *string) (stream, error) {
	t, err := c.describe(ctx, table)
	switch {
	case err != nil:
		return stream{}, err
	case t == nil:
		return stream{}, sdk.Errorf(sdk.NotFound, "table %s is not there", *table)
	case t.StreamSpecification == nil || !aws.ToBool(t.StreamSpecification.StreamEnabled):
		return stream{}, nil
	}
	return stream{string(t.StreamSpecification.StreamViewType)}, nil
}

// setStream gives a table a stream with a view, or none. Another view means another
// stream.
func (c *Conn) setStream(ctx context.Context, table *string, view string, timeout sdk.Duration) error {
	for {
		if err := c.active(ctx, *table, timeout); err != nil {
			return err
		}
		now, err := c.stream(ctx, table)
		if err != nil || now.View == view {
			return err
		}
		want := &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewType(view)}
		if view == "" || now.View != "" {
			want = &types.StreamSpecification{StreamEnabled: aws.Bool(false)}
		}
		_, err = c.client.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: table, StreamSpecification: want})
		err = unless("change the stream of table "+*table, err, func() (bool, error) {
			if err := c.active(ctx, *table, timeout); err != nil {
				return false, err
			}
			now, err := c.stream(ctx, table)
			return now.View == string(want.StreamViewType), err
		})
		if err != nil {
			return err
		}
	}
}

func updateStream() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Stream]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Stream]{
		Type: "updateStream", Summary: "turns the stream of a table on or off", NotTransactional: schema,
		Check: func(c *sdk.Check[sdk.None, Stream]) {
			c.Irreversible("a stream that is turned on again is another one")
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("stream of table %s: %s", *c.table(s.Payload.Table), or(s.Payload.view(), "off"))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			now, err := c.stream(ctx, c.table(s.Payload.Table))
			if err != nil {
				return sdk.Evidence{}, err
			}
			if now.View == s.Payload.view() {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is " + or(now.View, "off")}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return both(c.stream(ctx, c.table(s.Payload.Table)))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.setStream(ctx, c.table(s.Payload.Table), s.Payload.view(), s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[stream](state)
			if err != nil {
				return err
			}
			return c.setStream(ctx, c.table(s.Payload.Table), before.View, s.Payload.Timeout)
		},
	})
}

// Recovery is the payload of updatePointInTimeRecovery.
type Recovery struct {
	Table                string       `json:"table"`
	Enabled              *bool        `json:"enabled,omitempty" default:"true"`
	RecoveryPeriodInDays int32        `json:"recoveryPeriodInDays,omitempty" minimum:"1" maximum:"35"`
	Timeout              sdk.Duration `json:"timeout,omitempty" default:"30m"`
}

func (p *Recovery) on() bool { return p.Enabled == nil || *p.Enabled }

// recovery is the captured state of point-in-time recovery.
type recovery struct {
	Enabled bool  `json:"enabled"`
	Days    int32 `json:"days"`
}

func (c *Conn) recovery(ctx context.Context, table *string) (recovery, error) {
	r, err := c.client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: table})
	if err != nil {
		return recovery{}, failure("look at the point-in-time recovery of table "+*table, err)
	}
	d := r.ContinuousBackupsDescription
	if d == nil || d.PointInTimeRecoveryDescription == nil {
		return recovery{}, nil
	}
	return recovery{
		d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled,
		aws.ToInt32(d.PointInTimeRecoveryDescription.RecoveryPeriodInDays),
	}, nil
}

// setPITR turns point-in-time recovery on or off. It is not to be had for some
// minutes after a table was made.
func (c *Conn) setPITR(ctx context.Context, table *string, enabled bool, days int32, timeout sdk.Duration) error {
	want := &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: &enabled}
	if enabled && days > 0 {
		want.RecoveryPeriodInDays = &days
	}
	return await(ctx, "change the point-in-time recovery of table "+*table, timeout, func(ctx context.Context) (bool, error) {
		_, err := c.client.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{TableName: table, PointInTimeRecoverySpecification: want})
		if isCode(err, "ContinuousBackupsUnavailableException") {
			return false, nil
		}
		if err != nil {
			return false, cleanly(failure("change the point-in-time recovery of table "+*table, err))
		}
		return true, nil
	})
}

func updatePointInTimeRecovery() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Recovery]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Recovery]{
		Type: "updatePointInTimeRecovery", Summary: "turns point-in-time recovery on or off", NotTransactional: schema,
		Check: func(c *sdk.Check[sdk.None, Recovery]) {
			for _, s := range c.Steps {
				if !s.Apply.on() {
					c.Irreversible("the time that can be gone back to begins anew")
				}
			}
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("point-in-time recovery of table %s: %t", *c.table(s.Payload.Table), s.Payload.on())}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			now, err := c.recovery(ctx, c.table(s.Payload.Table))
			if err != nil {
				return sdk.Evidence{}, err
			}
			if now.Enabled == s.Payload.on() && (s.Payload.RecoveryPeriodInDays == 0 || now.Days == s.Payload.RecoveryPeriodInDays) {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return both(c.recovery(ctx, c.table(s.Payload.Table)))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.setPITR(ctx, c.table(s.Payload.Table), s.Payload.on(), s.Payload.RecoveryPeriodInDays, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[recovery](state)
			if err != nil {
				return err
			}
			return c.setPITR(ctx, c.table(s.Payload.Table), before.Enabled, before.Days, s.Payload.Timeout)
		},
	})
}

// Tags is the payload of tagResource.
type Tags struct {
	Table string            `json:"table"`
	Tags  map[string]string `json:"tags"`
}

// Untag is the payload of untagResource.
type Untag struct {
	Table string   `json:"table"`
	Keys  []string `json:"keys"`
}

// tags returns a table's tags and what it is called by.
func (c *Conn) tags(ctx context.Context, table *string) (arn *string, tags map[string]string, err error) {
	t, err := c.describe(ctx, table)
	if err == nil && t == nil {
		err = sdk.Errorf(sdk.NotFound, "table %s is not there", *table)
	}
	if err != nil {
		return nil, nil, err
	}
	tags = map[string]string{}
	in := &dynamodb.ListTagsOfResourceInput{ResourceArn: t.TableArn}
	for {
		r, err := c.client.ListTagsOfResource(ctx, in)
		if err != nil {
			return nil, nil, failure("list the tags of table "+*table, err)
		}
		for _, tag := range r.Tags {
			tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
		if in.NextToken = r.NextToken; in.NextToken == nil {
			return t.TableArn, tags, nil
		}
	}
}

// tag makes tags of a table what they were: those of keys, where set is what they
// are to be.
func (c *Conn) tag(ctx context.Context, table *string, keys []string, set map[string]string) error {
	arn, _, err := c.tags(ctx, table)
	if err != nil {
		return err
	}
	var put []types.Tag
	var gone []string
	for _, key := range keys {
		if value, ok := set[key]; ok {
			put = append(put, types.Tag{Key: aws.String(key), Value: aws.String(value)})
		} else {
			gone = append(gone, key)
		}
	}
	if len(put) > 0 {
		if _, err := c.client.TagResource(ctx, &dynamodb.TagResourceInput{ResourceArn: arn, Tags: put}); err != nil {
			return failure("tag table "+*table, err)
		}
	}
	if len(gone) > 0 {
		if _, err := c.client.UntagResource(ctx, &dynamodb.UntagResourceInput{ResourceArn: arn, TagKeys: gone}); err != nil {
			return failure("take tags from table "+*table, err)
		}
	}
	return nil
}

func tagResource() sdk.Operation[*Conn] {
	return tagging("tagResource", "gives tags to a table", func(p Tags) (string, []string, map[string]string) {
		return p.Table, slices.Sorted(maps.Keys(p.Tags)), p.Tags
	})
}

func untagResource() sdk.Operation[*Conn] {
	return tagging("untagResource", "takes tags from a table", func(p Untag) (string, []string, map[string]string) {
		return p.Table, p.Keys, nil
	})
}

func tagging[P any](kind, summary string, of func(P) (table string, keys []string, set map[string]string)) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary, NotTransactional: schema,
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			table, keys, _ := of(s.Payload)
			return sdk.Preview{Lines: []string{fmt.Sprintf("%s of table %s: %v", kind, *c.table(table), keys)}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			table, keys, set := of(s.Payload)
			_, now, err := c.tags(ctx, c.table(table))
			if err != nil {
				return sdk.Evidence{}, err
			}
			for _, key := range keys {
				is, there := now[key]
				want, wanted := set[key]
				if there != wanted || is != want {
					return sdk.Evidence{Kind: sdk.Partly, Detail: "doing it again does no harm"}, nil
				}
			}
			return sdk.Evidence{Kind: sdk.Applied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			table, _, _ := of(s.Payload)
			_, now, err := c.tags(ctx, c.table(table))
			return both(now, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			table, keys, set := of(s.Payload)
			return c.tag(ctx, c.table(table), keys, set)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[map[string]string](state)
			if err != nil {
				return err
			}
			table, keys, _ := of(s.Payload)
			return c.tag(ctx, c.table(table), keys, before)
		},
	})
}
