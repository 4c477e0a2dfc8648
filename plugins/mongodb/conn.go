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

// Conn is an open database, or one transaction of it: what operations work on.
type Conn struct {
	client *mongo.Client
	db     *mongo.Database
	place  string
	// marker and fence are the names of those collections.
	marker, fence string
	// server is what is known of the deployment.
	server server
	// raised tells for which token of a scope the fence's document is known to
	// be there.
	raised map[string]int64
	// session is that of a transaction; nil outside of one.
	session *mongo.Session
	// own is the session that every transaction is in.
	own *ownSession
}

// server is what a deployment says about itself.
type server struct {
	version string
	// product is what it is where it is not MongoDB itself, "" otherwise.
	product string
	// replicated: it is a replica set or a sharded cluster.
	replicated bool
	// noTransactions says why it has no transactions; "" where it has.
	noTransactions string
}

func open(ctx context.Context, cfg Config) (*Conn, error) {
	o, database, err := cfg.client()
	if err != nil {
		return nil, err
	}
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "the connection settings are not right: %s", uriText(err, cfg.URI))
	}
	c := &Conn{
		client: client, db: client.Database(database), place: "mongodb database " + database,
		marker: or(cfg.MarkerCollection, "flamingockMarker"), fence: or(cfg.FenceCollection, "flamingockFence"),
		raised: map[string]int64{}, own: &ownSession{},
	}
	if err := c.meet(ctx); err != nil {
		_ = client.Disconnect(context.WithoutCancel(ctx)) // the first error says more
		return nil, err
	}
	return c, nil
}

// meet asks the deployment what it is.
func (c *Conn) meet(ctx context.Context) error {
	var hello struct {
		SetName        string `bson:"setName"`
		Msg            string `bson:"msg"`
		MaxWireVersion int    `bson:"maxWireVersion"`
	}
	if err := c.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return failure("connect to "+c.place, err)
	}
	var build struct {
		Version string `bson:"version"`
		// What others say who speak the protocol.
		FerretDB any `bson:"ferretdb"`
		DocDB    any `bson:"docdb"`
		Cosmos   any `bson:"_t"`
	}
	// Where it is not allowed, the version stays unknown.
	_ = c.db.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build)
	c.server = server{version: build.Version, replicated: hello.SetName != "" || hello.Msg == "isdbgrid"}
	switch {
	case build.FerretDB != nil:
		c.server.product = "FerretDB"
	case hello.SetName == "globaldb" || build.Cosmos != nil:
		c.server.product = "Azure Cosmos DB"
	case hello.SetName == "rs0" && build.DocDB != nil:
		c.server.product = "Amazon DocumentDB"
	}
	switch {
	case c.server.product == "FerretDB" || c.server.product == "Azure Cosmos DB":
		c.server.noTransactions = c.server.product + " has no transactions over several collections"
	case !c.server.replicated:
		c.server.noTransactions = "the server stands alone, and only replica sets and sharded clusters have transactions"
	}
	return nil
}

func noTransactions(c *Conn) string { return c.server.noTransactions }

func health(ctx context.Context, c *Conn) error {
	if err := c.client.Ping(ctx, nil); err != nil {
		return failure("ping", err)
	}
	return nil
}

func closeConn(ctx context.Context, c *Conn) error {
	c.own.end(ctx)
	return c.client.Disconnect(ctx)
}

// in returns the context of the transaction, or ctx.
func (c *Conn) in(ctx context.Context) context.Context {
	if c.session == nil {
		return ctx
	}
	return mongo.NewSessionContext(ctx, c.session)
}

// run runs a command on the database.
func (c *Conn) run(ctx context.Context, command bson.D) error {
	return c.db.RunCommand(c.in(ctx), command).Err()
}

// The codes of errors (MongoDB manual, "Error Codes").
const (
	codeUnauthorized        = 13
	codeIndexNotFound       = 27
	codeNamespaceNotFound   = 26
	codeNamespaceExists     = 48
	codeIndexOptionsDiffer  = 85
	codeIndexKeySpecsDiffer = 86
	codeUserNotFound        = 11
	codeRoleNotFound        = 31
	codeUserExists          = 51003
	codeRoleExists          = 51002
	codeInterrupted         = 11601
	codeNoSuchTransaction   = 251
)

// hasCode tells whether the server said one of these codes.
func hasCode(err error, codes ...int) bool {
	var e mongo.ServerError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.HasErrorCode(code) {
			return true
		}
	}
	return false
}

// failure turns an error of the driver into one with the server's code and its
// meaning.
func failure(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *sdk.Error
	if errors.As(err, &known) {
		return err
	}
	e := &sdk.Error{Code: sdk.Internal, Message: what + ": " + err.Error(), Part: -1, Err: err}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && !mongo.IsTimeout(err) {
		e.Code, e.Message = sdk.Cancelled, what+": cancelled"
		return e
	}
	var command mongo.CommandError
	var write mongo.WriteException
	var bulk mongo.BulkWriteException
	switch {
	case errors.As(err, &command) && command.Code != 0: // which it is where the connection broke
		e.Message, e.TargetCode = what+": "+command.Message, codeText(int(command.Code), command.Name)
		e.Code = class(int(command.Code))
	case errors.As(err, &bulk) && len(bulk.WriteErrors) > 0:
		first := bulk.WriteErrors[0]
		e.Message = fmt.Sprintf("%s: number %d: %s", what, first.Index+1, first.Message)
		e.TargetCode, e.Code = codeText(first.Code, ""), class(first.Code)
	case errors.As(err, &write) && len(write.WriteErrors) > 0:
		e.Message = what + ": " + write.WriteErrors[0].Message
		e.TargetCode, e.Code = codeText(write.WriteErrors[0].Code, ""), class(write.WriteErrors[0].Code)
	case errors.As(err, &write) && write.WriteConcernError != nil:
		e.Message, e.Code = what+": "+write.WriteConcernError.Message, sdk.Transient
		e.TargetCode = codeText(write.WriteConcernError.Code, write.WriteConcernError.Name)
	case mongo.IsNetworkError(err), mongo.IsTimeout(err):
		e.Code = sdk.Transient
		var selection interface{ Unwrap() error }
		if errors.As(err, &selection) && what != "" {
			e.Hint = "is the server running, and does the address, the user and TLS fit?"
		}
	}
	e.Hint = hint(e.TargetCode, e.Hint)
	return e
}

func codeText(code int, name string) string {
	if name == "" {
		return fmt.Sprintf("MongoDB %d", code)
	}
	return fmt.Sprintf("MongoDB %d %s", code, name)
}

// class classes a code of the server.
func class(code int) sdk.Code {
	switch code {
	case codeUnauthorized, 18, 8000: // AuthenticationFailed, AtlasError
		return sdk.Permission
	case codeNamespaceNotFound, codeIndexNotFound, codeUserNotFound, codeRoleNotFound:
		return sdk.NotFound
	case 11000, 11001, 12582, codeNamespaceExists, codeIndexOptionsDiffer, codeIndexKeySpecsDiffer, codeUserExists, codeRoleExists, 121:
		return sdk.Conflict // duplicate key, something is there, document does not fit the validator
	case 2, 9, 14, 40, 66, 67, 72, 73, 197:
		return sdk.Invalid // BadValue, FailedToParse, TypeMismatch, CannotCreateIndex, InvalidOptions, InvalidNamespace …
	case 59, 115, 20, 263:
		return sdk.Unsupported // CommandNotFound, CommandNotSupported, IllegalOperation, OperationNotSupportedInTransaction
	case 6, 7, 89, 91, 112, 189, 9001, 10107, 11600, 11602, 13435, 13436, 24, 46, 50, 225, 244, codeNoSuchTransaction:
		return sdk.Transient // network, stepping down, write conflict, timeouts of locks and of the operation
	case codeInterrupted:
		return sdk.Cancelled
	}
	return sdk.Internal
}

func hint(code, otherwise string) string {
	switch code {
	case "MongoDB 13 Unauthorized":
		return "the user needs the role readWrite on the database, and dbAdmin to change collections and indexes"
	case "MongoDB 85 IndexOptionsConflict", "MongoDB 86 IndexKeySpecsConflict":
		return "an index of this name or with these keys is there and differs; drop it first, or give the new one another name"
	}
	return otherwise
}

// cleanly marks an error of something that the server refused as a whole, so that
// nothing of it is in place.
func cleanly(err error) error {
	var e *sdk.Error
	var command mongo.ServerError
	if errors.As(err, &e) && errors.As(err, &command) && e.Code != sdk.Transient && e.Code != sdk.Cancelled {
		e.Clean = true
	}
	return err
}

// pause waits, or returns early with why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
