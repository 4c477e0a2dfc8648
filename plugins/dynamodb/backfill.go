package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Backfill is the payload of backfill. An item is changed where it still fits
// conditionExpression, or filterExpression where there is none.
type Backfill struct {
	Table            string `json:"table"`
	FilterExpression string `json:"filterExpression,omitempty" desc:"which items to look at; let it leave out what is done"`
	UpdateExpression string `json:"updateExpression"`
	Expression
	Segments       int32        `json:"segments,omitempty" default:"4" minimum:"1" maximum:"64" desc:"how many parts of the table are read side by side"`
	MaxWriteUnits  int          `json:"maxWriteUnitsPerSecond,omitempty" minimum:"1"`
	MaxReadUnits   int          `json:"maxReadUnitsPerSecond,omitempty" minimum:"1"`
	ReadPageItems  int32        `json:"pageSize,omitempty" minimum:"1" maximum:"1000" desc:"how many items one read looks at"`
	ThrottleReader sdk.Duration `json:"throttle,omitempty" desc:"how long each part rests between reads"`
}

func (p *Backfill) segments() int {
	const otherwise = 4
	if p.Segments == 0 {
		return otherwise
	}
	return int(p.Segments)
}

// keyAlias names the partition key in conditions.
const keyAlias = "#flamingockKey"

// update changes an item that is still there and still fits: an update of one that
// was deleted meanwhile would make it anew.
func (p *Backfill) update(table *string, k Key, key attributes) *dynamodb.UpdateItemInput {
	condition := "attribute_exists(" + keyAlias + ")"
	if also := or(p.ConditionExpression, p.FilterExpression); also != "" {
		condition += " AND (" + also + ")"
	}
	both := p.UpdateExpression + " " + condition
	names := used(both, p.Names)
	names[keyAlias] = k.PartitionKey
	in := &dynamodb.UpdateItemInput{
		TableName: table, Key: key, UpdateExpression: &p.UpdateExpression, ConditionExpression: &condition,
		ExpressionAttributeNames: names, ExpressionAttributeValues: orNone(used(both, p.Values)),
	}
	if p.MaxWriteUnits > 0 {
		in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	}
	return in
}

// scan reads a segment after the key last.
func (p *Backfill) scan(table *string, segment int, last attributes) *dynamodb.ScanInput {
	in := &dynamodb.ScanInput{
		TableName: table, ConsistentRead: aws.Bool(true), ExclusiveStartKey: last,
		Segment: aws.Int32(int32(segment)), TotalSegments: aws.Int32(int32(p.segments())), //nolint:gosec // 64 at most
		ExpressionAttributeNames:  orNone(used(p.FilterExpression, p.Names)),
		ExpressionAttributeValues: orNone(used(p.FilterExpression, p.Values)),
	}
	if p.FilterExpression != "" {
		in.FilterExpression = &p.FilterExpression
	}
	if p.ReadPageItems > 0 {
		in.Limit = &p.ReadPageItems
	}
	if p.MaxReadUnits > 0 {
		in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	}
	return in
}

// used leaves the names or values that an expression has: the service refuses others.
func used[V any](expression string, all map[string]V) map[string]V {
	out := map[string]V{}
	for name, v := range all {
		if mentions(expression, name) {
			out[name] = v
		}
	}
	return out
}

// orNone is m, or nil where it is empty, which the service refuses.
func orNone[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	return m
}

// mentions tells whether a name stands in an expression, and not only as the
// beginning of another one.
func mentions(expression, name string) bool {
	for i := 0; i+len(name) <= len(expression); i++ {
		if expression[i:i+len(name)] != name {
			continue
		}
		if end := i + len(name); end == len(expression) || !wordByte(expression[end]) {
			return true
		}
	}
	return false
}

func wordByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// harmless tells whether changing an item again does nothing more: because the
// update is of that kind, or because the condition looks at an attribute that it
// sets or removes.
func (p *Backfill) harmless() bool {
	if repeatable(p.UpdateExpression, p.Names) {
		return true
	}
	looked := map[string]bool{}
	for _, word := range words(or(p.ConditionExpression, p.FilterExpression)) {
		looked[attribute(word, p.Names)] = true
	}
	return slices.ContainsFunc(sets(p.UpdateExpression), func(path string) bool { return looked[attribute(path, p.Names)] })
}

// attribute returns the attribute that a path of an expression begins with.
func attribute(path string, names map[string]string) string {
	if i := strings.IndexAny(path, ".["); i >= 0 {
		path = path[:i]
	}
	if name, ok := names[path]; ok {
		return name
	}
	return path
}

// sets returns the paths that an update sets or removes whatever is there: not those
// that it adds to.
func sets(update string) []string {
	var out []string
	section, path, depth := "", "", 0
	end := func() {
		if path != "" && (section == "SET" || section == "REMOVE") {
			out = append(out, path)
		}
		path = ""
	}
	begins := true // of an action
	for _, word := range words(update) {
		switch upper := strings.ToUpper(word); {
		case word == "(":
			depth++
		case word == ")":
			depth--
		case depth == 0 && (upper == "SET" || upper == "REMOVE" || upper == "ADD" || upper == "DELETE"):
			end()
			section, begins = upper, true
		case depth == 0 && word == ",":
			end()
			begins = true
		case begins:
			path, begins = word, false
		case word == "+" || word == "-" || upper == "LIST_APPEND":
			path = ""
		}
	}
	end()
	return out
}

// carries tells whether an update puts into one attribute what it finds in another,
// and changes that one too: done again, it finds something else there.
func carries(update string, names map[string]string) bool {
	changed := map[string]bool{}
	for _, path := range sets(update) {
		changed[attribute(path, names)] = true
	}
	section, target, depth := "", "", 0
	begins := true // of an action
	for _, word := range words(update) {
		switch upper := strings.ToUpper(word); {
		case word == "(":
			depth++
		case word == ")":
			depth--
		case depth == 0 && (upper == "SET" || upper == "REMOVE" || upper == "ADD" || upper == "DELETE"):
			section, begins = upper, true
		case depth == 0 && word == ",":
			begins = true
		case begins:
			target, begins = attribute(word, names), false
		case section == "SET" && attribute(word, names) != target && changed[attribute(word, names)]:
			return true
		}
	}
	return false
}

// words takes an expression apart: paths, keywords, names of values, signs.
func words(expression string) []string {
	var out []string
	begin := -1
	for i, r := range expression + " " {
		inside := r == '#' || r == ':' || r == '.' || r == '[' || r == ']' || r >= 0x80 || wordByte(byte(r))
		switch {
		case inside && begin < 0:
			begin = i
		case !inside && begin >= 0:
			out = append(out, expression[begin:i])
			begin = -1
		}
		if !inside && strings.ContainsRune("(),+-=<>", r) {
			out = append(out, string(r))
		}
	}
	return out
}

// backfilled is how far a backfill is, which it saves.
type backfilled struct {
	Segments []segment `json:"segments"`
	// Looked counts the items that were read, Changed those that fitted.
	Looked  int64 `json:"looked"`
	Changed int64 `json:"changed"`
	// RollingBack: it is the backfill of a rollback that is so far, and Harmful that
	// it must not be done again.
	RollingBack bool `json:"rollingBack,omitempty"`
	Harmful     bool `json:"harmful,omitempty"`
}

// segment is how far a part of the table is.
type segment struct {
	// Last is the key of the last item that was looked at, in DynamoDB JSON; "" is
	// before the first one.
	Last string `json:"last,omitempty"`
	All  bool   `json:"all,omitempty"`
}

func (b *backfilled) all() bool {
	return len(b.Segments) > 0 && !slices.ContainsFunc(b.Segments, func(s segment) bool { return !s.All })
}

// backfilledOf returns how far a step is by what it has saved.
func backfilledOf(s *sdk.Step[sdk.None, Backfill]) (backfilled, error) {
	if s.Saved == nil {
		return backfilled{}, nil
	}
	return kept[backfilled](s.Saved)
}

func backfill() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Backfill]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Backfill]{
		Type: "backfill", Summary: "changes every item that matches, reading parts of the table side by side, and goes on where it was",
		NotTransactional: "it changes items one by one",
		Check: func(c *sdk.Check[sdk.None, Backfill]) {
			for _, s := range c.Steps {
				if !s.Apply.harmless() {
					c.Report(sdk.Diagnostic{
						Severity: sdk.SeverityWarning, Field: sdk.FieldApply, Step: s.Index, Path: "/updateExpression", Code: "not-repeatable",
						Summary: "it changes an item again when it is done twice, and the condition does not look at what it sets: once interrupted, a person is asked",
						Fix:     "add a conditionExpression that leaves out items that are done, such as attribute_not_exists(x), and SET x",
					})
					c.NotProbed()
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("backfill table %s where %s: %s", *c.table(p.Table), or(p.FilterExpression, "everything"), p.UpdateExpression)}}
			t, err := c.describe(ctx, c.table(p.Table))
			if t != nil {
				out.Notes = append(out.Notes, fmt.Sprintf("about %d items, %d bytes, are read", aws.ToInt64(t.ItemCount), aws.ToInt64(t.TableSizeBytes)))
			}
			return out, err
		},
		Probe: func(_ context.Context, _ *Conn, s step) (sdk.Evidence, error) {
			state, err := backfilledOf(s)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case state.RollingBack && state.Harmful:
				return sdk.Evidence{Detail: "its rollback cannot be done twice, and the condition does not tell what is done"}, nil
			case state.RollingBack:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "its rollback was begun"}, nil
			case state.all():
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it had come to the end"}, nil
			case !s.Payload.harmless():
				return sdk.Evidence{Detail: "the update cannot be done twice, and the condition does not tell what is done"}, nil
			}
			// To look for what is left means to read the whole table.
			return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d items are done for certain", state.Changed)}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			state, err := backfilledOf(s)
			if err != nil {
				return err
			}
			if state.RollingBack != s.RollingBack {
				state = backfilled{RollingBack: s.RollingBack, Harmful: s.RollingBack && !s.Payload.harmless()}
			}
			if len(state.Segments) != s.Payload.segments() {
				state.Segments, state.Looked, state.Changed = make([]segment, s.Payload.segments()), 0, 0
				if s.RollingBack {
					// From here on it is not as far as it had come.
					if err := save(ctx, s, state); err != nil {
						return err
					}
				}
			}
			return c.backfill(ctx, s, &filler{c: c, p: &s.Payload, table: c.table(s.Payload.Table), state: state})
		},
	})
}

func save(ctx context.Context, s *sdk.Step[sdk.None, Backfill], state backfilled) error {
	b, err := keep(state)
	if err != nil {
		return err
	}
	return s.Save(ctx, b)
}

// backfill changes what is left, until it is done or a segment fails.
func (c *Conn) backfill(ctx context.Context, s *sdk.Step[sdk.None, Backfill], f *filler) error {
	t, err := c.describe(ctx, f.table)
	if err == nil && t == nil {
		err = sdk.Errorf(sdk.NotFound, "table %s is not there", *f.table)
	}
	if err != nil {
		return err
	}
	f.key = keyOf(t.KeySchema)
	f.reads.perSecond, f.writes.perSecond = float64(f.p.MaxReadUnits), float64(f.p.MaxWriteUnits)

	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for i := range f.state.Segments {
		all.Go(func() {
			if err := f.segment(working, i); err != nil {
				cancel(err) // the first one counts
			}
		})
	}
	finished := make(chan struct{})
	go func() { all.Wait(); close(finished) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		state := f.now()
		select {
		case <-finished:
			if err := context.Cause(working); err != nil {
				return failure(fmt.Sprintf("backfill table %s after %d items", *f.table, state.Changed), err)
			}
			state = f.now()
			s.Progress(state.Looked, state.Looked, fmt.Sprintf("items, %d changed", state.Changed))
			return save(ctx, s, state)
		case <-tick.C:
			total := aws.ToInt64(t.ItemCount) // counted every six hours
			if total <= state.Looked {
				total = 0 // not known
			}
			s.Progress(state.Looked, total, fmt.Sprintf("items, %d changed", state.Changed))
			if err := s.Checkpoint(ctx, func() ([]byte, error) { return keep(state) }); err != nil {
				cancel(err)
				<-finished
				return err
			}
		}
	}
}

// filler is a backfill under way.
type filler struct {
	c             *Conn
	p             *Backfill
	table         *string
	key           Key
	reads, writes budget

	mu    sync.Mutex
	state backfilled
}

// now returns how far it is, for certain.
func (f *filler) now() backfilled {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := f.state
	state.Segments = slices.Clone(state.Segments)
	return state
}

// segment changes what is left of a segment.
func (f *filler) segment(ctx context.Context, i int) error {
	f.mu.Lock()
	now := f.state.Segments[i]
	f.mu.Unlock()
	for begun := false; !now.All; begun = true {
		if begun {
			if err := pause(ctx, f.p.ThrottleReader.Std()); err != nil {
				return err
			}
		}
		var last attributes
		if now.Last != "" {
			var err error
			if last, err = parse(now.Last); err != nil {
				return sdk.Errorf(sdk.Internal, "what was saved before cannot be read: %w", err)
			}
		}
		if err := f.reads.take(ctx); err != nil {
			return err
		}
		r, err := f.c.client.Scan(ctx, f.p.scan(f.table, i, last))
		if err != nil {
			return failure("read table "+*f.table, err)
		}
		if r.ConsumedCapacity != nil {
			f.reads.used(aws.ToFloat64(r.ConsumedCapacity.CapacityUnits) - 1)
		}
		for _, item := range r.Items {
			key, err := keyFrom(f.key, item)
			if err != nil {
				return err
			}
			changed, err := f.item(ctx, key)
			if err != nil {
				return err
			}
			f.mu.Lock()
			// A page may take minutes: each item of it is a place to go on from.
			f.state.Segments[i].Last = text(key)
			if changed {
				f.state.Changed++
			}
			f.mu.Unlock()
		}
		now = segment{All: len(r.LastEvaluatedKey) == 0}
		if !now.All {
			now.Last = text(r.LastEvaluatedKey)
		}
		f.mu.Lock()
		f.state.Segments[i] = now
		f.state.Looked += int64(r.ScannedCount)
		f.mu.Unlock()
	}
	return nil
}

// item changes an item, and returns false where it does not fit any more.
func (f *filler) item(ctx context.Context, key attributes) (bool, error) {
	in := f.p.update(f.table, f.key, key)
	if err := f.writes.take(ctx); err != nil {
		return false, err
	}
	if !f.p.harmless() {
		return f.itemOnce(ctx, in)
	}
	r, err := f.c.client.UpdateItem(ctx, in)
	var unfit *types.ConditionalCheckFailedException
	switch {
	case errors.As(err, &unfit):
		return false, nil // or it was changed, and the answer was lost
	case err != nil:
		return false, failure("update an item of table "+*f.table, err)
	}
	if r.ConsumedCapacity != nil {
		f.writes.used(aws.ToFloat64(r.ConsumedCapacity.CapacityUnits) - 1)
	}
	return true, nil
}

// itemOnce is item for an update that must not be done again where its answer is
// lost: it is a transaction of its own.
func (f *filler) itemOnce(ctx context.Context, in *dynamodb.UpdateItemInput) (bool, error) {
	var r *dynamodb.TransactWriteItemsOutput
	err := once(ctx, func(token *string) (err error) {
		r, err = f.c.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
			ClientRequestToken: token, ReturnConsumedCapacity: in.ReturnConsumedCapacity,
			TransactItems: []types.TransactWriteItem{{Update: &types.Update{
				TableName: in.TableName, Key: in.Key, UpdateExpression: in.UpdateExpression, ConditionExpression: in.ConditionExpression,
				ExpressionAttributeNames: in.ExpressionAttributeNames, ExpressionAttributeValues: in.ExpressionAttributeValues,
			}}},
		})
		return err
	})
	what := "update an item of table " + *f.table
	if _, why := refusedWrite(err); why != nil {
		if why.TargetCode == "ConditionalCheckFailed" {
			return false, nil
		}
		why.Message = what + ": " + why.Message
		return false, why
	}
	if err != nil {
		return false, failure(what, err)
	}
	for _, used := range r.ConsumedCapacity {
		f.writes.used(aws.ToFloat64(used.CapacityUnits) - 1)
	}
	return true, nil
}
