#!/bin/sh
# demo.sh - from a bare Debian machine to a proxy with traffic through it: install what is missing,
# build, then show: the proxy alone (demo.py), then the whole system with ZooKeeper and the agent
# (demo_plane.py). Run by `make demo`; `make demo KEEP=1` leaves everything of each part running until
# Enter or a signal. Ends with 0 only if everything it showed was as it should be.
set -eu
cd "$(dirname "$0")/.."

echo "== packages (deploy/install-deps.sh)"
deploy/install-deps.sh
echo "== build"
"${MAKE:-make}" --no-print-directory -j"$(nproc)" MODE=release all
# Debian's own Python, which has Debian's client libraries; another may come first in PATH.
/usr/bin/python3 -B deploy/demo.py build/release/twinring-proxy
exec /usr/bin/python3 -B deploy/demo_plane.py build/release
