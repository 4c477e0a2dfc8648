#!/usr/bin/env bash
# Runs the example on SQLite and, where TEST_POSTGRES_URL names a server, on
# PostgreSQL, and checks the outcome. It works on a copy.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$here/../../bin:$PATH"
export FLAMINGOCK_PLUGIN_DIR="$here/../../bin"

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

check() { # settings...
	flamingock validate "$@"
	flamingock plan "$@"
	flamingock apply "$@"
	flamingock apply "$@" | grep -q 'nothing to do' || fail 'the second run did something'
	[[ $(flamingock status "$@" -o json | grep -c '"state": "APPLIED"') -ge 4 ]] || fail 'not everything is applied'
	flamingock undo "$@" --change seed-products --yes
	flamingock plan "$@" --detailed-exit-code >/dev/null && fail 'nothing is pending after the undo'
	flamingock apply "$@"
	flamingock undo "$@" --last --yes
	flamingock audit list "$@" --history --extended
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here/." "$work"
rm -rf "$work/.flamingock" "$work"/shop.db*
cd "$work"

echo '-- SQLite'
check

if [[ -n ${TEST_POSTGRES_URL:-} ]]; then
	echo '-- PostgreSQL'
	database="shop_example_$$"
	psql -q "$TEST_POSTGRES_URL" -c "CREATE DATABASE $database"
	SHOP_DATABASE_URL=$(sed -E "s#(://[^/]+/)[^?]*#\1$database#" <<<"$TEST_POSTGRES_URL")
	export SHOP_DATABASE_URL
	# shellcheck disable=SC2016 # the reference is for flamingock, not for the shell
	check --set targetSystems.shop-db.type=postgresql --set 'targetSystems.shop-db.url=${env:SHOP_DATABASE_URL}' \
		--set targetSystems.shop-db.path= \
		--set auditStore.type=postgresql --set 'auditStore.url=${env:SHOP_DATABASE_URL}' --set auditStore.path=
	psql -q "$TEST_POSTGRES_URL" -c "DROP DATABASE $database WITH (FORCE)"
else
	echo '-- PostgreSQL: left out, TEST_POSTGRES_URL is not set'
fi
echo ok
