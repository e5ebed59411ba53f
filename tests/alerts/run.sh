#!/bin/sh
# Runs the alert rules of deploy/rsyslog with a real rsyslog, which is unpacked below the folder that is given, and
# gives it one line of every event.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
into=$(cd "$1" && pwd)

if [ ! -x "$into/usr/sbin/rsyslogd" ]; then
    command -v apt-get >/dev/null || { echo "rsyslog is unpacked from Debian's packages: apt-get is needed" >&2; exit 1; }
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    (cd "$packages" && apt-get --quiet --quiet download rsyslog libestr0 libfastjson4 liblognorm5)
    for package in "$packages"/*.deb; do dpkg-deb --extract "$package" "$into"; done
fi
exec python3 "$root/tests/alerts/with_rsyslog.py" "$root" "$into"
