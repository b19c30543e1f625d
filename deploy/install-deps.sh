#!/bin/sh
# install-deps.sh - every package that building, testing and the demo need, on Debian 12.
# Idempotent and quick when nothing is missing. Needs root or sudo.
#
#   deploy/install-deps.sh          build + test + demo (the default)
#   deploy/install-deps.sh build    only what `make` needs
#   deploy/install-deps.sh bench    what `make bench` needs
set -eu

build="gcc libc6-dev make pkg-config libevent-dev libjansson-dev libcurl4-openssl-dev
	libzookeeper-mt-dev libssl-dev libyaml-dev zlib1g-dev libxxhash-dev libbsd-dev uthash-dev"
test="check memcached redis-server redis-tools nutcracker libmemcached-tools libhiredis-dev
	python3-minimal python3 python3-pytest python3-pytest-xdist python3-redis python3-hiredis
	python3-pymemcache python3-pylibmc python3-yaml php-cli php-memcached php-redis procps psmisc
	iproute2 iptables socat curl git ca-certificates
	zookeeper libzookeeper-java default-jre-headless python3-kazoo spin"
bench="memcached redis-server nutcracker python3-minimal python3 valgrind binutils strace"
lint="clang clang-format clang-tidy cppcheck shellcheck libclang-rt-14-dev"

case "${1:-all}" in
build) want=$build ;;
bench) want="$build $bench" ;;
all) want="$build $test $lint" ;;
*) echo "usage: $0 [build|bench|all]" >&2; exit 2 ;;
esac

missing=
for package in $want; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
		missing="$missing $package"
done
# Node comes with npm in some images and as two packages in Debian.
if [ "${1:-all}" = all ] && ! command -v npm >/dev/null 2>&1; then
	missing="$missing nodejs npm"
fi
if [ -n "$missing" ]; then
	as_root=
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null 2>&1 || { echo "$0: needs root or sudo" >&2; exit 1; }
		as_root=sudo
	fi
	# The tests start their own servers on free ports: the packaged services must not start.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
		$as_root chmod 755 "$policy"
		trap '$as_root rm -f "$policy"' EXIT
	fi
	$as_root apt-get update -qq
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends \
		$missing >/dev/null
fi
