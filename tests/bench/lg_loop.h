/* lg_loop.h - connections, the epoll loop, and phases of load.
 *
 * Threads:   one; nothing here is shared.
 * Ownership: the loop owns its connections; lg_work and the address list are borrowed.
 */
#ifndef TESTS_BENCH_LG_LOOP_H
#define TESTS_BENCH_LG_LOOP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/lg_hist.h"
#include "tests/bench/lg_watch.h"
#include "tests/bench/lg_work.h"

#define LG_DEPTH_MAX 1024

enum lg_mix { LG_ONLY, LG_MIX_90_10 }; /* LG_MIX_90_10: nine gets to one set */
enum lg_keys { LG_KEYS_RANDOM, LG_KEYS_IN_ORDER };

/* SLIDING: each reply is replaced by a request at once. BATCH: the next `depth` requests leave when
 * all replies of the last are in, as `redis-benchmark -P` and most clients' pipelines do. */
enum lg_window { LG_SLIDING, LG_BATCH };

/* One stretch of load. It ends after `seconds` or `requests`, whichever is set; then nothing more
 * is asked and what is outstanding is waited for, outside the timed window. */
struct lg_phase {
	enum lg_op op;
	enum lg_mix mix;
	enum lg_keys keys;
	enum lg_window window;
	uint32_t depth;
	double seconds, warmup; /* warmup: before the window, not counted     */
	uint64_t requests;	/* 0 = no limit                               */
	double rate;		/* requests/s, open loop; 0 = as fast as it goes */
	const int *watch_pids;
	int watch_count;
};

struct lg_result {
	uint64_t requests; /* right replies within the window             */
	uint64_t errors;   /* everything else, warm-up and drain included */
	double seconds;
	double cpu_s; /* the generator's own */
	struct lg_hist hist;
	struct lg_cpu watch[LG_WATCH_MAX];
	char first_error[LG_LINE_MAX];
};

struct lg_conn;

struct lg_loop {
	const struct lg_work *work;
	struct lg_conn *conns;
	uint32_t conn_count, depth_max;
	int epfd;
	char *scratch;
	uint64_t rng;

	/* The phase being run. */
	const struct lg_phase *phase;
	struct lg_result *result;
	uint64_t asked, limit, outstanding, last_reply_ns;
	uint32_t next_key, next_conn, live;
	bool counting;
};

/* Opens `count` connections, spread over the addresses in turn. 0, or -1 with errno. */
int lg_loop_open(struct lg_loop *l, const struct lg_work *w, const struct sockaddr_in *addrs,
		 uint32_t addr_count, uint32_t count, uint32_t depth_max);
void lg_loop_close(struct lg_loop *l);

/* 0, or -1 when the peer stalled or every connection broke; the result is filled in both cases. */
int lg_loop_run(struct lg_loop *l, const struct lg_phase *phase, struct lg_result *result_out);

#endif
