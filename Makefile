# Everything a developer runs. `make test` needs Go; it fetches Go modules, and from Debian's packages
# what else the tests use.
GO ?= go
BIN := bin/rollcall

# Programs that tests run, each with the Debian package that has it where the package has another name.
TOOLS := chromium curl dig:bind9-dnsutils dnsmasq:dnsmasq-base haproxy jq nginx:nginx-light node:nodejs npm openssl prometheus redis-server unbound

# Modules of their own, with servers and clients that only tests need, so that the product's go.mod stays clean.
# Traefik takes minutes to compile, so that only torture runs it.
TRAEFIK := adapters/consul/traefiktest
MODULES := $(filter-out $(TRAEFIK)%,$(patsubst %/go.mod,%,$(shell find adapters cmd -name go.mod)))

.PHONY: build test tools vet race bench torture demo screenshots clean

build: ## builds the one binary
	$(GO) build -trimpath -o $(BIN) ./cmd/rollcall

test: tools vet race ## everything that must pass before a commit

tools: ## installs the programs that tests run, where they are missing (Debian)
	@missing=; for tool in $(TOOLS); do command -v $${tool%:*} >/dev/null || missing="$$missing $${tool#*:}"; done; \
	/usr/bin/python3 -c 'import consul' 2>/dev/null || missing="$$missing python3-consul"; \
	if [ -n "$$missing" ]; then apt-get update -q && apt-get install -qy --no-install-recommends -o DPkg::Lock::Timeout=300 $$missing; fi

vet:
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi

	@for module in $(MODULES); do (cd $$module && $(GO) vet ./...) || exit 1; done

# The tests of other modules read the product, of whose changes their cache knows nothing.
race:
	$(GO) test -race -timeout 40m ./...
	@for module in $(MODULES); do (cd $$module && $(GO) test -count=1 ./...) || exit 1; done

KILLS ?= 200
SEEDS ?= 5000
FUZZTIME ?= 30s
LASTS ?= 10m
DEATHS ?= 100
FUZZ := ./adapters/dns:FuzzPackets ./adapters/consul:FuzzRequests ./domain:FuzzDecodeEvent ./domain:FuzzParseKey ./domain/eventstore:FuzzParseJSON ./domain/eventstore:FuzzValidJSON ./adapters/pebblestore:FuzzStoredValues ./adapters/raftstore:FuzzEntry \
	./adapters/httpapi:FuzzBodies ./adapters/httpapi:FuzzTheLane ./adapters/web/lane:FuzzPlainRequests ./adapters/web/lane:FuzzPlainReports ./adapters/httpapi:FuzzPlainStrings ./adapters/httpapi:FuzzPlainReports ./adapters/httpapi:FuzzQueries ./projections/history:FuzzStoredLists \
	./adapters/access:FuzzFiles ./adapters/access:FuzzTokens ./projections/history:FuzzCheckpoint ./projections/catalog:FuzzSnapshotsAndEvents

# What befalls a cluster besides: an upgrade, a wrong certificate, hostile clients of its port, lost files, clocks that are apart, changes of its members.
CLUSTER := TestAClusterIsUpgraded|TestANodeThatMissedLaterRules|TestANodeThatIsCutOff|TestANodeWithAWrongCertificate|TestThePortOfACluster|TestANodeThatLostAPart|TestTheClocksOfACluster|TestMembersComeAndGo

torture: ## long runs: KILLS kills of the real binary, SEEDS simulated worlds, errors at every file operation, every fuzz target for FUZZTIME, clusters in trouble for LASTS each, DEATHS of leaders, loads that are to exhaust the server
	ROLLCALL_TORTURE=$(KILLS) $(GO) test -v -timeout 4h -run 'TestTheCrashCampaign' ./cmd/rollcall
	ROLLCALL_SEEDS=$(SEEDS) $(GO) test -timeout 4h ./commands/simulation
	ROLLCALL_TORTURE=1 $(GO) test -v -timeout 1h -run 'AtAnyFileOperation|AnyCrash' ./adapters/pebblestore
	ROLLCALL_TORTURE=1 ROLLCALL_SEEDS=$$(( ($(SEEDS) + 49) / 50 )) $(GO) test -v -timeout 2h ./adapters/raftstore
	@for t in $(FUZZ); do $(GO) test -run '^$$' -fuzz "^$${t#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $${t%%:*} || exit 1; done
	ROLLCALL_TORTURE=1 ROLLCALL_CLUSTER_TORTURE=$(LASTS) ROLLCALL_DEATHS=$(DEATHS) $(GO) test -v -timeout 2h -run 'TestNoLoadExhausts|TestAClusterIsTortured|TestAClusterInNamespaces|TestAClusterWhoseDisksAreFull|TestALeaderDiesUnderLoad|$(CLUSTER)' ./cmd/rollcall
	ROLLCALL_TORTURE=1 $(GO) test -v -timeout 1h -run 'ManyThatHang|ManyIdle' ./adapters/webhooks
	cd $(TRAEFIK) && $(GO) test -v -count=1 .

BASE ?= HEAD~1
BENCH ?= .
COUNT ?= 6
PKGS ?= ./adapters/httpapi ./adapters/pebblestore ./commands ./projections/...

bench: ## benchmarks beside the code, of the revision BASE and of the working tree, compared by benchstat
	@dir=$$(mktemp -d) && trap 'git worktree remove --force "$$dir/base"; rm -rf "$$dir"' EXIT && \
	git worktree add --quiet --detach "$$dir/base" $(BASE) && \
	(cd "$$dir/base" && $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKGS)) > "$$dir/base.txt" && \
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKGS) > "$$dir/now.txt" && \
	$(GO) tool benchstat $(BASE)="$$dir/base.txt" now="$$dir/now.txt"

demo: build ## a server with simulated services, on a temporary folder
	@exec $(BIN) demo

screenshots: build ## pictures of the web UI in both themes, for the documents
	@cd adapters/webui/browsertest && { [ -d node_modules ] || npm ci --no-audit --no-fund; } && node screenshots.js ../../../$(BIN) ../../../docs/pictures

clean:
	rm -rf bin
