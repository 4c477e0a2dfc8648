package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// storeDriver is a StoreSpec whose type is hidden.
type storeDriver interface {
	info() *storeInfo
	// open connects; values are the configuration as JSON, references resolved.
	open(ctx context.Context, id string, values []byte, zone *time.Location) (store.Store, error)
}

type storeInfo struct {
	typ      string
	aliases  []string
	summary  string
	schema   json.RawMessage
	problems []error
}

// NewStore returns the audit store that spec describes. What is wrong with spec
// is told by Plugin.Validate.
func NewStore[C any](spec StoreSpec[C]) StoreDriver {
	s := &typedStore[C]{spec: spec, meta: storeInfo{typ: spec.Type, aliases: spec.Aliases, summary: spec.Summary}}
	var err error
	if s.config, err = newShaped[C](); err != nil {
		s.meta.problems = append(s.meta.problems, fmt.Errorf("configuration: %w", err))
	}
	if spec.Open == nil {
		s.meta.problems = append(s.meta.problems, errNoFunction("Open"))
	}
	s.meta.schema = configSchema(s.config)
	return StoreDriver{s}
}

type typedStore[C any] struct {
	spec   StoreSpec[C]
	meta   storeInfo
	config shaped[C]
}

func (s *typedStore[C]) info() *storeInfo { return &s.meta }

func (s *typedStore[C]) open(ctx context.Context, id string, values []byte, zone *time.Location) (opened store.Store, err error) {
	cfg, problems := s.config.decode(values, false)
	if len(problems) > 0 {
		return nil, invalidConfig(problems)
	}
	err = guarded(ctx, "Open of store "+s.spec.Type, func() (err error) {
		opened, err = s.spec.Open(ctx, store.Config[C]{ID: id, Values: cfg, Zone: zone})
		return err
	})
	if err == nil && opened == nil {
		return nil, errors.New("store bug: Open returned neither a store nor an error")
	}
	return opened, err
}
