// Package memory is a plugin whose target systems are maps in memory. It shows
// what a plugin looks like, and tests of the SDK and of hosts use it.
//
// Its parts are specs, so that a test can change one function of one of them.
package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Server holds databases, which outlive the connections to them.
type Server struct {
	mu        sync.Mutex
	databases map[string]*database
	trails    map[string]*trail
}

// NewServer returns one without databases.
func NewServer() *Server {
	return &Server{databases: map[string]*database{}, trails: map[string]*trail{}}
}

// Plugin returns the whole plugin.
func (s *Server) Plugin() *sdk.Plugin {
	return &sdk.Plugin{
		Name:    "memory",
		Version: "1.0.0",
		Summary: "Keeps texts by key in memory.",
		Drivers: []sdk.Driver{sdk.NewDriver(s.Driver()), sdk.NewDriver(s.TxDriver())},
		Stores:  []sdk.StoreDriver{sdk.NewStore(s.Store())},
		Templates: []sdk.Template{
			sdk.NewTemplate(Entry()),
			sdk.NewTemplate(Script()),
		},
	}
}

// Config is the configuration of a target system.
type Config struct {
	Name     string     `json:"name" desc:"name of the database" pattern:"^[A-Za-z0-9/_-]+$"`
	Password sdk.Secret `json:"password,omitempty" desc:"not looked at"`
}

// Driver is the target system "memory", without transactions.
func (s *Server) Driver() sdk.DriverSpec[Config, *Conn] {
	return sdk.DriverSpec[Config, *Conn]{
		Type:    "memory",
		Aliases: []string{"map"},
		Summary: "A map in memory.",
		Open: func(_ context.Context, cfg Config) (*Conn, error) {
			return &Conn{db: s.database(cfg.Name)}, nil
		},
		Close: func(context.Context, *Conn) error { return nil },
	}
}

// TxDriver is the target system "memory-tx", with transactions.
func (s *Server) TxDriver() sdk.DriverSpec[Config, *Conn] {
	d := s.Driver()
	d.Type, d.Aliases, d.Summary = "memory-tx", nil, "A map in memory, with transactions."
	d.Transactor = Transactor{}
	return d
}

// database is one map.
type database struct {
	// tx is held by the transaction under way.
	tx sync.Mutex

	mu      sync.Mutex
	values  map[string]string
	fences  map[string]int64
	markers []sdk.Marker
}

func (s *Server) database(name string) *database {
	s.mu.Lock()
	defer s.mu.Unlock()
	db := s.databases[name]
	if db == nil {
		db = &database{values: map[string]string{}, fences: map[string]int64{}}
		s.databases[name] = db
	}
	return db
}

// Conn is a connection, or a transaction.
type Conn struct {
	db *database
	// tx holds the values as the transaction sees them; nil outside one.
	tx map[string]string
}

// Get returns the value of key.
func (c *Conn) Get(key string) (string, bool) {
	if c.tx != nil {
		v, ok := c.tx[key]
		return v, ok
	}
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	v, ok := c.db.values[key]
	return v, ok
}

// Set sets the value of key, or deletes it where value is nil.
func (c *Conn) Set(key string, value *string) {
	values := c.tx
	if values == nil {
		c.db.mu.Lock()
		defer c.db.mu.Unlock()
		values = c.db.values
	}
	if value == nil {
		delete(values, key)
		return
	}
	values[key] = *value
}

// Transactor commits changes together with their markers.
type Transactor struct{}

// Transact implements sdk.Transactor.
func (Transactor) Transact(ctx context.Context, conn *Conn, w sdk.Transaction, fn func(ctx context.Context, tx *Conn) (sdk.Captured, error)) error {
	db := conn.db
	db.tx.Lock()
	defer db.tx.Unlock()
	if err := db.raise(w.Fence); err != nil {
		return err
	}
	db.mu.Lock()
	tx := &Conn{db: db, tx: maps.Clone(db.values)}
	db.mu.Unlock()
	captured, err := fn(ctx, tx)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.values = tx.tx
	db.markers = slices.DeleteFunc(db.markers, func(m sdk.Marker) bool { return m.ChangeID == w.ChangeID })
	db.markers = append(db.markers, sdk.Marker{
		ChangeID: w.ChangeID, ExecutionID: w.ExecutionID, Token: w.Fence.Token,
		RolledBack: w.RolledBack, Captured: captured,
	})
	return nil
}

// Markers implements sdk.Transactor.
func (Transactor) Markers(_ context.Context, conn *Conn, f sdk.Fence, changeIDs []string) ([]sdk.Marker, error) {
	db := conn.db
	db.tx.Lock() // waits for a transaction that checked a lower token
	defer db.tx.Unlock()
	if err := db.raise(f); err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	var found []sdk.Marker
	for _, m := range db.markers {
		if slices.Contains(changeIDs, m.ChangeID) {
			found = append(found, m)
		}
	}
	return found, nil
}

// raise lifts the fence, or refuses a token below it.
func (db *database) raise(f sdk.Fence) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if seen := db.fences[f.Scope]; f.Token < seen {
		return fmt.Errorf("token %d after %d: %w", f.Token, seen, sdk.ErrFenced)
	}
	db.fences[f.Scope] = f.Token
	return nil
}

// EntryPayload is one key.
type EntryPayload struct {
	Key   string  `json:"key" desc:"the key" pattern:"^[a-z0-9.-]+$"`
	Value *string `json:"value" desc:"what it is set to; left out to delete the key"`
	// Takes makes it slow.
	Takes sdk.Duration `json:"takes" default:"0s" desc:"how long setting it takes"`
	Retry int          `json:"retry,omitempty" minimum:"0" maximum:"5" desc:"not looked at"`
}

// Entry is the template "memory-entry": it sets or deletes one key, and can look
// whether it did and undo it.
func Entry() sdk.TemplateSpec[*Conn, sdk.None, EntryPayload] {
	type step = sdk.Step[sdk.None, EntryPayload]
	return sdk.TemplateSpec[*Conn, sdk.None, EntryPayload]{
		Name:         "memory-entry",
		Summary:      "Sets or deletes one key.",
		SealCaptured: true,
		Check: func(c *sdk.Check[sdk.None, EntryPayload]) {
			for _, s := range c.Steps {
				if s.Apply.Value != nil && *s.Apply.Value == "" {
					c.Report(sdk.Diagnostic{
						Severity: sdk.SeverityWarning, Field: sdk.FieldApply, Step: s.Index, Path: "/value",
						Code: "empty-value", Summary: "the value is empty", Fix: "leave it out to delete the key",
					})
				}
			}
		},
		Preview: func(_ context.Context, conn *Conn, s *step) (sdk.Preview, error) {
			p := sdk.Preview{Lines: []string{s.Payload.line()}}
			if was, ok := conn.Get(s.Payload.Key); ok {
				p.Notes = []string{fmt.Sprintf("%s is %q now", s.Payload.Key, was)}
			}
			return p, nil
		},
		Probe: func(_ context.Context, conn *Conn, s *step) (sdk.Evidence, error) {
			value, ok := conn.Get(s.Payload.Key)
			if want := s.Payload.Value; ok == (want != nil) && (!ok || value == *want) {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the key is as it should be"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the key is not as it should be"}, nil
		},
		Capture: func(_ context.Context, conn *Conn, s *step) ([]byte, error) {
			var was captured
			if value, ok := conn.Get(s.Payload.Key); ok {
				was.Value = &value
			}
			return json.Marshal(was)
		},
		Apply: func(ctx context.Context, conn *Conn, s *step) error {
			sdk.Logger(ctx).Info("setting a key", "key", s.Payload.Key)
			s.Progress(0, 1, "setting "+s.Payload.Key)
			if err := take(ctx, s); err != nil {
				return err
			}
			conn.Set(s.Payload.Key, s.Payload.Value)
			s.Progress(1, 1, "set "+s.Payload.Key)
			return nil
		},
		Inverse: func(_ context.Context, conn *Conn, s *step, state []byte) error {
			var was captured
			if err := json.Unmarshal(state, &was); err != nil {
				return fmt.Errorf("read captured state: %w", err)
			}
			conn.Set(s.Payload.Key, was.Value)
			return nil
		},
	}
}

// take lets a slow step take its time, which it saves the end of.
func take(ctx context.Context, s *sdk.Step[sdk.None, EntryPayload]) error {
	left := s.Payload.Takes.Std()
	if left <= 0 {
		return ctx.Err()
	}
	var end time.Time
	if s.Saved == nil || s.RollingBack {
		end = time.Now().Add(left)
		state, err := end.MarshalText()
		if err != nil {
			return fmt.Errorf("encode the time: %w", err)
		}
		if err := s.Save(ctx, state); err != nil {
			return err
		}
	} else if err := end.UnmarshalText(s.Saved); err != nil {
		return fmt.Errorf("read what was saved: %w", err)
	}
	return sleep(ctx, time.Until(end))
}

// captured is the state before an entry was set.
type captured struct {
	Value *string `json:"value"`
}

func (p *EntryPayload) line() string {
	if p.Value == nil {
		return "delete " + p.Key
	}
	return fmt.Sprintf("set %s to %q", p.Key, *p.Value)
}

// sleep returns when d has passed or ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
