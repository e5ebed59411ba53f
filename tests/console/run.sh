#!/bin/sh
# Plays a day in the console in Chromium: PROGRAM works on the database in DATABASE_URL, which names a superuser, with the
# simulated backend of TESTKIT. The client of the browser is installed below FOLDER, where screenshots and logs are left.
set -eu
[ $# -eq 3 ] || { echo "usage: DATABASE_URL=postgres://... $0 PROGRAM TESTKIT FOLDER" >&2; exit 2; }
: "${DATABASE_URL:?it names the superuser of a database}"
program=$(realpath "$1")
testkit=$(realpath "$2")
mkdir -p "$3"
into=$(cd "$3" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
cp "$here/package.json" "$here/package-lock.json" "$here"/*.mjs "$into/"
[ -d "$into/node_modules" ] || npm ci --prefix "$into" --ignore-scripts --no-audit --no-fund --silent

free_port() { node -e 's = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
backend=$(free_port)
listen=$(free_port)
export RECONCILER__DATABASE__URL="$DATABASE_URL" RECONCILER__BACKEND__API_KEY=day-in-the-console
export RECONCILER__BACKEND__BASE_URL="http://127.0.0.1:$backend/{workspace}/api/v1"
export RECONCILER__BACKEND__ALLOW_PLAIN_HTTP=true RECONCILER__HTTP__LISTEN=127.0.0.1:0
export RECONCILER__OPERATORS__LISTEN="127.0.0.1:$listen" RECONCILER__WAKEUP__POLL_MS=250
export RECONCILER__RETRY__SETTLE_S=30 RECONCILER__JOB__WITHIN_S=20
export RECONCILER__JOB__POLL_FIRST_S=0.5 RECONCILER__JOB__POLL_MAX_S=2 RECONCILER__SYNC__REREADS_S=3,6,12,24
export RECONCILER__SYNC__RETRY_FIRST_S=2 RECONCILER__SYNC__RETRY_MAX_S=5 RECONCILER__UPKEEP__EVERY_S=5
export RECONCILER__BREAKER__COOLDOWN_FIRST_S=3 RECONCILER__BREAKER__COOLDOWN_MAX_S=5
# The simulated backend limits rates and stalls, as a real one does: without these, a sync may wait for an hour.
export RECONCILER__RETRY__RATE_LIMIT_S=5 RECONCILER__RETRY__MAX_RETRY_AFTER_S=10
export RECONCILER__BACKEND__OUTAGE_RETRY_MAX_S=4 RECONCILER__BACKEND__REQUEST_TIMEOUT_S=5
export RECONCILER__WORKER__LEASE_S=15 RECONCILER__WORKER__SYNC_LEASE_S=20
"$program" migrate
"$testkit" simulate --listen "127.0.0.1:$backend" --api-key "$RECONCILER__BACKEND__API_KEY" \
    --database "$DATABASE_URL" >"$into/backend.log" 2>&1 &
running=$!
"$program" serve >"$into/serve.log" 2>&1 &
running="$running $!"
# shellcheck disable=SC2086
trap 'kill $running 2>/dev/null || true' EXIT
trap 'exit 1' HUP INT TERM
node "$into/day.mjs" "$program" "http://127.0.0.1:$listen" "http://127.0.0.1:$backend" "$into"
