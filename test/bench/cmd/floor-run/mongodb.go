package main

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"
)

type mongoDatabase struct{ db *mongo.Database }

func openMongoDB(uri string) (*mongoDatabase, error) {
	parsed, err := connstring.ParseAndValidate(uri)
	if err != nil {
		return nil, err
	}
	// What the plugin asks for as well.
	journal := true
	concern := writeconcern.Majority()
	concern.Journal = &journal
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetWriteConcern(concern))
	if err != nil {
		return nil, err
	}
	return &mongoDatabase{client.Database(parsed.Database)}, nil
}

func (d *mongoDatabase) close(ctx context.Context) { _ = d.db.Client().Disconnect(ctx) } // everything is written by then

func (d *mongoDatabase) applied(ctx context.Context) (map[string]bool, error) {
	cursor, err := d.db.Collection("applied").Find(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("read the names: %w", err)
	}
	var docs []struct {
		Name string `bson:"_id"`
	}
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, fmt.Errorf("read the names: %w", err)
	}
	out := map[string]bool{}
	for _, doc := range docs {
		out[doc.Name] = true
	}
	return out, nil
}

// apply inserts the document; an empty one makes the collection.
func (d *mongoDatabase) apply(ctx context.Context, script []byte, name string) error {
	var doc bson.D
	if err := bson.UnmarshalExtJSON(script, false, &doc); err != nil {
		return err
	}
	if len(doc) == 0 {
		if err := d.db.CreateCollection(ctx, "bench"); err != nil {
			return err
		}
	} else if _, err := d.db.Collection("bench").InsertOne(ctx, doc); err != nil {
		return err
	}
	_, err := d.db.Collection("applied").InsertOne(ctx, bson.D{{Key: "_id", Value: name}})
	return err
}
