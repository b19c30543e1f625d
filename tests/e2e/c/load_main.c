/* load_main.c - the program `load`: see load.h, and harness/load.py, which runs it. */
#include "tests/e2e/c/load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(2);
}

static void add_proxy(struct load_options *o, const char *text)
{
	struct sockaddr_in *a = &o->proxies[o->proxy_count];
	char host[64];
	unsigned port;

	if (o->proxy_count == 16 || sscanf(text, "%63[^:]:%u", host, &port) != 2)
		die(text, "HOST:PORT, at most 16");
	a->sin_family = AF_INET;
	a->sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &a->sin_addr) != 1) die(text, "no IPv4 address");
	o->proxy_count++;
}

/* "r=100000,c=10": a number for each class that is named. */
static void by_class(uint32_t *out, char *text)
{
	char *word;

	while ((word = strsep(&text, ",")) != NULL) {
		const char *at = memchr(load_letters, word[0], CLASS_MAX);
		if (!at || word[1] != '=') die(word, "LETTER=NUMBER");
		out[at - load_letters] = (uint32_t)strtoul(word + 2, NULL, 10);
	}
}

/* Numbers, by the letter of their option. */
static bool set_number(struct load_options *o, int letter, const char *text)
{
	struct {
		int letter;
		uint32_t *to;
	} numbers[] = {
		{ 'c', &o->conns }, { 'd', &o->depth },	     { 'q', &o->rate },
		{ 'R', &o->reads }, { 'D', &o->deletes },    { 'T', &o->ttls },
		{ 'M', &o->multi }, { 's', &o->size_min },   { 'S', &o->size_max },
		{ 'b', &o->big },   { 't', &o->timeout_ms },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (numbers[i].letter == letter) {
			*numbers[i].to = (uint32_t)strtoul(text, NULL, 10);
			return true;
		}
	return false;
}

static const struct option long_options[] = { { "proxy", required_argument, NULL, 'p' },
					      { "protocol", required_argument, NULL, 'P' },
					      { "conns", required_argument, NULL, 'c' },
					      { "depth", required_argument, NULL, 'd' },
					      { "rate", required_argument, NULL, 'q' },
					      { "keys", required_argument, NULL, 'k' },
					      { "mix", required_argument, NULL, 'm' },
					      { "reads", required_argument, NULL, 'R' },
					      { "deletes", required_argument, NULL, 'D' },
					      { "ttls", required_argument, NULL, 'T' },
					      { "multi", required_argument, NULL, 'M' },
					      { "size-min", required_argument, NULL, 's' },
					      { "size-max", required_argument, NULL, 'S' },
					      { "big", required_argument, NULL, 'b' },
					      { "timeout", required_argument, NULL, 't' },
					      { "seed", required_argument, NULL, 'x' },
					      { "history", required_argument, NULL, 'H' },
					      { "refill", no_argument, NULL, 'f' },
					      { "preload", no_argument, NULL, 'l' },
					      { "meta", no_argument, NULL, 'e' },
					      { NULL, 0, NULL, 0 } };

static void parse(struct load_options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == '?') exit(2);
		if (c == 'p') add_proxy(o, optarg);
		else if (c == 'P') o->redis = strcmp(optarg, "redis") == 0;
		else if (c == 'k') by_class(o->keys, optarg);
		else if (c == 'm') by_class(o->mix, optarg);
		else if (c == 'x') o->seed = strtoull(optarg, NULL, 10);
		else if (c == 'H') o->history = optarg;
		else if (c == 'f') o->refill = true;
		else if (c == 'l') o->preload = true;
		else if (c == 'e') o->meta = true;
		else if (!set_number(o, c, optarg)) exit(2);
	}
	for (int i = 0; i < CLASS_MAX; i++) {
		o->mix_total += o->mix[i];
		if (o->mix[i] && !o->keys[i]) die("mix", "a class without keys");
	}
	if (!o->proxy_count || !o->mix_total || !o->history) die("usage", "proxy, mix, history");
	if (o->size_max < o->size_min || o->depth > 200) die("usage", "sizes, or depth > 200");
}

int main(int argc, char **argv)
{
	struct load_options o = { .conns = 4,
				  .depth = 4,
				  .reads = 90,
				  .deletes = 1,
				  .size_min = 40,
				  .size_max = 200,
				  .timeout_ms = 10000,
				  .seed = 1 };
	struct load_counts n;
	struct chooser *chooser;
	struct history *history;
	struct loop *loop;
	uint64_t began = load_now_ns(), loaded;

	parse(&o, argc, argv);
	chooser = chooser_new(&o, o.conns * o.proxy_count);
	history = history_open(o.history);
	loop = loop_new(&o, chooser, history);
	if (o.preload && !loop_preload(loop)) die("preload", "failed");
	loaded = load_now_ns();
	printf("{\"preload\": [%lu, %lu]}\n", began, loaded);
	fflush(stdout);
	loop_run(loop);
	loop_counts(loop, &n);
	printf("{\"done\": %lu, \"began\": %lu, \"ended\": %lu, \"ops\": %lu, \"hits\": %lu, "
	       "\"misses\": %lu, \"errors\": %lu, \"lost\": %lu, \"corrupt\": %lu, "
	       "\"longest_ms\": %.3f}\n",
	       history_close(history), loaded, load_now_ns(), n.ops, n.hits, n.misses, n.errors,
	       n.lost, n.corrupt, (double)n.longest_ns / 1e6);
	if (n.error[0]) fprintf(stderr, "first error: %s\n", n.error);
	if (n.problem[0]) fprintf(stderr, "first problem: %s\n", n.problem);
	loop_free(loop);
	chooser_free(chooser);
	return 0;
}
