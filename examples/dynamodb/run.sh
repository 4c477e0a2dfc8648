#!/usr/bin/env bash
# Runs the example on the DynamoDB of AWS_ENDPOINT_URL_DYNAMODB, or of
# TEST_DYNAMODB_ENDPOINT, which bin/with-servers sets, and checks the outcome. It works
# on a copy, and in tables that it deletes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$here/../../bin:$PATH"
export FLAMINGOCK_PLUGIN_DIR="$here/../../bin"

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

export AWS_ENDPOINT_URL_DYNAMODB="${AWS_ENDPOINT_URL_DYNAMODB:-${TEST_DYNAMODB_ENDPOINT:-}}"
if [[ -z $AWS_ENDPOINT_URL_DYNAMODB ]]; then
	[[ ${REQUIRE_SERVERS:-} != 1 ]] || fail 'AWS_ENDPOINT_URL_DYNAMODB is not set, and REQUIRE_SERVERS=1 asks for every server'
	echo 'skipped: AWS_ENDPOINT_URL_DYNAMODB is not set (bin/with-servers --only dynamodb -- examples/dynamodb/run.sh starts a server)'
	exit 0
fi
# DynamoDB Local takes any key.
export AWS_ACCESS_KEY_ID="${AWS_ACCESS_KEY_ID:-LOCAL}" AWS_SECRET_ACCESS_KEY="${AWS_SECRET_ACCESS_KEY:-local}"
prefix="box_office_example_$$_"
export FLAMINGOCK_AUDIT_STORE_TABLE_PREFIX=$prefix FLAMINGOCK_TARGET_SYSTEMS_BOX_OFFICE_TABLE_PREFIX=$prefix

work=$(mktemp -d)
cp -r "$here/." "$work"
cd "$work"

# drop deletes the tables, as a change of a project that keeps its trail in a file.
drop() {
	mkdir -p drop/changes
	cat >drop/flamingock.yaml <<-YAML
		targetSystems:
		  example:
		    type: dynamodb
		    region: eu-central-1
		    endpoint: \${env:AWS_ENDPOINT_URL_DYNAMODB}
		    accessKeyId: \${env:AWS_ACCESS_KEY_ID}
		    secretAccessKey: \${env:AWS_SECRET_ACCESS_KEY}
		    tablePrefix: $prefix
		pipeline: {stages: [{name: drop, location: changes}]}
	YAML
	{
		echo '{id: drop, author: example, targetSystem: example, template: dynamodb, steps: ['
		for table in shows tickets flamingockMarker flamingockAuditLog flamingockStore verifyAuditLog verifyStore flamingockLock; do
			echo "{apply: {type: deleteTable, table: $table, allowDestroy: true}},"
		done
		echo ']}'
	} >drop/changes/_0001__Drop.yaml
	env -u FLAMINGOCK_AUDIT_STORE_TABLE_PREFIX -u FLAMINGOCK_TARGET_SYSTEMS_BOX_OFFICE_TABLE_PREFIX \
		flamingock apply --quiet --config drop/flamingock.yaml
}
finish() {
	code=$?
	drop || echo "the tables $prefix* are left" >&2
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

flamingock undo --change cancel-second-night --yes
flamingock plan --detailed-exit-code >/dev/null && fail 'nothing is pending after the undo'
verify 2>/dev/null && fail 'the undo took nothing back'
flamingock apply
verify || fail 'applied again, the change did not do what it says'

# All of it, down to the empty tables, and once more.
flamingock undo --to-change holds-expire --yes
flamingock apply
verify || fail 'applied again, the changes did not do what they say'
flamingock audit list --history
echo ok
