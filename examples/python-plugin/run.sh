#!/usr/bin/env bash
# Makes what the plugin needs, checks what every plugin promises, and uses it.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
export PATH="$root/bin:$PATH" NO_COLOR=1

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo 'this example needs Python 3.11 or newer' >&2; exit 1; }
python3 -m pip --version >/dev/null 2>&1 || { echo 'this example needs pip (on Debian: python3-pip)' >&2; exit 1; }

# Packages and stubs, beside the program, anew where they changed.
proto=$root/plugin/proto/flamingock/plugin/v1
made=$(cat requirements.txt "$proto/plugin.proto" | sha256sum)
if [[ "$(cat .deps/made 2>/dev/null)" != "$made" ]]; then
	rm -rf .deps
	python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .deps --requirement requirements.txt
	PYTHONPATH=.deps python3 -m grpc_tools.protoc -I "$proto" --python_out=.deps --grpc_python_out=.deps plugin.proto
	echo "$made" >.deps/made
fi

echo '== what every plugin promises'
flamingock plugin test ./flamingock-plugin-notes --cases plugin.test.yaml

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/changes"
cat >"$tmp/flamingock.yaml" <<YAML
service: diary
lock: {lease: 3s}
auditStore: {type: sqlite, path: audit.db}
targetSystems:
  diary: {type: notebook, path: $tmp/diary.json}
pipeline: {stages: [{name: main, location: changes}]}
YAML
cat >"$tmp/changes/_0001__Welcome.yaml" <<YAML
id: welcome
author: ann
targetSystem: diary
template: note
apply: {title: welcome, text: to this diary}
rollback: auto
YAML
cat >"$tmp/changes/_0002__Long.yaml" <<YAML
id: long
author: ann
targetSystem: diary
template: note
apply: {title: long, text: it took a while, pause: 2}
rollback: auto
YAML
flamingock() { command flamingock --plugin-dir . --config "$tmp/flamingock.yaml" "$@"; }
has() { # what is in the diary
	python3 -c 'import json, sys; sys.exit(json.load(open(sys.argv[1])) != json.loads(sys.argv[2]))' "$tmp/diary.json" "$1" ||
		{ echo "the diary is $(cat "$tmp/diary.json") and should be $1" >&2; exit 1; }
}

echo '== plan, apply, apply again, undo'
flamingock plan
flamingock apply
has '{"welcome": "to this diary", "long": "it took a while"}'
flamingock apply
flamingock undo --change long --yes
flamingock undo --change welcome --yes
has '{}'

# TMPDIR is where sockets lie.
echo '== the command is killed in the middle of a change'
mkdir "$tmp/tmp"
TMPDIR="$tmp/tmp" command flamingock --plugin-dir . --config "$tmp/flamingock.yaml" apply >/dev/null 2>&1 &
killed=$!
for ((i = 0; i < 100; i++)); do
	grep -q welcome "$tmp/diary.json" && plugin=$(pgrep -P "$killed") && break
	sleep 0.1
done
sleep 0.3 # the second change waits now
kill -9 "$killed"
wait "$killed" 2>/dev/null || true
for ((i = 0; i < 50; i++)); do
	kill -0 "$plugin" 2>/dev/null || break
	sleep 0.1
done
if kill -0 "$plugin" 2>/dev/null; then echo 'the plugin outlives the command' >&2; exit 1; fi
if [[ -n "$(ls "$tmp/tmp")" ]]; then echo "left behind: $(ls "$tmp/tmp")" >&2; exit 1; fi
has '{"welcome": "to this diary"}'

echo '== the next run asks the plugin what is in place, and goes on'
flamingock apply
has '{"welcome": "to this diary", "long": "it took a while"}'
flamingock audit list
