#!/bin/sh
# Tries metrics, alerts and dashboard with a real Prometheus, on the database in DATABASE_URL, which has the schema. No
# other daemon may run on it. Prometheus is taken from PATH, or else from Debian's archive; it and a strict reader of the
# format are installed below the folder that is given.
set -eu
[ $# -eq 2 ] || { echo "usage: DATABASE_URL=postgres://... $0 FOLDER PROGRAM" >&2; exit 2; }
: "${DATABASE_URL:?it names the database with the schema}"
mkdir -p "$1"
into=$(cd "$1" && pwd)
program=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "$0")"

python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' ||
    { echo "it needs Python 3.10 or newer with its venv module" >&2; exit 1; }
python="$into/python/bin/python"
[ -x "$python" ] || python3 -m venv "$into/python"
"$python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt

PATH="$PATH:$into/prometheus/usr/bin"
if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        { echo "it needs prometheus and promtool on PATH" >&2; exit 1; }
    (cd "$into" && apt-get --quiet --quiet download prometheus && dpkg-deb --extract prometheus_*.deb prometheus)
fi

rules=../../deploy/prometheus
promtool check rules "$rules/rules.yml"
(cd "$rules" && promtool test rules rules_test.yml)
"$python" -B check.py "$into" "$program"
