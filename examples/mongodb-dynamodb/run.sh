#!/usr/bin/env bash
# Runs the example on the replica set of MONGODB_URI and the DynamoDB of
# AWS_ENDPOINT_URL_DYNAMODB, or on those of TEST_MONGODB_URI and TEST_DYNAMODB_ENDPOINT,
# which bin/with-servers sets, and checks the outcome. It works on a copy, in a database
# and in tables that it removes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$here/../../bin:$PATH"
export FLAMINGOCK_PLUGIN_DIR="$here/../../bin"

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

export MONGODB_URI="${MONGODB_URI:-${TEST_MONGODB_URI:-}}"
export AWS_ENDPOINT_URL_DYNAMODB="${AWS_ENDPOINT_URL_DYNAMODB:-${TEST_DYNAMODB_ENDPOINT:-}}"
if [[ -z $MONGODB_URI || -z $AWS_ENDPOINT_URL_DYNAMODB ]]; then
	[[ ${REQUIRE_SERVERS:-} != 1 ]] ||
		fail 'MONGODB_URI or AWS_ENDPOINT_URL_DYNAMODB is not set, and REQUIRE_SERVERS=1 asks for every server'
	echo 'skipped: MONGODB_URI or AWS_ENDPOINT_URL_DYNAMODB is not set' \
		'(bin/with-servers --only mongodb,dynamodb -- examples/mongodb-dynamodb/run.sh starts servers)'
	exit 0
fi
# DynamoDB Local takes any key.
export AWS_ACCESS_KEY_ID="${AWS_ACCESS_KEY_ID:-LOCAL}" AWS_SECRET_ACCESS_KEY="${AWS_SECRET_ACCESS_KEY:-local}"
database="web_shop_example_$$"
prefix="${database}_"
export FLAMINGOCK_AUDIT_STORE_DATABASE=$database FLAMINGOCK_TARGET_SYSTEMS_CATALOGUE_DATABASE=$database
export FLAMINGOCK_TARGET_SYSTEMS_CARTS_TABLE_PREFIX=$prefix

work=$(mktemp -d)
cp -r "$here/." "$work"
cd "$work"

# drop removes both, by changes of a project that keeps its trail in a file.
drop() {
	mkdir -p drop/changes
	cat >drop/flamingock.yaml <<-YAML
		targetSystems:
		  catalogue: {type: mongodb, uri: "\${env:MONGODB_URI}", database: $database}
		  carts:
		    type: dynamodb
		    region: eu-central-1
		    endpoint: \${env:AWS_ENDPOINT_URL_DYNAMODB}
		    accessKeyId: \${env:AWS_ACCESS_KEY_ID}
		    secretAccessKey: \${env:AWS_SECRET_ACCESS_KEY}
		    tablePrefix: $prefix
		pipeline: {stages: [{name: drop, location: changes}]}
	YAML
	cat >drop/changes/_0001__Database.yaml <<-YAML
		{id: database, author: example, targetSystem: catalogue, template: mongodb,
		 apply: {type: runCommand, command: {dropDatabase: 1}}}
	YAML
	cat >drop/changes/_0002__Tables.yaml <<-YAML
		{id: tables, author: example, targetSystem: carts, template: dynamodb, steps: [
		 {apply: {type: deleteTable, table: carts, allowDestroy: true}},
		 {apply: {type: deleteTable, table: flamingockMarker, allowDestroy: true}}]}
	YAML
	env -u FLAMINGOCK_AUDIT_STORE_DATABASE flamingock apply --quiet --config drop/flamingock.yaml
}
finish() {
	code=$?
	drop || echo "the database $database or the tables $prefix* are left" >&2
	rm -rf "$work"
	exit "$code"
}
trap finish EXIT

verify() { flamingock apply --quiet --config verify.yaml; }
applied() { flamingock status -o json | grep -c '"why": "applied"' || true; }

flamingock validate
flamingock plan

# A change of carts that fails: catalogue is completed, and nothing of launch is begun.
cat >changes/carts/_0015__Broken.yaml <<-YAML
	{id: broken, author: example, targetSystem: carts, template: dynamodb, rollback: auto,
	 apply: {type: updateTimeToLive, table: nowhere, attribute: forgottenAt}}
YAML
code=0
flamingock apply || code=$?
[[ $code == 12 ]] || fail "the exit code is $code, and not that of a change that failed and was rolled back"
[[ $(applied) == 3 ]] || fail 'it is not the catalogue and the first of carts that are applied'

# Mended, the next run goes on where it was.
rm changes/carts/_0015__Broken.yaml
flamingock apply
verify || fail 'the changes did not do what they say'
flamingock apply | grep -q 'nothing to do' || fail 'the second run did something'
[[ $(applied) == 6 ]] || fail 'not everything is applied'
flamingock status

flamingock undo --last --yes
flamingock plan --detailed-exit-code >/dev/null && fail 'nothing is pending after the undo'
verify 2>/dev/null && fail 'the undo took nothing back'
flamingock apply
verify || fail 'applied again, the changes did not do what they say'
flamingock audit list --history
echo ok
