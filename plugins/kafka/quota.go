package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/segmentio/kafka-go/protocol/alterclientquotas"
	"github.com/segmentio/kafka-go/protocol/describeclientquotas"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// defaultEntity stands for all that have no quota of their own. The protocol has an
// empty name for it.
const defaultEntity = "<default>"

// QuotaEntity is whom a quota is for: a user, a client-id, both, or an ip.
type QuotaEntity struct {
	User     string `json:"user,omitempty" desc:"<default> is every user without one"`
	ClientID string `json:"client-id,omitempty" desc:"<default> is every client-id without one"`
	IP       string `json:"ip,omitempty" desc:"<default> is every address without one"`
}

// parts returns type and name of what e is made of.
func (e QuotaEntity) parts() [][2]string {
	var out [][2]string
	for _, part := range [][2]string{{"user", e.User}, {"client-id", e.ClientID}, {"ip", e.IP}} {
		if part[1] != "" {
			out = append(out, part)
		}
	}
	return out
}

// String returns e as people read it.
func (e QuotaEntity) String() string {
	text := ""
	for i, part := range e.parts() {
		if i > 0 {
			text += ", "
		}
		text += part[0] + " " + part[1]
	}
	return text
}

// name returns what is sent for a name.
func quotaName(text string) string {
	if text == defaultEntity {
		return ""
	}
	return text
}

// quotaAt returns the quota of an entity, by key, as the broker at addr knows it.
func (c *Conn) quotaAt(ctx context.Context, addr string, e QuotaEntity) (map[string]float64, error) {
	const matchExact, matchDefault = 0, 1
	req := &describeclientquotas.Request{Strict: true}
	for _, part := range e.parts() {
		match := int8(matchExact)
		if part[1] == defaultEntity {
			match = matchDefault
		}
		req.Components = append(req.Components, describeclientquotas.Component{EntityType: part[0], MatchType: match, Match: quotaName(part[1])})
	}
	r, err := ask[*describeclientquotas.Response](ctx, c, addr, req)
	if err != nil {
		return nil, err
	}
	if err := said(r.ErrorCode, r.ErrorMessage); err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, entry := range r.Entries {
		for _, v := range entry.Values {
			out[v.Key] = v.Value
		}
	}
	return out, nil
}

func (c *Conn) quota(ctx context.Context, e QuotaEntity) (map[string]float64, error) {
	v, err := c.view(ctx)
	var out map[string]float64
	if err == nil {
		out, err = c.quotaAt(ctx, v.at, e)
	}
	return out, failure("look at the quota of "+e.String(), err)
}

// become gives keys of a quota the values of want; those that it does not have are
// removed.
func (c *Conn) become(ctx context.Context, e QuotaEntity, keys []string, want map[string]float64, timeout sdk.Duration) error {
	if len(keys) == 0 {
		return nil
	}
	return settle(ctx, "change the quota of "+e.String(), timeout, func(ctx context.Context) (bool, error) {
		return c.everywhere(ctx, func(ctx context.Context, addr string) (bool, error) {
			now, err := c.quotaAt(ctx, addr, e)
			return err == nil && sameQuota(keys, now, want), err
		})
	}, func(ctx context.Context) error {
		at, err := c.controller(ctx)
		if err != nil {
			return err
		}
		entry := alterclientquotas.Entry{}
		for _, part := range e.parts() {
			entry.Entities = append(entry.Entities, alterclientquotas.Entity{EntityType: part[0], EntityName: quotaName(part[1])})
		}
		for _, key := range keys {
			value, set := want[key]
			entry.Ops = append(entry.Ops, alterclientquotas.Ops{Key: key, Value: value, Remove: !set})
		}
		r, err := ask[*alterclientquotas.Response](ctx, c, at, &alterclientquotas.Request{Entries: []alterclientquotas.Entry{entry}})
		if err != nil {
			return err
		}
		for _, result := range r.Results {
			if err := said(result.ErrorCode, result.ErrorMessage); err != nil {
				return err
			}
		}
		return nil
	})
}

// sameQuota tells whether keys have the same values in both.
func sameQuota(keys []string, a, b map[string]float64) bool {
	return !slices.ContainsFunc(keys, func(key string) bool {
		x, inA := a[key]
		y, inB := b[key]
		return inA != inB || x != y
	})
}

// SetQuota is the payload of setQuota.
type SetQuota struct {
	Entity  QuotaEntity        `json:"entity"`
	Quotas  map[string]float64 `json:"quotas" desc:"producer_byte_rate, consumer_byte_rate, request_percentage, controller_mutation_rate, connection_creation_rate"`
	Timeout sdk.Duration       `json:"timeout,omitempty" default:"2m"`
}

// RemoveQuota is the payload of removeQuota.
type RemoveQuota struct {
	Entity  QuotaEntity  `json:"entity"`
	Quotas  []string     `json:"quotas"`
	Timeout sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

func setQuota() sdk.Operation[*Conn] {
	return limiting("setQuota", "limits what users, clients or addresses may use", func(p *SetQuota) (QuotaEntity, []string, map[string]float64, sdk.Duration) {
		return p.Entity, slices.Sorted(maps.Keys(p.Quotas)), p.Quotas, p.Timeout
	})
}

func removeQuota() sdk.Operation[*Conn] {
	return limiting("removeQuota", "removes limits of users, clients or addresses", func(p *RemoveQuota) (QuotaEntity, []string, map[string]float64, sdk.Duration) {
		return p.Entity, p.Quotas, nil, p.Timeout
	})
}

func limiting[P any](kind, summary string, of func(p *P) (e QuotaEntity, keys []string, want map[string]float64, timeout sdk.Duration)) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	return operation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary,
		Check: func(c *sdk.Check[sdk.None, P]) {
			for _, s := range c.Steps {
				e, keys, _, _ := of(&s.Apply)
				if len(e.parts()) == 0 || e.IP != "" && len(e.parts()) > 1 {
					report(c, s.Index, "/entity", "bad-entity", "a quota is for a user, a client-id, both, or an ip", "name one; "+defaultEntity+" stands for all that have none of their own")
				}
				if len(keys) == 0 {
					report(c, s.Index, "/quotas", "nothing-to-do", "no quota is named", "name some")
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			e, keys, want, _ := of(&s.Payload)
			now, err := c.quota(ctx, e)
			if err != nil {
				return sdk.Preview{}, err
			}
			out := sdk.Preview{Lines: []string{"change the quota of " + e.String()}}
			show := func(m map[string]float64, key string) string {
				if v, ok := m[key]; ok {
					return fmt.Sprint(v)
				}
				return "none"
			}
			for _, key := range keys {
				out.Lines = append(out.Lines, fmt.Sprintf("  %s: %s, now %s", key, show(want, key), show(now, key)))
			}
			return out, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			e, keys, want, _ := of(&s.Payload)
			now, err := c.quota(ctx, e)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if sameQuota(keys, now, want) {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			e, _, _, _ := of(&s.Payload)
			return both(c.quota(ctx, e))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			e, keys, want, timeout := of(&s.Payload)
			return c.become(ctx, e, keys, want, timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[map[string]float64](state)
			if err != nil {
				return err
			}
			e, keys, want, timeout := of(&s.Payload)
			now, err := c.quota(ctx, e)
			if err != nil {
				return err
			}
			for _, key := range keys {
				one := []string{key}
				if !sameQuota(one, now, want) && !sameQuota(one, now, before) {
					return conflict("set it by hand to what it is to be, or write the rollback", "%s of %s was changed by somebody else since", key, e)
				}
			}
			return c.become(ctx, e, keys, before, timeout)
		},
	}, func(p *P) scope {
		e, _, _, _ := of(p)
		if e.User == "" {
			return scope{}
		}
		return scope{principals: []string{"User:" + e.User}}
	})
}
