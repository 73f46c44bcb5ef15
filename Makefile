# Everything a developer runs. `make test` needs Go; it fetches Go modules, and from Debian's packages
# what else the tests use.
GO ?= go
BIN := bin/rollcall

TOOLS := curl jq node redis-server

.PHONY: build test tools vet race bench demo clean

build: ## builds the one binary
	$(GO) build -trimpath -o $(BIN) ./cmd/rollcall

test: tools vet race ## everything that must pass before a commit

tools: ## installs the programs that tests run, where they are missing (Debian)
	@for tool in $(TOOLS); do command -v $$tool >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then apt-get update -q && apt-get install -qy --no-install-recommends $(subst node,nodejs,$(TOOLS)); fi

vet:
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi

race:
	$(GO) test -race ./...

bench: ## benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./...

demo: ## a server with simulated services, on a temporary folder
	$(GO) run ./cmd/rollcall demo

clean:
	rm -rf bin
