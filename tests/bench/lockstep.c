/* lockstep.c - the same work for a proxy, in the same portions, each time it is run.
 *
 * Plays the clients and the servers. The proxy is stopped (SIGSTOP) while the clients send, so that
 * it finds all requests at once; and again while the servers answer. What it does in a round thus
 * depends on nobody's speed: callgrind's counts can be compared, and every reply is checked by lg's
 * own code. Real servers and real time are lg's business.
 *
 *	lockstep --servers PORT,PORT,PORT [options]     listens, prints "listening"
 *	then, on standard input: PROXY-PORT PROXY-PID   plays, prints one JSON line
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/lockstep_counters.h"
#include "tests/bench/lockstep_peers.h"

struct options {
	struct lockstep step;
	const char *counters;
	uint32_t warm_rounds, rounds;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "lockstep: %s\n", what);
	exit(2);
}

static uint32_t number(const char *text, uint32_t max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);
	if (end == text || *end || v == 0 || v > max) die(text);
	return (uint32_t)v;
}

static void parse_servers(struct lockstep *s, char *text)
{
	char *save = NULL;
	for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		if (s->server_count == LOCKSTEP_SERVERS) die("too many servers");
		s->ports[s->server_count++] = (uint16_t)number(p, 65535);
	}
}

static void parse_workload(struct lockstep *s, const char *name)
{
	static const char *const names[] = {
		[LG_GET] = "get", [LG_SET] = "set", [LG_MGET] = "mget", [LG_MSET] = "mset"
	};
	s->writes_in_ten = strcmp(name, "mix") == 0 ? 1 : 0;
	if (s->writes_in_ten) name = "get";
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name)) continue;
		s->op = (enum lg_op)i;
		return;
	}
	die(name);
}

static const struct option long_options[] = {
	{ "servers", required_argument, NULL, 's' },
	{ "proto", required_argument, NULL, 'p' },
	{ "workload", required_argument, NULL, 'w' },
	{ "connections", required_argument, NULL, 'c' },
	{ "depth", required_argument, NULL, 'd' },
	{ "keys", required_argument, NULL, 'k' },
	{ "keys-per", required_argument, NULL, 'n' },
	{ "value-size", required_argument, NULL, 'v' },
	{ "warm-rounds", required_argument, NULL, 'a' },
	{ "rounds", required_argument, NULL, 'r' },
	{ "counters", required_argument, NULL, 'f' },
	{ NULL, 0, NULL, 0 },
};

static void parse_options(struct options *o, int argc, char **argv)
{
	struct lockstep *s = &o->step;
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (option) {
		case 's': parse_servers(s, optarg); break;
		case 'p': s->work.proto = strcmp(optarg, "redis") ? LG_MEMCACHED : LG_REDIS; break;
		case 'w': parse_workload(s, optarg); break;
		case 'c': s->client_count = number(optarg, LOCKSTEP_CLIENTS); break;
		case 'd': s->depth = number(optarg, LOCKSTEP_DEPTH); break;
		case 'k': s->work.key_count = number(optarg, 1000000); break;
		case 'n': s->work.keys_per = number(optarg, LG_KEYS_PER_MAX); break;
		case 'v': s->work.value_size = number(optarg, LG_VALUE_MAX - 1); break;
		case 'a': o->warm_rounds = number(optarg, 100000); break;
		case 'r': o->rounds = number(optarg, 100000); break;
		case 'f': o->counters = optarg; break;
		default: exit(2);
		}
	}
	if (!s->server_count || optind < argc) die("--servers PORT,PORT...");
	if (s->work.value_size < LG_KEY_LEN) die("--value-size");
	if (lg_work_init(&s->work)) die("out of memory");
}

static void play(struct lockstep *s, uint32_t rounds)
{
	for (uint32_t i = 0; i < rounds; i++)
		if (!lockstep_round(s)) die(s->why);
}

int main(int argc, char **argv)
{
	static struct options o = {
		.step = { .client_count = 50,
			  .depth = 1,
			  .work = { .key_count = 10000, .keys_per = 10, .value_size = 32 } },
		.warm_rounds = 10,
		.rounds = 20
	};
	struct counters before = { 0 }, after = { 0 };
	unsigned port;
	int pid;

	signal(SIGPIPE, SIG_IGN);
	parse_options(&o, argc, argv);
	if (!lockstep_listen(&o.step)) die(strerror(errno));
	puts("listening");
	fflush(stdout);
	if (scanf("%u %d", &port, &pid) != 2) die("expected PORT PID");
	if (!lockstep_connect(&o.step, (uint16_t)port, pid)) die(strerror(errno));
	play(&o.step, o.warm_rounds);
	if (o.counters && !counters_read(o.counters, &before)) die(o.counters);
	play(&o.step, o.rounds);
	if (o.counters && !counters_read(o.counters, &after)) die(o.counters);
	printf("{\"requests\":%llu",
	       (unsigned long long)o.rounds * o.step.client_count * o.step.depth);
	if (o.counters) counters_print(&before, &after);
	puts("}");
	return 0;
}
