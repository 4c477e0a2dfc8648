package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/flamingock/flamingock-go/plugin/sdk/internal/shape"
)

// driver is a DriverSpec whose types are hidden.
type driver interface {
	info() *driverInfo
	// open connects; values are the configuration as JSON, references resolved.
	open(ctx context.Context, values []byte) (connection, error)
}

type driverInfo struct {
	typ           string
	aliases       []string
	summary       string
	schema        json.RawMessage
	transactional bool
	ready         bool
	conn          reflect.Type
	problems      []error
}

// connection is an open target system.
type connection interface {
	value() any
	health(ctx context.Context) error
	ready(ctx context.Context, steps []PendingStep) error
	close(ctx context.Context) error
	transact(ctx context.Context, w Transaction, fn func(ctx context.Context, tx any) (Captured, error)) error
	noTransactions() string
	markers(ctx context.Context, f Fence, changeIDs []string) ([]Marker, error)
	defers() bool
	flush(ctx context.Context) error
}

// NewDriver returns the driver that spec describes. What is wrong with spec is
// told by Plugin.Validate.
func NewDriver[C, T any](spec DriverSpec[C, T]) Driver {
	d := &typedDriver[C, T]{spec: spec, meta: driverInfo{
		typ:           spec.Type,
		aliases:       spec.Aliases,
		summary:       spec.Summary,
		transactional: spec.Transactor != nil,
		ready:         spec.Ready != nil,
		conn:          reflect.TypeFor[T](),
	}}
	var err error
	if d.config, err = newShaped[C](); err != nil {
		d.meta.problems = append(d.meta.problems, fmt.Errorf("configuration: %w", err))
	}
	if spec.Open == nil {
		d.meta.problems = append(d.meta.problems, errNoFunction("Open"))
	}
	d.meta.schema = configSchema(d.config)
	return Driver{d}
}

// configSchema returns the schema of a configuration, which is always an object.
func configSchema[C any](s shaped[C]) json.RawMessage {
	if s.typ == nil {
		return nil // its problems are reported
	}
	return s.typ.Schema()
}

func errNoFunction(name string) error { return fmt.Errorf("the function %s is missing", name) }

type typedDriver[C, T any] struct {
	spec   DriverSpec[C, T]
	meta   driverInfo
	config shaped[C]
}

func (d *typedDriver[C, T]) info() *driverInfo { return &d.meta }

func (d *typedDriver[C, T]) open(ctx context.Context, values []byte) (connection, error) {
	cfg, problems := d.config.decode(values, false)
	if len(problems) > 0 {
		return nil, invalidConfig(problems)
	}
	var conn T
	err := guarded(ctx, "Open of driver "+d.spec.Type, func() (err error) {
		conn, err = d.spec.Open(ctx, cfg)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &typedConnection[T]{
		typ: d.spec.Type, conn: conn, checkHealth: d.spec.Health, checkReady: d.spec.Ready, free: d.spec.Close, transactor: d.spec.Transactor,
		lacks: d.spec.NoTransactions,
	}, nil
}

// invalidConfig says what is wrong with a configuration.
func invalidConfig(problems []shape.Problem) error {
	return Errorf(Invalid, "the configuration is not right: %w", &shape.ProblemsError{Problems: problems})
}

type typedConnection[T any] struct {
	typ         string
	conn        T
	checkHealth func(ctx context.Context, conn T) error
	checkReady  func(ctx context.Context, conn T, steps []PendingStep) error
	free        func(ctx context.Context, conn T) error
	transactor  Transactor[T]
	lacks       func(conn T) string
}

func (c *typedConnection[T]) value() any { return c.conn }

func (c *typedConnection[T]) health(ctx context.Context) error {
	if c.checkHealth == nil {
		return nil
	}
	return guarded(ctx, "Health of driver "+c.typ, func() error { return c.checkHealth(ctx, c.conn) })
}

func (c *typedConnection[T]) ready(ctx context.Context, steps []PendingStep) error {
	if c.checkReady == nil {
		return nil
	}
	return guarded(ctx, "Ready of driver "+c.typ, func() error { return c.checkReady(ctx, c.conn, steps) })
}

func (c *typedConnection[T]) close(ctx context.Context) error {
	if c.free == nil {
		return nil
	}
	return guarded(ctx, "Close of driver "+c.typ, func() error { return c.free(ctx, c.conn) })
}

func (c *typedConnection[T]) transact(ctx context.Context, w Transaction, fn func(ctx context.Context, tx any) (Captured, error)) error {
	if c.transactor == nil {
		return Errorf(Unsupported, "target systems of type %s have no transactions", c.typ)
	}
	if reason := c.noTransactions(); reason != "" {
		return Errorf(Unsupported, "the target system has no transactions: %s", reason)
	}
	return guarded(ctx, "Transact of driver "+c.typ, func() error {
		return c.transactor.Transact(ctx, c.conn, w, func(ctx context.Context, tx T) (Captured, error) { return fn(ctx, tx) })
	})
}

func (c *typedConnection[T]) markers(ctx context.Context, f Fence, changeIDs []string) (found []Marker, err error) {
	if c.transactor == nil {
		return nil, Errorf(Unsupported, "target systems of type %s have no markers", c.typ)
	}
	err = guarded(ctx, "Markers of driver "+c.typ, func() (err error) {
		found, err = c.transactor.Markers(ctx, c.conn, f, changeIDs)
		return err
	})
	return found, err
}

func (c *typedConnection[T]) defers() bool {
	d, ok := c.transactor.(Deferrer[T])
	return ok && d.Defers(c.conn)
}

func (c *typedConnection[T]) flush(ctx context.Context) error {
	d, ok := c.transactor.(Deferrer[T])
	if !ok {
		return nil
	}
	return guarded(ctx, "Flush of driver "+c.typ, func() error { return d.Flush(ctx, c.conn) })
}

func (c *typedConnection[T]) noTransactions() string {
	if c.transactor == nil || c.lacks == nil {
		return ""
	}
	return c.lacks(c.conn)
}
