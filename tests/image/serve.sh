#!/bin/sh
# Runs the image beside a simulated backend, and stops it while it works. DATABASE_URL names a superuser's database; run.sh
# sets the rest.
set -eu
testkit=$1
: "${DATABASE_URL:?}" "${image:?}" "${name:?}" "${grace_s:?}"
work=$(mktemp -d)
export XDG_RUNTIME_DIR="$work"

fail() {
    echo "FAILED: $1" >&2
    podman logs $name 2>&1 | tail -n 5 >&2
    exit 1
}
measured() { printf '%-46s %s\n' "$1" "$2"; }

simulator=
end() {
    [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
    podman rm --force $name >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap end EXIT
trap 'exit 1' HUP INT TERM

# Without an init that manages groups and schedules health checks, and with the limits that a sandbox allows.
run() {
    podman --runtime /usr/sbin/runc --cgroup-manager=cgroupfs --events-backend=file run --network=host \
        --ulimit=nofile=1024:1024 --ulimit=nproc=1024:1024 --read-only --read-only-tmpfs=false --cap-drop=ALL \
        --security-opt=no-new-privileges --no-healthcheck --env RECONCILER__HTTP__LISTEN=127.0.0.1:18087 "$@"
}
# until_it COMMAND...: tries for a minute.
until_it() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 120 ] || fail "a minute was not enough for: $*"
        sleep 0.5
    done
}

address=${DATABASE_URL#*://}
address=${address##*@}
run --rm --env RECONCILER__DATABASE__URL="$DATABASE_URL" $image migrate
psql --quiet --no-psqlrc "$DATABASE_URL" --set=daemon_password=d --set=backend_password=b --file=deploy/logins.sql
"$testkit" simulate --listen 127.0.0.1:18090 --api-key simulated-key \
    --database "postgres://cerby_backend:b@$address" >"$work/simulator.log" &
simulator=$!

run --detach --name $name --env RECONCILER__DATABASE__URL="postgres://cerby_daemon:d@$address" \
    --env RECONCILER__BACKEND__BASE_URL='http://127.0.0.1:18090/{workspace}/api/v1' \
    --env RECONCILER__BACKEND__API_KEY=simulated-key --env RECONCILER__TELEMETRY__FORMAT=json \
    --env RECONCILER__RETRY__INVITE__FIRST_S=0 --env RECONCILER__RETRY__CHANGE_ROLE__FIRST_S=0 \
    --env RECONCILER__RETRY__REMOVE__FIRST_S=0 $image >/dev/null
pid=$(podman inspect --format '{{.State.Pid}}' $name)

until_it podman exec $name /usr/local/bin/cerby-reconciler health
measured 'the health check' 'says that it is healthy'
[ "$(awk '/^Uid:/ { print $2, $3, $4 }' "/proc/$pid/status")" = '65532 65532 65532' ] || fail 'it runs as another user'
grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status" || fail 'it has capabilities'
grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$pid/status" || fail 'it may get privileges'
awk '$5 == "/" { exit $6 !~ /^ro/ }' "/proc/$pid/mountinfo" || fail 'its root can be written'
measured 'user, capabilities, root' '65532, none, read-only'

succeeded="select count(*) > 9 or null from reconciler.automation_tasks where state = 'succeeded'"
works() { [ "$(psql --quiet --no-psqlrc --tuples-only --no-align "$DATABASE_URL" --command "$succeeded")" = t ]; }
until_it works
in_flight="select count(*) from reconciler.members where lease_until > now()"
measured 'members in flight at SIGTERM' \
    "$(psql --quiet --no-psqlrc --tuples-only --no-align "$DATABASE_URL" --command "$in_flight")"
began=$(date +%s%N)
podman kill --signal TERM $name >/dev/null
code=$(podman wait $name)
took_ms=$((($(date +%s%N) - began) / 1000000))
measured 'from SIGTERM to the end' "$took_ms ms, exit code $code"
[ "$code" = 0 ] || fail "it ended with $code"
[ $took_ms -le $((grace_s * 1000)) ] || fail "it took more than $grace_s s"
podman logs $name 2>&1 | tail -n 1 | python3 -c 'import json,sys; print("%-46s %s" % ("its last line", json.loads(sys.stdin.read())["event"]))'
