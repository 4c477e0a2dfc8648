package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// The numbers of errors of the server.
const (
	illegalOperation     = 20
	commandNotFound      = 59
	indexOptionsConflict = 85
	indexKeySpecConflict = 86
	commandNotSupported  = 115
	duplicateKey         = 11000
	interrupted          = 11601
)

func hasCode(err error, codes ...int) bool {
	var se mongo.ServerError
	if !errors.As(err, &se) {
		return false
	}
	for _, c := range codes {
		if se.HasErrorCode(c) {
			return true
		}
	}
	return false
}

// hello is what a server says of itself.
type hello struct {
	LocalTime   time.Time `bson:"localTime"`
	SetName     string    `bson:"setName"`
	Message     string    `bson:"msg"`
	WireVersion int       `bson:"maxWireVersion"`
	Sessions    *int64    `bson:"logicalSessionTimeoutMinutes"`
}

// transactions tells whether several documents can change at once: on a replica
// set since 4.0, on a cluster since 4.2.
func (h hello) transactions() bool {
	if h.Sessions == nil {
		return false
	}
	return h.SetName != "" && h.WireVersion >= 7 || h.Message == "isdbgrid" && h.WireVersion >= 8
}

// hello asks the primary. Its clock judges leases: every server and service has
// it here, whereas $$NOW needs updates by pipeline.
func (s *Store) hello(ctx context.Context) (hello, error) {
	var h hello
	err := s.own.Database().RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&h)
	if hasCode(err, commandNotFound, commandNotSupported) {
		err = s.own.Database().RunCommand(ctx, bson.D{{Key: "isMaster", Value: 1}}).Decode(&h)
	}
	if err == nil && h.LocalTime.IsZero() {
		err = errors.New("the server does not tell its time (localTime in the reply to hello), by which leases are judged")
	}
	return h, err
}
