#!/bin/sh
# run.sh - every check of this folder that needs no compiler's flags (clang-tidy runs from the
# Makefile). `run.sh DIR` gets the folder of built programs. Each check prints what it does not like.
cd "$(dirname "$0")/../.." || exit 1
export BUILD="${1:-build/release}"
status=0
for check in layers path documented links words shell cppcheck; do
	if out=$(sh "tests/lint/$check.sh" 2>&1); then
		echo "  ok     $check"
	else
		echo "  FAILED $check"
		echo "$out" | sed 's/^/         /'
		status=1
	fi
done
exit $status
