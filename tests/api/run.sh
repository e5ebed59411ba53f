#!/bin/sh
# Tries the API of PROGRAM against its OpenAPI document with schemathesis, in every role, and sends it webhooks that Python
# signs, on the database in DATABASE_URL, which names a superuser. The libraries are installed below FOLDER.
set -eu
[ $# -eq 2 ] || { echo "usage: DATABASE_URL=postgres://... $0 PROGRAM FOLDER" >&2; exit 2; }
: "${DATABASE_URL:?it names the superuser of a database}"
program=$1
mkdir -p "$2"
into=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
python="$into/python/bin/python"
[ -x "$python" ] || python3 -m venv "$into/python"
"$python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export RECONCILER__DATABASE__URL="$DATABASE_URL" RECONCILER__BACKEND__API_KEY=unused
export RECONCILER__BACKEND__BASE_URL=http://127.0.0.1:1/api/v1 RECONCILER__HTTP__LISTEN=127.0.0.1:0
export RECONCILER__OPERATORS__LISTEN="127.0.0.1:$port" RECONCILER__OPERATORS__WRONG_TOKENS_PER_MINUTE=1000000
"$program" migrate
"$python" -c '
import os, sys, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    connection.execute(open(sys.argv[1]).read())' "$here/../stories/rows_of_two_workspaces.sql"

"$program" serve >"$into/serve.log" 2>&1 &
daemon=$!
trap 'kill "$daemon"' EXIT
trap 'exit 1' HUP INT TERM
url="http://127.0.0.1:$port"
"$python" - "$url/v1/openapi.json" <<'PYTHON'
import sys, time, urllib.request
for _ in range(300):
    try:
        urllib.request.urlopen(sys.argv[1], timeout=1)
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit("the API did not answer within 30 s")
PYTHON

echo "webhooks, signed by Python"
failed=0
"$python" -B "$here/webhooks.py" "$program" || failed=1
for role in viewer operator administrator; do
    token=$("$program" tokens create "$role-$$" --role "$role" --workspace acme --as tester)
    echo "as $role"
    # The stream has no end, so it is left to the tests in Rust. The route of webhooks takes no token, and is 404 without
    # keys. What schemathesis keeps for its next run stays in its folder.
    (cd "$into" && python/bin/schemathesis --config-file "$here/schemathesis.toml" run "$url/v1/openapi.json" \
        --header "Authorization: Bearer $token" --exclude-path /v1/events/stream --exclude-path /v1/intake/cerby \
        --checks all --max-examples "${EXAMPLES:-50}" --request-timeout 30 --suppress-health-check all) || failed=1
done
exit $failed
