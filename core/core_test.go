package core_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/run"
)

// service is a service that has only Go changes.
type service struct {
	t    *testing.T
	dir  string
	db   *sql.DB
	list []core.Change
	cfg  core.Config
}

func newService(t *testing.T) *service {
	t.Helper()
	dir := t.TempDir()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "app.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &service{t: t, dir: dir, db: db}
}

func exec(q string) func(context.Context, change.Tx) error {
	return func(ctx context.Context, tx change.Tx) error {
		_, err := tx.SQL().ExecContext(ctx, q)
		return err
	}
}

func (s *service) add(id, order, apply, rollback string) *core.Change {
	c := core.Change{ID: id, Order: order, TargetSystem: "db", Func: change.Func{Apply: exec(apply)}}
	if rollback != "" {
		c.Rollback = exec(rollback)
	}
	s.list = append(s.list, c)
	return &s.list[len(s.list)-1]
}

// engine makes an engine as the service would at its start.
func (s *service) engine() *core.Engine {
	s.t.Helper()
	cfg := s.cfg
	cfg.Root = s.dir
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Stages = []core.Stage{{Name: "main", Changes: slices.Clone(s.list)}}
	cfg.Targets = []core.Target{{ID: "db", SQL: s.db, Dialect: "sqlite"}}
	e, err := core.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
	return e
}

func (s *service) tables() string {
	s.t.Helper()
	var names sql.NullString
	err := s.db.QueryRowContext(s.t.Context(), "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'flamingock%' ORDER BY name)").Scan(&names)
	if err != nil {
		s.t.Fatal(err)
	}
	return names.String
}

func TestGoChanges(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add("second", "0002", "CREATE TABLE b (id INTEGER)", "DROP TABLE b")
	s.add("first", "0001", "CREATE TABLE a (id INTEGER)", "DROP TABLE a")
	r, err := s.engine().Apply(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, c := range r.Stages[0].Changes {
		order = append(order, c.ID+" "+string(c.Status))
	}
	if want := []string{"first APPLIED", "second APPLIED"}; !slices.Equal(order, want) {
		t.Errorf("got %v", order)
	}
	if got := s.tables(); got != "a b" {
		t.Errorf("tables: %s", got)
	}
	r, err = s.engine().Apply(t.Context(), nil)
	if err != nil || r.Outcome != run.OutcomeNothingToDo || !r.Fingerprinted {
		t.Errorf("second start: %+v, %v", r, err)
	}

	// A third change that fails takes nothing with it.
	s.list = append(s.list, core.Change{ID: "third", Order: "0003", TargetSystem: "db", Func: change.Func{
		Apply: func(ctx context.Context, tx change.Tx) error {
			if _, err := tx.SQL().ExecContext(ctx, "CREATE TABLE c (id INTEGER)"); err != nil {
				return err
			}
			return errors.New("the disk is full")
		},
	}})
	r, err = s.engine().Apply(t.Context(), nil)
	var ce *run.ChangeError
	if !errors.As(err, &ce) || ce.ChangeID != "third" || ce.Status != run.StatusRolledBack || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := s.tables(); got != "a b" {
		t.Errorf("tables: %s", got)
	}
	s.list = s.list[:2]
	if _, err := s.engine().Undo(t.Context(), run.Selection{LastExecution: true}); err != nil {
		t.Fatal(err)
	}
	if got := s.tables(); got != "" {
		t.Errorf("tables after the undo: %s", got)
	}
}

func TestPanicInAGoChangeIsAFailure(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.list = append(s.list, core.Change{ID: "boom", Order: "0001", TargetSystem: "db", Func: change.Func{
		Apply: func(context.Context, change.Tx) error { panic("at the disco") },
	}})
	_, err := s.engine().Apply(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "panic: at the disco") {
		t.Errorf("got %v", err)
	}
}

func TestGoChangeWithoutTransactionIsProbed(t *testing.T) {
	t.Parallel()
	s := newService(t)
	done := 0
	s.list = append(s.list, core.Change{
		ID: "outside", Order: "0001", TargetSystem: "db", NonTransactional: true,
		Func: change.Func{
			Apply: func(_ context.Context, tx change.Tx) error {
				if tx.SQL() != nil {
					t.Error("it got a transaction")
				}
				done++
				return nil
			},
			Probe: func(context.Context, change.Tx) (bool, error) { return done > 0, nil },
		},
	})
	if _, err := s.engine().Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var states []string
	for e, err := range s.engine().History(t.Context(), audit.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, string(e.State)+" "+string(e.TxStrategy))
	}
	if want := []string{"STARTED NON_TX", "APPLIED NON_TX"}; !slices.Equal(states, want) || done != 1 {
		t.Errorf("got %v, done %d times", states, done)
	}
}

func TestRepeatable(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.add("views", "0001", "CREATE TABLE IF NOT EXISTS v (id INTEGER)", "")
	c.RunPolicy, c.Version = change.OnChange, "1"
	apply := func() *run.Report {
		t.Helper()
		r, err := s.engine().Apply(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := apply(); r.Counts()[run.StatusApplied] != 1 {
		t.Errorf("first: %v", r)
	}
	if r := apply(); r.Outcome != run.OutcomeNothingToDo {
		t.Errorf("same version: %v", r)
	}
	s.list[0].Version = "2"
	if r := apply(); r.Counts()[run.StatusApplied] != 1 {
		t.Errorf("new version: %v", r)
	}
	s.list[0].RunPolicy = change.Always
	for range 2 {
		if r := apply(); r.Counts()[run.StatusApplied] != 1 {
			t.Errorf("always: %v", r)
		}
	}
}

func TestPlanStatusIssuesLock(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add("a", "0001", "CREATE TABLE a (id INTEGER)", "")
	e := s.engine()
	p, err := e.Plan(t.Context(), nil)
	if err != nil || p.Pending() != 1 || p.Stages[0].Changes[0].Why != "never run" || p.Stages[0].Changes[0].Reversible {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := e.Apply(t.Context(), &core.ApplyOptions{Tag: "v1"}); err != nil {
		t.Fatal(err)
	}
	st, err := e.Status(t.Context())
	if err != nil || st.Stages[0].Changes[0].State != "APPLIED" || st.Lock != nil || len(st.Orphans) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if issues, err := e.Issues(t.Context()); err != nil || len(issues) != 0 {
		t.Errorf("%v, %v", issues, err)
	}
	if _, err := e.Fix(t.Context(), core.Fix{ChangeID: "a"}); !errors.Is(err, core.ErrNoIssue) {
		t.Errorf("got %v", err)
	}
	if h, err := e.Lock(t.Context()); err != nil || h != nil {
		t.Errorf("%v, %v", h, err)
	}
	if h, err := e.BreakLock(t.Context()); err != nil || h != nil {
		t.Errorf("%v, %v", h, err)
	}
	if _, err := e.Undo(t.Context(), run.Selection{ToTag: "v1"}); err != nil {
		t.Errorf("undo to the tag of now: %v", err)
	}
	if got := s.tables(); got != "a" {
		t.Errorf("tables: %s", got)
	}
}

func TestBadGoChanges(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add("a", "0001", "SELECT 1", "")
	s.add("a", "0002", "SELECT 1", "")
	s.add("b", "0002", "SELECT 1", "").TargetSystem = "elsewhere"
	problems, err := s.engine().Validate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, d := range problems {
		codes = append(codes, d.Code)
	}
	slices.Sort(codes)
	if want := []string{"duplicate-id", "duplicate-order", "unknown-target"}; !slices.Equal(codes, want) {
		t.Errorf("got %v", problems)
	}
	_, err = s.engine().Apply(t.Context(), nil)
	if err == nil || !strings.HasPrefix(err.Error(), "3 problems found; nothing was run") {
		t.Errorf("got %v", err)
	}
	if _, err := core.New(core.Config{}); err == nil {
		t.Error("an engine without stages was made")
	}
}
