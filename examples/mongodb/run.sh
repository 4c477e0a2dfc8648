#!/usr/bin/env bash
# Runs the example on the replica set of MONGODB_URI, or of TEST_MONGODB_URI, which
# bin/with-servers sets, and checks the outcome. It works on a copy, and in a
# database that it drops.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$here/../../bin:$PATH"
export FLAMINGOCK_PLUGIN_DIR="$here/../../bin"

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

export MONGODB_URI="${MONGODB_URI:-${TEST_MONGODB_URI:-}}"
if [[ -z $MONGODB_URI ]]; then
	[[ ${REQUIRE_SERVERS:-} != 1 ]] || fail 'MONGODB_URI is not set, and REQUIRE_SERVERS=1 asks for every server'
	echo 'skipped: MONGODB_URI is not set (bin/with-servers --only mongodb -- examples/mongodb/run.sh starts a server)'
	exit 0
fi
database="city_bikes_example_$$"
export FLAMINGOCK_AUDIT_STORE_DATABASE=$database FLAMINGOCK_TARGET_SYSTEMS_CITY_BIKES_DATABASE=$database

work=$(mktemp -d)
cp -r "$here/." "$work"
cd "$work"

# drop removes the database, as a change of a project that keeps its trail in a file.
drop() {
	mkdir -p drop/changes
	cat >drop/flamingock.yaml <<-YAML
		targetSystems: {example: {type: mongodb, uri: "\${env:MONGODB_URI}", database: $database}}
		pipeline: {stages: [{name: drop, location: changes}]}
	YAML
	cat >drop/changes/_0001__Drop.yaml <<-YAML
		{id: drop, author: example, targetSystem: example, template: mongodb,
		 apply: {type: runCommand, command: {dropDatabase: 1}}}
	YAML
	env -u FLAMINGOCK_AUDIT_STORE_DATABASE -u FLAMINGOCK_TARGET_SYSTEMS_CITY_BIKES_DATABASE \
		flamingock apply --quiet --config drop/flamingock.yaml
}
finish() {
	code=$?
	drop || echo "the database $database is left" >&2
	rm -rf "$work"
	exit "$code"
}
trap finish EXIT

verify() { flamingock apply --quiet --config verify.yaml; }

flamingock validate
flamingock plan
flamingock apply
verify || fail 'the changes did not do what they say'
flamingock apply | grep -q 'nothing to do' || fail 'the second run did something'
[[ $(flamingock status -o json | grep -c '"why": "applied"') == 8 ]] || fail 'not everything is applied'

flamingock undo --change summer-tariff --yes
flamingock plan --detailed-exit-code >/dev/null && fail 'nothing is pending after the undo'
verify 2>/dev/null && fail 'the undo took nothing back'
flamingock apply
verify || fail 'applied again, the change did not do what it says'

# All of it, down to the empty collections, and once more.
flamingock undo --to-change create-rides --yes
flamingock apply
verify || fail 'applied again, the changes did not do what they say'
flamingock audit list --history
echo ok
