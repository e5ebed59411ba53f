#!/bin/sh
# Builds a program of a newer version: the same sources with the migrations beside this script and a higher version. It is
# the file `newer` in the folder that is given.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
sources=$1/sources

rm -rf "$sources"
mkdir -p "$sources"
tar -C "$root" --exclude=./target --exclude=./.git -cf - . | tar -C "$sources" -xf -
cp "$here"/migrations/*.sql "$sources/migrations/"
sed -i '0,/^version = .*/s//version = "99.0.0"/' "$sources/Cargo.toml"
# The compiler does not look for files that are new.
touch "$sources/src/schema/mod.rs"

# In the same folder and for the whole workspace, so that the dependencies of this version serve. What is built there is
# overwritten when this version is built again.
(cd "$sources" && CARGO_TARGET_DIR=$target cargo build --quiet --offline --workspace --bin cerby-reconciler)
cp "$target/debug/cerby-reconciler" "$1/newer"
"$1/newer" --version
