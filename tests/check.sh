#!/usr/bin/env bash
# check.sh - build and run the tests; the last line is "N passed, N failed", over all of them.
#
#   tests/check.sh              unit, simulation, models, corpus replay, end-to-end
#   tests/check.sh unit e2e     only these (unit sim model fuzz e2e)
#
# MODE=asan|tsan builds and tests with sanitizers, MODE=mutations with rules switched off;
# TWINRING_LONG=1 runs the long tests in full size; PYTEST_ARGS is passed on. Works in a fresh clone on a fresh Debian machine: installs what is
# missing. A test that did not run, or crashed before it could say anything, counts as failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

mode=${MODE:-release}
jobs=$(nproc)
out=build/check-$mode
passed=0
failed=0
complaints=()

count() { # count PASSED FAILED NAME
	passed=$((passed + $1))
	failed=$((failed + $2))
	if [ "$2" -ne 0 ]; then complaints+=("$3: $2 failed"); fi
}

finish() {
	for c in "${complaints[@]}"; do echo "  $c"; done
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit
}

give_up() { # a step that everything else needs
	count 0 1 "$1"
	finish
}

step() { printf '== %s\n' "$*"; }

build() { make --no-print-directory -j"$jobs" "$@"; }

# One libcheck program; its own summary line says how many checks there were.
run_check() { # NAME PROGRAM
	local log=$out/$1.log summary checks failures errors
	if CK_VERBOSITY=normal CK_FORK=$([ "$mode" = release ] && echo yes || echo no) \
		timeout 300 "$2" >"$log" 2>&1; then local ok=1; else local ok=0; fi
	summary=$(grep -aE '^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+$' "$log" | tail -n 1)
	if [ -z "$summary" ]; then
		tail -n 40 "$log"
		count 0 1 "$1 (no summary)"
		return
	fi
	read -r checks failures errors <<<"$(tr -dc '0-9 ' <<<"${summary#*:}")"
	if [ $((failures + errors)) -ne 0 ] || [ "$ok" = 0 ]; then
		tail -n 60 "$log"
		[ $((failures + errors)) -ne 0 ] || failures=1
	fi
	count $((checks > failures + errors ? checks - failures - errors : 0)) $((failures + errors)) "$1"
}

run_folder() { # unit|sim
	step "$1 tests ($mode)"
	local source name
	build MODE="$mode" "check-build-$1" || { count 0 1 "building the $1 tests"; return; }
	while IFS= read -r source; do
		name=${source#tests/}
		name=${name%.c}
		run_check "$(tr / - <<<"$name")" "build/$mode/tests/$name"
	done < <(find "tests/$1" -name 'test_*.c' 2>/dev/null | sort)
}

# Every input that fuzzing ever found interesting, once more, under ASan and UBSan.
run_fuzz() {
	local source name corpus
	step "fuzzing corpora"
	for source in tests/fuzz/fuzz_*.c; do
		[ -e "$source" ] || continue
		name=$(basename "$source" .c)
		corpus=tests/fuzz/corpus/${name#fuzz_}
		if ! build MODE=fuzz "build/fuzz/tests/fuzz/$name" >"$out/$name.log" 2>&1; then
			tail -n 20 "$out/$name.log"
			count 0 1 "building $name"
		elif [ ! -d "$corpus" ]; then
			count 0 1 "$name has no corpus"
		elif ! timeout 300 "build/fuzz/tests/fuzz/$name" -runs=0 "$corpus" >"$out/$name.log" 2>&1; then
			tail -n 40 "$out/$name.log"
			count 0 1 "$name"
		else
			count 1 0 "$name"
		fi
	done
}

# The protocol itself: the models say whether it is right, table.txt what the code must do for it.
run_model() {
	local log=$out/model.log good bad
	step "models"
	timeout 900 tests/model/check small | tee "$log"
	if read -r good _ bad _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log"); then
		count "$good" "$bad" "models"
	else
		count 0 1 "models (no summary)"
	fi
}

run_e2e() {
	step "end-to-end tests ($mode)"
	local xml=$out/e2e.xml counts args=()
	# Under TSan only what makes threads meet; the rest would say nothing new, slowly.
	if [ "$mode" = tsan ]; then
		args=(tests/e2e/test_swap.py tests/e2e/test_scale.py tests/e2e/test_faults.py
			tests/e2e/test_limits.py tests/e2e/test_protocol_mc.py tests/e2e/test_protocol_redis.py)
	elif [ "$mode" = mutations ]; then
		args=(tests/e2e/test_transition_races.py tests/e2e/test_transition_mutations.py)
	else
		args=(tests/e2e)
	fi
	rm -f "$xml"
	build MODE="$mode" check-build-e2e || { count 0 1 "building the end-to-end tests"; return; }
	# Debian's Python, which has Debian's modules; another may come first in PATH.
	# shellcheck disable=SC2086
	TWINRING_BUILD=$mode /usr/bin/python3 -m pytest "${args[@]}" -q -n "${E2E_JOBS:-3}" \
		--junitxml="$xml" ${PYTEST_ARGS:-}
	counts=$(/usr/bin/python3 - "$xml" <<-'PY'
		import sys, xml.etree.ElementTree as tree
		s = tree.parse(sys.argv[1]).getroot().find("testsuite").attrib
		bad = int(s["failures"]) + int(s["errors"])
		print(max(0, int(s["tests"]) - bad - int(s["skipped"])), bad)
	PY
	) || { count 0 1 "pytest gave no result"; return; }
	# shellcheck disable=SC2086
	count $counts "end-to-end"
}

# All of it, so that later complaints are about the code and not about the machine.
step "packages"
deploy/install-deps.sh || give_up "deploy/install-deps.sh"
mkdir -p "$out"
step "build ($mode)"
build MODE="$mode" all || give_up "the build"

for part in "${@:-all}"; do
	case $part in
	unit | sim) run_folder "$part" ;;
	model) run_model ;;
	fuzz) run_fuzz ;;
	e2e) run_e2e ;;
	all)
		run_folder unit
		run_folder sim
		# Release builds have no sanitizer of their own; the others need no second one. No build
		# changes the models.
		if [ "$mode" = release ]; then
			run_model
			run_fuzz
		fi
		run_e2e
		;;
	*) give_up "usage: $0 [unit] [sim] [model] [fuzz] [e2e]" ;;
	esac
done
finish
