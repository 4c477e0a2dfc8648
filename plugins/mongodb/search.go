package mongodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// SearchIndex is the payload of createSearchIndex and updateSearchIndex.
type SearchIndex struct {
	Collection Name         `json:"collection"`
	Name       string       `json:"name"`
	SearchType string       `json:"searchType,omitempty" enum:"search,vectorSearch" default:"search"`
	Definition Document     `json:"definition"`
	Timeout    sdk.Duration `json:"timeout,omitempty" default:"30m" desc:"how long to wait until queries can use it"`
}

// DropSearchIndex is the payload of dropSearchIndex.
type DropSearchIndex struct {
	Collection Name         `json:"collection"`
	Name       string       `json:"name"`
	Timeout    sdk.Duration `json:"timeout,omitempty" default:"30m" desc:"how long to wait until it is gone"`
}

// searchIndex is a search index as the server describes it.
type searchIndex struct {
	Name             string `bson:"name"`
	Type             string `bson:"type"`
	Status           string `bson:"status"`
	Queryable        bool   `bson:"queryable"`
	LatestDefinition bson.D `bson:"latestDefinition"`
}

// searchIndex returns a search index; nil where it is not there.
func (c *Conn) searchIndex(ctx context.Context, collection Name, name string) (*searchIndex, error) {
	cursor, err := c.db.Collection(string(collection)).Aggregate(ctx,
		bson.A{bson.D{{Key: "$listSearchIndexes", Value: bson.D{{Key: "name", Value: name}}}}})
	if err != nil {
		return nil, searchFailure("look for search index "+name, err)
	}
	var list []searchIndex
	if err := cursor.All(ctx, &list); err != nil {
		return nil, searchFailure("look for search index "+name, err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return &list[0], nil
}

// searchFailure explains a server without search.
func searchFailure(what string, err error) error {
	err = failure(what, err)
	var e *sdk.Error
	var command mongo.CommandError
	if errors.As(err, &e) && errors.As(err, &command) {
		switch command.Code {
		case 31082, 40324, 59, 115: // SearchNotEnabled, unrecognized stage, CommandNotFound, CommandNotSupported
			e.Code, e.Hint = sdk.Unsupported, "search indexes need Atlas, or a server with mongot"
		}
	}
	return err
}

// await waits until done says so.
func await(ctx context.Context, what string, timeout sdk.Duration, done func(ctx context.Context) (bool, error)) error {
	limit := timeout.Std()
	if limit <= 0 {
		limit = 30 * time.Minute
	}
	for begin := time.Now(); ; {
		ok, err := done(ctx)
		if err != nil || ok {
			return err
		}
		if time.Since(begin) > limit {
			return &sdk.Error{
				Code: sdk.Transient, Part: -1, Message: fmt.Sprintf("%s: it is not done after %s", what, limit),
				Hint: "the server goes on; run apply again later, or raise timeout",
			}
		}
		if err := pause(ctx, waitEvery); err != nil {
			return failure(what, err)
		}
	}
}

// ready waits until a search index can be queried.
func (c *Conn) ready(ctx context.Context, collection Name, name string, timeout sdk.Duration) error {
	what := "wait for search index " + name
	return await(ctx, what, timeout, func(ctx context.Context) (bool, error) {
		x, err := c.searchIndex(ctx, collection, name)
		if err != nil || x == nil {
			return false, err
		}
		if x.Status == "FAILED" {
			return false, sdk.Errorf(sdk.Invalid, "%s: the server says FAILED", what)
		}
		return x.Queryable && x.Status != "BUILDING" && x.Status != "PENDING", nil
	})
}

// searchBefore is the captured state of operations on search indexes.
type searchBefore struct {
	Existed    bool   `bson:"existed"`
	Type       string `bson:"type"`
	Definition bson.D `bson:"definition"`
}

func captureSearch(ctx context.Context, c *Conn, collection Name, name string) ([]byte, error) {
	x, err := c.searchIndex(ctx, collection, name)
	if err != nil || x == nil {
		return must(keep(searchBefore{}))(err)
	}
	return keep(searchBefore{true, x.Type, x.LatestDefinition})
}

func (c *Conn) makeSearchIndex(ctx context.Context, collection Name, name, kind string, definition bson.D) error {
	index := bson.D{{Key: "name", Value: name}, {Key: "definition", Value: definition}}
	if kind != "" {
		index = append(index, bson.E{Key: "type", Value: kind})
	}
	return searchFailure("create search index "+name, c.run(ctx, bson.D{
		{Key: "createSearchIndexes", Value: string(collection)}, {Key: "indexes", Value: bson.A{index}},
	}))
}

func (c *Conn) changeSearchIndex(ctx context.Context, collection Name, name string, definition bson.D) error {
	return searchFailure("update search index "+name, c.run(ctx, bson.D{
		{Key: "updateSearchIndex", Value: string(collection)}, {Key: "name", Value: name}, {Key: "definition", Value: definition},
	}))
}

func (c *Conn) removeSearchIndex(ctx context.Context, collection Name, name string, timeout sdk.Duration) error {
	there, err := c.searchIndex(ctx, collection, name)
	if err != nil || there == nil {
		return err
	}
	if err := searchFailure("drop search index "+name, c.run(ctx, bson.D{
		{Key: "dropSearchIndex", Value: string(collection)}, {Key: "name", Value: name},
	})); err != nil {
		return err
	}
	return await(ctx, "wait until search index "+name+" is gone", timeout, func(ctx context.Context) (bool, error) {
		x, err := c.searchIndex(ctx, collection, name)
		return x == nil, err
	})
}

// probeSearch tells whether a search index is there as it is wanted.
func probeSearch(ctx context.Context, c *Conn, p *SearchIndex) (sdk.Evidence, error) {
	x, err := c.searchIndex(ctx, p.Collection, p.Name)
	switch {
	case err != nil:
		return sdk.Evidence{}, err
	case x == nil:
		return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is not there"}, nil
	}
	if ok, key := within(p.Definition.D, x.LatestDefinition); !ok {
		return sdk.Evidence{Detail: "it is there with another " + key}, nil
	}
	if !x.Queryable {
		return sdk.Evidence{Kind: sdk.Partly, Detail: "it is " + x.Status}, nil
	}
	return sdk.Evidence{Kind: sdk.Applied, Detail: "it is there and can be queried"}, nil
}

func createSearchIndex() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, SearchIndex]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, SearchIndex]{
		Type: "createSearchIndex", Summary: "makes a search or vector search index and waits until it can be queried", NotTransactional: ddl,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("create search index %s on %s: %s", s.Payload.Name, s.Payload.Collection, s.Payload.Definition.text())}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			return probeSearch(ctx, c, &s.Payload)
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureSearch(ctx, c, s.Payload.Collection, s.Payload.Name)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			there, err := c.searchIndex(ctx, p.Collection, p.Name)
			if err != nil {
				return cleanly(err)
			}
			if there == nil {
				if err := c.makeSearchIndex(ctx, p.Collection, p.Name, p.SearchType, p.Definition.D); err != nil {
					return cleanly(err)
				}
			} else if ok, key := within(p.Definition.D, there.LatestDefinition); !ok {
				return &sdk.Error{
					Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("search index %s is there already, with another %s", p.Name, key),
					Hint: "updateSearchIndex changes it",
				}
			}
			return c.ready(ctx, p.Collection, p.Name, p.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[searchBefore](state)
			if err != nil || before.Existed {
				return err
			}
			return c.removeSearchIndex(ctx, s.Payload.Collection, s.Payload.Name, s.Payload.Timeout)
		},
	})
}

func updateSearchIndex() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, SearchIndex]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, SearchIndex]{
		Type: "updateSearchIndex", Summary: "gives a search index another definition and waits until it can be queried", NotTransactional: ddl,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("update search index %s on %s: %s", s.Payload.Name, s.Payload.Collection, s.Payload.Definition.text())}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			e, err := probeSearch(ctx, c, &s.Payload)
			if e.Kind == sdk.Unknown && err == nil {
				e.Kind = sdk.NotApplied
			}
			return e, err
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureSearch(ctx, c, s.Payload.Collection, s.Payload.Name)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			if err := c.changeSearchIndex(ctx, p.Collection, p.Name, p.Definition.D); err != nil {
				return cleanly(err)
			}
			return c.ready(ctx, p.Collection, p.Name, p.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[searchBefore](state)
			if err != nil || !before.Existed {
				return err
			}
			if err := c.changeSearchIndex(ctx, s.Payload.Collection, s.Payload.Name, before.Definition); err != nil {
				return err
			}
			return c.ready(ctx, s.Payload.Collection, s.Payload.Name, s.Payload.Timeout)
		},
	})
}

func dropSearchIndex() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DropSearchIndex]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DropSearchIndex]{
		Type: "dropSearchIndex", Removes: true, Summary: "drops a search index and waits until it is gone", NotTransactional: ddl,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("drop search index %s of %s", s.Payload.Name, s.Payload.Collection)}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			x, err := c.searchIndex(ctx, s.Payload.Collection, s.Payload.Name)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if x == nil {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is not there"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureSearch(ctx, c, s.Payload.Collection, s.Payload.Name)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return cleanly(c.removeSearchIndex(ctx, s.Payload.Collection, s.Payload.Name, s.Payload.Timeout))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[searchBefore](state)
			if err != nil || !before.Existed {
				return err
			}
			there, err := c.searchIndex(ctx, s.Payload.Collection, s.Payload.Name)
			if err != nil {
				return err
			}
			if there == nil {
				if err := c.makeSearchIndex(ctx, s.Payload.Collection, s.Payload.Name, before.Type, before.Definition); err != nil {
					return err
				}
			}
			return c.ready(ctx, s.Payload.Collection, s.Payload.Name, s.Payload.Timeout)
		},
	})
}
