package restfake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Folder is where the descriptions of services are, as their makers publish them;
// they are not part of this project. It is named by FLAMINGOCK_OPENAPI_SPECS. It
// returns "" where they are not there.
func Folder() string {
	dir := os.Getenv("FLAMINGOCK_OPENAPI_SPECS")
	if dir == "" {
		_, file, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(file), "..", "..", "..", "shared", "specs")
	}
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// Absent is what a test says that skips because Folder is "".
const Absent = "the services' OpenAPI files are not here; FLAMINGOCK_OPENAPI_SPECS says where they are"

// Spec is the description of a service.
type Spec struct {
	Doc *openapi3.T
	// Scopes are those of OAuth that operations ask for.
	Scopes map[string]bool
	router routers.Router
}

var specs sync.Map // by file: func() (*Spec, error)

// Load reads a description below Folder, once, for a service whose paths begin with
// base. It returns nil where there is none.
func Load(file, base string) (*Spec, error) {
	dir := Folder()
	if dir == "" {
		return nil, nil
	}
	read, _ := specs.LoadOrStore(file+" "+base, sync.OnceValues(func() (*Spec, error) {
		return load(filepath.Join(dir, file), base)
	}))
	return read.(func() (*Spec, error))() //nolint:forcetypeassert,errcheck // nothing else is stored
}

func load(path, base string) (*Spec, error) {
	doc, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	scopes := map[string]bool{}
	for _, item := range doc.Paths.Map() {
		item.Servers = nil
		for _, op := range item.Operations() {
			addScopes(scopes, op)
			op.Servers, op.Security = nil, nil
		}
	}
	for _, schema := range doc.Components.Schemas {
		loosen(schema, map[*openapi3.Schema]bool{})
	}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			describeForm(op)
			for status, answer := range op.Responses.Map() {
				if status == "204" {
					answer.Value.Content = nil // there is none, whatever the description says
				}
				for _, media := range answer.Value.Content {
					loosen(media.Schema, map[*openapi3.Schema]bool{})
				}
			}
		}
	}
	doc.Security = nil
	doc.Servers = openapi3.Servers{{URL: base}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Spec{Doc: doc, Scopes: scopes, router: router}, nil
}

// addScopes adds the scopes that an operation asks for.
func addScopes(scopes map[string]bool, op *openapi3.Operation) {
	if op.Security == nil {
		return
	}
	for _, way := range *op.Security {
		for _, list := range way {
			for _, scope := range list {
				scopes[scope] = true
			}
		}
	}
}

// describeForm says of the parameters of a form that have no type what they are:
// texts, which hold JSON.
func describeForm(op *openapi3.Operation) {
	if op.RequestBody == nil {
		return
	}
	media := op.RequestBody.Value.Content["application/x-www-form-urlencoded"]
	if media == nil {
		return
	}
	text := func(ref *openapi3.SchemaRef) *openapi3.SchemaRef {
		if s := ref.Value; s.Type == nil && len(s.AnyOf)+len(s.AllOf)+len(s.Enum) == 0 {
			return openapi3.NewStringSchema().NewRef()
		}
		return ref
	}
	for name, ref := range media.Schema.Value.Properties {
		if ref.Value.Type.Is("array") {
			ref.Value.Items = text(ref.Value.Items)
			continue
		}
		media.Schema.Value.Properties[name] = text(ref)
	}
}

// loosen lets a value match more than one of several schemas, which descriptions
// forbid although one page may well look like another. Patterns that Go does not know
// are left out, and so is what a schema demands and forbids at once.
func loosen(ref *openapi3.SchemaRef, seen map[*openapi3.Schema]bool) {
	if ref == nil || ref.Value == nil || seen[ref.Value] {
		return
	}
	s := ref.Value
	seen[s] = true
	if s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has && len(s.AllOf) == 0 {
		s.Required = slices.DeleteFunc(s.Required, func(name string) bool { return s.Properties[name] == nil })
	}
	if _, err := regexp.Compile(s.Pattern); err != nil {
		s.Pattern = ""
	}
	s.AnyOf, s.OneOf = append(s.AnyOf, s.OneOf...), nil
	for _, list := range []openapi3.SchemaRefs{s.AnyOf, s.AllOf} {
		for _, each := range list {
			loosen(each, seen)
		}
	}
	for _, each := range s.Properties {
		loosen(each, seen)
	}
	loosen(s.Items, seen)
	loosen(s.AdditionalProperties.Schema, seen)
}

// exchange is one request with its answer.
type exchange struct {
	spec  *Spec
	input *openapi3filter.RequestValidationInput
}

// request says what is wrong with a request.
func (s *Spec) request(r *http.Request, body []byte) (*exchange, error) {
	clone := r.Clone(context.Background())
	clone.Body = io.NopCloser(bytes.NewReader(body))
	clone.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	clone.Host = ""
	route, params, err := s.router.FindRoute(clone)
	if err != nil {
		return nil, fmt.Errorf("there is no such operation: %w", err)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: clone, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus: true,
		},
	}
	if err := unknownParameter(route.Operation, r, body); err != nil {
		return nil, err
	}
	return &exchange{s, in}, openapi3filter.ValidateRequest(clone.Context(), in)
}

// unknownParameter reports a parameter of a form that the operation does not have,
// which descriptions of forms do not forbid.
func unknownParameter(op *openapi3.Operation, r *http.Request, body []byte) error {
	const form = "application/x-www-form-urlencoded"
	if op.RequestBody == nil || r.Header.Get("Content-Type") != form || op.RequestBody.Value.Content[form] == nil {
		return nil
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return err
	}
	known := op.RequestBody.Value.Content[form].Schema.Value.Properties
	for name := range values {
		if known[name] == nil {
			return fmt.Errorf("there is no parameter %s", name)
		}
	}
	return nil
}

// response says what is wrong with an answer. Answers that are errors need not be
// described.
func (x *exchange) response(status int, header http.Header, body []byte) error {
	if status >= 400 {
		return nil
	}
	return openapi3filter.ValidateResponse(x.input.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: x.input, Status: status, Header: header,
		Body: io.NopCloser(bytes.NewReader(body)), Options: x.input.Options,
	})
}

// brief shortens what a validator says.
func brief(err error) string {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "{") && !strings.HasPrefix(line, "\"") && line != "}" {
			lines = append(lines, line)
		}
	}
	const most = 600
	text := strings.Join(lines, " ")
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
