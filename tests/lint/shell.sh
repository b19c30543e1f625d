#!/bin/sh
# shell.sh - shellcheck over every shell script, whatever its name.
command -v shellcheck >/dev/null || { echo "shellcheck is not installed: deploy/install-deps.sh"; exit 1; }
git ls-files --cached --others --exclude-standard | while IFS= read -r f; do
	[ -f "$f" ] || continue
	case $f in
	*.sh) echo "$f" ;;
	tests/data/* | tests/fuzz/corpus/*) ;;
	*) head -c 64 "$f" | head -n 1 | grep -aqE '^#!.*/(env )?(ba|da)?sh' && echo "$f" ;;
	esac
done | xargs shellcheck
