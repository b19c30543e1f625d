/* lockstep_peers.h - the clients and servers that lockstep plays, and one round of theirs. */
#ifndef TESTS_BENCH_LOCKSTEP_PEERS_H
#define TESTS_BENCH_LOCKSTEP_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/floor_frame.h"
#include "tests/bench/lg_work.h"

enum {
	LOCKSTEP_SERVERS = 16,
	LOCKSTEP_CLIENTS = 512,
	LOCKSTEP_DEPTH = 256,
	LOCKSTEP_LINKS = 1024, /* connections of the proxy to our servers */
};

struct lockstep_bytes {
	char *p;
	size_t at, len, cap;
};

struct lockstep_client {
	int fd;
	struct lg_asked asked[LOCKSTEP_DEPTH];
	uint32_t answered; /* of the round's requests */
	struct lg_reply reply;
	struct lockstep_bytes in, out;
};

struct lockstep_link {
	int fd;
	uint64_t keys; /* answered in `out`: such answers wait for the round */
	struct lockstep_bytes in, out;
};

struct lockstep {
	/* Set by the caller. */
	struct lg_work work;
	uint16_t ports[LOCKSTEP_SERVERS];
	uint32_t server_count, client_count, depth;
	enum lg_op op;
	uint32_t writes_in_ten; /* so many of ten gets are sets instead */

	int listeners[LOCKSTEP_SERVERS];
	struct lockstep_client clients[LOCKSTEP_CLIENTS];
	struct lockstep_link links[LOCKSTEP_LINKS];
	uint32_t link_count;
	int pid;
	uint64_t asked, keys_asked; /* requests in all; keys in this round */
	char why[LG_LINE_MAX];	    /* of a round that failed */
};

/* false: errno. */
bool lockstep_listen(struct lockstep *s);
bool lockstep_connect(struct lockstep *s, uint16_t proxy_port, int proxy_pid);

/* Every client asks `depth` requests and gets its answers. false: s->why. */
bool lockstep_round(struct lockstep *s);

#endif
