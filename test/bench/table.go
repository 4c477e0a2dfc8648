package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// write writes the tables of one database and the goals beside them.
func (r *result) write(w io.Writer, o options) {
	_, _ = fmt.Fprintf(w, "\n%s\n", r.database)
	r.table(w, fmt.Sprintf("apply %d changes", o.changes), r.apply, true)
	r.table(w, fmt.Sprintf("nothing to do at %d applied changes", o.changes), r.idle, false)
	r.table(w, fmt.Sprintf("nothing to do at %d applied changes", o.history), r.long, false)
	_, _ = fmt.Fprintf(w, "looking at the names, sizes and times of %d files alone, with no database: %s\n", o.history, short(wall(r.look)))
	if !r.has("goose") {
		ratio := ratio(r.apply, "flamingock", "floor")
		_, _ = fmt.Fprintf(w, "goal: apply %.2f x floor, at most 2.00: %s\n", ratio, verdict(ratio <= 2))
		return
	}
	ratio := ratio(r.apply, "flamingock", "goose")
	_, _ = fmt.Fprintf(w, "goal: apply %.2f x goose, at most 1.00: %s\n", ratio, verdict(ratio <= 1))
	mine, theirs := wall(r.long["flamingock"]), wall(r.idle["goose"])
	_, _ = fmt.Fprintf(w, "goal: nothing to do at %d %s, at most goose's %s at %d: %s\n",
		o.history, short(mine), short(theirs), o.changes, verdict(mine <= theirs))
}

func (r *result) has(tool string) bool { return slices.Contains(r.tools, tool) }

func verdict(ok bool) string {
	if ok {
		return "reached"
	}
	return "NOT REACHED"
}

func (r *result) table(w io.Writer, title string, by map[string][]sample, writes bool) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header := title + "\tmedian\tmin\tmax\tCPU\t"
	if r.has("goose") {
		header += "x goose\t"
	}
	header += "x floor\t"
	if writes {
		header += r.unit + " a change\t"
	}
	_, _ = fmt.Fprintln(t, header)
	for _, name := range r.tools {
		list := by[name]
		walls := column(list, func(s sample) time.Duration { return s.wall })
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t", name, short(wall(list)), short(slices.Min(walls)), short(slices.Max(walls)),
			short(median(column(list, func(s sample) time.Duration { return s.cpu }))))
		if r.has("goose") {
			_, _ = fmt.Fprintf(t, "%.2f\t", ratio(by, name, "goose"))
		}
		_, _ = fmt.Fprintf(t, "%.2f\t", ratio(by, name, "floor"))
		if writes {
			_, _ = fmt.Fprintf(t, "%.3f\t", r.writes[name])
		}
		_, _ = fmt.Fprintln(t)
	}
	// The writer below tells nothing that a later write does not.
	_ = t.Flush()
}

func column(list []sample, f func(sample) time.Duration) []time.Duration {
	out := make([]time.Duration, len(list))
	for i, s := range list {
		out[i] = f(s)
	}
	return out
}

func median(list []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func wall(list []sample) time.Duration {
	return median(column(list, func(s sample) time.Duration { return s.wall }))
}

func ratio(by map[string][]sample, a, b string) float64 {
	return float64(wall(by[a])) / float64(wall(by[b]))
}

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
