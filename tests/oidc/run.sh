#!/bin/sh
# Signs people in to the console by oidc-provider, an issuer that is not ours: PROGRAM works on the database in DATABASE_URL,
# which names a superuser. The issuer is installed below FOLDER, where the log is left.
set -eu
[ $# -eq 2 ] || { echo "usage: DATABASE_URL=postgres://... $0 PROGRAM FOLDER" >&2; exit 2; }
: "${DATABASE_URL:?it names the superuser of a database}"
program=$(realpath "$1")
mkdir -p "$2"
into=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
cp "$here/package.json" "$here/package-lock.json" "$here"/*.mjs "$into/"
[ -d "$into/node_modules" ] || npm ci --prefix "$into" --ignore-scripts --no-audit --no-fund --silent

free_port() { node -e 's = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
issuer=$(free_port)
listen=$(free_port)
export RECONCILER__DATABASE__URL="$DATABASE_URL" RECONCILER__BACKEND__API_KEY=unused
export RECONCILER__BACKEND__BASE_URL=http://127.0.0.1:1/api/v1 RECONCILER__HTTP__LISTEN=127.0.0.1:0
export RECONCILER__OPERATORS__LISTEN="127.0.0.1:$listen" RECONCILER__OPERATORS__WRONG_TOKENS_PER_MINUTE=1000
export RECONCILER__OPERATORS__OIDC__ISSUER="http://127.0.0.1:$issuer"
export RECONCILER__OPERATORS__OIDC__CLIENT_ID=console RECONCILER__OPERATORS__OIDC__CLIENT_SECRET=only-for-this-test
export RECONCILER__OPERATORS__OIDC__SCOPES=openid,email,groups RECONCILER__OPERATORS__OIDC__ROLES_CLAIM=groups
export RECONCILER__OPERATORS__OIDC__OPERATORS=desk RECONCILER__OPERATORS__OIDC__VIEWERS=readers
export RECONCILER__OPERATORS__OIDC__SESSION_MAX_S=5 RECONCILER__OPERATORS__OIDC__TIMEOUT_S=2
"$program" migrate
"$program" serve >"$into/serve.log" 2>&1 &
running=$!
trap 'kill $running 2>/dev/null || true' EXIT
trap 'exit 1' HUP INT TERM
node "$into/people.mjs" "http://127.0.0.1:$issuer" "http://127.0.0.1:$listen" "$into/serve.log"
