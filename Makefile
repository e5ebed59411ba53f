# The programs that a build leaves there: ours, and the test kit, which never ships. The test kit as last built lends its
# PostgreSQL to `prepare` even while new queries, which are in no .sqlx/ yet, keep the sources from compiling.
TESTKIT := $(or $(CARGO_TARGET_DIR),target)/debug/testkit
PROGRAM := $(or $(CARGO_TARGET_DIR),target)/debug/cerby-reconciler
BUILD = cargo build --locked --workspace
BUILD_IF_POSSIBLE = @$(BUILD) --quiet 2>/dev/null || test -x $(TESTKIT) || \
	{ echo "build once with the committed queries first"; exit 1; }
ON_PRIVATE_POSTGRES = env -u DATABASE_URL $(TESTKIT) with-postgres -- sh -c
# Only the library has checked queries.
SQLX_SCOPE := --quiet --locked --lib
IMAGE ?= cerby-reconciler
# Where the peers of our queue are installed and their drivers built.
PEERS := $(abspath $(or $(CARGO_TARGET_DIR),target))/peers
# Where the client libraries are installed with which the inbound contract is tried.
CLIENTS := $(abspath $(or $(CARGO_TARGET_DIR),target))/clients
# Where libFuzzer leads the targets of tests/fuzz. What it finds stays in target/fuzz.
FUZZ := tests/fuzz/led
# Where the linters of the image, the manifests and the migrations are installed.
LINTS := $(or $(CARGO_TARGET_DIR),target)/lints
# Where a program of a newer version is built.
UPGRADE := $(abspath $(or $(CARGO_TARGET_DIR),target))/upgrade
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE_ARGUMENTS = --build-arg VERSION=$(VERSION) \
	--build-arg REVISION=$(shell git rev-parse HEAD) \
	$(addprefix --build-arg BUILD_BASE=,$(BUILD_BASE)) $(addprefix --build-arg RUN_BASE=,$(RUN_BASE))
# Where versions of PgBouncer and of PostgreSQL are installed.
POOLERS := $(abspath $(or $(CARGO_TARGET_DIR),target))/poolers
SERVERS := $(abspath $(or $(CARGO_TARGET_DIR),target))/servers
VERSIONS ?= 14.23.0 15.19.0 16.15.0 17.11.0 18.6.0
# Where Prometheus is installed, unless the machine has it, and a strict reader of its format.
MONITORING := $(abspath $(or $(CARGO_TARGET_DIR),target))/monitoring
# Where measurements are written.
BENCH_RESULTS := $(abspath $(or $(CARGO_TARGET_DIR),target))/bench
# Where rsyslog is unpacked.
ALERTS := $(abspath $(or $(CARGO_TARGET_DIR),target))/alerts
# Where the collectors of traces of others are installed.
COLLECTORS := $(abspath $(or $(CARGO_TARGET_DIR),target))/collectors
# Where the client is installed with which the API is tried.
API_TEST := $(abspath $(or $(CARGO_TARGET_DIR),target))/api-test
# Where the client of the browser is installed, and where screenshots are left.
CONSOLE_TEST := $(abspath $(or $(CARGO_TARGET_DIR),target))/console-test
# Where an issuer of OpenID Connect is installed.
OIDC_TEST := $(abspath $(or $(CARGO_TARGET_DIR),target))/oidc-test
SHARE := $(or $(CARGO_TARGET_DIR),target)/share

.DEFAULT_GOAL := help
.PHONY: help demo demo-once test test-integrations test-api test-console test-oidc soak fuzz model bench bench-operators bench-peers bench-report check prepare prepare-check share image lint-image lint-deploy image-test release-migrations lint-migrations test-upgrade test-pgbouncer test-failover test-postgres-versions test-metrics chaos test-traces test-alerts

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-23s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## See it work, with a simulated backend and a private PostgreSQL; SEED= may be given
	$(BUILD)
	$(TESTKIT) demo $(addprefix --seed ,$(SEED))

demo-once: ## Play the demo through unattended; it ends with one line of JSON; SEED= may be given
	$(BUILD)
	$(TESTKIT) demo --once --json $(addprefix --seed ,$(SEED))

# Most tests wait for a server or a time most of the time.
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
test: ## Run all tests, on a private PostgreSQL unless DATABASE_URL is set
	$(BUILD) --quiet
	$(TESTKIT) with-postgres -- cargo test --locked --workspace

# `migrate` needs a complete configuration, and asks nothing of the backend.
test-integrations: ## Try the inbound contract with SQLAlchemy, Django and Prisma; needs Python 3.10 and Node 20.19
	$(BUILD) --quiet
	$(ON_PRIVATE_POSTGRES) 'RECONCILER__DATABASE__URL=$$DATABASE_URL RECONCILER__BACKEND__API_KEY=unused \
		RECONCILER__BACKEND__BASE_URL=http://127.0.0.1:1/api/v1 $(PROGRAM) migrate \
		&& tests/integrations/run.sh $(CLIENTS)'

test-api: ## Try the API with schemathesis, in every role, and webhooks that Python signs; needs Python 3.10; EXAMPLES= may say how many per route
	$(BUILD) --quiet
	$(ON_PRIVATE_POSTGRES) 'EXAMPLES=$(EXAMPLES) tests/api/run.sh $(PROGRAM) $(API_TEST)'

test-console: ## Play a day in the console, in Chromium; needs Node 20
	$(BUILD) --quiet
	$(ON_PRIVATE_POSTGRES) 'tests/console/run.sh $(PROGRAM) $(TESTKIT) $(CONSOLE_TEST)'
	mkdir -p docs/console && cp $(CONSOLE_TEST)/readme/*.png docs/console/

test-oidc: ## Sign people in to the console by oidc-provider, an issuer that is not ours; needs Node 20
	$(BUILD) --quiet
	$(ON_PRIVATE_POSTGRES) 'tests/oidc/run.sh $(PROGRAM) $(OIDC_TEST)'

test-upgrade: ## Let two versions work on one database while it is migrated
	tests/processes/upgrade/build.sh $(UPGRADE)
	$(BUILD) --quiet
	NEWER_PROGRAM=$(UPGRADE)/newer $(TESTKIT) with-postgres -- \
		cargo test --locked --test processes -- upgrade:: migrate:: --test-threads 1

# The tests refuse a change of a migration that is listed.
release-migrations: ## List the migrations that are new as those of the version in Cargo.toml
	cd migrations && new=$$(ls *.sql | grep -vxF "$$(sed -n 's/^[0-9a-f]*  //p' released.sha384)") \
		|| { echo "no migration is new"; exit 1; } \
		&& { echo "# Version $(VERSION)"; sha384sum $$new; } >> released.sha384
	cargo test --quiet --locked --test documents migrations::

test-pgbouncer: ## Try the daemon behind PgBouncer 1.24 and 1.18; needs apt
	$(BUILD) --quiet
	tests/pooler/install.sh trixie $(POOLERS)
	tests/pooler/install.sh bookworm $(POOLERS)
	POOLERS=$(POOLERS) cargo test --locked --test pooler

test-failover: ## Promote a standby, end sessions, use up connections, fill a disk (as root only), all under load
	$(BUILD) --quiet
	cargo test --locked --test failover -- --test-threads=1 --nocapture

test-postgres-versions: ## Run the suites of the database on PostgreSQL 14 to 18; needs pip; VERSIONS=, SKIP= may be given
	$(BUILD) --quiet
	tests/versions/install.sh $(SERVERS) $(VERSIONS)
	set -e; for version in $(VERSIONS); do \
		echo "PostgreSQL $$version"; \
		env -u DATABASE_URL PG_BIN_DIR=$(SERVERS)/$$version/bin \
			$(TESTKIT) with-postgres -- cargo test --locked --test database --test plans --test stories \
			-- $(addprefix --skip ,$(SKIP)); \
	done

test-metrics: ## Try metrics, alerts and dashboard with a real Prometheus; needs Python 3.10, and prometheus or apt
	$(BUILD) --quiet
	$(ON_PRIVATE_POSTGRES) 'RECONCILER__DATABASE__URL=$$DATABASE_URL RECONCILER__BACKEND__API_KEY=unused \
		RECONCILER__BACKEND__BASE_URL=http://127.0.0.1:1/api/v1 $(PROGRAM) migrate \
		&& tests/monitoring/run.sh $(MONITORING) $(PROGRAM)'

# The plan comes from a seed: the time, unless SEED= is given.
SEEDS = $(or $(SEED),$(shell date +%s))
SOAK = SOAK_SECONDS=$(or $(SECONDS),600) cargo test --release --locked --test soak -- --nocapture

soak: ## Let everything go wrong at once for a while and check the rules; SECONDS= and SEED= may be given
	SOAK_TROUBLES=together SOAK_SEED=$(SEEDS) $(SOAK)

# The clock of a replica is set wrong where the package `faketime` is installed.
chaos: export SOAK_FIGURES := $(BENCH_RESULTS)/chaos.jsonl
chaos: ## Let things go wrong one by one, renew docs/reliability.md; SECONDS= and SEED= (several: SEED="1 2 3") may be given
	rm -f $(SOAK_FIGURES)
	for seed in $(SEEDS); do SOAK_SEED=$$seed $(SOAK) || exit 1; done
	cargo bench --quiet --locked --profile dev --bench report -- $(SOAK_FIGURES) reliability

fuzz: ## Fuzz what parses bytes from outside, ten minutes each; needs cargo-fuzz and g++; SECONDS= may be given
	cp Cargo.lock $(FUZZ)/Cargo.lock
	for target in $(notdir $(wildcard tests/fuzz/corpus/*)); do \
		mkdir -p target/fuzz/$$target && \
		FUZZ_TARGET=$$target cargo fuzz run --fuzz-dir $(FUZZ) --target-dir target/fuzz/build --sanitizer none led \
			target/fuzz/$$target tests/fuzz/corpus/$$target -- \
			-max_total_time=$(or $(SECONDS),600) -timeout=20 -artifact_prefix=target/fuzz/$$target- || exit 1; \
	done

test-traces: ## Send traces to oteltap, a collector that is not ours; needs Python 3.10
	$(BUILD) --quiet
	$(ON_PRIVATE_POSTGRES) 'RECONCILER__DATABASE__URL=$$DATABASE_URL RECONCILER__BACKEND__API_KEY=unused \
		RECONCILER__BACKEND__BASE_URL=http://127.0.0.1:1/api/v1 $(PROGRAM) migrate \
		&& tests/collectors/run.sh $(COLLECTORS) $(PROGRAM)'

test-alerts: ## Run the alert rules of deploy/rsyslog with a real rsyslog; needs Debian's apt-get and Python 3.10
	tests/alerts/run.sh $(ALERTS)

model: ## Look at every order of events of one member, in histories of twice the usual length
	MODEL=full cargo test --release --locked --test model -- --nocapture

bench: ## Measure one replica at rest, the wait for a verdict, and the queue; SEED= may be given, SHAPES= takes only these
ifeq ($(SHAPES),)
	cargo bench --quiet --locked --bench footprint
	VERDICTS_SEED=$(or $(SEED),1) cargo bench --quiet --locked --bench verdicts
endif
	cargo bench --quiet --locked --bench queue -- $(SHAPES)

bench-operators: ## Measure every list, view and command of operators with a million actions; ACTIONS= may say how many
	OPERATORS_ACTIONS=$(or $(ACTIONS),1000000) cargo bench --quiet --locked --bench operators

bench-peers: ## Measure queues of others and ours side by side; PEERS_TASKS=, PEERS_RUNS=, PEERS_ONLY= may be given
	benches/peers/install.sh $(PEERS)
	cargo bench --quiet --locked --no-run --bench queue
	cargo bench --quiet --locked --bench peers

# The default is what was measured here last.
bench-report: ## Renew docs/performance.md from the measurements in target/bench; RESULTS= may name another file
	cargo bench --quiet --locked --profile dev --bench report -- $(abspath $(RESULTS))

check: ## Check formatting, lints and documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

prepare: ## Regenerate .sqlx/ after a change of queries or migrations
	$(BUILD_IF_POSSIBLE)
	$(ON_PRIVATE_POSTGRES) 'sqlx migrate run && cargo sqlx prepare -- $(SQLX_SCOPE)'

prepare-check: ## Check that .sqlx/ is current
	$(BUILD_IF_POSSIBLE)
	$(ON_PRIVATE_POSTGRES) 'sqlx migrate run && cargo sqlx prepare --check -- $(SQLX_SCOPE)'

share: ## Write completions of shells and pages for man to target/share
	$(BUILD) --quiet
	mkdir -p $(SHARE)/completions
	$(PROGRAM) man $(SHARE)/man/man1
	for shell in bash fish zsh; do $(PROGRAM) completions $$shell > $(SHARE)/completions/$$shell || exit 1; done

image: ## Build the container image; BUILD_BASE= and RUN_BASE= may name other bases, with their digests
	docker build --tag $(IMAGE) $(IMAGE_ARGUMENTS) .

$(LINTS)/done: .ci/linters.txt
	python3 -m venv $(LINTS)
	$(LINTS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

lint-image: $(LINTS)/done ## Check the Dockerfile with hadolint; needs Python with venv
	$(LINTS)/bin/hadolint Dockerfile

# The reader of compose's file asks for a podman and runs nothing with it.
lint-deploy: $(LINTS)/done ## Check the manifests against the schemas of Kubernetes, and that compose reads its file
	$(LINTS)/bin/kubernetes-validate --strict --quiet $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml))
	$(LINTS)/bin/podman-compose --podman-path /bin/echo --file deploy/compose.yaml --profile simulated config >/dev/null

lint-migrations: $(LINTS)/done ## Check migrations for locks that stall others; needs Python with venv
	$(LINTS)/bin/squawk --assume-in-transaction migrations/*.sql tests/processes/upgrade/migrations/*.sql

image-test: ## Build the image on stand-ins for its bases, look at it and run it; needs root on Debian, and Python
	$(BUILD) --quiet
	tests/image/run.sh target/image $(TESTKIT)
