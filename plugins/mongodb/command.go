package mongodb

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Command is the payload of runCommand and adminCommand.
type Command struct {
	Command Document `json:"command" desc:"the command's name first, then its parameters, in order"`
}

func runCommand() sdk.Operation[*Conn] {
	return commanding("runCommand", "runs a command on the database", func(c *Conn) string { return c.db.Name() })
}

func adminCommand() sdk.Operation[*Conn] {
	return commanding("adminCommand", "runs a command on the database admin", func(*Conn) string { return "admin" })
}

func commanding(kind, summary string, on func(*Conn) string) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Command]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Command]{
		Type: kind, Summary: summary, NotTransactional: "what a command does is not known beforehand",
		Check: func(c *sdk.Check[sdk.None, Command]) {
			for _, s := range c.Steps {
				if s.Apply.Command.empty() {
					c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: s.Index, Path: "/command", Code: "no-command", Summary: "there is no command in it"})
				}
			}
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("on %s: %s", on(c), s.Payload.Command.text())}}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			name := s.Payload.Command.D[0].Key
			return cleanly(failure("command "+name, c.database(on(c)).RunCommand(ctx, s.Payload.Command.D).Err()))
		},
	})
}

// Assert is the payload of assert. Everything that is given must be so.
type Assert struct {
	Collection  Name      `json:"collection"`
	Exists      *bool     `json:"exists,omitempty" desc:"the collection is there, or is not"`
	Filter      *Document `json:"filter,omitempty" desc:"which documents count counts"`
	Count       *int64    `json:"count,omitempty" desc:"how many documents there are"`
	NoneMatch   *Document `json:"noneMatch,omitempty" desc:"no document matches this"`
	IndexExists string    `json:"indexExists,omitempty" desc:"the name of an index that is there"`
}

// broken says what is not as p says; "" where all is.
func (p *Assert) broken(ctx context.Context, c *Conn) (string, error) {
	coll := c.db.Collection(string(p.Collection))
	count := func(filter bson.D, o *options.CountOptionsBuilder) (int64, error) {
		n, err := coll.CountDocuments(c.in(ctx), filter, o)
		return n, failure("count documents of "+coll.Name(), err)
	}
	if p.Exists != nil {
		there, err := c.spec(ctx, p.Collection)
		switch {
		case err != nil:
			return "", err
		case there == nil && *p.Exists:
			return fmt.Sprintf("collection %s is not there", p.Collection), nil
		case there != nil && !*p.Exists:
			return fmt.Sprintf("collection %s is there", p.Collection), nil
		}
	}
	if p.Count != nil {
		filter := bson.D{}
		if p.Filter != nil {
			filter = p.Filter.D
		}
		n, err := count(filter, options.Count())
		if err != nil {
			return "", err
		}
		if n != *p.Count {
			return fmt.Sprintf("%d documents of %s match, not %d", n, p.Collection, *p.Count), nil
		}
	}
	if p.NoneMatch != nil {
		n, err := count(p.NoneMatch.D, options.Count().SetLimit(1))
		if err != nil {
			return "", err
		}
		if n > 0 {
			return fmt.Sprintf("a document of %s matches %s", p.Collection, p.NoneMatch.text()), nil
		}
	}
	if p.IndexExists != "" {
		x, err := c.indexOf(ctx, p.Collection, bson.D{{Key: "name", Value: p.IndexExists}})
		if err != nil {
			return "", err
		}
		if x == nil {
			return fmt.Sprintf("collection %s has no index %s", p.Collection, p.IndexExists), nil
		}
	}
	return "", nil
}

func assert() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Assert]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Assert]{
		Type: "assert", Summary: "fails unless the database is as it says",
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := sdk.Preview{Lines: []string{"look at " + string(s.Payload.Collection)}}
			why, err := s.Payload.broken(ctx, c)
			if why != "" {
				p.Notes = append(p.Notes, "now it would fail: "+why)
			}
			return p, err
		},
		Probe: func(context.Context, *Conn, step) (sdk.Evidence, error) {
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "looking changes nothing"}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			why, err := s.Payload.broken(ctx, c)
			if err == nil && why != "" {
				err = &sdk.Error{Code: sdk.Conflict, Part: -1, Clean: true, Message: "the assertion does not hold: " + why}
			}
			return err
		},
		Inverse: func(context.Context, *Conn, step, []byte) error { return nil },
	})
}
