//go:build race

package optest

// few is how many operations there are to one that Sample takes. The race detector
// makes everything ten times slower, and what is sampled is about what is left
// behind and not about what runs at once.
const few = 12
