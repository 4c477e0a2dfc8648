package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// result is what was measured on one database.
type result struct {
	database string
	tools    []string
	// apply, idle and long are samples by tool: applying, nothing to do after
	// that, and nothing to do with the long history.
	apply, idle, long map[string][]sample
	// look are samples of only looking at the files of the long history.
	look []sample
	// writes are durable writes by tool, of one apply, or what stands for them.
	writes map[string]float64
	unit   string
}

// idleRuns is how often a run with nothing to do is measured in a round; it is
// short, so that once tells little.
const idleRuns = 5

func measure(ctx context.Context, o options, bin string, db database, dir string, log io.Writer) (*result, error) {
	r := &result{
		database: db.title(), unit: db.unit(), apply: map[string][]sample{}, idle: map[string][]sample{}, long: map[string][]sample{},
		writes: map[string]float64{},
	}
	r.tools = db.tools()
	list := slices.DeleteFunc(tools(bin), func(t tool) bool { return !slices.Contains(r.tools, t.name) })
	m := &measurer{bin: bin, db: db, dir: dir}
	for round := range o.rounds {
		_, _ = fmt.Fprintf(log, "%s: applying %d changes and finding nothing to do, round %d of %d\n", db.title(), o.changes, round+1, o.rounds)
		if err := m.round(ctx, o, list, r); err != nil {
			return nil, err
		}
		// Another one is the first of the next round, after what making the places
		// has left to do for the disk.
		list = append(slices.Clone(list[1:]), list[0])
	}
	_, _ = fmt.Fprintf(log, "%s: counting %s\n", db.title(), r.unit)
	for _, t := range list {
		n, err := m.writes(ctx, t, o.changes)
		if err != nil {
			return nil, err
		}
		r.writes[t.name] = n / float64(o.changes)
	}
	_, _ = fmt.Fprintf(log, "%s: applying %d changes, then finding nothing to do\n", db.title(), o.history)
	return r, m.history(ctx, o, list, r)
}

// measurer makes places for tools to work in.
type measurer struct {
	bin   string
	db    database
	dir   string
	count int
}

// place is an empty database and the files of a tool.
func (m *measurer) place(ctx context.Context, t tool, n int) (string, instance, error) {
	m.count++
	dir := filepath.Join(m.dir, fmt.Sprintf("%s-%d-%s", m.db.title(), m.count, t.name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", instance{}, fmt.Errorf("make a folder: %w", err)
	}
	in, err := m.db.create(ctx, dir)
	if err != nil {
		return "", in, err
	}
	return dir, in, t.write(dir, in, n)
}

func (m *measurer) round(ctx context.Context, o options, list []tool, r *result) error {
	type place struct {
		dir string
		in  instance
	}
	places := map[string]place{}
	for _, t := range list {
		dir, in, err := m.place(ctx, t, o.changes)
		if err != nil {
			return err
		}
		places[t.name] = place{dir, in}
	}
	for _, t := range list {
		p := places[t.name]
		s, err := t.start(ctx, m.bin, p.dir, p.in)
		if err != nil {
			return err
		}
		if err := m.db.check(ctx, p.in, o.changes-1); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		r.apply[t.name] = append(r.apply[t.name], s)
	}
	for range idleRuns {
		for _, t := range list {
			p := places[t.name]
			s, err := t.start(ctx, m.bin, p.dir, p.in)
			if err != nil {
				return err
			}
			r.idle[t.name] = append(r.idle[t.name], s)
		}
	}
	for _, t := range list {
		p := places[t.name]
		if err := m.db.check(ctx, p.in, o.changes-1); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if err := m.db.drop(ctx, p.in); err != nil {
			return err
		}
	}
	return nil
}

// writes counts the durable writes of one apply. It is a run of its own, because
// counting may slow it down.
func (m *measurer) writes(ctx context.Context, t tool, n int) (float64, error) {
	dir, in, err := m.place(ctx, t, n)
	if err != nil {
		return 0, err
	}
	count, err := m.db.countWrites(ctx, in, func() error {
		_, err := t.start(ctx, m.bin, dir, in)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.name, err)
	}
	return count, m.db.drop(ctx, in)
}

// history measures runs with nothing to do after many changes.
func (m *measurer) history(ctx context.Context, o options, list []tool, r *result) error {
	dirs, ins := map[string]string{}, map[string]instance{}
	for _, t := range list {
		dir, in, err := m.place(ctx, t, o.history)
		if err != nil {
			return err
		}
		dirs[t.name], ins[t.name] = dir, in
		if _, err := t.start(ctx, m.bin, dir, in); err != nil {
			return err
		}
	}
	for range o.rounds * idleRuns {
		for _, t := range list {
			s, err := t.start(ctx, m.bin, dirs[t.name], ins[t.name])
			if err != nil {
				return err
			}
			r.long[t.name] = append(r.long[t.name], s)
		}
		s, err := looker(m.bin).start(ctx, m.bin, dirs["flamingock"], ins["flamingock"])
		if err != nil {
			return err
		}
		r.look = append(r.look, s)
	}
	for _, t := range list {
		if err := m.db.check(ctx, ins[t.name], o.history-1); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if err := m.db.drop(ctx, ins[t.name]); err != nil {
			return err
		}
	}
	return nil
}
