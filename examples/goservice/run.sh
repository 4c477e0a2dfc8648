#!/usr/bin/env bash
# Builds and starts the service twice and checks what it says.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$here" && CGO_ENABLED=0 go build -o "$work/goservice" .)
cd "$work"
./goservice | tee first.txt
grep -q 'database: 3 applied' first.txt
grep -q 'serving 1 notes' first.txt
./goservice | tee second.txt
grep -q 'database: nothing to do' second.txt
echo ok
