#!/usr/bin/env bash
# A first look: plan, apply, the audit trail, a change that fails and how it is
# resolved, an undo. Everything happens in a folder that is removed at the end.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$here/../bin:$PATH"
export FLAMINGOCK_PLUGIN_DIR="$here/../bin"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here/shop/." "$work"
rm -rf "$work/.flamingock" "$work"/shop.db*
cd "$work"

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() {
	printf '\033[2m$ %s\033[0m\n' "$*"
	"$@"
}

say 'What would happen, and why? Nothing is changed.'
run flamingock plan

say 'Apply it. Every change is one transaction, together with the proof of it.'
run flamingock apply

say 'Again: there is nothing to do, so no lock is taken and no plugin is started.'
run flamingock apply

say 'Who changed what, when, with what result?'
run flamingock audit list

say 'A change that fails: its second statement names a column that is not there.'
cat > changes/_0005__AddPhones.yaml <<'YAML'
id: add-phones
author: ana
targetSystem: shop-db
template: sql
apply: |
  ALTER TABLE customers ADD COLUMN phone VARCHAR(40);
  UPDATE customers SET telephone = '' WHERE phone IS NULL;
rollback: ALTER TABLE customers DROP COLUMN phone;
YAML
code=0
run flamingock apply || code=$?
printf '(exit code %d: failed and rolled back)\n' "$code"
[[ $code == 12 ]]

say 'Nothing of it was left behind. Mend it, and apply again.'
sed -i.bak 's/telephone/phone/' changes/_0005__AddPhones.yaml && rm changes/_0005__AddPhones.yaml.bak
run flamingock apply

say 'An applied change that is edited is noticed.'
sed -i.bak "s/'Earl Grey', 590/'Earl Grey', 650/" changes/_0004__SeedProducts.yaml && rm changes/_0004__SeedProducts.yaml.bak
code=0
run flamingock apply || code=$?
printf '(exit code %d: edited)\n' "$code"
[[ $code == 15 ]]
sed -i.bak "s/'Earl Grey', 650/'Earl Grey', 590/" changes/_0004__SeedProducts.yaml && rm changes/_0004__SeedProducts.yaml.bak

say 'Take back what came after the tables.'
run flamingock undo --to-change create-orders --yes

say 'How does everything stand?'
run flamingock status
