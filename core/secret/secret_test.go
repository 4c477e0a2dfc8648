package secret_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/secret"
)

func TestScan(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                       "text(plain)",
		"${env:A}":                    "ref(${env:A})",
		"a ${env:A} b ${file:/x/y} c": "text(a )ref(${env:A})text( b )ref(${file:/x/y})text( c)",
		"${var:x}${var:y}":            "ref(${var:x})ref(${var:y})",
		"$${env:A}":                   "text(${env:A})",
		"$$body$$ $1 ${shell} $set":   "text($$body$$ $1 ${shell} $set)",
		"${A:-default}":               "text(${A:-default})",
		"cost: ${":                    "text(cost: ${)",
	} {
		segments, err := secret.Scan(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		var b strings.Builder
		for _, s := range segments {
			if s.Reference != nil {
				b.WriteString("ref(" + s.Reference.String() + ")")
			} else {
				b.WriteString("text(" + s.Text + ")")
			}
		}
		if b.String() != want {
			t.Errorf("%q: got %s, want %s", in, b.String(), want)
		}
	}
	for in, want := range map[string]string{
		"a ${env:A":  "reference \"${env:A\" is not closed; end it with `}`, or write `$${` for a literal `${`",
		"${vault:x}": "unknown kind of reference \"${vault:x}\"; use ${env:NAME}, ${file:path} or ${var:name}, or write `$${` for a literal `${`",
		"${env: }":   "reference \"${env: }\" names nothing; put a name after the colon",
	} {
		if _, err := secret.Scan(in); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{"${env:A}", "$${", "${", "${x:", "a${file:b}c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		segments, err := secret.Scan(s)
		if err != nil {
			var syntax *secret.SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset >= len(s) {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		n := 0
		for _, seg := range segments {
			if seg.Reference != nil {
				n += len(seg.Reference.String())
			} else {
				n += len(seg.Text)
			}
		}
		if n > len(s) {
			t.Fatalf("%d bytes came out of %d", n, len(s))
		}
	})
}

func resolver(r *secret.Redactor) *secret.Resolver {
	return &secret.Resolver{
		LookupEnv: func(name string) (string, bool) {
			v, ok := map[string]string{"PASS": `s3cr"et`, "EMPTY": ""}[name]
			return v, ok
		},
		ReadFile: func(path string) ([]byte, error) {
			if path == "token" {
				return []byte("tok-en-value\n"), nil
			}
			return nil, errors.New("no such file")
		},
		Vars:     map[string]string{"region": "eu"},
		Redactor: r,
	}
}

func TestResolveJSON(t *testing.T) {
	t.Parallel()
	r := resolver(nil)
	in := `{"z":"${env:PASS}","a":[1.50,true,null,"${var:region}-1",{"${env:PASS}":"${file:token}"}],"n":12345678901234567890}`
	want := `{"z":"s3cr\"et","a":[1.50,true,null,"eu-1",{"${env:PASS}":"tok-en-value"}],"n":12345678901234567890}`
	got, err := r.JSON([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, doc := range []string{`"${env:PASS}"`, `[]`, `{}`, `[[],{}]`, `{"a":{"b":[1,2]},"c":"<&>"}`} {
		got, err := r.JSON([]byte(doc))
		if err != nil {
			t.Errorf("%s: %v", doc, err)
		}
		if want := strings.ReplaceAll(doc, "${env:PASS}", `s3cr\"et`); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	_, err = r.JSON([]byte(`["${env:NOPE}","${file:gone}","${var:none}"]`))
	want = "reference ${env:NOPE}: the environment variable NOPE is not set\n" +
		"reference ${file:gone}: no such file\n" +
		"reference ${var:none}: no variable \"none\" was given; give it with `--var none=…` or FLAMINGOCK_VAR_NONE"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	red := &secret.Redactor{}
	r := resolver(red)
	for _, ref := range []string{"${env:PASS}", "${file:token}", "${env:EMPTY}"} {
		if _, err := r.String(ref); err != nil {
			t.Fatal(err)
		}
	}
	red.Add("postgres://app:hunter2secret@db/shop")
	red.AddPasswordOf("mysql://root:p%40ssword@db/x")
	red.AddPasswordOf("not a url %zz")
	for _, text := range []string{
		`value s3cr"et here`, `json "s3cr\"et"`, "query s3cr%22et", "token tok-en-value",
		base64.StdEncoding.EncodeToString([]byte("tok-en-value")), "url hunter2secret", "p@ssword", "p%40ssword",
	} {
		got := red.Redact(text)
		if !strings.Contains(got, secret.Mask) {
			t.Errorf("%q stayed %q", text, got)
		}
	}
	if got := red.Redact("nothing to hide, on 1"); got != "nothing to hide, on 1" {
		t.Errorf("redacted too much: %q", got)
	}
	cause := errors.New("login with tok-en-value failed")
	err := red.Error(cause)
	if err.Error() != "login with [redacted] failed" || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if red.Error(nil) != nil {
		t.Error("an error came out of none")
	}
	var none *secret.Redactor
	none.Add("x")
	if none.Redact("text") != "text" {
		t.Error("the nil redactor changed a text")
	}
}

func TestRedactLogs(t *testing.T) {
	t.Parallel()
	red := &secret.Redactor{}
	red.Add("tok-en-value")
	var out bytes.Buffer
	log := slog.New(red.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log = log.With("a", "tok-en-value").WithGroup("g")
	log.LogAttrs(context.Background(), slog.LevelInfo, "message tok-en-value",
		slog.Any("err", errors.New("tok-en-value")), slog.Any("any", []string{"tok-en-value"}),
		slog.Group("inner", slog.String("b", "tok-en-value")), slog.Int("n", 7))
	if strings.Contains(out.String(), "tok-en-value") {
		t.Errorf("a secret is in %s", out.String())
	}
	for _, want := range []string{"g.n=7", "g.inner.b=[redacted]", "a=[redacted]"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing in %s", want, out.String())
		}
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	if _, err := secret.NewSealer("short"); err == nil {
		t.Error("a short key was taken")
	}
	s, err := secret.NewSealer("a long enough passphrase")
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte(`{"password":"x"}`)
	sealed := s.Seal(plain)
	if bytes.Contains(sealed, []byte("password")) || !secret.IsSealed(sealed) {
		t.Fatalf("not sealed: %q", sealed)
	}
	got, err := s.Open(sealed)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %q, %v", got, err)
	}
	if bytes.Equal(sealed, s.Seal(plain)) {
		t.Error("sealing twice gave the same text")
	}
	other, err := secret.NewSealer("another long passphrase")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(sealed); err == nil {
		t.Error("another key opened it")
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := s.Open(sealed); err == nil {
		t.Error("a changed text was opened")
	}
	var none *secret.Sealer
	if got, err := none.Open(plain); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("plain text did not pass: %q, %v", got, err)
	}
	if _, err := none.Open(s.Seal(plain)); err == nil {
		t.Error("a sealed text was opened without a key")
	}
}
