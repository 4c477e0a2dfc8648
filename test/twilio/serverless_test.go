package twilio

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/test/twiliofake"
)

// environment returns the environment of the one service of Functions, by name, and
// the path of the service.
func environment(t *testing.T, a *twiliofake.Account, name string) (o twiliofake.Object, service string) {
	t.Helper()
	service = fmt.Sprint("serverless/v1/Services/", a.Objects("serverless/v1/Services")[0]["sid"])
	for _, e := range a.Objects(service + "/Environments") {
		if e["unique_name"] == name {
			return e, service
		}
	}
	t.Fatalf("there is no environment %s", name)
	return nil, ""
}

// TestBuildIsWaitedFor leaves a change in progress while a build takes longer than
// the target system has patience, and goes on with that build.
func TestBuildIsWaitedFor(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Values["patience"] = "200ms"
	w.Setup([]string{service, env})
	a.BuildsEnd("building")
	err := w.Run("deploy", deploy, "auto")
	var ce *run.ChangeError
	if !errors.As(err, &ce) || ce.Status != run.StatusInProgress || !strings.Contains(err.Error(), "is not complete yet") {
		t.Fatalf("got %v", err)
	}
	a.BuildsEnd("completed")
	if err := w.Run("next", sms, "auto"); err != nil {
		t.Fatal(err)
	}
	e, at := environment(t, a, "prod")
	if builds := a.Objects(at + "/Builds"); len(builds) != 1 || e["build_sid"] != builds[0]["sid"] {
		t.Errorf("the environment has build %v of %v", e["build_sid"], builds)
	}
}

// TestBuildThatFails leaves the environment as it is, and is made anew by the next run.
func TestBuildThatFails(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{service, env})
	before := a.State()
	a.BuildsEnd("failed")
	if err := w.Run("deploy", deploy, "auto"); err == nil || !strings.Contains(err.Error(), "has failed") {
		t.Fatalf("got %v", err)
	}
	if e, _ := environment(t, a, "prod"); e["build_sid"] != nil {
		t.Errorf("build %v is deployed", e["build_sid"])
	}
	if now := a.State(); now != before {
		t.Errorf("before\n%s\nafter\n%s", before, now)
	}
	a.BuildsEnd("completed")
	if err := w.Run("next", sms, "auto"); err != nil {
		t.Fatal(err)
	}
	if e, _ := environment(t, a, "prod"); e["build_sid"] == nil {
		t.Error("nothing is deployed")
	}
}

// TestUndoOfADeploymentSparesOthers refuses where somebody has deployed since, and
// keeps a build that another environment has.
func TestUndoOfADeploymentSparesOthers(t *testing.T) {
	t.Parallel()
	t.Run("deployed since", func(t *testing.T) {
		t.Parallel()
		a, w := world(t)
		w.Setup([]string{service, env})
		if err := w.Run("first", deploy, "auto"); err != nil {
			t.Fatal(err)
		}
		if err := w.Run("second", "{type: deployServerless, serverlessService: hooks, serverlessEnvironment: prod, functions: [{path: /otp, file: otp2.js}]}", "auto"); err != nil {
			t.Fatal(err)
		}
		before := a.State()
		if err := w.Undo("first"); err == nil || !strings.Contains(err.Error(), "was deployed since") {
			t.Errorf("got %v", err)
		}
		if now := a.State(); now != before {
			t.Errorf("before\n%s\nafter\n%s", before, now)
		}
	})
	t.Run("another environment", func(t *testing.T) {
		t.Parallel()
		a, w := world(t)
		w.Setup([]string{service, env, "{type: createServerlessEnvironment, serverlessService: hooks, serverlessEnvironment: stage, set: {domain_suffix: stage}}"})
		if err := w.Run("deploy", deploy, "auto"); err != nil {
			t.Fatal(err)
		}
		prod, at := environment(t, a, "prod")
		stage, _ := environment(t, a, "stage")
		promote := fmt.Sprintf("{type: raw, method: POST, product: serverless, path: %s/Environments/%s/Deployments, form: {BuildSid: %s}}",
			strings.TrimPrefix(at, "serverless"), stage["sid"], prod["build_sid"])
		if err := w.Run("promote", promote, ""); err != nil {
			t.Fatal(err)
		}
		if err := w.Undo("deploy"); err != nil {
			t.Fatal(err)
		}
		prod, _ = environment(t, a, "prod")
		stage, _ = environment(t, a, "stage")
		if prod["build_sid"] != nil || stage["build_sid"] == nil || len(a.Objects(at+"/Builds")) != 1 || len(a.Objects(at+"/Functions")) != 1 {
			t.Errorf("prod has %v, stage has %v\n%s", prod["build_sid"], stage["build_sid"], a.State())
		}
	})
}

// TestPathsOfFiles refuses what cannot be served.
func TestPathsOfFiles(t *testing.T) {
	t.Parallel()
	for name, functions := range map[string]string{
		"no slash": "[{path: otp, file: otp.js}]",
		"twice":    "[{path: /otp, file: otp.js}, {path: /otp, file: otp2.js}]",
		"none":     "[]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			if err := w.Run("deploy", "{type: deployServerless, serverlessService: hooks, serverlessEnvironment: prod, functions: "+functions+"}", ""); err == nil {
				t.Error("it was deployed")
			}
			if n := len(a.Requests()); n != 0 {
				t.Errorf("there were %d requests", n)
			}
		})
	}
}
