package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// registryType is what schema registries speak.
const registryType = "application/vnd.schemaregistry.v1+json"

// schemas returns the client of the schema registry.
func (c *Conn) schemas() (*rest.Client, error) {
	if c.registry == nil {
		e := sdk.Errorf(sdk.Invalid, "the target system names no schema registry")
		e.Hint, e.Clean = "write schemaRegistry: {url: …}", true
		return nil, e
	}
	return c.registry, nil
}

// missingIn tells whether err says that something is not there.
func missingIn(err error) bool { return rest.IsStatus(err, http.StatusNotFound) }

// Reference is a schema that another one refers to.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version" minimum:"1"`
}

// RegisterSchema is the payload of registerSchema.
type RegisterSchema struct {
	Subject    string      `json:"subject"`
	SchemaType string      `json:"schemaType,omitempty" enum:"AVRO,PROTOBUF,JSON" default:"AVRO"`
	Schema     Schema      `json:"schema,omitzero" desc:"as text, or, of AVRO and JSON, as a mapping"`
	SchemaFile string      `json:"schemaFile,omitempty" file:"true"`
	References []Reference `json:"references,omitempty"`
	Normalize  bool        `json:"normalize,omitempty" desc:"let the registry compare and keep the schema in its normal form"`
}

// Schema is the text of a schema; a mapping or a list stands for its JSON.
type Schema string

// UnmarshalJSON implements json.Unmarshaler.
func (s *Schema) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*s = Schema(text)
		return nil
	}
	*s = Schema(b)
	return nil
}

// JSONSchema returns that of text, a mapping or a list.
func (Schema) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type":["string","object","array"],"description":"as text, or, of AVRO and JSON, as a mapping"}`)
}

// registered is a schema as it is sent to the registry.
type registered struct {
	Schema     string      `json:"schema"`
	SchemaType string      `json:"schemaType,omitempty"`
	References []Reference `json:"references,omitempty"`
}

// lookUp returns the version that a subject has of a schema; 0 where it has none.
func (c *Conn) lookUp(ctx context.Context, subject string, schema registered, normalize bool) (int64, error) {
	client, err := c.schemas()
	if err != nil {
		return 0, err
	}
	found, err := object(ctx, client, &rest.Request{
		Method: http.MethodPost, Path: "/subjects/" + escape(subject), Query: normalized(normalize), Body: schema, Repeatable: true,
	})
	if missingIn(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return number(found, "version"), nil
}

func normalized(yes bool) url.Values {
	if !yes {
		return nil
	}
	return url.Values{"normalize": {"true"}}
}

// number returns a whole number of an object; 0 where there is none.
func number(o sdk.Object, key string) int64 {
	v, _ := o.Get(key)
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return i
}

// register gives a subject a schema. Doing it twice is the same as once.
func (c *Conn) register(ctx context.Context, subject string, schema registered, normalize bool) error {
	client, err := c.schemas()
	if err != nil {
		return err
	}
	_, err = client.Do(ctx, &rest.Request{
		Method: http.MethodPost, Path: "/subjects/" + escape(subject) + "/versions", Query: normalized(normalize), Body: schema, Repeatable: true,
	})
	var f *rest.Failure
	if errors.As(err, &f) && f.Status == http.StatusConflict {
		f.Err.Hint = "the schema is not compatible with those that the subject has; setSubjectConfig says what is compatible"
	}
	return err
}

// deleteVersion deletes a version of a subject; one that is not there is none.
func (c *Conn) deleteVersion(ctx context.Context, subject string, version int64, permanent bool) error {
	client, err := c.schemas()
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/subjects/%s/versions/%d", escape(subject), version)
	_, err = client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: path})
	if err != nil && !missingIn(err) {
		return err
	}
	if !permanent {
		return nil
	}
	if _, err = client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: path, Query: url.Values{"permanent": {"true"}}}); missingIn(err) {
		return nil
	}
	return err
}

// sent returns the schema as it is sent.
func (p *RegisterSchema) sent(s *sdk.Step[sdk.None, RegisterSchema]) (registered, error) {
	text := string(p.Schema)
	if p.SchemaFile != "" {
		content, ok := s.File(p.SchemaFile)
		if !ok {
			return registered{}, sdk.Errorf(sdk.Internal, "the host did not send the file %s", p.SchemaFile)
		}
		text = string(content)
	}
	out := registered{Schema: text, References: p.References}
	if p.SchemaType != "AVRO" {
		out.SchemaType = p.SchemaType // AVRO is what old registries know alone
	}
	return out, nil
}

func registerSchema() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, RegisterSchema]
	look := func(ctx context.Context, c *Conn, s step) (int64, error) {
		schema, err := s.Payload.sent(s)
		if err != nil {
			return 0, err
		}
		return c.lookUp(ctx, s.Payload.Subject, schema, s.Payload.Normalize)
	}
	return operation(sdk.OperationSpec[*Conn, RegisterSchema]{
		Type: "registerSchema", Summary: "gives a subject a schema; one that it has already is left alone",
		Check: func(c *sdk.Check[sdk.None, RegisterSchema]) {
			for _, s := range c.Steps {
				p := s.Apply
				if (p.Schema == "") == (p.SchemaFile == "") {
					report(c, s.Index, "", "contradiction", "one of schema and schemaFile is needed", "write the schema, or name its file")
				}
				text, file := string(p.Schema), ""
				if content, ok := s.File(p.SchemaFile); ok {
					text, file = string(content), p.SchemaFile
				}
				text = strings.TrimSpace(text)
				if p.SchemaType != "PROTOBUF" && text != "" && !sdk.HasReference(text) && !json.Valid([]byte(text)) {
					// The name of a type alone is a schema of Avro's as well, in quotation marks.
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Path: pathOfSchema(file), File: file, Code: "bad-schema",
						Summary: "the schema is no JSON", Fix: "schemas of AVRO and JSON are; or is schemaType wrong?",
					})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("register a schema (%s) of subject %s", or(p.SchemaType, "AVRO"), p.Subject)}}
			version, err := look(ctx, c, s)
			if err != nil {
				return out, err
			}
			if version > 0 {
				out.Notes = append(out.Notes, fmt.Sprintf("it is there already, as version %d", version))
				return out, nil
			}
			schema, err := p.sent(s)
			if err != nil {
				return out, err
			}
			return out, c.compatible(ctx, p.Subject, schema, &out)
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			version, err := look(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if version > 0 {
				return sdk.Evidence{Kind: sdk.Applied, Detail: fmt.Sprintf("it is version %d", version)}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			version, err := look(ctx, c, s)
			return both(existed{version > 0}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			version, err := look(ctx, c, s)
			if err != nil || version > 0 {
				return err
			}
			schema, err := s.Payload.sent(s)
			if err != nil {
				return err
			}
			return c.register(ctx, s.Payload.Subject, schema, s.Payload.Normalize)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[existed](state)
			if err != nil || before.Existed {
				return err // it was not this change that registered it
			}
			version, err := look(ctx, c, s)
			if err != nil || version == 0 {
				return err
			}
			return c.deleteVersion(ctx, s.Payload.Subject, version, false)
		},
	}, func(p *RegisterSchema) scope { return scope{subjects: []string{p.Subject}} })
}

func pathOfSchema(file string) string {
	if file != "" {
		return "/schemaFile"
	}
	return "/schema"
}

// compatible adds a note where the registry would not take the schema.
func (c *Conn) compatible(ctx context.Context, subject string, schema registered, out *sdk.Preview) error {
	client, err := c.schemas()
	if err != nil {
		return err
	}
	answer, err := object(ctx, client, &rest.Request{
		Method: http.MethodPost, Path: "/compatibility/subjects/" + escape(subject) + "/versions/latest", Body: schema, Repeatable: true,
	})
	if missingIn(err) {
		return nil // it is the first one
	}
	if err != nil {
		return err
	}
	if yes, ok := answer.Get("is_compatible"); ok && yes == false {
		out.Notes = append(out.Notes, "the registry says that it is not compatible with the latest version")
	}
	return nil
}

// DeleteSchemaVersion is the payload of deleteSchemaVersion.
type DeleteSchemaVersion struct {
	Subject      string `json:"subject"`
	Version      int64  `json:"version" minimum:"1"`
	Permanent    bool   `json:"permanent,omitempty" desc:"so that readers of old records do not find it any more"`
	AllowDestroy bool   `json:"allowDestroy,omitempty" desc:"needed where it is permanent"`
}

// version returns a version of a subject; false where there is none.
func (c *Conn) version(ctx context.Context, subject string, version int64, deleted bool) (registered, bool, error) {
	client, err := c.schemas()
	if err != nil {
		return registered{}, false, err
	}
	r := &rest.Request{Method: http.MethodGet, Path: fmt.Sprintf("/subjects/%s/versions/%d", escape(subject), version)}
	if deleted {
		r.Query = url.Values{"deleted": {"true"}}
	}
	resp, err := client.Do(ctx, r)
	if missingIn(err) {
		return registered{}, false, nil
	}
	if err != nil {
		return registered{}, false, err
	}
	var out registered
	if err := json.Unmarshal(resp.Body, &out); err != nil {
		return registered{}, false, fmt.Errorf("%s: %w", r, err)
	}
	return out, true, nil
}

func deleteSchemaVersion() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DeleteSchemaVersion]
	return operation(sdk.OperationSpec[*Conn, DeleteSchemaVersion]{
		Type: "deleteSchemaVersion", Removes: true, Summary: "deletes a version of a subject",
		Check: func(c *sdk.Check[sdk.None, DeleteSchemaVersion]) {
			for _, s := range c.Steps {
				c.Irreversible("a rollback registers the schema of " + s.Apply.Subject + " again, under a new version")
				if s.Apply.Permanent && !s.Apply.AllowDestroy {
					needsWord(c, s.Index, "allowDestroy", "records that were written with the schema cannot be read any more")
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			_, there, err := c.version(ctx, p.Subject, p.Version, p.Permanent)
			out := sdk.Preview{Lines: []string{fmt.Sprintf("delete version %d of subject %s", p.Version, p.Subject)}}
			if err == nil && !there {
				out.Notes = append(out.Notes, "it is not there")
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			p := &s.Payload
			_, there, err := c.version(ctx, p.Subject, p.Version, p.Permanent)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if !there {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "it is there; deleting it again does no harm"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			schema, there, err := c.version(ctx, s.Payload.Subject, s.Payload.Version, false)
			if !there {
				return both(nil, err)
			}
			return both(schema, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.deleteVersion(ctx, s.Payload.Subject, s.Payload.Version, s.Payload.Permanent)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[*registered](state)
			if err != nil || before == nil {
				return err
			}
			if _, there, err := c.version(ctx, s.Payload.Subject, s.Payload.Version, false); err != nil || there {
				return err // it was not deleted
			}
			return c.register(ctx, s.Payload.Subject, *before, false)
		},
	}, func(p *DeleteSchemaVersion) scope { return scope{subjects: []string{p.Subject}} })
}

// SetSubjectConfig is the payload of setSubjectConfig.
type SetSubjectConfig struct {
	Subject       string `json:"subject"`
	Compatibility string `json:"compatibility" enum:"NONE,BACKWARD,BACKWARD_TRANSITIVE,FORWARD,FORWARD_TRANSITIVE,FULL,FULL_TRANSITIVE"`
}

// SetSubjectMode is the payload of setSubjectMode.
type SetSubjectMode struct {
	Subject string `json:"subject"`
	Mode    string `json:"mode" enum:"READWRITE,READONLY,READONLY_OVERRIDE,IMPORT"`
	Force   bool   `json:"force,omitempty" desc:"take IMPORT although the subject has schemas"`
}

func setSubjectConfig() sdk.Operation[*Conn] {
	return subjectSetting("setSubjectConfig", "says which changes of a subject's schema are compatible", "config", "compatibilityLevel", "compatibility",
		func(p *SetSubjectConfig) (string, string, bool) { return p.Subject, p.Compatibility, false })
}

func setSubjectMode() sdk.Operation[*Conn] {
	return subjectSetting("setSubjectMode", "says whether a subject takes schemas", "mode", "mode", "mode",
		func(p *SetSubjectMode) (string, string, bool) { return p.Subject, p.Mode, p.Force })
}

// subjectSetting makes an operation on a setting that a subject has of its own, or as
// the registry says for all. got and sent are what the registry calls it.
func subjectSetting[P any](kind, summary, resource, got, sent string, of func(p *P) (subject, value string, force bool)) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	path := func(s step) string {
		subject, _, _ := of(&s.Payload)
		return "/" + resource + "/" + escape(subject)
	}
	// look returns the subject's own value; "" where it has none.
	look := func(ctx context.Context, c *Conn, s step) (string, error) {
		client, err := c.schemas()
		if err != nil {
			return "", err
		}
		o, err := object(ctx, client, &rest.Request{Method: http.MethodGet, Path: path(s), Query: url.Values{"defaultToGlobal": {"false"}}})
		if missingIn(err) {
			return "", nil
		}
		return rest.Text(o, got), err
	}
	become := func(ctx context.Context, c *Conn, s step, value string) error {
		client, err := c.schemas()
		if err != nil {
			return err
		}
		if value == "" {
			_, err := client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: path(s)})
			if missingIn(err) {
				return nil
			}
			return err
		}
		r := &rest.Request{Method: http.MethodPut, Path: path(s), Body: map[string]string{sent: value}}
		if _, _, force := of(&s.Payload); force {
			r.Query = url.Values{"force": {"true"}}
		}
		_, err = client.Do(ctx, r)
		return err
	}
	return operation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary,
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			subject, value, _ := of(&s.Payload)
			now, err := look(ctx, c, s)
			return sdk.Preview{Lines: []string{fmt.Sprintf("%s of subject %s: %s, now %s", sent, subject, value, or(now, "as for all"))}}, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			_, value, _ := of(&s.Payload)
			now, err := look(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if now == value {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is " + or(now, "as for all")}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) { return both(look(ctx, c, s)) },
		Apply: func(ctx context.Context, c *Conn, s step) error {
			_, value, _ := of(&s.Payload)
			now, err := look(ctx, c, s)
			if err != nil || now == value {
				return err
			}
			return become(ctx, c, s, value)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[string](state)
			if err != nil {
				return err
			}
			subject, value, _ := of(&s.Payload)
			now, err := look(ctx, c, s)
			switch {
			case err != nil, now == before:
				return err
			case now != value:
				return conflict("set it by hand to what it is to be, or write the rollback", "%s of subject %s was changed by somebody else since: it is %s", sent, subject, or(now, "as for all"))
			}
			return become(ctx, c, s, before)
		},
	}, func(p *P) scope {
		subject, _, _ := of(p)
		return scope{subjects: []string{subject}}
	})
}
