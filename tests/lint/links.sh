#!/bin/sh
# links.sh - the proxy needs neither ZooKeeper nor curl: it must serve on a host that has neither.
program=$BUILD/twinring-proxy
libraries=$(ldd "$program") || exit 1
if echo "$libraries" | grep -E 'zookeeper|libcurl'; then
	echo "$program links with these"
	exit 1
fi
