.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# What a caller may set.
TESTFLAGS ?=
# Packages of the main module, and of the module test; none where it is empty.
PACKAGES ?= ./...
TESTPACKAGES ?= ./...
BENCHTIME ?= 1s
FUZZTIME ?= 1m
BENCHFLAGS ?=

golangci_version := 2.15.0
gobin := $(or $(shell go env GOBIN),$(shell go env GOPATH)/bin)
export PATH := $(gobin):$(PATH)
export GORACE := suppressions=$(CURDIR)/.ci/race-suppressions

tool := go tool -modfile=tools.mod
generated := plugin/proto/pluginv1

# Always a semantic version: without a tag, one that sorts before every release.
version := $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || \
	echo "v0.0.0-dev-$$(git describe --always --dirty 2>/dev/null || echo unknown)")
build := CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(version)'
plugins := $(wildcard plugins/*/cmd/flamingock-plugin-*)

.PHONY: help
help: ## Print this message
	@grep -E '^[a-z/-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: build
build: ## Build the command and every plugin into bin/
	$(build) -o bin/flamingock ./cmd/host
	$(build) -o bin/ $(addprefix ./,$(plugins))
	@# What a plugin offers, beside it, so that the command can know without starting it.
	@for plugin in $(notdir $(plugins)); do \
		bin/$$plugin describe > bin/$$plugin.json.new; \
		mv bin/$$plugin.json.new bin/$$plugin.json; \
	done

.PHONY: quickstart
quickstart: build ## Build, then apply the first changes and show what happened
	examples/quickstart.sh

.PHONY: examples
examples: build ## Run every example that has a run.sh
	for run in examples/*/run.sh; do echo "== $$run"; "$$run"; done

# The programs that the tests run: without a version, as `go build` makes them.
.PHONY: bin/test
bin/test:
	mkdir -p $@
	CGO_ENABLED=0 go build -o $@/flamingock ./cmd/host
	CGO_ENABLED=0 go build -o $@/ $(addprefix ./,$(plugins))
	@for plugin in $(notdir $(plugins)); do $@/$$plugin describe > $@/$$plugin.json; done

.PHONY: test
test: bin/test ## Run the tests that need nothing but Go
	$(if $(PACKAGES),go test $(TESTFLAGS) $(PACKAGES))
	$(if $(TESTPACKAGES),TEST_BIN=$(CURDIR)/bin/test go -C test test $(TESTFLAGS) $(TESTPACKAGES))

.PHONY: test/servers
test/servers: with-servers ## Run every test, with real servers
	bin/with-servers -- $(MAKE) --no-print-directory test TESTFLAGS='-count=1 $(TESTFLAGS)'

# Programs of others that plugins from a registry are tried with. cosign and
# distribution (another registry than Debian's) take minutes to build.
INTEROP ?= oras cosign distribution
interop_oras := oras.land/oras/cmd/oras@v1.3.6
interop_cosign := github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
interop_distribution := github.com/distribution/distribution/v3/cmd/registry@v3.1.2

.PHONY: test/interop
test/interop: with-servers ## Test plugins from a registry with the programs of others that INTEROP names
	for program in $(INTEROP); do $(MAKE) --no-print-directory bin/interop/$$program; done
	$(if $(filter oras,$(INTEROP)),TEST_ORAS=$(CURDIR)/bin/interop/oras) \
	$(if $(filter cosign,$(INTEROP)),TEST_COSIGN=$(CURDIR)/bin/interop/cosign) \
	bin/with-servers --only registry -- go -C test test -count=1 -run 'TestRealRegistry|TestOras|TestCosign' ./registry
	$(if $(filter distribution,$(INTEROP)),TEST_ORAS=$(CURDIR)/bin/interop/oras TEST_COSIGN=$(CURDIR)/bin/interop/cosign \
	TEST_REGISTRY_PROGRAM=$(CURDIR)/bin/interop/distribution \
	bin/with-servers --only registry -- go -C test test -count=1 -run 'TestRealRegistry|TestOras|TestCosign' ./registry)

bin/interop/%:
	mkdir -p bin/interop
	GOBIN=$(CURDIR)/bin/interop/.new GOFLAGS=-mod=mod go install $(interop_$*)
	mv bin/interop/.new/* $@

.PHONY: release/dry-run
release/dry-run: build with-servers ## Publish every plugin to a registry of this machine, and install them
	bin/with-servers --only registry -- .ci/release-dry-run

.PHONY: bench
bench: ## Run the benchmarks that need nothing but Go
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(TESTFLAGS) ./...
	go -C test test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(TESTFLAGS) ./...

.PHONY: bench/servers
bench/servers: with-servers ## Run every benchmark, with real servers
	bin/with-servers -- $(MAKE) --no-print-directory bench

.PHONY: bench/peers
bench/peers: with-servers ## Compare with goose and with a floor program, on SQLite and PostgreSQL
	bin/with-servers --only postgres -- go -C test run ./bench $(BENCHFLAGS)

.PHONY: bench/floor
bench/floor: with-servers ## Compare with a floor program, on MongoDB and DynamoDB Local
	bin/with-servers --only mongodb,dynamodb -- go -C test run ./bench -databases mongodb,dynamodb $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (1m)
	@grep -rEo --include='*_test.go' '^func Fuzz\w+' . | sed -E 's|/[^/]+:func | |' | sort -u | \
	while read -r dir target; do \
		echo "== $$dir $$target"; \
		go -C "$$dir" test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) . </dev/null; \
	done

.PHONY: check
check: ## Run what CI runs
	.ci/run

.PHONY: lint
lint: lint/arrows ## Check style, and the arrows between packages
	@[[ "$$(golangci-lint version --short 2>/dev/null)" == $(golangci_version) ]] || \
		{ echo 'golangci-lint $(golangci_version) is needed: run make tools' >&2; exit 1; }
	golangci-lint config verify
	golangci-lint run
	cd test && golangci-lint run
	golangci-lint fmt --diff
	$(tool) buf lint

.PHONY: lint/arrows
lint/arrows: ## Check the arrows that the linter cannot see
	.ci/arrows

.PHONY: generate
generate: ## Regenerate the code of the wire protocol
	$(tool) buf generate

.PHONY: generate/check
generate/check: ## Fail where generated code is stale
	@new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; \
	$(tool) buf generate -o "$$new"; \
	diff -r $(generated) "$$new/$(generated)" || \
		{ echo '$(generated) is stale: run make generate' >&2; exit 1; }

.PHONY: fmt
fmt: ## Format the code
	golangci-lint fmt

.PHONY: tidy
tidy: ## Bring go.mod and go.sum up to date
	go mod tidy
	go -C test mod tidy

.PHONY: tidy/check
tidy/check: ## Fail where go.mod or go.sum is out of date
	go mod tidy -diff
	go -C test mod tidy -diff

.PHONY: tools
tools: ## Install the linter, in the version that CI uses
	@[[ "$$(golangci-lint version --short 2>/dev/null)" == $(golangci_version) ]] || \
		go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(golangci_version)
	golangci-lint version

.PHONY: servers
servers: ## Download the servers that Debian has no packages of
	.ci/servers

.PHONY: with-servers
with-servers: ## Build bin/with-servers, which runs a command with real servers
	go -C test build -o ../bin/with-servers ./servers/cmd/with-servers
