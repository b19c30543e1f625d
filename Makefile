# Twinring: one Makefile, no configure step. `make help` lists the targets.
MODE    ?= release
B       := build/$(MODE)
PREFIX  ?= /usr/local
VERSION := 0.1.0

CFLAGS ?= -O2 -g
ifeq ($(MODE),fuzz)
CC     := clang
endif
std := -std=gnu11 -I. -D_GNU_SOURCE -DTWINRING_VERSION='"$(VERSION)"' -MMD -MP -Wall -Wextra \
       -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wvla -pthread \
       -fno-strict-aliasing -fstack-protector-strong -fPIE $(if $(WERROR),-Werror)
san.release := -D_FORTIFY_SOURCE=2 -fstack-clash-protection
san.asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
            -O1 -DPOOL_MALLOC
san.tsan := -fsanitize=thread -O1
san.fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -O1 \
            -DPOOL_MALLOC
hardening := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack

pkgs := libevent libevent_pthreads jansson yaml-0.1 libcrypto zlib libxxhash libbsd-overlay
pkg_cflags := $(shell pkg-config --cflags $(pkgs) 2>/dev/null)
LDLIBS := $(shell pkg-config --libs $(pkgs) 2>/dev/null) -lm

obj = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)))
COMMON := $(call obj,common/*.c)
PROXY  := $(filter-out $(B)/proxy/main.o,$(call obj,proxy/*.c proxy/routes/*.c))

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $@)

.PHONY: all
all: $(B)/twinring-proxy ## build the programs into build/$(MODE)

$(B)/twinring-proxy: $(B)/proxy/main.o $(PROXY) $(COMMON)
$(B)/twinring-proxy:
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) $(hardening) -pthread $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(std) $(pkg_cflags) $(CFLAGS) $(san.$(MODE)) -c -o $@ $<

# --- tests ---------------------------------------------------------------------------------------
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*/test_*.c))
SIM  := $(patsubst %.c,$(B)/%,$(wildcard tests/sim/test_*.c))

$(UNIT): $(B)/%: $(B)/%.o $(PROXY) $(COMMON)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) -pthread $(LDFLAGS) -o $@ $^ $(LDLIBS) $(shell pkg-config --libs check)

.PHONY: unit
unit: $(UNIT) ## build the unit tests

# --- demo: make demo; make demo KEEP=1 ---------------------------------------------------------------
.PHONY: demo
demo: ## packages, build, servers, proxy, real clients: see it work; KEEP=1 leaves it running
	@MAKE='$(MAKE)' KEEP='$(KEEP)' deploy/demo.sh

# --- check: everything, ending in "N passed, N failed" ------------------------------------------------
.PHONY: check check-unit check-e2e check-long check-asan check-tsan check-build-unit check-build-sim
check: ## run every test (about ten minutes on two cores)
	@MODE=$(MODE) tests/check.sh
check-unit: ## unit and simulation tests only
	@MODE=$(MODE) tests/check.sh unit sim
check-e2e: ## end-to-end tests only; PYTEST_ARGS='-k swap' picks some
	@MODE=$(MODE) PYTEST_ARGS="$(PYTEST_ARGS)" tests/check.sh e2e
check-long: ## the end-to-end tests that run long, in full size
	@MODE=$(MODE) TWINRING_LONG=1 PYTEST_ARGS="-m long $(PYTEST_ARGS)" tests/check.sh e2e
check-asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@MODE=asan tests/check.sh
check-tsan: ## unit tests and the threaded end-to-end tests under ThreadSanitizer
	@MODE=tsan tests/check.sh
check-build-unit: $(UNIT)
check-build-sim: $(SIM)

# --- bench: make bench BENCH='--quick --only get' --------------------------------------------------
LG := $(B)/tests/bench/lg
$(LG): $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/*.c))
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) $(LDFLAGS) -o $@ $^

.PHONY: bench
bench: $(B)/twinring-proxy $(LG) ## compare with nutcracker: CPU, throughput, latency, memory
	@/usr/bin/python3 tests/bench/run.py --build $(B) $(BENCH)

# --- fuzzing: make fuzz T=codec_resp SECS=60 ---------------------------------------------------------
FUZZ := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
$(FUZZ): $(B)/%: $(B)/%.o $(PROXY) $(COMMON)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) -fsanitize=fuzzer -pthread -o $@ $^ $(LDLIBS)

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.DEFAULT_GOAL := all
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
