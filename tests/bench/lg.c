/* lg.c - load generator for memcached's text protocol and RESP2; see README.md here.
 *
 * One thread, raw epoll, and every reply checked: its framing, its length, and that each value is
 * the one of the key asked for. Prints one JSON line per phase. Knows nothing of the proxy's code.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tests/bench/lg_loop.h"

#define ADDRS_MAX 16

enum lg_mode { LG_LOAD, LG_PRELOAD, LG_IDLE };

struct options {
	enum lg_mode mode;
	const char *workload, *key_list;
	uint32_t connections;
	struct sockaddr_in addrs[ADDRS_MAX];
	uint32_t addr_count;
	struct lg_work work;
	struct lg_phase phase;
	int watch_pids[LG_WATCH_MAX];
};

static const char usage[] =
    "lg --addr HOST:PORT[,HOST:PORT…] [options]\n"
    "  --proto memcached|redis      default memcached\n"
    "  --workload get|set|mix|mget|mset   mix: nine gets to one set; mset: redis only\n"
    "  --connections N --depth N    default 50 and 1; depth = requests in flight on each\n"
    "  --window sliding|batch       refill each reply's place, or all when all are in\n"
    "  --seconds S | --requests N   length of the timed window; --warmup S before it\n"
    "  --keys N --value-size BYTES  default 10000 and 32 (16 at least)\n"
    "  --key-list FILE              only these of the numbers below --keys, one per line\n"
    "  --keys-per N                 keys in one mget or mset, default 10\n"
    "  --rate R                     requests/s over all connections, open loop\n"
    "  --preload                    store every key on every address, once\n"
    "  --idle                       phases opened, trickle (at --rate), burst (of --depth);\n"
    "                               after each a JSON line, then a line on stdin is awaited\n"
    "  --check-all                  compare every byte of values over 16 KiB too\n"
    "  --watch PID                  report this process' CPU time in the window; up to 8 times\n";

static _Noreturn void die(const char *what, const char *detail)
{
	fprintf(stderr, "lg: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
	exit(2);
}

static double number(const char *option, const char *text, double min, double max)
{
	char *end;
	double v = strtod(text, &end);
	if (end == text || *end || !(v >= min && v <= max)) die(option, text);
	return v;
}

static void parse_addrs(struct options *o, char *text)
{
	char *save = NULL;
	for (char *a = strtok_r(text, ",", &save); a; a = strtok_r(NULL, ",", &save)) {
		char *colon = strrchr(a, ':');
		if (!colon || o->addr_count == ADDRS_MAX) die("--addr", a);
		*colon = '\0';
		struct sockaddr_in *s = &o->addrs[o->addr_count++];
		s->sin_family = AF_INET;
		s->sin_port = htons((uint16_t)number("--addr", colon + 1, 1, 65535));
		if (inet_pton(AF_INET, a, &s->sin_addr) != 1) die("--addr", a);
	}
}

static void parse_workload(struct options *o, const char *name)
{
	static const struct {
		const char *name;
		enum lg_op op;
		enum lg_mix mix;
	} workloads[] = {
		{ "get", LG_GET, LG_ONLY },	 { "set", LG_SET, LG_ONLY },
		{ "mix", LG_GET, LG_MIX_90_10 }, { "mget", LG_MGET, LG_ONLY },
		{ "mset", LG_MSET, LG_ONLY },
	};
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		if (strcmp(workloads[i].name, name)) continue;
		o->workload = workloads[i].name;
		o->phase.op = workloads[i].op;
		o->phase.mix = workloads[i].mix;
		return;
	}
	die("--workload", name);
}

static int parse_choice(const char *option, const char *text, const char *a, const char *b)
{
	if (strcmp(text, a) == 0) return 0;
	if (strcmp(text, b) == 0) return 1;
	die(option, text);
}

enum {
	OPT_ADDR = 1,
	OPT_PROTO,
	OPT_WORKLOAD,
	OPT_CONNECTIONS,
	OPT_DEPTH,
	OPT_WINDOW,
	OPT_SECONDS,
	OPT_REQUESTS,
	OPT_WARMUP,
	OPT_KEYS,
	OPT_KEY_LIST,
	OPT_VALUE_SIZE,
	OPT_KEYS_PER,
	OPT_RATE,
	OPT_PRELOAD,
	OPT_IDLE,
	OPT_CHECK_ALL,
	OPT_WATCH,
	OPT_HELP
};

static const struct option long_options[] = {
	{ "addr", required_argument, NULL, OPT_ADDR },
	{ "proto", required_argument, NULL, OPT_PROTO },
	{ "workload", required_argument, NULL, OPT_WORKLOAD },
	{ "connections", required_argument, NULL, OPT_CONNECTIONS },
	{ "depth", required_argument, NULL, OPT_DEPTH },
	{ "window", required_argument, NULL, OPT_WINDOW },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "requests", required_argument, NULL, OPT_REQUESTS },
	{ "warmup", required_argument, NULL, OPT_WARMUP },
	{ "keys", required_argument, NULL, OPT_KEYS },
	{ "key-list", required_argument, NULL, OPT_KEY_LIST },
	{ "value-size", required_argument, NULL, OPT_VALUE_SIZE },
	{ "keys-per", required_argument, NULL, OPT_KEYS_PER },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "preload", no_argument, NULL, OPT_PRELOAD },
	{ "idle", no_argument, NULL, OPT_IDLE },
	{ "check-all", no_argument, NULL, OPT_CHECK_ALL },
	{ "watch", required_argument, NULL, OPT_WATCH },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static void parse_option(struct options *o, int option, char *arg)
{
	struct lg_phase *p = &o->phase;

	switch (option) {
	case OPT_ADDR: parse_addrs(o, arg); break;
	case OPT_PROTO:
		o->work.proto =
		    parse_choice("--proto", arg, "memcached", "redis") ? LG_REDIS : LG_MEMCACHED;
		break;
	case OPT_WORKLOAD: parse_workload(o, arg); break;
	case OPT_CONNECTIONS:
		o->connections = (uint32_t)number("--connections", arg, 1, 60000);
		break;
	case OPT_DEPTH: p->depth = (uint32_t)number("--depth", arg, 1, LG_DEPTH_MAX); break;
	case OPT_WINDOW:
		p->window =
		    parse_choice("--window", arg, "sliding", "batch") ? LG_BATCH : LG_SLIDING;
		break;
	case OPT_SECONDS: p->seconds = number("--seconds", arg, 0.01, 3600); break;
	case OPT_REQUESTS: p->requests = (uint64_t)number("--requests", arg, 1, 1e12); break;
	case OPT_WARMUP: p->warmup = number("--warmup", arg, 0, 60); break;
	case OPT_KEYS: o->work.key_count = (uint32_t)number("--keys", arg, 1, 1e8); break;
	case OPT_KEY_LIST: o->key_list = arg; break;
	case OPT_VALUE_SIZE:
		o->work.value_size =
		    (uint32_t)number("--value-size", arg, LG_KEY_LEN, LG_VALUE_MAX - 1);
		break;
	case OPT_KEYS_PER:
		o->work.keys_per = (uint32_t)number("--keys-per", arg, 1, LG_KEYS_PER_MAX);
		break;
	case OPT_RATE: p->rate = number("--rate", arg, 1, 1e7); break;
	case OPT_PRELOAD: o->mode = LG_PRELOAD; break;
	case OPT_IDLE: o->mode = LG_IDLE; break;
	case OPT_CHECK_ALL: o->work.check_all = true; break;
	case OPT_WATCH:
		if (p->watch_count == LG_WATCH_MAX) die("too many --watch", NULL);
		o->watch_pids[p->watch_count++] = (int)number("--watch", arg, 1, 4194304);
		break;
	case OPT_HELP: fputs(usage, stdout); exit(0);
	default: fputs(usage, stderr); exit(2);
	}
}

/* The numbers of `path` become the only keys there are. */
static void read_key_list(struct lg_work *w, const char *path)
{
	FILE *f = fopen(path, "re");
	uint32_t n = 0, id;
	if (!f) die(path, strerror(errno));
	w->ids = malloc(w->key_count * sizeof(*w->ids));
	if (!w->ids) die("out of memory", NULL);
	while (n < w->key_count && fscanf(f, "%" SCNu32, &id) == 1)
		if (id < w->key_count) w->ids[n++] = id;
	fclose(f);
	if (n == 0) die("no keys in", path);
	w->key_count = n;
}

static void parse_options(struct options *o, int argc, char **argv)
{
	int option;

	*o = (struct options){
		.connections = 50,
		.work = { .key_count = 10000, .keys_per = 10, .value_size = 32 },
		.phase = { .depth = 1 },
	};
	parse_workload(o, "get");
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		parse_option(o, option, optarg);
	if (o->key_list) read_key_list(&o->work, o->key_list);
	if (optind < argc) die("unexpected", argv[optind]);
	if (!o->addr_count) die("--addr is required", NULL);
	if (o->phase.op == LG_MSET && o->work.proto == LG_MEMCACHED) die("mset needs redis", NULL);
	if (o->work.keys_per > o->work.key_count) die("--keys-per exceeds --keys", NULL);
	if (o->phase.seconds <= 0 && !o->phase.requests) o->phase.seconds = 1;
	o->phase.watch_pids = o->watch_pids;
}

static void print_result(const struct options *o, const char *phase, const struct lg_result *r)
{
	const struct lg_hist *h = &r->hist;
	double mean_us = h->count ? (double)h->sum_ns / (double)h->count / 1e3 : 0;

	printf("{\"phase\":\"%s\",\"proto\":\"%s\",\"workload\":\"%s\",\"connections\":%u,"
	       "\"depth\":%u,\"value_size\":%u,",
	       phase, o->work.proto == LG_REDIS ? "redis" : "memcached", o->workload,
	       o->connections, o->phase.depth, o->work.value_size);
	printf("\"requests\":%llu,\"errors\":%llu,\"first_error\":\"%s\",\"seconds\":%.6f,"
	       "\"req_s\":%.1f,",
	       (unsigned long long)r->requests, (unsigned long long)r->errors, r->first_error,
	       r->seconds, r->seconds > 0 ? (double)r->requests / r->seconds : 0);
	printf("\"mean_us\":%.2f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f,"
	       "\"lg_cpu_s\":%.6f,\"watch\":[",
	       mean_us, lg_hist_quantile_us(h, 0.5), lg_hist_quantile_us(h, 0.99),
	       lg_hist_quantile_us(h, 0.999), (double)h->max_ns / 1e3, r->cpu_s);
	for (int i = 0; i < o->phase.watch_count; i++)
		printf("%s{\"pid\":%d,\"run_us\":%.1f,\"wait_us\":%.1f,\"user_ticks\":%llu,"
		       "\"sys_ticks\":%llu}",
		       i ? "," : "", o->watch_pids[i], (double)r->watch[i].run_ns / 1e3,
		       (double)r->watch[i].wait_ns / 1e3,
		       (unsigned long long)r->watch[i].user_ticks,
		       (unsigned long long)r->watch[i].sys_ticks);
	puts("]}");
	fflush(stdout);
}

static void open_loop(struct lg_loop *l, const struct options *o, const struct sockaddr_in *addrs,
		      uint32_t addr_count, uint32_t count)
{
	if (lg_loop_open(l, &o->work, addrs, addr_count, count, o->phase.depth) < 0)
		die("connect", strerror(errno));
}

static int run_load(const struct options *o, struct lg_loop *l, struct lg_result *r)
{
	open_loop(l, o, o->addrs, o->addr_count, o->connections);
	int failed = lg_loop_run(l, &o->phase, r);
	print_result(o, "load", r);
	return failed || r->errors;
}

/* Each address separately: every server then has every key, and a proxy hits whatever its ring
 * says. */
static int run_preload(const struct options *o, struct lg_loop *l, struct lg_result *r)
{
	struct lg_phase p = { .op = LG_SET,
			      .keys = LG_KEYS_IN_ORDER,
			      .depth = o->phase.depth,
			      .requests = o->work.key_count };
	int failed = 0;

	for (uint32_t i = 0; i < o->addr_count && !failed; i++) {
		open_loop(l, o, &o->addrs[i], 1, 1);
		failed = lg_loop_run(l, &p, r) || r->errors;
		print_result(o, "preload", r);
		lg_loop_close(l);
	}
	return failed;
}

static int await_go(void)
{
	char line[16];
	return fgets(line, sizeof(line), stdin) ? 0 : -1;
}

/* The memory of many quiet connections: opened only, after one request each, after all at once. */
static int run_idle(const struct options *o, struct lg_loop *l, struct lg_result *r)
{
	struct lg_phase trickle = o->phase, burst = o->phase;

	trickle.seconds = burst.seconds = 0;
	trickle.warmup = burst.warmup = 0;
	trickle.requests = o->connections;
	trickle.depth = 1;
	if (trickle.rate <= 0) trickle.rate = 2000;
	burst.requests = (uint64_t)o->connections * o->phase.depth;
	burst.rate = 0;

	open_loop(l, o, o->addrs, o->addr_count, o->connections);
	memset(r, 0, sizeof(*r));
	print_result(o, "opened", r);
	if (await_go()) return 1;
	int failed = lg_loop_run(l, &trickle, r) || r->errors;
	print_result(o, "trickle", r);
	if (await_go()) return 1;
	failed |= lg_loop_run(l, &burst, r) || r->errors;
	print_result(o, "burst", r);
	return await_go() || failed;
}

int main(int argc, char **argv)
{
	static struct lg_result result; /* static: its histogram is large for a stack */
	struct options o;
	struct lg_loop loop = { .epfd = -1 };
	struct rlimit files;
	int status = 2;

	parse_options(&o, argc, argv);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* The default slack of 50 us would be the whole gap between paced requests. */
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	if (lg_work_init(&o.work)) die("out of memory", NULL);
	switch (o.mode) {
	case LG_LOAD: status = run_load(&o, &loop, &result); break;
	case LG_PRELOAD: status = run_preload(&o, &loop, &result); break;
	case LG_IDLE: status = run_idle(&o, &loop, &result); break;
	}
	lg_loop_close(&loop);
	lg_work_fini(&o.work);
	return status;
}
