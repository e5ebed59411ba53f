#!/usr/bin/env bash
# install.sh SUITE FOLDER: unpacks PgBouncer and its libraries, as SUITE of Debian has them, into FOLDER/SUITE, and changes
# nothing else on the machine. FOLDER/SUITE/pgbouncer then runs it.
set -euo pipefail

readonly SUITE=$1
mkdir -p "$2/$1"
FOLDER=$(realpath "$2/$1")
readonly FOLDER
[ -x "$FOLDER/pgbouncer" ] && exit

# An apt of its own, which believes that nothing is installed, so that it finds every library.
mkdir -p "$FOLDER"/apt/{lists/partial,archives/partial} "$FOLDER/root"
: >"$FOLDER/apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $SUITE main" \
    >"$FOLDER/apt/sources.list"
readonly APT=(apt-get -qq -o "Dir::Etc::sourcelist=$FOLDER/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o "Dir::State=$FOLDER/apt" -o "Dir::State::status=$FOLDER/apt/status" -o "Dir::Cache=$FOLDER/apt"
    -o APT::Sandbox::User=root -o Debug::NoLocking=true)
"${APT[@]}" update
"${APT[@]}" install --download-only --no-install-recommends -y pgbouncer
for package in "$FOLDER"/apt/archives/*.deb; do
    dpkg-deb -x "$package" "$FOLDER/root"
done

# The libraries of that suite need its own loader.
loader=$(find "$FOLDER/root" -name 'ld-linux*.so.*' -path '*lib64*' -o -name 'ld-linux-aarch64.so.1' | head -1)
libraries=$(find "$FOLDER/root" -type d -name '*-linux-gnu' -path '*lib/*' | paste -sd:)
cat >"$FOLDER/pgbouncer" <<EOF
#!/bin/sh
exec "$loader" --library-path "$libraries" "$FOLDER/root/usr/sbin/pgbouncer" "\$@"
EOF
chmod +x "$FOLDER/pgbouncer"
rm -rf "$FOLDER/apt"
