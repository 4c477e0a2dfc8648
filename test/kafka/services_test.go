package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"io"
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
	// Only what a subject has of its own.
	for _, resource := range []string{"config", "mode"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.registryURL+"/"+resource+"/orders-value?defaultToGlobal=false", nil)
		c.must(err)
		resp, err := http.DefaultClient.Do(req)
		c.must(err)
		body, err := io.ReadAll(resp.Body)
		c.must(errors.Join(err, resp.Body.Close()))
		if resp.StatusCode == http.StatusOK {
			say("%s of orders-value: %s", resource, body)
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
