package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// TestUsersLogIn shows that who was given a password can log in with it, by either
// mechanism.
func TestUsersLogIn(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t testing.TB) *cluster{
		"kfake": func(t testing.TB) *cluster { return newFake(t, 1).cluster },
		"real":  newReal,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t)
			// kfake tells clients that it is 4096 iterations, whatever it was.
			c.world(t).Setup([]string{
				"{type: upsertScramUser, username: billing, mechanism: SCRAM-SHA-512, iterations: 4096, password: '${env:BILLING_PASSWORD}'}",
				"{type: upsertScramUser, username: reports, mechanism: SCRAM-SHA-256, iterations: 4096, password: '${env:BILLING_PASSWORD}'}",
			})
			for _, m := range []sasl.Mechanism{
				scram.Auth{User: "billing", Pass: password}.AsSha512Mechanism(), scram.Auth{User: "reports", Pass: password}.AsSha256Mechanism(),
			} {
				client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.SASL(m))
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if _, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client); err != nil {
					t.Errorf("%s: %v", m.Name(), err)
				}
			}
		})
	}
}
