package optest

import (
	"flag"
	"testing"
)

// Main runs tests that wait for servers and processes more than they work: more of them at once than
// there are processors.
func Main(m *testing.M) int {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	return m.Run()
}
