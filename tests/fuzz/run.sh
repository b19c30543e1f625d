#!/bin/sh
# run.sh - look for new inputs, or try the known ones again. From the repository's top:
#
#   tests/fuzz/run.sh fuzz NAME|all SECONDS   libFuzzer, each target for so long; new inputs go
#                                             to build/fuzz/corpus/NAME, crashes to build/fuzz/NAME-*
#   tests/fuzz/run.sh replay                  every corpus once, built by any compiler
#
# The programs are built already (make fuzz, make fuzz-replay). The status is 1 when one finds a bug.
set -u
status=0

names() { for f in tests/fuzz/fuzz_*.c; do f=${f##*/fuzz_}; echo "${f%.c}"; done; }

fuzz() {
	mkdir -p "build/fuzz/corpus/$1"
	echo "== fuzz_$1 for $2 s"
	if "build/fuzz/tests/fuzz/fuzz_$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="build/fuzz/$1-" \
		"build/fuzz/corpus/$1" "tests/fuzz/corpus/$1" >"build/fuzz/$1.log" 2>&1; then
		grep -E '^stat::(number_of_executed_units|new_units_added)' "build/fuzz/$1.log"
	else
		tail -n 40 "build/fuzz/$1.log"
		echo "  FAILED $1"
		status=1
	fi
}

replay() {
	log=build/asan/tests/fuzz/$1.log
	if "build/asan/tests/fuzz/replay_$1" "tests/fuzz/corpus/$1" >"$log" 2>&1; then
		echo "  ok     $1: $(tail -n 1 "$log")"
	else
		tail -n 40 "$log"
		echo "  FAILED $1"
		status=1
	fi
}

case ${1-} in
fuzz)
	targets=${2-}
	[ "$targets" != all ] || targets=$(names)
	for name in $targets; do fuzz "$name" "${3:-60}"; done
	;;
replay)
	for name in $(names); do replay "$name"; done
	;;
*)
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
exit $status
