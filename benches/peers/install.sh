#!/bin/sh
# Installs the peers from their registries and builds their drivers, all into the given folder.
set -eu
cd "$(dirname "$0")"
into=$1

has() {
    command -v "$1" >/dev/null 2>&1
}

build_rust() {
    for peer in graphile_worker_rs awa sqlxmq; do
        CARGO_TARGET_DIR=$into/rust cargo build --quiet --release --locked --manifest-path "$peer/Cargo.toml"
    done
}

install_node() {
    for peer in graphile-worker pg-boss; do
        mkdir -p "$into/$peer"
        cp "$peer/package.json" "$peer/package-lock.json" "$peer/driver.mjs" protocol.mjs "$into/$peer"
        (cd "$into/$peer" && npm ci --silent --no-audit --no-fund)
    done
}

install_python() {
    python3 -m venv "$into/procrastinate"
    "$into/procrastinate/bin/pip" install --quiet --disable-pip-version-check --requirement procrastinate/requirements.txt
    cp procrastinate/driver.py "$into/procrastinate"
}

build_rust
if has node && has npm; then
    install_node
else
    echo "graphile-worker and pg-boss are left out: they need Node 20 or newer with npm"
fi
if has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; then
    install_python
else
    echo "procrastinate is left out: it needs Python 3.10 or newer with its venv module"
fi
