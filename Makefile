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
# common/mutation.h: TWINRING_BUG=NAME switches a rule off, to see whether the tests notice
san.mutations := -DTWINRING_MUTATIONS
san.fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -O1 \
            -DPOOL_MALLOC
hardening := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack

pkgs := libevent libevent_pthreads jansson yaml-0.1 libcrypto zlib libxxhash libbsd-overlay
pkg_cflags := $(shell pkg-config --cflags $(pkgs) 2>/dev/null)
LDLIBS := $(shell pkg-config --libs $(pkgs) 2>/dev/null) -lm
# only what runs the agent links these; the proxy never does
AGENT_LDLIBS := $(shell pkg-config --libs libcurl 2>/dev/null) -lzookeeper_mt

obj = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)))
COMMON := $(call obj,common/*.c)
AGENT  := $(filter-out $(B)/agent/main.o,$(call obj,agent/*.c))
PROXY  := $(filter-out $(B)/proxy/main.o,$(call obj,proxy/*.c proxy/routes/*.c))

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $(1) $@)

.PHONY: all
all: $(B)/twinring-proxy $(B)/twinring-agent $(B)/twinringctl ## build the programs into build/$(MODE)

$(B)/twinring-proxy: $(B)/proxy/main.o $(PROXY) $(COMMON)
$(B)/twinring-proxy:
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) $(hardening) -pthread $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/twinring-agent: $(B)/agent/main.o $(AGENT) $(COMMON)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) $(hardening) -pthread $(LDFLAGS) -o $@ $^ $(AGENT_LDLIBS) $(LDLIBS)

CTL := $(call obj,agent/ctl/*.c)
CTL_AGENT := $(filter $(B)/agent/store% $(B)/agent/zk_handle.o $(B)/agent/file_% $(B)/agent/output_text.o,$(AGENT))
$(B)/twinringctl: $(CTL) $(CTL_AGENT) $(COMMON)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) $(hardening) -pthread $(LDFLAGS) -o $@ $^ -lzookeeper_mt $(LDLIBS)

$(B)/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(std) $(pkg_cflags) $(CFLAGS) $(san.$(MODE)) -c -o $@ $<

# --- tests ---------------------------------------------------------------------------------------
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*/test_*.c))
SIM  := $(patsubst %.c,$(B)/%,$(wildcard tests/sim/test_*.c))

AGENT_UNIT := $(filter $(B)/tests/unit/agent/%,$(UNIT))
AGENT_RIG  := $(filter-out $(AGENT_UNIT:=.o),$(call obj,tests/unit/agent/*.c))
$(AGENT_UNIT): $(B)/%: $(B)/%.o $(AGENT_RIG) $(AGENT) $(COMMON)
$(filter %/test_ctl_edit,$(AGENT_UNIT)): $(call obj,agent/ctl/edit*.c agent/ctl/assign.c)
$(AGENT_UNIT): unit_libs := $(AGENT_LDLIBS)
$(filter-out $(AGENT_UNIT),$(UNIT)): $(B)/%: $(B)/%.o $(PROXY) $(COMMON)
$(UNIT):
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) -pthread $(LDFLAGS) -o $@ $^ $(unit_libs) $(LDLIBS) \
		$(shell pkg-config --libs check)

.PHONY: unit
unit: $(UNIT) ## build the unit tests

# --- demo: make demo; make demo KEEP=1 ---------------------------------------------------------------
.PHONY: demo
demo: ## packages, build, then proxy and control plane with real servers and clients; KEEP=1 leaves them running
	@MAKE='$(MAKE)' KEEP='$(KEEP)' deploy/demo.sh

# --- check: everything, ending in "N passed, N failed" ------------------------------------------------
.PHONY: check check-unit check-e2e check-long check-mutations check-asan check-tsan check-build-unit check-build-sim
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
.PHONY: model check-model model-table
check-model: ## the protocol's models, small: each rule holds, and breaks something when removed
	@tests/check.sh model
model: ## the protocol's models, large: about half an hour and up to 8 GB; MODEL='--only LOCK'
	@deploy/install-deps.sh && tests/model/check deep $(MODEL)
model-table: ## write tests/model/table.txt again, from the models
	@tests/model/check table >tests/model/table.new && mv tests/model/table.new tests/model/table.txt
check-mutations: ## each rule of a transition switched off in turn: the tests must notice
	@MODE=mutations tests/check.sh e2e
check-build-unit: $(UNIT)
check-build-sim: $(SIM)

# --- simulation: the data path under a fake clock and scripted sockets -----------------------------
SIM_HARNESS := $(patsubst %.c,$(B)/%.o,$(filter-out tests/sim/test_%,$(wildcard tests/sim/*.c)))
SIM_COMMON  := $(filter-out $(B)/common/io.o $(B)/common/clock.o,$(COMMON))
$(SIM): $(B)/%: $(B)/%.o $(SIM_HARNESS) $(PROXY) $(SIM_COMMON)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) -pthread $(LDFLAGS) -o $@ $^ $(LDLIBS) $(shell pkg-config --libs check)

.PHONY: sim
sim: $(SIM) ## build the simulations

# --- bench: make bench BENCH='--quick --only get' --------------------------------------------------
BENCH_TOOLS := $(addprefix $(B)/tests/bench/,lg floor lockstep counters.so)
$(B)/tests/bench/lg: $(call obj,tests/bench/lg*.c)
$(B)/tests/bench/floor: $(call obj,tests/bench/floor*.c)
$(B)/tests/bench/lockstep: $(call obj,tests/bench/lockstep*.c) \
	$(B)/tests/bench/lg_work.o $(B)/tests/bench/floor_frame.o
$(filter-out %.so,$(BENCH_TOOLS)):
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) $(LDFLAGS) -o $@ $^
# Not from the shared rules: it is the library that replaces what fortified code calls.
$(B)/tests/bench/counters.so: tests/bench/counters.c tests/bench/counters.h
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -I. -D_GNU_SOURCE -Wall -Wextra -O1 -g -fPIC -shared -fno-builtin \
		-U_FORTIFY_SOURCE -o $@ $<

# --- the load with a history, for the end-to-end tests of transitions --------------------------------
LOAD := $(B)/tests/e2e/load
$(LOAD): $(call obj,tests/e2e/c/load*.c)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) $(LDFLAGS) -o $@ $^
.PHONY: check-build-e2e
check-build-e2e: $(LOAD)

.PHONY: bench bench-tools
bench-tools: $(BENCH_TOOLS)
bench: $(B)/twinring-proxy bench-tools ## compare with nutcracker and the floor; BENCH=--quick
	@/usr/bin/python3 tests/bench/run.py --build $(B) $(BENCH)

# --- fuzzing: make fuzz T=codec_resp_request SECS=60; T=all for each in turn ---------------------------
FUZZ   := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAY := $(patsubst tests/fuzz/fuzz_%.c,$(B)/tests/fuzz/replay_%,$(wildcard tests/fuzz/fuzz_*.c))
T    ?= all
SECS ?= 60

$(FUZZ): $(B)/%: $(B)/%.o $(PROXY) $(COMMON)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) -fsanitize=fuzzer -pthread -o $@ $^ $(LDLIBS)

$(REPLAY): $(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(PROXY) $(COMMON)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(san.$(MODE)) -pthread -o $@ $^ $(LDLIBS)

.PHONY: fuzz fuzz-replay fuzz-build replay-build
fuzz-build: $(if $(filter all,$(T)),$(FUZZ),$(B)/tests/fuzz/fuzz_$(T))
replay-build: $(REPLAY)
fuzz: ## look for inputs that break T (or all) for SECS seconds each; needs clang
	@$(MAKE) --no-print-directory MODE=fuzz T=$(T) fuzz-build
	@tests/fuzz/run.sh fuzz $(T) $(SECS)
fuzz-replay: ## try every known input again, with the sanitizers of any compiler
	@$(MAKE) --no-print-directory MODE=asan replay-build
	@tests/fuzz/run.sh replay

# --- lint and format ------------------------------------------------------------------------------------
TIDY := $(patsubst %.c,build/lint/%.tidy,$(wildcard common/*.c proxy/*.c proxy/routes/*.c agent/*.c agent/ctl/*.c))
build/lint/%.tidy: %.c .clang-tidy $(B)/%.o
	$(call say,TIDY)
	@mkdir -p $(@D)
	$(Q)clang-tidy --quiet $< -- $(filter-out -MMD -MP,$(std)) $(pkg_cflags) >$@.log 2>&1 || \
		{ cat $@.log; exit 1; }
	@touch $@

.PHONY: lint tidy format
tidy: $(TIDY)
lint: $(B)/twinring-proxy $(B)/twinringctl ## layers, documentation, clang-tidy, cppcheck, shellcheck, formatting
	@status=0; \
	$(MAKE) --no-print-directory -k tidy || status=1; \
	$(MAKE) --no-print-directory format FORMAT_CHECK=1 || status=1; \
	tests/lint/run.sh $(B) || status=1; exit $$status
format: ## format the C sources; FORMAT_CHECK=1 only says which are not
	@git ls-files --cached --others --exclude-standard '*.[ch]' | \
		xargs clang-format $(if $(FORMAT_CHECK),--dry-run -Werror,-i)

# --- install: make install PREFIX=/usr DESTDIR=/tmp/package ----------------------------------------------
SYSCONFDIR ?= /etc
INSTALL := \
	755:$(B)/twinring-proxy:$(PREFIX)/bin/twinring-proxy \
	755:$(B)/twinring-agent:$(PREFIX)/bin/twinring-agent \
	755:$(B)/twinringctl:$(PREFIX)/bin/twinringctl \
	644:deploy/twinring-agent.8:$(PREFIX)/share/man/man8/twinring-agent.8 \
	644:deploy/twinring-agent.completion.bash:$(PREFIX)/share/bash-completion/completions/twinring-agent \
	644:deploy/twinring-agent.service:$(PREFIX)/lib/systemd/system/twinring-agent.service \
	644:deploy/twinringctl.8:$(PREFIX)/share/man/man8/twinringctl.8 \
	644:deploy/twinringctl.completion.bash:$(PREFIX)/share/bash-completion/completions/twinringctl \
	644:deploy/twinring-proxy.8:$(PREFIX)/share/man/man8/twinring-proxy.8 \
	644:deploy/twinring-proxy.yml.5:$(PREFIX)/share/man/man5/twinring-proxy.yml.5 \
	644:deploy/bash-completion:$(PREFIX)/share/bash-completion/completions/twinring-proxy \
	644:deploy/twinring-proxy.service:$(PREFIX)/lib/systemd/system/twinring-proxy.service \
	644:deploy/twinring.sysusers:$(PREFIX)/lib/sysusers.d/twinring.conf \
	644:deploy/logrotate:$(SYSCONFDIR)/logrotate.d/twinring \
	$(foreach f,README.md LICENSE $(wildcard deploy/*.md deploy/samples/*.yml),\
		644:$(f):$(PREFIX)/share/doc/twinring/$(patsubst deploy/%,%,$(f)))

.PHONY: install uninstall man
install: all ## install under DESTDIR and PREFIX; NUTCRACKER=1 also under that program's name
	@for entry in $(INSTALL); do \
		from=$${entry#*:}; to=$(DESTDIR)$${from#*:}; from=$${from%%:*}; \
		install -D -m $${entry%%:*} $$from $$to && echo "  $$to" || exit 1; \
	done
	@sed -i 's,/usr/bin/twinring,$(PREFIX)/bin/twinring,' \
		$(DESTDIR)$(PREFIX)/lib/systemd/system/twinring-*.service
	$(if $(NUTCRACKER),ln -sf twinring-proxy $(DESTDIR)$(PREFIX)/bin/nutcracker)
uninstall: ## remove what install put there, configuration and data excepted
	@for entry in $(INSTALL); do rm -f $(DESTDIR)$${entry##*:}; done
	@if [ "$$(readlink $(DESTDIR)$(PREFIX)/bin/nutcracker)" = twinring-proxy ]; then \
		rm -f $(DESTDIR)$(PREFIX)/bin/nutcracker; fi
	@rmdir $(DESTDIR)$(PREFIX)/share/doc/twinring/samples $(DESTDIR)$(PREFIX)/share/doc/twinring
man: ## make the manual of the configuration again, from deploy/settings.md
	@deploy/man5.py >deploy/twinring-proxy.yml.5

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.DEFAULT_GOAL := all
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
