package dynamodb

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

// project is one whose processes are killed.
type project struct {
	*e2etest.DynamoDB
	*e2etest.Trial
	t *testing.T
}

// newProject makes one on the server at endpoint, with the table that base makes.
func newProject(t *testing.T, endpoint, prefix, base string) *project {
	t.Helper()
	d := e2etest.NewDynamoDB(t, endpoint, prefix)
	w := &project{DynamoDB: d, Trial: e2etest.NewTrial(t, e2etest.SQLiteAudit(t), d.Config, "dynamodb"), t: t}
	w.P.Change(1, "base", "steps:\n  - apply: "+base+"\n")
	w.P.Must(0, "apply")
	return w
}

// again runs the next apply, which may take as long as the server does, and checks
// that the one after it has nothing to do.
func (w *project) again() {
	w.t.Helper()
	w.P.Must(0, "apply")
	w.Idle()
	w.End()
}

// count is how many items a backfill changes.
const count = 160

// backfill returns a project with items to be changed and the change x that does: it
// counts in n, and its rollback in undone. What is slow takes eight seconds at least.
func backfill(t *testing.T, slowly, undoneSlowly bool) *project {
	t.Helper()
	pace := func(slowly bool) string {
		if slowly {
			return "maxWriteUnitsPerSecond: 20"
		}
		return "maxReadUnitsPerSecond: 1000"
	}
	w := newProject(t, dynamotest.Endpoint(t), dynamotest.Prefix(t), users)
	for i := range count {
		w.put(map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: fmt.Sprint("item", i)}})
	}
	w.P.Change(2, "x", "steps:\n"+
		`  - apply: {type: backfill, table: users, filterExpression: attribute_not_exists(done), updateExpression: "SET done = :t ADD n :one", `+
		`values: {":t": true, ":one": 1}, segments: 3, pageSize: 20, `+pace(slowly)+"}\n"+
		`    rollback: {type: backfill, table: users, filterExpression: "done = :t", updateExpression: "REMOVE done ADD undone :one", `+
		`values: {":t": true, ":one": 1}, segments: 3, pageSize: 20, `+pace(undoneSlowly)+"}\n")
	return w
}

func (w *project) put(item map[string]types.AttributeValue) {
	w.t.Helper()
	if _, err := w.Client.PutItem(w.t.Context(), &dynamodb.PutItemInput{TableName: aws.String(w.Prefix + "users"), Item: item}); err != nil {
		w.t.Fatal(err)
	}
}

// changed checks every item but one: how often it was changed, and how often that
// was undone.
func (w *project) changed(n, undone int, but string) {
	w.t.Helper()
	r, err := w.Client.Scan(w.t.Context(), &dynamodb.ScanInput{TableName: aws.String(w.Prefix + "users"), ConsistentRead: aws.Bool(true)})
	if err != nil {
		w.t.Fatal(err)
	}
	number := func(v types.AttributeValue) string {
		if n, ok := v.(*types.AttributeValueMemberN); ok {
			return n.Value
		}
		return "0"
	}
	found := map[string]int{}
	for _, item := range r.Items {
		if pk, ok := item["pk"].(*types.AttributeValueMemberS); ok && pk.Value == but {
			continue
		}
		found["n "+number(item["n"])+", undone "+number(item["undone"])]++
	}
	want := map[string]int{fmt.Sprintf("n %d, undone %d", n, undone): count}
	if but != "" {
		want[fmt.Sprintf("n %d, undone %d", n, undone)]--
	}
	if !maps.Equal(found, want) {
		w.t.Errorf("the items are %v, want %v", found, want)
	}
}

// killed runs the command until so many checkpoints more are recorded, and kills it.
func (w *project) killed(more int, args ...string) {
	w.t.Helper()
	before := w.Checkpoints("x", "SAVED", 0)
	run := w.P.Start(args...)
	run.Eventually("a checkpoint is recorded", func() bool { return w.Checkpoints("x", "SAVED", 0) >= before+more })
	e2etest.KillAll().Do(run)
}

// keyOf returns the key of the item that the nth call of UpdateItem changed.
func (w *project) keyOf(n int) string {
	w.t.Helper()
	calls := w.Calls("UpdateItem", "")
	if len(calls) <= n {
		w.t.Fatalf("%d items were changed, and the %dth is asked for", len(calls), n)
	}
	var in struct {
		Key struct{ PK struct{ S string } }
	}
	if err := json.Unmarshal([]byte(calls[n].Body), &in); err != nil {
		w.t.Fatal(err)
	}
	return in.Key.PK.S
}

// TestBackfillGoesOn kills amid a backfill: the next run goes on at the checkpoint of
// each segment and not from the beginning.
func TestBackfillGoesOn(t *testing.T) {
	t.Parallel()
	w := backfill(t, true, false)
	w.killed(1, "apply")
	before := len(w.Calls("Scan", ""))
	// The next run would change this one, where it began anew.
	first := w.keyOf(0)
	w.put(map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: first}})
	w.again()
	w.changed(1, 0, first)
	w.Expect("STARTED STARTED APPLIED")
	for _, c := range w.Calls("Scan", "")[before:] {
		if !strings.Contains(c.Body, "ExclusiveStartKey") {
			t.Errorf("a segment was read from its beginning: %s", c.Body)
		}
	}
}

// TestUndoneBackfillGoesOn kills amid the rollback of a backfill, which goes on where
// it was, and not where the backfill was.
func TestUndoneBackfillGoesOn(t *testing.T) {
	t.Parallel()
	w := backfill(t, false, true)
	w.P.Must(0, "apply")
	w.changed(1, 0, "")
	// One is that of the change, and one says that the rollback begins.
	w.killed(3, "undo", "--change", "x", "--yes")
	first := w.keyOf(count)
	w.put(map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: first}, "done": &types.AttributeValueMemberBOOL{Value: true}})
	before := len(w.Calls("UpdateItem", ""))
	w.again()
	w.changed(2, 1, first)
	w.Expect("STARTED APPLIED STARTED ROLLED_BACK STARTED APPLIED")
	for _, c := range w.Calls("UpdateItem", "")[before:] {
		if strings.Contains(c.Body, `"`+first+`"`) && strings.Contains(c.Body, "undone") {
			t.Errorf("the rollback began anew: %s", c.Body)
		}
	}
}

// TestUndoneBackfillIsFinished kills amid the rollback of a backfill, before there is
// a checkpoint: what the change itself has saved is no proof of anything then.
func TestUndoneBackfillIsFinished(t *testing.T) {
	t.Parallel()
	w := backfill(t, false, true)
	w.P.Must(0, "apply")
	run := w.P.Start("undo", "--change", "x", "--yes")
	run.Eventually("items are changed back", func() bool { return len(w.Calls("UpdateItem", "")) > count+5 })
	e2etest.KillAll().Do(run)
	w.again()
	w.changed(2, 1, "")
	w.Expect("STARTED APPLIED STARTED ROLLED_BACK STARTED APPLIED")
}

// TestBackfillThatCountsIsAskedAbout kills amid one whose condition does not tell what
// is done: nobody can know how often the items since the checkpoint were changed.
func TestBackfillThatCountsIsAskedAbout(t *testing.T) {
	t.Parallel()
	w := backfill(t, true, false)
	w.P.Change(2, "x", `steps: [{apply: {type: backfill, table: users, updateExpression: "ADD n :one", values: {":one": 1}, maxWriteUnitsPerSecond: 20}}]`)
	w.killed(1, "apply")
	if r := w.P.Run("apply"); r.Code == 0 || !strings.Contains(r.Stderr, "interrupted, outcome unknown") {
		t.Errorf("nobody is asked:\n%s", r)
	}
	w.Expect("STARTED")
}
