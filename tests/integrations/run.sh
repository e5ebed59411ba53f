#!/bin/sh
# Tries the contract with client libraries, on the database in DATABASE_URL, which names a superuser and has the schema.
# No daemon may run on it. The libraries are installed below the folder that is given.
set -eu
[ $# -eq 1 ] || { echo "usage: DATABASE_URL=postgres://... $0 FOLDER" >&2; exit 2; }
: "${DATABASE_URL:?it names the superuser of a database with the schema}"
mkdir -p "$1"
into=$(cd "$1" && pwd)
cd "$(dirname "$0")"

node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a * 100 + b >= 2019 ? 0 : 1)' ||
    { echo "Prisma needs Node 20.19 or newer with npm" >&2; exit 1; }
python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' ||
    { echo "SQLAlchemy and Django need Python 3.10 or newer with its venv module" >&2; exit 1; }

python="$into/python/bin/python"
[ -x "$python" ] || python3 -m venv "$into/python"
"$python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt

# The client of Prisma 7 needs no binary. `prisma generate` would download the schema engine, which it does not run: any
# program that is named as the engine prevents that.
mkdir -p "$into/node"
cp package.json package-lock.json schema.prisma with_prisma.mjs "$into/node"
(
    cd "$into/node"
    npm ci --silent --no-audit --no-fund --ignore-scripts
    PRISMA_SCHEMA_ENGINE_BINARY=$(command -v node) CHECKPOINT_DISABLE=1 \
        npx --no-install prisma generate --schema schema.prisma >generate.log 2>&1 || { cat generate.log >&2; exit 1; }
)

as_superuser() {
    "$python" -c '
import os, sys, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    connection.execute(sys.argv[1])' "$1"
}

login=contract_$$
password=$("$python" -c 'import secrets; print(secrets.token_hex())')
as_superuser "create role $login login password '$password' in role reconciler_backend"
trap 'as_superuser "drop role $login"' EXIT
trap 'exit 1' HUP INT TERM
address=${DATABASE_URL#*://}
BACKEND_URL="postgres://$login:$password@${address##*@}"
export BACKEND_URL

failed=0
"$python" -B with_sqlalchemy.py || failed=1
"$python" -B with_django.py || failed=1
(cd "$into/node" && node with_prisma.mjs) || failed=1
exit $failed
