package registry

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/registry/artifact"
)

// variable returns what tells where a server is.
func variable(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		if os.Getenv("REQUIRE_SERVERS") == "1" {
			t.Fatalf("%s is not set", name)
		}
		t.Skipf("%s is not set", name)
	}
	return v
}

// programOf returns the path of a program of others, which `make test/interop` builds.
func programOf(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Skipf("%s is not set; make test/interop builds that program", name)
	}
	return v
}

// realServer is a registry that is a program of others, with TLS and a login.
type realServer struct {
	t                    *testing.T
	host, user, password string
	ca                   string // file
	prefix               string
}

func newRealServer(t *testing.T) *realServer {
	t.Helper()
	r := &realServer{t: t, host: variable(t, "TEST_REGISTRY"), user: os.Getenv("TEST_REGISTRY_USER"), password: os.Getenv("TEST_REGISTRY_PASSWORD")}
	der, err := base64.StdEncoding.DecodeString(os.Getenv("TEST_REGISTRY_CERTIFICATE"))
	must(t, err)
	r.ca = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(r.ca, pemOfDER(der), 0o600))
	r.prefix = strings.ToLower(filepath.Base(filepath.Dir(r.ca))) + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	return r
}

func (r *realServer) source(name string) string { return r.host + "/" + r.prefix + "/" + name }

// registries is what a project needs to reach it.
func (r *realServer) registries() string {
	return "registry: {registries: [{host: \"" + r.host + "\", caFile: " + r.ca + "}]}\n"
}

// login writes Docker's configuration into a folder.
func (r *realServer) login(dir string) {
	r.t.Helper()
	b, err := json.Marshal(map[string]any{"auths": map[string]any{r.host: map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte(r.user + ":" + r.password)),
	}}})
	must(r.t, err)
	must(r.t, os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600))
}

// TestRealRegistry publishes to a real registry and installs from it.
func TestRealRegistry(t *testing.T) {
	t.Parallel()
	r := newRealServer(t)
	m := newTeam(t, oneStage+r.registries())
	source := r.source("sql")
	m.must(1, "plugin info "+source, "log in with `docker login`")
	r.login(filepath.Dir(m.dir))
	v := realVersion(t, source, m)
	m.must(0, "plugin install "+source, "found in "+source+", signed by sha256:", "installed")
	m.must(0, "apply", "1 applied")
	m.must(0, "plugin verify", "✓ sql "+v)
	out, _ := m.run("plugin", "push", "dist", source, "--key", "acme.key", "--log-level", "debug")
	if strings.Contains(out, r.password) {
		t.Error("the password is shown")
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(m.dir), "config.json"), []byte(`{"credsStore":"acme"}`), 0o600))
	helper := filepath.Join(filepath.Dir(m.dir), "docker-credential-acme")
	must(t, os.WriteFile(helper, []byte("#!/bin/sh\necho '{\"ServerURL\":\""+r.host+"\",\"Username\":\""+r.user+"\",\"Secret\":\""+r.password+"\"}'\n"), 0o700)) //nolint:gosec // a program
	m.env = append(m.env, "PATH="+filepath.Dir(m.dir)+string(os.PathListSeparator)+os.Getenv("PATH"))
	must(t, os.RemoveAll(m.cache()))
	m.must(0, "plugin install", "installed")
}

// tool runs a program of others.
func tool(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=a password", "COSIGN_YES=true", "HOME="+dir, "DOCKER_CONFIG="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestOras pulls with oras what was pushed here, and installs here what oras pushed.
func TestOras(t *testing.T) {
	t.Parallel()
	oras := programOf(t, "TEST_ORAS")
	r := newRealServer(t)
	dir := t.TempDir()
	r.login(dir)
	m := newTeam(t, oneStage+r.registries())
	r.login(filepath.Dir(m.dir))
	v := realVersion(t, r.source("sql"), m)
	ref := r.source("sql") + ":" + v
	here := artifact.Here().String()
	ca := []string{"--ca-file", r.ca}
	tool(t, dir, oras, append([]string{"pull", ref, "--platform", here, "--output", "pulled"}, ca...)...)
	for _, f := range []string{"plugin.json", "metadata.json", "flamingock-plugin-sql.tar.gz"} {
		if _, err := os.Stat(filepath.Join(dir, "pulled", f)); err != nil {
			t.Errorf("oras did not pull %s: %v", f, err)
		}
	}
	found := tool(t, dir, oras, append([]string{"discover", ref, "--format", "tree"}, ca...)...)
	for _, kind := range []string{"application/vnd.dev.sigstore.bundle.v0.3+json", "application/spdx+json", "application/vnd.in-toto+json"} {
		if !strings.Contains(found, kind) {
			t.Errorf("oras finds no %s:\n%s", kind, found)
		}
	}

	// The same files, pushed by oras.
	theirs := r.source("theirs")
	tool(t, filepath.Join(dir, "pulled"), oras, append([]string{
		"push", theirs + ":one", "--artifact-type", artifact.TypePlugin, "--artifact-platform", here,
		"--registry-config", filepath.Join(dir, "config.json"),
		"plugin.json:" + artifact.TypeManifest, "metadata.json:" + artifact.TypeMetadata, "flamingock-plugin-sql.tar.gz:" + artifact.TypeBinary,
	}, ca...)...)
	tool(t, dir, oras, append([]string{
		"manifest", "index", "create", theirs + ":" + v, "one", "--artifact-type", artifact.TypePlugin,
		"--annotation", artifact.AnnotationName + "=sql", "--annotation", artifact.AnnotationProtocols + "=1",
		"--annotation", "org.opencontainers.image.version=" + v,
	}, ca...)...)
	m.must(0, "plugin install "+theirs, "sql "+v+"  found in "+theirs+", not signed", "it is not signed")
}

// TestOrasCopies carries a plugin with oras, and installs it with its signature.
func TestOrasCopies(t *testing.T) {
	t.Parallel()
	oras := programOf(t, "TEST_ORAS")
	r := newRealServer(t)
	m := newTeam(t, oneStage+r.registries())
	r.login(filepath.Dir(m.dir))
	v := realVersion(t, r.source("sql"), m)
	dir := t.TempDir()
	r.login(dir)
	tool(t, dir, oras, "cp", "-r", "--from-ca-file", r.ca, r.source("sql")+":"+v, "--to-oci-layout", "layout:"+v)
	tool(t, dir, oras, "cp", "-r", "--from-oci-layout", "layout:"+v, "--to-ca-file", r.ca, r.source("mirror/sql")+":"+v)
	m.write("flamingock.yaml", strings.Replace(m.read("flamingock.yaml"), "registry: {", "registry: {mirrors: [{source: \"*\", to: \""+r.source("mirror/{name}")+"\"}], ", 1))
	m.must(0, "plugin install "+r.source("sql"), "signed by sha256:", "installed")
}

// TestCosign has cosign verify what was signed here, and the reverse.
func TestCosign(t *testing.T) {
	t.Parallel()
	cosign := programOf(t, "TEST_COSIGN")
	r := newRealServer(t)
	dir := t.TempDir()
	r.login(dir)
	m := newTeam(t, oneStage+r.registries())
	r.login(filepath.Dir(m.dir))
	v := realVersion(t, r.source("sql"), m)
	index := func(name string) string {
		out, err := m.command("--output", "json", "plugin", "info", r.source(name)).Output()
		must(t, err)
		var info struct {
			Digest string `json:"digest"`
		}
		must(t, json.Unmarshal(out, &info))
		return r.source(name) + "@" + info.Digest
	}
	verify := func(key, ref string) {
		t.Helper()
		out := tool(t, dir, cosign, "verify", "--key", key, "--insecure-ignore-tlog", "--allow-insecure-registry", ref)
		if !strings.Contains(out, "verified against the specified public key") {
			t.Errorf("cosign says:\n%s", out)
		}
	}
	verify(filepath.Join(m.dir, "acme.pub"), index("sql"))

	// cosign signs, with a key of its own, and with one that was made here.
	tool(t, dir, cosign, "generate-key-pair")
	m.must(0, "plugin push dist "+r.source("theirs"))
	sign := func(key string) {
		t.Helper()
		tool(t, dir, cosign, "sign", "--key", key, "--use-signing-config=false", "--tlog-upload=false", "--allow-insecure-registry", "-y", index("theirs"))
	}
	trusting := func(key string) *team {
		other := newTeam(t, oneStage+strings.Replace(r.registries(), "registry: {", "registry: {trust: [{source: \"*\", mode: enforce, keys: [\""+key+"\"]}], ", 1))
		r.login(filepath.Dir(other.dir))
		return other
	}
	sign(filepath.Join(dir, "cosign.key"))
	trusting(filepath.Join(dir, "cosign.pub")).must(0, "plugin install "+r.source("theirs"), "sql "+v+"  installed")
	trusting(filepath.Join(m.dir, "acme.pub")).must(19, "plugin install "+r.source("theirs"), "signed with another key")
	sign(filepath.Join(m.dir, "acme.key"))
	trusting(filepath.Join(m.dir, "acme.pub")).must(0, "plugin install "+r.source("theirs"), "sql "+v+"  installed")
	// A key of cosign's signs here.
	m.must(0, "plugin sign "+r.source("theirs")+"@"+v+" --key "+filepath.Join(m.dir, "acme.key"), "signed")
}
