package diag

import "strings"

// Closest returns the word of known that w most likely stands for, and "" where
// none is near: another case, a part of a longer word, or a few letters off.
func Closest(w string, known []string) string {
	if w == "" {
		return ""
	}
	lower := strings.ToLower(w)
	best, bestDistance := "", len(lower)/3+1
	for _, k := range known {
		candidate := strings.ToLower(k)
		if candidate == lower {
			return k
		}
		if d := distance(lower, candidate); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" || len(lower) < 4 {
		return best
	}
	for _, k := range known {
		if strings.Contains(strings.ToLower(k), lower) {
			return k
		}
	}
	return ""
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour to get from a to b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
