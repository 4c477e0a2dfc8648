#!/usr/bin/env bash
# Runs the example and checks the outcome. It works on a copy.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$here/../../bin:$PATH"
export FLAMINGOCK_PLUGIN_DIR="$here/../../bin"

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here/." "$work"
rm -rf "$work/.flamingock" "$work"/*.db*
cd "$work"

flamingock plan
flamingock apply --var branch=Harbour
flamingock apply --var branch=Harbour | grep -q 'nothing to do' || fail 'the second run did something'
flamingock apply --profiles demo
flamingock status --profiles demo -o json | grep -q seed-demo-books || fail 'the change of the profile is missing'

# A repeatable change runs again when its text changes.
sed -i.bak 's/AS month/AS months/' changes/reporting/_0020__LoansView.yaml && rm changes/reporting/*.bak
flamingock apply | grep -q '1 applied' || fail 'the repeatable change did not run again'
flamingock audit list --history
echo ok
