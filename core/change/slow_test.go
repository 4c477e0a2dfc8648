package change_test

import (
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/change"
)

func TestSlow(t *testing.T) {
	for name, text := range map[string]string{
		"list": "id: a\napply:\n" + strings.Repeat("- a\n", 1<<19),
		"flow": "id: a\napply: [" + strings.Repeat("a,\n", 1<<20),
		"quote": "id: a\napply: \"" + strings.Repeat("a b c\n", 1<<19),
		"nest": strings.Repeat("[", 1<<20),
		"keys": "id: a\napply:\n" + strings.Repeat("  a: b\n", 1<<19),
		"digits": "id: a\ntemplate: b\ntargetSystem: c\napply: 0x" + strings.Repeat("f", 1<<20),
		"plain": "id: a\ntemplate: b\ntargetSystem: c\napply: 1" + strings.Repeat(" 1", 1<<20),
		"refs": "id: a\ntemplate: b\ntargetSystem: c\napply: \"" + strings.Repeat("${env:", 1<<18)+"\"",
		"manyrefs": "id: a\ntemplate: b\ntargetSystem: c\napply: \"" + strings.Repeat("${env:X} ", 1<<18)+"\"",
		"badrefs": "id: a\ntemplate: b\ntargetSystem: c\napply:\n" + strings.Repeat("- ${env:}\n", 2000),
		"ambiguous": "id: a\ntemplate: b\ntargetSystem: c\napply:\n" + strings.Repeat("- yes\n", 100000),
		"tabs": "id: a\n" + strings.Repeat("\t", 1<<20),
		"comments": strings.Repeat("# a\n", 1<<20),
		"indent": func() string { var b strings.Builder; for i := range 2000 { b.WriteString(strings.Repeat(" ", i)+"a:\n") }; return b.String() }(),
	} {
		start := time.Now()
		c, problems := loadText(text, change.LoadOptions{})
		if c != nil { for _, s := range c.Steps { change.References(s.Apply) } }
		first := ""
		if len(problems) > 0 { first = problems[0].String(); if len(first) > 150 { first = first[:150] } }
		t.Log(name, len(text), time.Since(start), len(problems), first)
	}
}
