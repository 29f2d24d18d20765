# What a person types. Needs Rust, make and a C compiler; the tests also need what tests/prepare.sh names.
CARGO ?= cargo
PREPARE := bash tests/prepare.sh
TARGET := $${CARGO_TARGET_DIR:-target}

.PHONY: help build release test lint full crds bench bench-cluster bench-export bench-gateway bench-relational fmt cluster

help:          ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' $(MAKEFILE_LIST)

build:         ## the binary, for development
	$(CARGO) build

release:       ## the binary as it ships
	$(CARGO) build --release

fmt:           ## format the sources
	$(CARGO) fmt --all

crds:          ## write crds/generated, and the chart's copy, from the types
	$(CARGO) run -q -- crds --write crds/generated
	$(CARGO) run -q -- crds --write charts/lakegate-crds/files

lint:          ## format and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

test:          ## lint and every test but the long ones
	$(PREPARE)
	$(CARGO) fmt --all --check
	$(CARGO) test --workspace --locked
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) build --locked
	bash tests/readers/traps.sh $(TARGET)/debug/lakegate
	bash tests/cluster/run.sh --essential $(TARGET)/debug/lakegate

cluster:       ## install, export, query, upgrade and uninstall on a real Kubernetes, then its faults (needs root)
	$(PREPARE)
	$(CARGO) build --locked
	bash tests/cluster/run.sh $(TARGET)/debug/lakegate

full: test cluster ## everything: release build, licences and advisories, long fault runs, measurements
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check licenses bans sources
	$(CARGO) deny check advisories || echo "advisories: see above (not fatal)"
	$(CARGO) build --release --locked
	bash tests/readers/traps.sh --all $(TARGET)/release/lakegate
	bash image/archive.sh lakegate:release $(TARGET)/release/lakegate 80000000 >/dev/null
	LAKEGATE_BINARY=$(TARGET)/release/lakegate LAKEGATE_FAULT_SEEDS=200 $(CARGO) test --locked --test it -- faults
	$(CARGO) test --locked -p lakegate-store --test it -- --ignored kubernetes::scale
	LAKEGATE_BINARY=$(TARGET)/release/lakegate bash tests/readers/rest.sh
	LAKEGATE_BINARY=$(TARGET)/release/lakegate bash bench/run.sh
	LAKEGATE_BINARY=$(TARGET)/release/lakegate bash bench/cluster.sh

bench:         ## measure what README claims (release build)
	$(CARGO) build --release --locked
	LAKEGATE_BINARY=$(TARGET)/release/lakegate bash bench/run.sh

bench-relational: ## measure queries over PostgreSQL and MariaDB beside DuckDB and Trino (release build)
	$(CARGO) build --release --locked
	LAKEGATE_BINARY=$(TARGET)/release/lakegate bash bench/relational.sh

bench-export:  ## measure exports beside DuckDB and ConnectorX, masks, a bucket, and queries over the result (release build)
	$(CARGO) build --release --locked
	LAKEGATE_BINARY=$(TARGET)/release/lakegate bash bench/export.sh

bench-gateway: ## measure the gateway as a Postgres server beside PostgreSQL (release build)
	$(CARGO) build --release --locked
	LAKEGATE_BINARY=$(TARGET)/release/lakegate bash bench/gateway.sh

bench-cluster: ## measure the operator over a thousand Exports on a real API server (release build)
	$(CARGO) build --release --locked
	LAKEGATE_BINARY=$(TARGET)/release/lakegate bash bench/cluster.sh
