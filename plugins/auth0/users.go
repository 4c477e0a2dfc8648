package auth0

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// ImportUsers is the payload of importUsers.
type ImportUsers struct {
	Connection string       `json:"connection" desc:"a database"`
	File       string       `json:"file" file:"true" desc:"users as JSON, in Auth0's own schema"`
	Upsert     bool         `json:"upsert,omitempty" desc:"change users that are there already, who are an error otherwise"`
	Timeout    sdk.Duration `json:"timeout,omitempty" default:"30m" desc:"how long to wait for the job; it is in progress then, and a later run waits on"`
}

type importStep = *sdk.Step[sdk.None, ImportUsers]

// importing is what importUsers saves of itself.
type importing struct {
	// Job is the id of the job that is under way.
	Job string `json:"job,omitempty"`
	// Again: an earlier job of this step may have made some of the users.
	Again bool `json:"again,omitempty"`
	Done  bool `json:"done,omitempty"`
}

// upload is the body of a request that sends a file.
type upload struct {
	fields [][2]string
	// name is that of the field, and content the file.
	name    string
	content []byte
}

// attach makes u the body of a request.
func (u *upload) attach(r *http.Request) error {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range u.fields {
		if err := w.WriteField(f[0], f[1]); err != nil {
			return err
		}
	}
	part, err := w.CreateFormFile(u.name, u.name+".json")
	if err != nil {
		return err
	}
	if _, err := part.Write(u.content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.ContentLength = int64(b.Len())
	r.Body = io.NopCloser(bytes.NewReader(b.Bytes()))
	return nil
}

func importUsers() sdk.Operation[*Conn] {
	return sdk.NewOperation(sdk.OperationSpec[*Conn, ImportUsers]{
		Type: "importUsers", Summary: "imports users from a file, and waits for the job", NotTransactional: noTransactions,
		Preview: func(_ context.Context, _ *Conn, s importStep) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("import the users of %s into connection %q", s.Payload.File, s.Payload.Connection)}}, nil
		},
		Probe: func(_ context.Context, _ *Conn, s importStep) (sdk.Evidence, error) {
			var m importing
			if err := m.read(s.Saved); err != nil {
				return sdk.Evidence{}, err
			}
			switch {
			case m.Done:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the job is completed"}, nil
			case m.Job != "":
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the job " + m.Job + " was begun"}, nil
			case s.Saved != nil:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "a job may have made some of the users"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "no job was begun"}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s importStep) error {
			var m importing
			if err := m.read(s.Saved); err != nil || m.Done {
				return err
			}
			if err := rest.NewFinder(c.client, sdk.Object{}).Guard(ctx, connections(), s.Payload.Connection); err != nil {
				return err
			}
			if m.Job == "" {
				m.Again = s.Saved != nil
				if err := m.begin(ctx, c, s); err != nil {
					return err
				}
			}
			return m.wait(ctx, c, s)
		},
	})
}

func (m *importing) read(b []byte) error {
	if b == nil {
		return nil
	}
	if err := json.Unmarshal(b, m); err != nil {
		return sdk.Errorf(sdk.Internal, "what the step saved cannot be read: %w", err)
	}
	return nil
}

func (m *importing) save(ctx context.Context, s importStep) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.Save(ctx, b)
}

// begin begins a job. The API cannot be asked for jobs, so one whose answer was lost
// is begun again, and users who are there already are then no error.
func (m *importing) begin(ctx context.Context, c *Conn, s importStep) error {
	id, err := rest.NewFinder(c.client, sdk.Object{}).ID(ctx, connections(), s.Payload.Connection)
	if err != nil {
		return err
	}
	content, _ := s.File(s.Payload.File)
	if err := m.save(ctx, s); err != nil {
		return err
	}
	const tries = 5
	for try := 1; ; try++ {
		resp, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: "jobs/users-imports", Body: &upload{
			fields: [][2]string{{"connection_id", id}, {"upsert", strconv.FormatBool(s.Payload.Upsert)}, {"send_completion_email", "false"}},
			name:   "users", content: content,
		}})
		switch {
		case err == nil:
			v, err := resp.JSON()
			if err != nil {
				return err
			}
			o, _ := v.(sdk.Object)
			m.Job = rest.Text(o, "id")
			return m.save(ctx, s)
		case !errors.Is(err, rest.ErrAmbiguous) || ctx.Err() != nil || try == tries:
			return err
		}
		m.Again = true
	}
}

// wait waits until the job has ended.
func (m *importing) wait(ctx context.Context, c *Conn, s importStep) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(s.Payload.Timeout), &sdk.Error{
		Code: sdk.InProgress, Part: -1, Message: fmt.Sprintf("import users: the job %s has not ended in %s", m.Job, time.Duration(s.Payload.Timeout)),
		Hint: "apply again, which waits on, or give it a longer timeout",
	})
	defer cancel()
	for wait := time.Duration(0); ; wait = min(wait+time.Duration(c.config.RetryWait), 10*time.Second) {
		if err := rest.Sleep(ctx, wait); err != nil {
			return err
		}
		v, err := c.client.Get(ctx, path("jobs", m.Job), nil)
		if err != nil {
			return err
		}
		o, there := v.(sdk.Object)
		status := rest.Text(o, "status")
		switch {
		case there && status != "completed" && status != "failed":
			done, _ := strconv.ParseInt(rest.Text(o, "percentage_done"), 10, 64)
			s.Progress(done, 100, "the job is "+status)
		case !there:
			return m.ended(ctx, s, "the job "+m.Job+" is gone, so that nobody can tell how it ended")
		default:
			why, err := m.failed(ctx, c, status)
			if err != nil {
				return err
			}
			return m.ended(ctx, s, why)
		}
	}
}

// ended ends the step: well where why is "".
func (m *importing) ended(ctx context.Context, s importStep, why string) error {
	if why == "" {
		m.Done = true
		return m.save(ctx, s)
	}
	return &sdk.Error{
		Code: sdk.Conflict, Part: -1, Message: fmt.Sprintf("import users into connection %q: %s", s.Payload.Connection, why),
		Hint: "mend the file; with upsert, users who were imported are no error when it is applied again",
	}
}

// duplicate is the code of the error of a user who is there already.
const duplicate = "DUPLICATED_USER"

// failed says why the job failed; "" where it did not. Of users it tells no more than
// the email: the file may have their passwords' hashes.
func (m *importing) failed(ctx context.Context, c *Conn, status string) (string, error) {
	resp, err := c.client.Do(ctx, &rest.Request{Method: http.MethodGet, Path: path("jobs", m.Job, "errors")})
	if err != nil {
		return "", err
	}
	v, err := resp.JSON()
	if err != nil {
		return "", err
	}
	if o, ok := v.(sdk.Object); ok {
		return "the job " + m.Job + " has failed: " + rest.Text(o, "status_details"), nil
	}
	users, _ := v.([]any)
	var lines []string
	for _, u := range users {
		o, _ := u.(sdk.Object)
		list, _ := rest.Get(o, "errors")
		all, _ := list.([]any)
		for _, x := range all {
			e, _ := x.(sdk.Object)
			if m.Again && rest.Text(e, "code") == duplicate {
				continue
			}
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s: %s at %q", rest.Text(o, "user.email"), rest.Text(e, "code"), rest.Text(e, "path"))))
		}
	}
	switch {
	case lines == nil && status == "failed" && len(users) == 0:
		return "the job " + m.Job + " has failed", nil
	case lines == nil:
		return "", nil
	}
	const most = 10
	n := len(lines)
	if n > most {
		lines = append(slices.Clone(lines[:most]), "…")
	}
	return fmt.Sprintf("%d errors in the job %s: %s", n, m.Job, strings.Join(lines, "; ")), nil
}
