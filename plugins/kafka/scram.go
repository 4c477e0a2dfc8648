package kafka

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/alteruserscramcredentials"
	"github.com/segmentio/kafka-go/protocol/describeuserscramcredentials"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// scramNumber returns the number that Kafka has for a mechanism.
func scramNumber(mechanism string) int8 {
	if mechanism == mechanismSCRAM256 {
		return 1
	}
	return 2
}

const (
	defaultIterations = 8192
	saltBytes         = 24
)

// iterationsAt returns the iterations of a user's credential as the broker at addr
// knows it; 0 where there is none. The password cannot be read.
func (c *Conn) iterationsAt(ctx context.Context, addr, user, mechanism string) (int32, error) {
	r, err := ask[*describeuserscramcredentials.Response](ctx, c, addr, &describeuserscramcredentials.Request{
		Users: []describeuserscramcredentials.RequestUser{{Name: user}},
	})
	if err != nil {
		return 0, err
	}
	if err := said(r.ErrorCode, r.ErrorMessage); err != nil {
		return 0, err
	}
	for _, result := range r.Results {
		err := said(result.ErrorCode, result.ErrorMessage)
		if isCode(err, kafkago.ResourceNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		for _, info := range result.CredentialInfos {
			if result.User == user && info.Mechanism == scramNumber(mechanism) {
				return info.Iterations, nil
			}
		}
	}
	return 0, nil
}

func (c *Conn) iterations(ctx context.Context, user, mechanism string) (int32, error) {
	v, err := c.view(ctx)
	var n int32
	if err == nil {
		n, err = c.iterationsAt(ctx, v.at, user, mechanism)
	}
	return n, failure("look at user "+user, err)
}

func (c *Conn) alterCredential(ctx context.Context, req *alteruserscramcredentials.Request) error {
	at, err := c.controller(ctx)
	if err != nil {
		return err
	}
	r, err := ask[*alteruserscramcredentials.Response](ctx, c, at, req)
	if err != nil {
		return err
	}
	for _, result := range r.Results {
		if err := said(result.ErrorCode, result.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

// setPassword gives a user a credential, always a new one, and waits until every
// broker has one with as many iterations.
func (c *Conn) setPassword(ctx context.Context, user, mechanism string, password sdk.Secret, iterations int32, timeout sdk.Duration) error {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return fmt.Errorf("make a salt: %w", err)
	}
	var salted []byte
	var err error
	if mechanism == mechanismSCRAM256 {
		salted, err = pbkdf2.Key(sha256.New, password.Reveal(), salt, int(iterations), sha256.Size)
	} else {
		salted, err = pbkdf2.Key(sha512.New, password.Reveal(), salt, int(iterations), sha512.Size)
	}
	if err != nil {
		return sdk.Errorf(sdk.Invalid, "salt the password: %w", err)
	}
	sent := false
	return settle(ctx, "set the password of user "+user, timeout, func(ctx context.Context) (bool, error) {
		if !sent {
			return false, nil // whose password there is cannot be seen
		}
		return c.everywhere(ctx, func(ctx context.Context, addr string) (bool, error) {
			now, err := c.iterationsAt(ctx, addr, user, mechanism)
			return now == iterations, err
		})
	}, func(ctx context.Context) error {
		err := c.alterCredential(ctx, &alteruserscramcredentials.Request{
			Upsertions: []alteruserscramcredentials.RequestUserScramCredentialsUpsertion{{
				Name: user, Mechanism: scramNumber(mechanism), Iterations: iterations, Salt: salt, SaltedPassword: salted,
			}},
		})
		sent = err == nil
		return err
	})
}

// deleteUser takes a credential away and waits until no broker has it.
func (c *Conn) deleteUser(ctx context.Context, user, mechanism string, timeout sdk.Duration) error {
	return settle(ctx, "delete user "+user, timeout, func(ctx context.Context) (bool, error) {
		return c.everywhere(ctx, func(ctx context.Context, addr string) (bool, error) {
			now, err := c.iterationsAt(ctx, addr, user, mechanism)
			return err == nil && now == 0, err
		})
	}, func(ctx context.Context) error {
		err := c.alterCredential(ctx, &alteruserscramcredentials.Request{
			Deletions: []alteruserscramcredentials.RequestUserScramCredentialsDeletion{{Name: user, Mechanism: scramNumber(mechanism)}},
		})
		if isCode(err, kafkago.ResourceNotFound) {
			return nil
		}
		return err
	})
}

// UpsertScramUser is the payload of upsertScramUser.
type UpsertScramUser struct {
	Username         string       `json:"username"`
	Mechanism        string       `json:"mechanism" enum:"SCRAM-SHA-256,SCRAM-SHA-512"`
	Password         sdk.Secret   `json:"password" sensitive:"true"`
	Iterations       int32        `json:"iterations,omitempty" minimum:"4096" maximum:"16384" default:"8192"`
	PreviousPassword sdk.Secret   `json:"previousPassword,omitempty" sensitive:"true" desc:"of a user that is there: what a rollback puts back"`
	OnConflict       string       `json:"onConflict,omitempty" enum:"replace,fail" default:"replace" desc:"what to do where the user has such a credential"`
	Timeout          sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

func (p *UpsertScramUser) iterations() int32 {
	if p.Iterations == 0 {
		return defaultIterations
	}
	return p.Iterations
}

// credential is what is captured of a user's credential.
type credential struct {
	Iterations int32 `json:"iterations"`
}

func upsertScramUser() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, UpsertScramUser]
	return operation(sdk.OperationSpec[*Conn, UpsertScramUser]{
		Type: "upsertScramUser", Summary: "gives a user a password for SCRAM",
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("set the password of user %s for %s, %d iterations", p.Username, p.Mechanism, p.iterations())}}
			now, err := c.iterations(ctx, p.Username, p.Mechanism)
			if now > 0 {
				out.Notes = append(out.Notes, "the user has one already, which is replaced")
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			p := &s.Payload
			now, err := c.iterations(ctx, p.Username, p.Mechanism)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case now != p.iterations(), p.OnConflict == "fail" && s.Saved == nil:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "the user has a password, which cannot be read; setting it again does no harm"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			p := &s.Payload
			now, err := c.iterations(ctx, p.Username, p.Mechanism)
			if err == nil && now > 0 && p.PreviousPassword == "" && p.OnConflict != "fail" {
				err = &sdk.Error{
					Code: sdk.Unsupported, Part: -1, Clean: true,
					Message: fmt.Sprintf("user %s has a password for %s, which cannot be read and so not be put back", p.Username, p.Mechanism),
					Hint:    "write previousPassword, or the rollback, or rollback: none with a reason",
				}
			}
			return both(credential{now}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			if p.OnConflict == "fail" && s.Saved == nil {
				now, err := c.iterations(ctx, p.Username, p.Mechanism)
				if err != nil {
					return err
				}
				if now > 0 {
					return conflict("onConflict: replace replaces it", "user %s has a password for %s already", p.Username, p.Mechanism)
				}
				if err := s.Save(ctx, []byte("begun")); err != nil {
					return err
				}
			}
			return c.setPassword(ctx, p.Username, p.Mechanism, p.Password, p.iterations(), p.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[credential](state)
			if err != nil {
				return err
			}
			p := &s.Payload
			switch {
			case before.Iterations == 0:
				return c.deleteUser(ctx, p.Username, p.Mechanism, p.Timeout)
			case p.OnConflict == "fail":
				return nil // it was not replaced
			}
			return c.setPassword(ctx, p.Username, p.Mechanism, p.PreviousPassword, before.Iterations, p.Timeout)
		},
	}, func(p *UpsertScramUser) scope { return scope{principals: []string{"User:" + p.Username}} })
}

// DeleteScramUser is the payload of deleteScramUser.
type DeleteScramUser struct {
	Username         string       `json:"username"`
	Mechanism        string       `json:"mechanism" enum:"SCRAM-SHA-256,SCRAM-SHA-512"`
	PreviousPassword sdk.Secret   `json:"previousPassword,omitempty" sensitive:"true" desc:"what a rollback puts back"`
	Timeout          sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

func deleteScramUser() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DeleteScramUser]
	return operation(sdk.OperationSpec[*Conn, DeleteScramUser]{
		Type: "deleteScramUser", Removes: true, Summary: "takes a user's password for SCRAM away",
		Check: func(c *sdk.Check[sdk.None, DeleteScramUser]) {
			for _, s := range c.Steps {
				if s.Apply.PreviousPassword != "" {
					continue
				}
				c.Irreversible("the password of user " + s.Apply.Username + " cannot be read, and so not be put back")
				if s.Auto {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldRollback, Step: s.Index, Code: "no-inverse", Summary: "the user's password cannot be read, and so not be put back",
						Fix: "write previousPassword, or the rollback, or rollback: none with a reason",
					})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("delete the password of user %s for %s", p.Username, p.Mechanism)}}
			now, err := c.iterations(ctx, p.Username, p.Mechanism)
			if err == nil && now == 0 {
				out.Notes = append(out.Notes, "the user has none")
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			now, err := c.iterations(ctx, s.Payload.Username, s.Payload.Mechanism)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if now == 0 {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			now, err := c.iterations(ctx, s.Payload.Username, s.Payload.Mechanism)
			return both(credential{now}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.deleteUser(ctx, s.Payload.Username, s.Payload.Mechanism, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[credential](state)
			if err != nil || before.Iterations == 0 {
				return err
			}
			p := &s.Payload
			return c.setPassword(ctx, p.Username, p.Mechanism, p.PreviousPassword, before.Iterations, p.Timeout)
		},
	}, func(p *DeleteScramUser) scope { return scope{principals: []string{"User:" + p.Username}} })
}
