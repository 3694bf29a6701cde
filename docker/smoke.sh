#!/usr/bin/env bash
# Builds the image, founds a ledger of three agencies in containers, appends through the published ports, kills one
# container and cuts another off the network, and verifies the dossier in a container without any network.
# Ends with status 0 only if all of it holds, and leaves nothing behind (KEEP=1 leaves it running).
#   docker/smoke.sh            needs an engine, or root and Debian's docker.io to start one
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d /tmp/pledger-smoke.XXXXXX)
engine_pid=
export PLEDGER_AGENCIES=$work/agencies PLEDGER_IMAGE=pledger-smoke COMPOSE_PROJECT_NAME=pledger-smoke
export DISTRICT_PORT=${DISTRICT_PORT:-18701} SPORT_PORT=${SPORT_PORT:-18702} CENTRE_PORT=${CENTRE_PORT:-18703}
agencies=(district sport centre)
declare -A port=([district]=$DISTRICT_PORT [sport]=$SPORT_PORT [centre]=$CENTRE_PORT)

say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }
fail() { say "FAILED: $*" >&2; exit 1; }

compose() {
    if docker compose version >/dev/null 2>&1; then docker compose -f docker/compose.yaml "$@"
    else docker-compose -f docker/compose.yaml "$@"; fi
}

clean_up() {
    status=$?
    [ "$status" = 0 ] || compose logs --tail 20 2>/dev/null || true
    if [ -z "${KEEP:-}" ]; then
        compose down --volumes --timeout 5 >/dev/null 2>&1 || true
        [ -z "$engine_pid" ] || { kill "$engine_pid" && wait "$engine_pid" 2>/dev/null; } || true
        rm -rf "$work" build/wheels
    fi
    exit "$status"
}
trap clean_up EXIT

start_engine() {
    docker info >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null || fail "no engine runs; as root, with docker.io installed, it is started here"
    dockerd >"$work/dockerd.log" 2>&1 &
    engine_pid=$!
    until_true 30 "the engine (see $work/dockerd.log)" docker info
    say "started an engine"
}

# until_true SECONDS WHAT COMMAND...: the command succeeds within that time, or all fails
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >"$work/last" 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { cat "$work/last" >&2; fail "$what"; }
        sleep 0.5
    done
}

find_base() {
    base=debian:bookworm-slim
    if docker image inspect $base >/dev/null 2>&1 || timeout 60 docker pull -q $base >/dev/null 2>&1; then return; fi
    base=pledger-base
    docker image inspect $base >/dev/null 2>&1 && return
    command -v mmdebstrap >/dev/null || fail "no image of Debian is reachable, and mmdebstrap to make one is not installed"
    say "no image of Debian is reachable: making one from Debian's packages"
    mmdebstrap --quiet --variant=minbase --include=python3-venv,ca-certificates bookworm | docker import - $base >/dev/null
}

# pledger ARGUMENTS...: the command of the image, as a user of this machine would type it
pledger() {
    docker run --rm --network "${network:-host}" --user 10001 --env PLEDGER_PASSPHRASE_FILE="$work/secret/passphrase" \
        --env HOME="$work" --volume "$work:$work" --workdir "$work" $PLEDGER_IMAGE "$@"
}

found_ledger() {
    mkdir -p "$work/agencies" "$work/agencies/secret" "$work/secret"
    printf 'a passphrase for the smoke test\n' | tee "$work/secret/passphrase" >"$work/agencies/secret/passphrase"
    chown -R 10001 "$work"
    for name in "${agencies[@]}"; do
        pledger agency new "$name" --ledger smoke --url "http://$name:8700" --listen 0.0.0.0:8700 --dir "agencies/$name" >/dev/null
    done
    pledger roster draft agencies/{district,sport,centre}/agency.json -o roster.json >/dev/null
    for name in "${agencies[@]}"; do pledger roster sign roster.json --dir "agencies/$name" -o "$name.sig" >/dev/null; done
    for name in "${agencies[@]}"; do
        peers=()
        for other in "${agencies[@]}"; do [ "$other" = "$name" ] || peers+=(--peer "$other=http://$other:8700"); done
        pledger roster finish roster.json {district,sport,centre}.sig --dir "agencies/$name" "${peers[@]}" >/dev/null
    done
    ledger=$(sha256sum "$work/roster.json" | cut -c1-64)
}

url() { echo "http://127.0.0.1:${port[$1]}"; }
sequences() { pledger --json node status --url "$(url "$1")" | grep -q '"is_sequencing": true'; }

enrol_class() {
    key=$(pledger --json staff key --node "$(url district)" --ledger "$ledger" --unit school-1 --home clerk | grep -o '"key": "[0-9a-f]*"' | cut -d'"' -f4)
    pledger staff grant "$key" --role clerk --unit school-1 --kinds all --from 2026-09-01 --until 2027-08-31 \
        --agency-dir agencies/district --node "$(url district)" >/dev/null
    cp cli/samples/roster.csv "$work/roster.csv"
    echo "what is recorded, and why" >"$work/notice.txt"
    pledger class enrol roster.csv --notice-file notice.txt --shown-on 2026-09-01 --home clerk >/dev/null
}

append() {
    pledger append contest_award "event_code=$1" level=school status=winner date=2026-11-12 --pupil 7a-01 --home clerk >/dev/null
}

# holds AGENCY SIZE: the node shows so many entries of the district's log, or more
holds() {
    local shown
    shown=$(pledger --json node status --url "$(url "$1")" | tr -d '\n ' | grep -o '"origin":"smoke/district/1","size":[0-9]*' | head -1 | grep -o '[0-9]*$')
    [ "${shown:-0}" -ge "$2" ]
}

verified() { pledger verify "$(url "$1")" --ledger "$ledger" --level "$level"; }

start_engine
find_base
rm -rf build/wheels
python3 -m pip wheel --quiet --wheel-dir build/wheels . >"$work/wheels.log" 2>&1 \
    || { tail -20 "$work/wheels.log" >&2; fail "the wheels cannot be built (on Debian: apt install python3-pip)"; }
docker build --build-arg BASE=$base -f docker/Dockerfile -t $PLEDGER_IMAGE . >"$work/build.log" 2>&1 \
    || { tail -20 "$work/build.log" >&2; fail "the image cannot be built"; }
say "built the image: $(docker image inspect $PLEDGER_IMAGE --format '{{.Size}}' | awk '{printf "%d MB", $1/1e6}')"
[ "$(docker run --rm --entrypoint id $PLEDGER_IMAGE -u)" = 10001 ] || fail "the image runs as root"
found_ledger
say "founded ledger $ledger"
compose up --detach --quiet-pull >/dev/null 2>&1 || compose up --detach
for name in "${agencies[@]}"; do until_true 60 "$name does not sequence" sequences "$name"; done
enrol_class
append first
size=$(pledger --json node status --url "$(url district)" | tr -d '\n ' | grep -o '"size":[0-9]*' | head -1 | cut -d: -f2)
say "three agencies sequence; a class is enrolled through port $DISTRICT_PORT"

docker kill --signal KILL "$(compose ps -q centre)" >/dev/null
append while-centre-is-down
until_true 30 "sport did not copy while centre was down" holds sport "$((size))"
compose up --detach >/dev/null 2>&1
until_true 60 "centre did not catch up after kill -9" holds centre "$((size + 1))"
say "centre was killed, came back, and caught up"

network_name=$(docker network ls --format '{{.Name}}' | grep '^pledger-smoke')
docker network disconnect "$network_name" "$(compose ps -q sport)"
append while-sport-is-cut-off
until_true 30 "centre did not copy while sport was cut off" holds centre "$((size + 2))"
docker network connect --alias sport "$network_name" "$(compose ps -q sport)"
until_true 60 "sport did not catch up after the partition" holds sport "$((size + 2))"
say "sport was cut off, came back, and caught up"

until_true 60 "the container of district is not healthy" sh -c "[ \$(docker inspect --format '{{.State.Health.Status}}' $(compose ps -q district)) = healthy ]"
level=${LEVEL:-certified}
until_true 60 "sport's tree does not verify at level $level" verified sport
pledger export --from "$(url district)" --from "$(url sport)" --from "$(url centre)" --ledger "$ledger" -o dossier.zip >/dev/null
network=none pledger verify dossier.zip --ledger "$ledger" --level "$level"
say "the dossier verifies without a network, at level $level: all holds"
