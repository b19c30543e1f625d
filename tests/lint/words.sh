#!/bin/sh
# words.sh - no notes to self, no blanks at line ends, no lines beyond 100 columns, in what we write.
status=0
files() { git ls-files --cached --others --exclude-standard -- "$@" ':!tests/data' ':!tests/fuzz/corpus' ':!LICENSE'; }
complain() { echo "$1"; status=1; }

# Split, so that this line is not found.
if files | xargs grep -nIwE 'TO''DO|FIX''ME|XX''X'; then complain "finish these, or open an issue"; fi
if files '*.[ch]' '*.def' '*.sh' '*.py' Makefile | xargs grep -nIE '[ 	]+$'; then
	complain "blanks at the end of these lines"
fi
# Tabs count as 8 columns. The formatter sees to code; a string may be longer, a comment not.
long=$(files '*.[ch]' | while IFS= read -r f; do
	expand "$f" | awk -v f="$f" 'length > 100 && !/"/ { print f ":" FNR ": " length " columns" }'
done)
[ -z "$long" ] || complain "$long"
exit $status
