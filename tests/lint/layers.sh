#!/bin/sh
# layers.sh - every #include goes down: tests/lint/layers.txt has the layers, layers.py the rule.
exec /usr/bin/python3 "$(dirname "$0")/layers.py"
