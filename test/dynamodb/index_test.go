package dynamodb

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

const (
	makeIndex = "{type: createGlobalSecondaryIndex, table: users, index: byAge, partitionKey: age, attributes: {age: N}}"
	byAge     = "{type: createTable, table: users, keySchema: {partitionKey: pk}, attributes: {pk: S, age: N}, globalSecondaryIndexes: [{index: byAge, partitionKey: age}]}"
)

// index returns the state of the index byAge; "" where it is not there.
func (w *project) index() types.IndexStatus {
	w.t.Helper()
	r, err := w.Client.DescribeTable(w.t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String(w.Prefix + "users")})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, x := range r.Table.GlobalSecondaryIndexes {
		if aws.ToString(x.IndexName) == "byAge" {
			return x.IndexStatus
		}
	}
	return ""
}

// changes checks how often the table was changed.
func (w *project) changes(want int) {
	w.t.Helper()
	var got []string
	for _, c := range w.Calls("UpdateTable", "") {
		got = append(got, c.Body)
	}
	if len(got) != want {
		w.t.Errorf("the table was changed %d times, want %d:\n%s", len(got), want, strings.Join(got, "\n"))
	}
}

// TestIndexIsAwaited kills while an index is made, and while it is deleted: the
// service goes on, and the next run waits for it and does not begin anew.
func TestIndexIsAwaited(t *testing.T) {
	t.Parallel()
	t.Run("made", func(t *testing.T) {
		t.Parallel()
		endpoint, prefix := dynamotest.Delayed(t)
		w := newProject(t, endpoint, prefix, users)
		w.P.Change(2, "x", "steps: [{apply: "+makeIndex+", rollback: auto}]")
		run := w.P.Start("apply")
		run.Eventually("the index is being made", func() bool { return w.index() == types.IndexStatusCreating })
		e2etest.KillAll().Do(run)
		w.again()
		if got := w.index(); got != types.IndexStatusActive {
			t.Errorf("the index is %q", got)
		}
		w.changes(1)
		w.Expect("STARTED STARTED APPLIED")
	})
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		endpoint, prefix := dynamotest.Delayed(t)
		w := newProject(t, endpoint, prefix, byAge)
		w.P.Change(2, "x", "steps: [{apply: {type: deleteGlobalSecondaryIndex, table: users, index: byAge}, rollback: auto}]")
		run := w.P.Start("apply")
		run.Eventually("the index is being deleted", func() bool { return w.index() == types.IndexStatusDeleting })
		e2etest.KillAll().Do(run)
		w.again()
		if got := w.index(); got != "" {
			t.Errorf("the index is %q", got)
		}
		w.changes(1)
		w.Expect("STARTED STARTED APPLIED")
	})
}
