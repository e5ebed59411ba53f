#!/bin/sh
# Sends traces to a collector that is not ours, on the database in DATABASE_URL, which names a superuser and has the
# schema. The collector is installed below the folder that is given; PROGRAM is the built program.
set -eu
[ $# -eq 2 ] || { echo "usage: DATABASE_URL=postgres://... $0 FOLDER PROGRAM" >&2; exit 2; }
: "${DATABASE_URL:?it names the superuser of a database with the schema}"
here=$(cd "$(dirname "$0")" && pwd)
python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' ||
    { echo "oteltap needs Python 3.10 or newer with its venv module" >&2; exit 1; }
python="$1/python/bin/python"
[ -x "$python" ] || python3 -m venv "$1/python"
"$python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
"$python" "$here/with_oteltap.py" "$2"
