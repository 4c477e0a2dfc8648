package dynamodb

import (
	"net/http"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	"github.com/flamingock/flamingock-go/test/gate"
	"github.com/flamingock/flamingock-go/test/optest"
)

// writes tells whether a request changes something.
func writes(r *http.Request) bool {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	for _, reads := range []string{"Describe", "Get", "BatchGet", "TransactGet", "List", "Scan", "Query"} {
		if strings.HasPrefix(operation, reads) {
			return false
		}
	}
	return true
}

// breaking returns worlds whose connections can be broken.
func breaking(server func(testing.TB) (endpoint, prefix string), more func(*world)) func(testing.TB) *optest.World {
	return func(t testing.TB) *optest.World {
		t.Helper()
		endpoint, prefix := server(t)
		b := gate.NewBreaker(t, endpoint, writes)
		tables := newTables(t, endpoint, prefix)
		if more != nil {
			more(tables)
		}
		w := tables.world(b.URL)
		w.Intercept = b.Intercept
		return w
	}
}

func local(t testing.TB) (endpoint, prefix string) {
	t.Helper()
	return dynamotest.Endpoint(t), dynamotest.Prefix(t)
}

// adds is an update that cannot be done twice.
const adds = `updateExpression: "ADD n :one", values: {":one": 1}`

// once are operations that must not be done twice, or refuse to be.
func once() []optest.Operation {
	setup := []string{users, "{type: putItems, table: users, items: [{pk: ann, n: 1}]}"}
	return []optest.Operation{
		{Name: "putItems, one", Setup: setup, Apply: "{type: putItems, table: users, items: [{pk: bob}]}"},
		{Name: "updateItems that count", Setup: setup, Apply: "{type: updateItems, table: users, keys: [{pk: ann}], " + adds + "}"},
		{Name: "updateItems on a condition", Setup: setup, Apply: `{type: updateItems, table: users, keys: [{pk: ann}], updateExpression: "SET n = :two", conditionExpression: "n < :two", values: {":two": 2}}`},
		{Name: "updateItems that rename", Setup: setup, Apply: `{type: updateItems, table: users, keys: [{pk: ann}], updateExpression: "SET m = n REMOVE n"}`},
		{Name: "deleteItems on a condition", Setup: setup, Apply: `{type: deleteItems, table: users, keys: [{pk: ann}], conditionExpression: "n < :two", values: {":two": 2}}`},
		{Name: "backfill that counts", Setup: setup, Apply: "{type: backfill, table: users, " + adds + "}", Rollback: "none"},
		{Name: "executeStatement that counts", Setup: setup, Apply: `{type: executeStatement, statement: "UPDATE \"${var:prefix}users\" SET n = n + 1 WHERE pk = 'ann'"}`, Rollback: "none"},
		{Name: "executeStatement that inserts", Setup: setup, Apply: `{type: executeStatement, statement: "INSERT INTO \"${var:prefix}users\" VALUE {'pk': 'bob'}"}`, Rollback: "none"},
	}
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, o := range append(operations(), once()...) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			optest.LostAnswers(t, breaking(local, nil), o)
		})
	}
}

func TestLostAnswersOfMoto(t *testing.T) {
	t.Parallel()
	for _, o := range ofMoto() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			optest.LostAnswers(t, breaking(dynamotest.Moto, (*world).onMoto), o)
		})
	}
}

// TestCrashes kills an instance at every request that changes something. About a
// statement a person is asked.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, o := range operations() {
		if o.Name == "executeStatement" {
			continue
		}
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			optest.Crashes(t, breaking(local, nil), o)
		})
	}
}
