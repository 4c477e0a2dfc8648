package kafka

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
)

// schemas tells what the schema registry has.
func (c *cluster) schemas(ctx context.Context, say func(format string, args ...any)) {
	c.t.Helper()
	subjects, err := c.registry.Subjects(ctx)
	c.must(err)
	for _, subject := range subjects {
		versions, err := c.registry.Schemas(ctx, subject)
		c.must(err)
		var texts []string
		for _, v := range versions {
			texts = append(texts, v.Schema.Schema)
		}
		slices.Sort(texts)
		for _, text := range texts {
			say("schema of %s: %s", subject, text)
		}
	}
	for _, subject := range []string{"orders-value"} {
		for _, r := range c.registry.Compatibility(ctx, subject) {
			if r.Err == nil {
				say("compatibility of %s: %s", r.Subject, r.Level)
			}
		}
		for _, r := range c.registry.Mode(ctx, subject) {
			if r.Err == nil {
				say("mode of %s: %s", r.Subject, r.Mode)
			}
		}
	}
}

// connectors tells what Kafka Connect runs.
func (c *cluster) connectors(ctx context.Context, say func(format string, args ...any)) {
	c.t.Helper()
	var all map[string]struct {
		Info   struct{ Config map[string]string }
		Status struct{ Connector struct{ State string } }
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.connect+"/connectors?expand=info&expand=status", nil)
	c.must(err)
	resp, err := http.DefaultClient.Do(req)
	c.must(err)
	defer func() { _ = resp.Body.Close() }() // it was read
	c.must(json.NewDecoder(resp.Body).Decode(&all))
	for name, each := range all {
		say("connector %s: %v %s", name, each.Info.Config, each.Status.Connector.State)
	}
}
