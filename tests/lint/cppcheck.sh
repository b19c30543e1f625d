#!/bin/sh
# cppcheck.sh - a second opinion on the C. NULL as the last variadic argument is right on our
# platforms, where it is a pointer; leaks are found by LeakSanitizer, and this one loses track of
# memory that goes into a compound literal.
command -v cppcheck >/dev/null || { echo "cppcheck is not installed: deploy/install-deps.sh"; exit 1; }
set -- common proxy
[ ! -d agent ] || set -- "$@" agent
exec cppcheck --enable=warning,portability,performance --inline-suppr --quiet --std=c11 -I. \
	-D_GNU_SOURCE --include=tests/lint/cppcheck.h --suppress=missingIncludeSystem \
	--suppress=varFuncNullUB --suppress=memleak --error-exitcode=1 -j2 "$@"
