package kafka

import (
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// login is that of the tests' own client.
func login() sasl.Mechanism {
	return scram.Auth{User: admin, Pass: password}.AsSha512Mechanism()
}
