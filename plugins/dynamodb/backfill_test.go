package dynamodb

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
)

func TestSets(t *testing.T) {
	t.Parallel()
	for update, want := range map[string]string{
		"SET a = :a": "a",
		"set #a.b[0]=:a, c=if_not_exists(c, :d),e = b": "#a.b[0] c e",
		"REMOVE a, b ADD n :one DELETE s :s":           "a b",
		"SET n = n + :one, v = :v":                     "v",
		"SET l = list_append(l, :x)\nREMOVE\tq":        "q",
		"ADD n :one":                                   "",
	} {
		if got := strings.Join(sets(update), " "); got != want {
			t.Errorf("%q sets %q, want %q", update, got, want)
		}
	}
}

func TestRepeatable(t *testing.T) {
	t.Parallel()
	names := map[string]string{"#a": "a"}
	for update, want := range map[string]bool{
		"SET a = :a REMOVE b":                    true,
		"SET a = b":                              true,
		"SET a = if_not_exists(a, :a)":           true,
		"SET a = if_not_exists(b, :a), c = b":    true,
		"SET b = a REMOVE a":                     false,
		"SET b = #a REMOVE a":                    false,
		"REMOVE #a SET b = a.x":                  false,
		"SET a = b, b = a":                       false,
		"SET b = if_not_exists(a, :a) REMOVE #a": false,
		"SET n = n + :one":                       false,
		"SET a = :a ADD n :one":                  false,
	} {
		if got := repeatable(update, names); got != want {
			t.Errorf("%q: %t, want %t", update, got, want)
		}
	}
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"updateExpression": "SET a = :a"}`:                                                                                            true,
		`{"updateExpression": "ADD n :one"}`:                                                                                            false,
		"{\"updateExpression\": \"SET a = :a\\nADD n :one\"}":                                                                           false,
		`{"updateExpression": "ADD n :one", "conditionExpression": "n < :max"}`:                                                         false,
		`{"updateExpression": "ADD n :one SET v = :v", "conditionExpression": "attribute_not_exists(v)"}`:                               true,
		`{"updateExpression": "ADD n :one SET v = :v", "filterExpression": "attribute_not_exists(v)"}`:                                  true,
		`{"updateExpression": "ADD n :one SET v = :v", "filterExpression": "attribute_not_exists(v)", "conditionExpression": "a = :v"}`: false,
		`{"updateExpression": "ADD n :one REMOVE #v.x", "conditionExpression": "v.x = :v", "names": {"#v": "v"}}`:                       true,
	} {
		var p Backfill
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if got := p.harmless(); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}

// TestBackfillMakesNothing shows that an item that was deleted since it was read stays
// so, and that one that does not fit any more is left alone.
func TestBackfillMakesNothing(t *testing.T) {
	t.Parallel()
	c := connect(t, dynamotest.Endpoint(t), dynamotest.Prefix(t))
	table := c.table("users")
	put := func(item attributes) {
		if _, err := c.client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	id := func(text string) attributes { return attributes{"pk": &types.AttributeValueMemberS{Value: text}} }
	put(id("old"))
	put(attributes{"pk": id("done")["pk"], "v": &types.AttributeValueMemberS{Value: "other"}})
	f := &filler{c: c, table: table, key: Key{PartitionKey: "pk"}, p: &Backfill{
		FilterExpression: "attribute_not_exists(v)", UpdateExpression: "SET v = :v",
		Expression: Expression{Values: Item{":v": &types.AttributeValueMemberS{Value: "new"}}},
	}}
	for name, want := range map[string]bool{"old": true, "done": false, "gone": false} {
		if got, err := f.item(t.Context(), id(name)); got != want || err != nil {
			t.Errorf("%s: changed %t, want %t (%v)", name, got, want, err)
		}
	}
	r, err := c.client.Scan(t.Context(), &dynamodb.ScanInput{TableName: table, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range r.Items {
		got = append(got, text(item))
	}
	slices.Sort(got)
	if got := strings.Join(got, " "); got != `{"pk":{"S":"done"},"v":{"S":"other"}} {"pk":{"S":"old"},"v":{"S":"new"}}` {
		t.Errorf("there is %s", got)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		b := budget{perSecond: 10}
		for range 20 {
			if err := b.take(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begin); d != 1900*time.Millisecond {
			t.Errorf("20 calls of a unit took %s", d)
		}
		time.Sleep(time.Minute) // what is not used is not kept
		begin = time.Now()
		for range 3 {
			if err := b.take(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.used(9)
		}
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("3 calls of 10 units took %s", d)
		}
		free := budget{}
		begin = time.Now()
		if err := free.take(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("without a limit it took %s (%v)", time.Since(begin), err)
		}
	})
}
