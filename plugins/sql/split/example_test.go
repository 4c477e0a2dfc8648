package split_test

import (
	"errors"
	"fmt"

	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

func ExampleSplit() {
	script := `
CREATE TABLE orders (id bigint PRIMARY KEY, note text DEFAULT 'a;b');
CREATE INDEX CONCURRENTLY orders_note ON shop.orders (note); -- slow`

	statements, err := split.Split(split.PostgreSQL, script, split.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range statements {
		fmt.Printf("line %d: %s, %s\n", s.Line, s.Keyword, s.Tx)
		if !s.Atomic() {
			fmt.Println(" ", s.Reason)
		}
		if schema, index, ok := split.ConcurrentIndex(s); ok {
			fmt.Println("  index", index, "in schema", schema)
		}
	}
	// Output:
	// line 2: CREATE TABLE, runs in a transaction
	// line 3: CREATE INDEX CONCURRENTLY, cannot run in a transaction
	//   PostgreSQL refuses CREATE INDEX CONCURRENTLY inside a transaction block
	//   index orders_note in schema shop
}

func ExampleError() {
	_, err := split.Split(split.MySQL, "UPDATE users\nSET name = 'it's';", split.Options{})

	var problem *split.Error
	if errors.As(err, &problem) {
		fmt.Println(problem.Line, problem.Column)
	}
	fmt.Println(err)
	// Output:
	// 2 17
	// line 2, column 17: the string that starts with ' is never closed: add the closing '; inside the quotes it is written twice
}
