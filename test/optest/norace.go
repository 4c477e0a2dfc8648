//go:build !race

package optest

// few is how many operations there are to one that Sample takes.
const few = 1
