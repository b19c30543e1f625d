#!/bin/sh
# path.sh - the functions of README's "Follow a GET" are where it says, in the order it says.
# Its rows are `| N | `function` | `file` | ... |`.
rows=$(tr -d '\140' <README.md |
	sed -n '/^## Follow a GET/,/^## [^F]/s/^| \([0-9]*\) | \([^ ]*\) | \([^ ]*\) |.*/\1 \2 \3/p')
[ "$(echo "$rows" | wc -l)" -eq 11 ] || { echo "README.md: not eleven functions"; exit 1; }
echo "$rows" | {
	status=0
	n=0
	while read -r number name file; do
		n=$((n + 1))
		[ "$number" -eq "$n" ] || { echo "README.md: $name is row $number, not $n"; status=1; }
		case $name in
		*'->'*) # a vtable's slot
			slot=${name##*->}
			found="(\*$slot)(" ;;
		*) found="^[a-z].*[ *]$name(" ;;
		esac
		# A definition: not a declaration, which ends in `;` on the same line.
		if ! grep -q "$found" "$file" 2>/dev/null ||
			{ ! grep "$found" "$file" | grep -qv ';$'; }; then
			echo "$name is not in $file"
			status=1
		fi
	done
	exit $status
}
