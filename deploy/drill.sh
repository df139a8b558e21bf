#!/bin/sh
# Whether a backup is one: starts a gateway on a copy of it, beside the real farm, and reads every
# video of every job back, whose SHA-256 the client compares with the database's.
#
#     deploy/drill.sh BACKUP [FARM]       FARM: the command, else `farm`; DRILL_PORT: 50151
set -eu
backup=$1
farm=${2:-farm}
port=${DRILL_PORT:-50151}
work=$(mktemp -d)
gateway=
end() {
    if test -n "$gateway"; then
        kill "$gateway" 2>/dev/null || true
        wait "$gateway" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap end EXIT

# Without the real farm's settings: nothing here may reach its database, bucket or webhooks.
become() {
    exec env -i PATH="$PATH" HOME="$work" PYTHONPATH="${PYTHONPATH-}" FARM_ADDRESS="127.0.0.1:$port" \
        FARM_TOKEN="${token-}" "$farm" "$@"
}
run() { (become "$@"); }

cp -R "$backup" "$work/data"
made=$(run token create drill --scope operate --offline --data "$work/data" 2>"$work/log") || {
    cat "$work/log" >&2
    exit 1
}
become gateway --http 127.0.0.1:0 --data "$work/data" >"$work/ready" 2>"$work/log" &
gateway=$!
token=$made
until grep -q '^ready' "$work/ready"; do
    kill -0 "$gateway" 2>/dev/null || {
        cat "$work/log" >&2
        exit 1
    }
    sleep 0.2
done

jobs=$(run jobs --limit 1000000 --json | sed -n 's/^{"name": *"\(jobs\/[^"]*\)".*/\1/p')
for job in $jobs; do
    run download "$job" --out "$work/videos/${job#jobs/}" >/dev/null
done
mkdir -p "$work/videos"
echo "$backup: $(echo "$jobs" | grep -c jobs/ || true) jobs," \
    "$(find "$work/videos" -type f | wc -l) videos, each as its database says"
