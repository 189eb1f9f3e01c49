#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Submits an experiment, waits for its end and prints what each run came to. Needs curl and python3.
#   TETRAD_SERVER=http://127.0.0.1:8080 TETRAD_TOKEN=... deploy/examples/curl.sh
set -eu
server=${TETRAD_SERVER:-http://127.0.0.1:8080}

# The token goes by standard input: a command line is visible to others.
ask() {
    { [ -z "${TETRAD_TOKEN:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$TETRAD_TOKEN"; } |
        curl --silent --show-error --fail-with-body --config - "$@"
}

id=$(ask "$server/v1/experiments" -H 'Content-Type: application/json' -d '{
  "name": "curl.sh",
  "dataset": {"name": "strokes", "train": 1000, "test": 200},
  "network": {"layers": [{"units": 32}]},
  "rule": {"name": "sal"},
  "training": {"epochs": 2},
  "sweep": {"rule.name": ["sal", "bp"]}
}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
echo "experiment $id"

while ask "$server/v1/experiments/$id" |
    python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["state"] not in ("queued", "running", "paused"))'; do
    sleep 0.5
done
ask "$server/v1/experiments/$id" | python3 -c '
import json, sys
for run in json.load(sys.stdin)["runs"]:
    print(run["parameters"]["rule.name"], run["state"], run["final"].get("test/accuracy"), run["digest"])'
