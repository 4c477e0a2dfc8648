package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/incrementalalterconfigs"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// entityKind is what a configuration belongs to, as Kafka numbers it.
type entityKind int8

const (
	ofTopic         entityKind = 2
	ofBroker        entityKind = 4
	ofClientMetrics entityKind = 16
	ofGroup         entityKind = 32
)

// The sources of values that were set for the entity itself, as Kafka numbers them.
const (
	sourceTopic         = 1
	sourceBroker        = 2
	sourceClientMetrics = 7
	sourceGroup         = 8
)

// entity is something that has a configuration.
type entity struct {
	kind entityKind
	name string
}

// String returns what people call it.
func (e entity) String() string {
	switch e.kind {
	case ofTopic:
		return "topic " + e.name
	case ofBroker:
		return "broker " + e.name
	case ofClientMetrics:
		return "client metrics " + e.name
	case ofGroup:
		return "group " + e.name
	}
	return e.name
}

// source returns that of values that were set for the entity itself.
func (e entity) source() int8 {
	switch e.kind {
	case ofTopic:
		return sourceTopic
	case ofBroker:
		return sourceBroker
	case ofClientMetrics:
		return sourceClientMetrics
	case ofGroup:
		return sourceGroup
	}
	return 0
}

// setting is the value of a key of a configuration.
type setting struct {
	Value string `json:"value,omitempty"`
	// Dynamic: it was set for the entity itself, and is no default.
	Dynamic bool `json:"dynamic,omitempty"`
	// Sensitive: the broker does not tell the value.
	Sensitive bool `json:"sensitive,omitempty"`
}

// settings are a configuration, by key.
type settings map[string]setting

// settingsAt returns the configuration of an entity as the broker at addr knows it.
func (c *Conn) settingsAt(ctx context.Context, addr string, e entity) (settings, error) {
	r, err := ask[*describeconfigs.Response](ctx, c, addr, &describeconfigs.Request{
		Resources: []describeconfigs.RequestResource{{ResourceType: int8(e.kind), ResourceName: e.name}},
	})
	if err != nil {
		return nil, err
	}
	out := settings{}
	for _, resource := range r.Resources {
		if err := said(resource.ErrorCode, resource.ErrorMessage); err != nil {
			return nil, err
		}
		for _, entry := range resource.ConfigEntries {
			out[entry.ConfigName] = setting{entry.ConfigValue, entry.ConfigSource == e.source(), entry.IsSensitive}
		}
	}
	return out, nil
}

// home returns who answers for the configuration of an entity: a broker for its own,
// any for others.
func (c *Conn) home(ctx context.Context, e entity) (string, error) {
	v, err := c.view(ctx)
	if err != nil || e.kind != ofBroker {
		if err != nil {
			return "", err
		}
		return v.at, nil
	}
	id, err := strconv.ParseInt(e.name, 10, 32)
	if err != nil {
		return "", err
	}
	b, ok := v.broker(int32(id))
	if !ok {
		return "", sdk.Errorf(sdk.NotFound, "broker %s is not there", e.name)
	}
	return b.addr, nil
}

func (c *Conn) settings(ctx context.Context, e entity) (settings, error) {
	at, err := c.home(ctx, e)
	var s settings
	if err == nil {
		s, err = c.settingsAt(ctx, at, e)
	}
	if e.kind == ofTopic && isCode(err, kafkago.UnknownTopicOrPartition) {
		err = missingTopic(e.name)
	}
	return s, failure("look at the configuration of "+e.String(), err)
}

// alteration is what becomes of one key.
type alteration struct {
	key   string
	how   kafkago.ConfigOperation
	value string
	// secret: value is not shown, and cannot be read back.
	secret bool
}

// in tells whether s is as a says. unsure: it is as far as can be seen.
func (a alteration) in(s settings) (yes, unsure bool) {
	now := s[a.key]
	switch a.how {
	case kafkago.ConfigOperationSet:
		if now.Sensitive || a.secret {
			return now.Dynamic, now.Dynamic
		}
		return now.Dynamic && now.Value == a.value, false
	case kafkago.ConfigOperationDelete:
		return !now.Dynamic, false
	case kafkago.ConfigOperationAppend:
		return len(less(elements(a.value), elements(now.Value))) == 0, false
	case kafkago.ConfigOperationSubtract:
		return len(less(elements(a.value), less(elements(a.value), elements(now.Value)))) == 0, false
	}
	return false, false
}

// String returns what it does, for people.
func (a alteration) String() string {
	value := a.value
	if a.secret {
		value = "***"
	}
	switch a.how {
	case kafkago.ConfigOperationSet:
		return a.key + "=" + value
	case kafkago.ConfigOperationDelete:
		return "delete " + a.key
	case kafkago.ConfigOperationAppend:
		return a.key + " += " + value
	case kafkago.ConfigOperationSubtract:
		return a.key + " -= " + value
	}
	return a.key
}

// allIn tells whether s is as all of list say.
func allIn(list []alteration, s settings) bool {
	return !slices.ContainsFunc(list, func(a alteration) bool {
		yes, _ := a.in(s)
		return !yes
	})
}

// alter changes the configuration of an entity, in one request, and waits until every
// broker that answers for it knows.
func (c *Conn) alter(ctx context.Context, e entity, list []alteration, timeout sdk.Duration) error {
	if len(list) == 0 {
		return nil
	}
	resource := incrementalalterconfigs.RequestResource{ResourceType: int8(e.kind), ResourceName: e.name}
	// What cannot be read back is sent once, whatever is seen.
	blind := false
	for _, a := range list {
		resource.Configs = append(resource.Configs, incrementalalterconfigs.RequestConfig{Name: a.key, ConfigOperation: int8(a.how), Value: a.value})
		blind = blind || a.secret && a.how == kafkago.ConfigOperationSet
	}
	what := "change the configuration of " + e.String()
	return settle(ctx, what, timeout, func(ctx context.Context) (bool, error) {
		if blind {
			return false, nil
		}
		if e.kind == ofBroker {
			at, err := c.home(ctx, e)
			if err != nil {
				return false, err
			}
			now, err := c.settingsAt(ctx, at, e)
			return err == nil && allIn(list, now), err
		}
		return c.everywhere(ctx, func(ctx context.Context, addr string) (bool, error) {
			now, err := c.settingsAt(ctx, addr, e)
			return err == nil && allIn(list, now), err
		})
	}, func(ctx context.Context) error {
		at, err := c.home(ctx, e)
		if err != nil {
			return err
		}
		r, err := ask[*incrementalalterconfigs.Response](ctx, c, at, &incrementalalterconfigs.Request{
			Resources: []incrementalalterconfigs.RequestResource{resource},
		})
		if err != nil {
			return err
		}
		for _, answer := range r.Responses {
			if err := said(answer.ErrorCode, answer.ErrorMessage); err != nil {
				return err
			}
		}
		blind = false
		return nil
	})
}

// Alteration is what the operations on configurations have in common.
type Alteration struct {
	Set      map[string]Text `json:"set,omitempty"`
	Delete   []string        `json:"delete,omitempty" desc:"keys that go back to their default"`
	Append   map[string]Text `json:"append,omitempty" desc:"elements that are added to values that are lists"`
	Subtract map[string]Text `json:"subtract,omitempty" desc:"elements that are taken away"`
	Timeout  sdk.Duration    `json:"timeout,omitempty" default:"2m"`
}

// list returns the alterations, sorted by key.
func (p *Alteration) list(secrets map[string]sdk.Secret) []alteration {
	var out []alteration
	for key, value := range p.Set {
		out = append(out, alteration{key, kafkago.ConfigOperationSet, string(value), false})
	}
	for key, value := range secrets {
		out = append(out, alteration{key, kafkago.ConfigOperationSet, value.Reveal(), true})
	}
	for _, key := range p.Delete {
		out = append(out, alteration{key, kafkago.ConfigOperationDelete, "", false})
	}
	for key, value := range p.Append {
		out = append(out, alteration{key, kafkago.ConfigOperationAppend, string(value), false})
	}
	for key, value := range p.Subtract {
		out = append(out, alteration{key, kafkago.ConfigOperationSubtract, string(value), false})
	}
	slices.SortFunc(out, func(a, b alteration) int { return strings.Compare(a.key, b.key) })
	return out
}

// emptyValues reports values that are empty, which Kafka's protocol cannot tell from
// none.
func emptyValues[P any](c *sdk.Check[sdk.None, P], step int, path string, values map[string]Text) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if values[key] == "" {
			report(c, step, path+"/"+key, "empty-value", fmt.Sprintf("the value of %s is empty", key), "to go back to the default, leave it out, or write it under delete")
		}
	}
}

// restore returns the alterations that undo list: each key becomes what it was before
// this change. A key that somebody has changed since is refused, but for elements of
// a list, which are added and taken away one by one.
func restore(e entity, list []alteration, before, now settings) ([]alteration, error) {
	var out []alteration
	for _, a := range list {
		was, is := before[a.key], now[a.key]
		back := alteration{a.key, kafkago.ConfigOperationDelete, "", a.secret}
		if was.Dynamic {
			back = alteration{a.key, kafkago.ConfigOperationSet, was.Value, a.secret}
		}
		ours, _ := a.in(now)
		switch a.how {
		case kafkago.ConfigOperationSet, kafkago.ConfigOperationDelete:
			switch {
			case !ours && is == was:
				continue // nothing was done, or it is undone
			case !ours:
				return nil, conflict("set it by hand to what it is to be, or write the rollback",
					"%s of %s was changed by somebody else since: it is %q", a.key, e, is.Value)
			}
		case kafkago.ConfigOperationAppend:
			added := less(elements(a.value), elements(was.Value))
			if slices.Equal(elements(is.Value), append(elements(was.Value), added...)) {
				break
			}
			if added = less(added, less(added, elements(is.Value))); len(added) == 0 {
				continue
			}
			if len(less(elements(is.Value), added)) > 0 { // an empty list is none
				back = alteration{a.key, kafkago.ConfigOperationSubtract, strings.Join(added, ","), false}
			}
		case kafkago.ConfigOperationSubtract:
			removed := less(elements(a.value), less(elements(a.value), elements(was.Value)))
			if slices.Equal(elements(is.Value), less(elements(was.Value), removed)) {
				break
			}
			if removed = less(removed, elements(is.Value)); len(removed) == 0 {
				continue
			}
			back = alteration{a.key, kafkago.ConfigOperationAppend, strings.Join(removed, ","), false}
		}
		if is == was && !a.secret {
			continue
		}
		out = append(out, back)
	}
	return out, nil
}

// altering makes an operation on the configurations of one kind of entity. of returns
// which, what becomes of it, and how long to wait.
func altering[P any](
	kind, summary string,
	of func(p *P) (e entity, common *Alteration, secrets map[string]sdk.Secret),
	touches func(p *P) scope,
) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	wanted := func(p *P) (entity, []alteration, sdk.Duration) {
		e, common, secrets := of(p)
		return e, common.list(secrets), common.Timeout
	}
	look := func(ctx context.Context, c *Conn, p *P) (settings, error) {
		e, list, _ := wanted(p)
		all, err := c.settings(ctx, e)
		if err != nil {
			return nil, err
		}
		out := settings{}
		for _, a := range list {
			out[a.key] = all[a.key]
		}
		return out, nil
	}
	return operation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary,
		Check: func(c *sdk.Check[sdk.None, P]) {
			for _, s := range c.Steps {
				_, common, secrets := of(&s.Apply)
				list := common.list(secrets)
				if len(list) == 0 {
					report(c, s.Index, "", "nothing-to-do", "nothing is to be changed", "write set, delete, append or subtract")
				}
				for i := 1; i < len(list); i++ {
					if list[i].key == list[i-1].key {
						report(c, s.Index, "", "contradiction", fmt.Sprintf("%s is there more than once", list[i].key), "change each key in one way")
					}
				}
				emptyValues(c, s.Index, "/set", common.Set)
				emptyValues(c, s.Index, "/append", common.Append)
				emptyValues(c, s.Index, "/subtract", common.Subtract)
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			e, list, _ := wanted(&s.Payload)
			out := sdk.Preview{Lines: []string{"change the configuration of " + e.String()}}
			now, err := look(ctx, c, &s.Payload)
			for _, a := range list {
				line := "  " + a.String()
				switch was := now[a.key]; {
				case err != nil, was.Sensitive, a.secret:
				case was.Dynamic:
					line += fmt.Sprintf(" (now %q)", was.Value)
				default:
					line += fmt.Sprintf(" (now %q, a default)", was.Value)
				}
				out.Lines = append(out.Lines, line)
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			_, list, _ := wanted(&s.Payload)
			now, err := look(ctx, c, &s.Payload)
			if err != nil {
				return sdk.Evidence{}, err
			}
			done, blind := 0, false
			for _, a := range list {
				yes, unsure := a.in(now)
				if yes {
					done++
				}
				blind = blind || unsure
			}
			switch {
			case done == len(list) && !blind:
				return sdk.Evidence{Kind: sdk.Applied}, nil
			case done == 0:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "doing it again does no harm"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			e, _, _ := wanted(&s.Payload)
			now, err := look(ctx, c, &s.Payload)
			if err != nil {
				return nil, err
			}
			for key, was := range now {
				if was.Sensitive && was.Dynamic {
					return nil, &sdk.Error{
						Code: sdk.Unsupported, Part: -1, Clean: true,
						Message: fmt.Sprintf("%s of %s has a value that no broker tells, so it could not be put back", key, e),
						Hint:    "write the rollback, or rollback: none with a reason",
					}
				}
			}
			return keep(now)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			e, list, timeout := wanted(&s.Payload)
			now, err := look(ctx, c, &s.Payload)
			if err != nil {
				return err
			}
			// Elements that are there are not added again.
			list = slices.DeleteFunc(list, func(a alteration) bool {
				yes, unsure := a.in(now)
				return yes && !unsure
			})
			return c.alter(ctx, e, list, timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			e, list, timeout := wanted(&s.Payload)
			before, err := kept[settings](state)
			if err != nil {
				return err
			}
			now, err := look(ctx, c, &s.Payload)
			if err != nil {
				return err
			}
			back, err := restore(e, list, before, now)
			if err != nil {
				return err
			}
			return c.alter(ctx, e, back, timeout)
		},
	}, touches)
}

// AlterTopicConfig is the payload of alterTopicConfig.
type AlterTopicConfig struct {
	Topic string `json:"topic"`
	Alteration
}

func alterTopicConfig() sdk.Operation[*Conn] {
	return altering("alterTopicConfig", "changes single keys of a topic's configuration",
		func(p *AlterTopicConfig) (entity, *Alteration, map[string]sdk.Secret) {
			return entity{ofTopic, p.Topic}, &p.Alteration, nil
		}, func(p *AlterTopicConfig) scope { return scope{topics: []string{p.Topic}} })
}

// AlterBrokerConfig is the payload of alterBrokerConfig.
type AlterBrokerConfig struct {
	Broker  int32                 `json:"broker" minimum:"0"`
	Secrets map[string]sdk.Secret `json:"secrets,omitempty" sensitive:"true" desc:"keys that are set to values that no broker tells, such as passwords of keystores"`
	Alteration
}

func alterBrokerConfig() sdk.Operation[*Conn] {
	return altering("alterBrokerConfig", "changes single keys of the dynamic configuration of one broker",
		func(p *AlterBrokerConfig) (entity, *Alteration, map[string]sdk.Secret) {
			return entity{ofBroker, strconv.Itoa(int(p.Broker))}, &p.Alteration, p.Secrets
		}, func(*AlterBrokerConfig) scope { return scope{} })
}

// AlterGroupConfig is the payload of alterGroupConfig.
type AlterGroupConfig struct {
	Group string `json:"group"`
	Alteration
}

func alterGroupConfig() sdk.Operation[*Conn] {
	return altering("alterGroupConfig", "changes single keys of a group's configuration",
		func(p *AlterGroupConfig) (entity, *Alteration, map[string]sdk.Secret) {
			return entity{ofGroup, p.Group}, &p.Alteration, nil
		}, func(p *AlterGroupConfig) scope { return scope{groups: []string{p.Group}} })
}

// AlterClientMetrics is the payload of alterClientMetrics.
type AlterClientMetrics struct {
	Name string `json:"name" desc:"of the subscription"`
	Alteration
}

func alterClientMetrics() sdk.Operation[*Conn] {
	return altering("alterClientMetrics", "changes which metrics clients push, and how often",
		func(p *AlterClientMetrics) (entity, *Alteration, map[string]sdk.Secret) {
			return entity{ofClientMetrics, p.Name}, &p.Alteration, nil
		}, func(*AlterClientMetrics) scope { return scope{} })
}
