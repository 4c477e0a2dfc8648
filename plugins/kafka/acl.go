package kafka

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go/protocol/createacls"
	"github.com/segmentio/kafka-go/protocol/deleteacls"
	"github.com/segmentio/kafka-go/protocol/describeacls"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// word is a word of ACLs and the number that Kafka has for it.
type word struct {
	text   string
	number int8
}

// anything stands for every value where ACLs are looked for.
const anything = "any"

// anyNumber is that of anything.
const anyNumber = 1

var (
	resourceTypes = []word{{"topic", 2}, {"group", 3}, {"cluster", 4}, {"transactionalId", 5}, {"delegationToken", 6}, {"user", 7}}
	patternTypes  = []word{{"literal", 3}, {"prefixed", 4}}
	aclOperations = []word{
		{"All", 2},
		{"Read", 3},
		{"Write", 4},
		{"Create", 5},
		{"Delete", 6},
		{"Alter", 7},
		{"Describe", 8},
		{"ClusterAction", 9},
		{"DescribeConfigs", 10},
		{"AlterConfigs", 11},
		{"IdempotentWrite", 12},
		{"CreateTokens", 13},
		{"DescribeTokens", 14},
	}
	permissions = []word{{"Deny", 2}, {"Allow", 3}}
)

func numberOf(list []word, text string) int8 {
	if text == anything {
		return anyNumber
	}
	for _, w := range list {
		if w.text == text {
			return w.number
		}
	}
	return 0
}

func textOf(list []word, number int8) string {
	for _, w := range list {
		if w.number == number {
			return w.text
		}
	}
	return fmt.Sprintf("type %d", number)
}

// clusterName is the name that the resource of type cluster has.
const clusterName = "kafka-cluster"

// Binding is one ACL.
type Binding struct {
	ResourceType   string `json:"resourceType"`
	ResourceName   string `json:"resourceName"`
	PatternType    string `json:"patternType"`
	Principal      string `json:"principal"`
	Host           string `json:"host"`
	Operation      string `json:"operation"`
	PermissionType string `json:"permissionType"`
}

// String returns b as people read it.
func (b Binding) String() string {
	name := b.ResourceType + " " + b.ResourceName
	if b.PatternType == "prefixed" {
		name = b.ResourceType + "s " + b.ResourceName + "…"
	}
	out := fmt.Sprintf("%s %s: %s on %s", strings.ToLower(b.PermissionType), b.Principal, b.Operation, name)
	if b.Host != "*" {
		out += " from " + b.Host
	}
	return out
}

func compareBindings(a, b Binding) int {
	return cmp.Or(
		strings.Compare(a.Principal, b.Principal), strings.Compare(a.ResourceType, b.ResourceType), strings.Compare(a.ResourceName, b.ResourceName),
		strings.Compare(a.PatternType, b.PatternType), strings.Compare(a.Operation, b.Operation), strings.Compare(a.PermissionType, b.PermissionType),
		strings.Compare(a.Host, b.Host),
	)
}

// matches tells whether b is one of those that f names.
func (b Binding) matches(f Binding) bool {
	like := func(is, want string) bool { return want == anything || is == want }
	return like(b.ResourceType, f.ResourceType) && like(b.ResourceName, f.ResourceName) && like(b.PatternType, f.PatternType) &&
		like(b.Principal, f.Principal) && like(b.Host, f.Host) && like(b.Operation, f.Operation) && like(b.PermissionType, f.PermissionType)
}

// name returns what is sent for a name in a filter: the protocol has "" for any.
func name(text string) string {
	if text == anything {
		return ""
	}
	return text
}

// bindingsAt returns the ACLs that match one of the filters, as the broker at addr
// knows them.
func (c *Conn) bindingsAt(ctx context.Context, addr string, filters []Binding) ([]Binding, error) {
	var out []Binding
	asked := map[string]bool{}
	for _, f := range filters {
		if asked[f.Principal] {
			continue
		}
		asked[f.Principal] = true
		r, err := ask[*describeacls.Response](ctx, c, addr, &describeacls.Request{Filter: describeacls.ACLFilter{
			ResourceTypeFilter: anyNumber, ResourcePatternTypeFilter: anyNumber, PrincipalFilter: name(f.Principal),
			Operation: anyNumber, PermissionType: anyNumber,
		}})
		if err != nil {
			return nil, err
		}
		if err := said(r.ErrorCode, r.ErrorMessage); err != nil {
			return nil, err
		}
		for _, resource := range r.Resources {
			for _, acl := range resource.ACLs {
				b := Binding{
					ResourceType: textOf(resourceTypes, resource.ResourceType), ResourceName: resource.ResourceName,
					PatternType: textOf(patternTypes, resource.PatternType), Principal: acl.Principal, Host: acl.Host,
					Operation: textOf(aclOperations, acl.Operation), PermissionType: textOf(permissions, acl.PermissionType),
				}
				if slices.ContainsFunc(filters, b.matches) {
					out = append(out, b)
				}
			}
		}
	}
	slices.SortFunc(out, compareBindings)
	return slices.Compact(out), nil
}

// bindings returns the ACLs that match one of the filters.
func (c *Conn) bindings(ctx context.Context, filters []Binding) ([]Binding, error) {
	v, err := c.view(ctx)
	var out []Binding
	if err == nil {
		out, err = c.bindingsAt(ctx, v.at, filters)
	}
	return out, failure("look at ACLs", err)
}

// addBindings makes ACLs and waits until every broker has them.
func (c *Conn) addBindings(ctx context.Context, list []Binding, timeout sdk.Duration) error {
	if len(list) == 0 {
		return nil
	}
	return settle(ctx, "create ACLs", timeout, func(ctx context.Context) (bool, error) {
		return c.everywhere(ctx, func(ctx context.Context, addr string) (bool, error) {
			now, err := c.bindingsAt(ctx, addr, list)
			return err == nil && len(now) == len(list), err
		})
	}, func(ctx context.Context) error {
		at, err := c.controller(ctx)
		if err != nil {
			return err
		}
		req := &createacls.Request{}
		for _, b := range list {
			req.Creations = append(req.Creations, createacls.RequestACLs{
				ResourceType: numberOf(resourceTypes, b.ResourceType), ResourceName: b.ResourceName, ResourcePatternType: numberOf(patternTypes, b.PatternType),
				Principal: b.Principal, Host: b.Host, Operation: numberOf(aclOperations, b.Operation), PermissionType: numberOf(permissions, b.PermissionType),
			})
		}
		r, err := ask[*createacls.Response](ctx, c, at, req)
		if err != nil {
			return err
		}
		for i, result := range r.Results {
			if err := said(result.ErrorCode, result.ErrorMessage); err != nil {
				if i < len(list) {
					err = fmt.Errorf("%s: %w", list[i], err)
				}
				return err
			}
		}
		return nil
	})
}

// removeBindings deletes the ACLs that match one of the filters, and waits until no
// broker has them.
func (c *Conn) removeBindings(ctx context.Context, filters []Binding, timeout sdk.Duration) error {
	if len(filters) == 0 {
		return nil
	}
	return settle(ctx, "delete ACLs", timeout, func(ctx context.Context) (bool, error) {
		return c.everywhere(ctx, func(ctx context.Context, addr string) (bool, error) {
			now, err := c.bindingsAt(ctx, addr, filters)
			return err == nil && len(now) == 0, err
		})
	}, func(ctx context.Context) error {
		at, err := c.controller(ctx)
		if err != nil {
			return err
		}
		req := &deleteacls.Request{}
		for _, f := range filters {
			req.Filters = append(req.Filters, deleteacls.RequestFilter{
				ResourceTypeFilter: numberOf(resourceTypes, f.ResourceType), ResourceNameFilter: name(f.ResourceName),
				ResourcePatternTypeFilter: numberOf(patternTypes, f.PatternType), PrincipalFilter: name(f.Principal), HostFilter: name(f.Host),
				Operation: numberOf(aclOperations, f.Operation), PermissionType: numberOf(permissions, f.PermissionType),
			})
		}
		r, err := ask[*deleteacls.Response](ctx, c, at, req)
		if err != nil {
			return err
		}
		for _, result := range r.FilterResults {
			if err := said(result.ErrorCode, result.ErrorMessage); err != nil {
				return err
			}
			for _, m := range result.MatchingACLs {
				if err := said(m.ErrorCode, m.ErrorMessage); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// ACL is an ACL for each of some operations, as users write it.
type ACL struct {
	ResourceType   string   `json:"resourceType" enum:"topic,group,cluster,transactionalId,delegationToken,user"`
	ResourceName   string   `json:"resourceName" desc:"* is every one; the cluster is kafka-cluster"`
	PatternType    string   `json:"patternType,omitempty" enum:"literal,prefixed" default:"literal"`
	Principal      string   `json:"principal" desc:"such as User:billing" pattern:"^[^:]+:.+|\\$\\{"`
	Host           string   `json:"host,omitempty" default:"*"`
	Operations     []string `json:"operations" enum:"All,Read,Write,Create,Delete,Alter,Describe,ClusterAction,DescribeConfigs,AlterConfigs,IdempotentWrite,CreateTokens,DescribeTokens"`
	PermissionType string   `json:"permissionType,omitempty" enum:"Allow,Deny" default:"Allow"`
}

// Filter names ACLs that are to be deleted. Every field is needed, since the protocol
// takes one that is left out for any.
type Filter struct {
	ResourceType   string   `json:"resourceType" enum:"topic,group,cluster,transactionalId,delegationToken,user,any"`
	ResourceName   string   `json:"resourceName"`
	PatternType    string   `json:"patternType" enum:"literal,prefixed,any"`
	Principal      string   `json:"principal"`
	Host           string   `json:"host"`
	Operations     []string `json:"operations" enum:"All,Read,Write,Create,Delete,Alter,Describe,ClusterAction,DescribeConfigs,AlterConfigs,IdempotentWrite,CreateTokens,DescribeTokens,any"`
	PermissionType string   `json:"permissionType" enum:"Allow,Deny,any"`
}

// CreateACLs is the payload of createAcls.
type CreateACLs struct {
	ACLs    []ACL        `json:"acls"`
	Timeout sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// DeleteACLs is the payload of deleteAcls.
type DeleteACLs struct {
	ACLs    []Filter     `json:"acls" desc:"any stands for every value"`
	Timeout sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

// distinct sorts bindings and leaves each once.
func distinct(list []Binding) []Binding {
	slices.SortFunc(list, compareBindings)
	return slices.Compact(list)
}

func (p *CreateACLs) bindings() []Binding {
	var out []Binding
	for _, a := range p.ACLs {
		for _, operation := range a.Operations {
			out = append(out, Binding{
				a.ResourceType, a.ResourceName, or(a.PatternType, "literal"), a.Principal, or(a.Host, "*"), operation, or(a.PermissionType, "Allow"),
			})
		}
	}
	return distinct(out)
}

func (p *DeleteACLs) filters() []Binding {
	var out []Binding
	for _, a := range p.ACLs {
		for _, operation := range a.Operations {
			out = append(out, Binding{a.ResourceType, a.ResourceName, a.PatternType, a.Principal, a.Host, operation, a.PermissionType})
		}
	}
	return distinct(out)
}

// principalsOf returns the names that ACLs are about.
func principalsOf(list []Binding) scope {
	var s scope
	for _, b := range list {
		s.principals = append(s.principals, b.Principal)
	}
	return s
}

// checkACL reports what no cluster takes.
func checkACL[P any](c *sdk.Check[sdk.None, P], step int, path, resourceType, resourceName string, operations []string) {
	if resourceType == "cluster" && resourceName != clusterName && resourceName != anything && !sdk.HasReference(resourceName) {
		report(c, step, path+"/resourceName", "bad-name", "the resource of type cluster has the name "+clusterName, "write resourceName: "+clusterName)
	}
	if resourceName == "" {
		report(c, step, path+"/resourceName", "empty-value", "the name is empty, which the protocol takes for any", "write the name, or * for every one")
	}
	if len(operations) == 0 {
		report(c, step, path+"/operations", "nothing-to-do", "no operation is named", "name some")
	}
}

// granting makes an operation that makes ACLs.
func granting[P any](kind, summary string, check func(*sdk.Check[sdk.None, P]), of func(p *P) ([]Binding, sdk.Duration), touches func(p *P) scope) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	return operation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary, Check: check,
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			wanted, _ := of(&s.Payload)
			now, err := c.bindings(ctx, wanted)
			return previewBindings("create ACL", wanted, now, "it is there already"), err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			wanted, _ := of(&s.Payload)
			now, err := c.bindings(ctx, wanted)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case len(now) == len(wanted):
				return sdk.Evidence{Kind: sdk.Applied}, nil
			case len(now) == 0:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d of %d are there; doing it again does no harm", len(now), len(wanted))}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			wanted, _ := of(&s.Payload)
			return both(c.bindings(ctx, wanted))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			wanted, timeout := of(&s.Payload)
			return c.addBindings(ctx, wanted, timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[[]Binding](state)
			if err != nil {
				return err
			}
			wanted, timeout := of(&s.Payload)
			return c.removeBindings(ctx, slices.DeleteFunc(wanted, func(b Binding) bool { return slices.Contains(before, b) }), timeout)
		},
	}, touches)
}

// revoking makes an operation that deletes ACLs.
func revoking[P any](kind, summary string, check func(*sdk.Check[sdk.None, P]), of func(p *P) ([]Binding, sdk.Duration), touches func(p *P) scope) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	return operation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary, Removes: true, Check: check,
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			filters, _ := of(&s.Payload)
			now, err := c.bindings(ctx, filters)
			out := previewBindings("delete ACL", now, nil, "")
			if len(now) == 0 {
				out.Notes = append(out.Notes, "there is no such ACL")
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			filters, _ := of(&s.Payload)
			now, err := c.bindings(ctx, filters)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if len(now) == 0 {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d are there; doing it again does no harm", len(now))}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			filters, _ := of(&s.Payload)
			return both(c.bindings(ctx, filters))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			filters, timeout := of(&s.Payload)
			return c.removeBindings(ctx, filters, timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[[]Binding](state)
			if err != nil {
				return err
			}
			_, timeout := of(&s.Payload)
			return c.addBindings(ctx, before, timeout)
		},
	}, touches)
}

// previewBindings lists ACLs; those of known get a remark.
func previewBindings(verb string, list, known []Binding, remark string) sdk.Preview {
	var out sdk.Preview
	for _, b := range list {
		line := verb + ": " + b.String()
		if slices.Contains(known, b) {
			line += " (" + remark + ")"
		}
		out.Lines = append(out.Lines, line)
	}
	return out
}

func createACLs() sdk.Operation[*Conn] {
	return granting("createAcls", "makes ACLs and waits until every broker has them", func(c *sdk.Check[sdk.None, CreateACLs]) {
		for _, s := range c.Steps {
			for i, a := range s.Apply.ACLs {
				checkACL(c, s.Index, fmt.Sprintf("/acls/%d", i), a.ResourceType, a.ResourceName, a.Operations)
			}
		}
	}, func(p *CreateACLs) ([]Binding, sdk.Duration) { return p.bindings(), p.Timeout },
		func(p *CreateACLs) scope { return principalsOf(p.bindings()) })
}

func deleteACLs() sdk.Operation[*Conn] {
	return revoking("deleteAcls", "deletes the ACLs that match, and waits until no broker has them", func(c *sdk.Check[sdk.None, DeleteACLs]) {
		for _, s := range c.Steps {
			for i, a := range s.Apply.ACLs {
				path := fmt.Sprintf("/acls/%d", i)
				checkACL(c, s.Index, path, a.ResourceType, a.ResourceName, a.Operations)
				for key, value := range map[string]string{"principal": a.Principal, "host": a.Host} {
					if value == "" {
						report(c, s.Index, path+"/"+key, "empty-value", "it is empty, which the protocol takes for any", "write any where any is meant")
					}
				}
			}
		}
	}, func(p *DeleteACLs) ([]Binding, sdk.Duration) { return p.filters(), p.Timeout },
		func(p *DeleteACLs) scope { return principalsOf(p.filters()) })
}
