#!/bin/sh
# install.sh - put the Node clients into DIR/node_modules, once. Safe when several tests ask at once.
#
#   tests/e2e/node/install.sh DIR
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=$1
mkdir -p "$dir"
exec 9>"$dir/.lock"
flock 9
if cmp -s "$here/package.json" "$dir/package.json" && [ -d "$dir/node_modules" ]; then
	exit 0
fi
rm -rf "$dir/node_modules" "$dir/package.json"
mkdir -p "$dir/new"
cp "$here/package.json" "$dir/new/"
(cd "$dir/new" && npm install --no-audit --no-fund --no-package-lock --loglevel=error >&2)
mv "$dir/new/node_modules" "$dir/"
# Last: it says that the install is complete.
mv "$dir/new/package.json" "$dir/"
