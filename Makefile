# The program as last built. It lends its PostgreSQL to `prepare` even while new queries, which are
# in no .sqlx/ yet, keep the sources from compiling.
PROGRAM := $(or $(CARGO_TARGET_DIR),target)/debug/cerby-reconciler
BUILD_IF_POSSIBLE = @cargo build --quiet --locked 2>/dev/null || test -x $(PROGRAM) || \
	{ echo "build once with the committed queries first"; exit 1; }
ON_PRIVATE_POSTGRES = env -u DATABASE_URL $(PROGRAM) with-postgres -- sh -c
SQLX_SCOPE := --quiet --locked --all-targets
IMAGE ?= cerby-reconciler

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench check prepare prepare-check image

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## See it work, with a simulated backend and a private PostgreSQL
	cargo run --release --locked -- demo

# Most tests wait for a server or a time most of the time.
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
test: ## Run all tests, on a private PostgreSQL unless DATABASE_URL is set
	cargo run --quiet --locked -- with-postgres -- cargo test --locked

soak: ## Let everything go wrong for a while and check the rules; SECONDS= and SEED= may be given
	SOAK_SECONDS=$(or $(SECONDS),600) SOAK_SEED=$(or $(SEED),$(shell date +%s)) \
		cargo test --release --locked --test soak -- --nocapture

bench: ## Measure what one replica costs at rest, and how long a "done" waits for its verdict; SEED= may be given
	cargo bench --quiet --locked --bench footprint
	VERDICTS_SEED=$(or $(SEED),1) cargo bench --quiet --locked --bench verdicts

check: ## Check formatting, lints and documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

prepare: ## Regenerate .sqlx/ after a change of queries or migrations
	$(BUILD_IF_POSSIBLE)
	$(ON_PRIVATE_POSTGRES) 'sqlx migrate run && cargo sqlx prepare -- $(SQLX_SCOPE)'

prepare-check: ## Check that .sqlx/ is current
	$(BUILD_IF_POSSIBLE)
	$(ON_PRIVATE_POSTGRES) 'sqlx migrate run && cargo sqlx prepare --check -- $(SQLX_SCOPE)'

image: ## Build the container image
	docker build --tag $(IMAGE) .
