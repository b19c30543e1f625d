#!/bin/sh
# documented.sh - every option and metric is in the manuals. That settings.md and metrics.md are
# what the tables say is for the unit tests (test_config, test_stats); here is the rest.
: "${BUILD:=build/release}"
status=0
complain() { echo "$1"; status=1; }

# Command line: every long option in the manual page and in the completion.
options() { # PROGRAM COMPLETION
	for option in $("$BUILD/$1" --help | grep -oE '^ .*--[a-z-]+' | grep -oE '[a-z-]+$' | sed 's/^--//'); do
		grep -qF -- "\\-\\-$(echo "$option" | sed 's/-/\\-/g')" "deploy/$1.8" ||
			complain "deploy/$1.8: no --$option"
		grep -qF -- "--$option" "$2" || complain "$2: no --$option"
	done
}
options twinring-proxy deploy/bash-completion
options twinring-agent deploy/twinring-agent.completion.bash

# twinringctl: every command and option in the manual page; the completion is what it prints.
ctl=$BUILD/twinringctl
"$ctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\( [a-z]\+\)\?\).*/\1/p' | while read -r words; do
	# shellcheck disable=SC2086
	"$ctl" $words --help | grep -oE '^ .*--[a-z-]+' | grep -oE '[a-z-]+$' | sed 's/^--//;s/-/\\-/g' |
		while read -r option; do
			grep -qF -- "\-\-$option" deploy/twinringctl.8 ||
				echo "deploy/twinringctl.8: no --$option"
		done
	grep -q "^\.B[RI]* \"*$words" deploy/twinringctl.8 || echo "deploy/twinringctl.8: no $words"
done | sort -u | { ! grep .; } || status=1
"$ctl" completion bash | cmp -s - deploy/twinringctl.completion.bash ||
	complain "deploy/twinringctl.completion.bash is old: see agent/ctl/README.md"

# Settings: the manual page is made from settings.md; the sample shows every one of ours.
deploy/man5.py | cmp -s - deploy/twinring-proxy.yml.5 ||
	complain "deploy/twinring-proxy.yml.5 is old: make man"
missing=$(sed -n '/^## proxy/,/^## server$/p' deploy/settings.md | tr '\140' ' ' |
	sed -n 's/^|  \([a-z_]*\)  |.*/\1/p' | while read -r name; do
		grep -qE "(^|[ {])$name:" deploy/samples/twinring.yml ||
			echo "deploy/samples/twinring.yml: no $name"
	done)
[ -z "$missing" ] || complain "$missing"

# Metrics.
missing=$(sed -n 's/^METRIC([A-Z]*, \([a-z_0-9]*\),.*/\1/p' proxy/metrics.def | while read -r name; do
	grep -q "^| .\(worker_\)\?$name. |" deploy/metrics.md || echo "deploy/metrics.md: no $name"
done)
[ -z "$missing" ] || complain "$missing"

# The rows of the fault catalogue name tests that there are.
missing=$(grep -owE 'test_[a-z0-9_]+' tests/README.md | sort -u | while read -r name; do
	grep -qrE "^def $name\(" tests/e2e || [ -e "tests/e2e/$name.py" ] ||
		echo "tests/README.md: no test $name"
done)
[ -z "$missing" ] || complain "$missing"
exit $status
