# Everything a developer runs. `make test` needs Go and nothing else; Go fetches the rest.
GO ?= go
BIN := bin/rollcall

.PHONY: build test vet race bench demo clean

build: ## builds the one binary
	$(GO) build -trimpath -o $(BIN) ./cmd/rollcall

test: vet race ## everything that must pass before a commit

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
