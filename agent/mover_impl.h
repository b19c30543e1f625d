/* mover_impl.h - what the files of the mover share.
 *
 *   mover.c          the job: its life, its turns, what it tells
 *   mover_nodes.c    the servers of both rings, who owns a key, connections
 *   mover_mc_scan.c  memcached: listing a server's keys
 *   mover_mc.c       memcached: promoting and deleting one key
 *   mover_redis.c    Redis: listing, importing, deleting
 *   mover_spool      keys that wait
 *   mover_rate       how fast
 *
 * A pass over a server is one list of its keys, from which those that move go to the spool; at the
 * pace that is allowed they are taken from it and worked on, many at a time. What fails on the way
 * is left to the next pass.
 */
#ifndef TWINRING_AGENT_MOVER_IMPL_H
#define TWINRING_AGENT_MOVER_IMPL_H

#include "agent/mover.h"
#include "agent/mover_rate.h"
#include "agent/mover_spool.h"
#include "agent/server_conn.h"
#include "common/list.h"
#include "common/net.h"
#include "common/ring.h"

enum {
	MOVER_TURN_US = 10000,
	MOVER_PULSE_US = 50000,	   /* between two PINGs to a server                       */
	MOVER_ASLEEP_US = 2000000, /* less than a lease of a promotion lasts              */
	MOVER_LEASE_S = 5,	   /* of a promotion; proxies take the same               */
	MOVER_WINDOW = 128,	   /* keys worked on at a time, per server that is listed */
	MOVER_TIMEOUT_MS = 10000,  /* a server that says nothing for so long is given up  */
	MOVER_SPOOL_BYTES = 32 << 20,
	MOVER_ANSWER_MAX = 256 << 20, /* without move_max_bytes                             */
	MOVER_WHY_MAX = 200,
	MOVER_IDENTITY_MAX = 64,
};

enum scan_state {
	SCAN_OFF,     /* this job does not list this server                   */
	SCAN_START,   /* a pass begins as soon as the connections stand       */
	SCAN_ASKED,   /* the server is listing, or about to                   */
	SCAN_LISTED,  /* all of this pass is in the spool, or was             */
	SCAN_RESTING, /* until rest_until_us, then SCAN_START                 */
	SCAN_DONE,
};

struct mover;
struct mover_node;

/* One key that is being worked on. */
struct mover_key {
	LIST_ENTRY(mover_key) link; /* of src->busy */
	struct mover_node *src, *dst;
	uint64_t hash, cas, size;
	uint32_t tries;
	double charged; /* of mover.byte_tokens, for a value that is not seen yet */
	size_t held;	/* bytes of its value under way to dst: counted in mover.held */
	uint32_t n;
	char key[];
};

/* One server: an address and a database, whatever its names. */
struct mover_node {
	struct mover *m;
	const char *name, *host; /* texts of the job's own copy */
	uint16_t port;
	uint32_t db;
	const char *auth_user, *auth_password;
	bool in[2]; /* a live server of from, of to */
	bool lost;
	char identity[MOVER_IDENTITY_MAX]; /* Redis: its run id; "": not known */

	/* conn: what is asked of it as a source. sink: as a target, so that a source may be held
	 * without its own answers as a target. list: memcached's list of keys. pulse: PINGs. */
	struct server_conn *conn, *sink, *list, *pulse;
	uint64_t pulsed_us; /* when the PING was sent; 0: none is under way */
	uint64_t pulse_at_us;
	struct mover_rate rate;

	enum scan_state scan;
	uint64_t rest_until_us;
	uint32_t rest_ms;
	struct mover_spool spool;
	LIST_HEAD(, mover_key) busy;
	uint32_t busy_count;
	double
	    unseen; /* bytes of the values that it was asked for: what it has not sent, guessed */
	uint64_t total; /* keys that it says it has */
	uint64_t pass_listed, pass_found, pass_failed;
	uint64_t round_found, round_big; /* in the passes of all ranges of the spool    */
	uint64_t cursor;		 /* Redis: of the next SCAN                     */
	uint64_t scan_at_us;		 /* ... and when it may be sent                 */
	bool scan_asked;		 /* ... one is under way                        */
	bool busy_lister;		 /* memcached: it lists for somebody else       */
	bool no_list;			 /* memcached: of no use, whatever it says       */
	bool list_all;			 /* memcached: LRU by LRU, not by the hash table */
	uint32_t version;		 /* memcached: 0x10612 for 1.6.18; 0: not known */
};

struct mover_big {
	const char *server;
	char *key;
	uint32_t n;
	uint64_t bytes;
};

struct mover_ops {
	/* SCAN_START, and all is ready: begin to list, and say so in n->scan. */
	void (*list)(struct mover_node *n);
	/* SCAN_ASKED, and there is room in the spool: go on, if it has to be asked to. May be
	 * NULL. */
	void (*more)(struct mover_node *n);
	/* Begin with a key: k->src and what the spool knew are set; k is mover_key_done()'s. */
	void (*work)(struct mover_key *k);
	/* When a pass was whole: must there be another one, though nothing failed? */
	bool (*again)(const struct mover_node *n);
	/* A connection of this node was made: find out who it is. May be NULL. */
	void (*identify)(struct mover_node *n);
};

struct mover_tally {
	uint64_t scanned, found, moved, deleted, bytes, errors, passes;
};

struct mover {
	struct io_loop *loop;
	const struct mover_events *events;
	void *ctx;
	enum mover_kind kind;
	enum protocol protocol;
	bool back;
	char *mark;
	uint64_t move_max_bytes;
	struct mover_limits limits;
	const struct mover_ops *ops;

	struct topology *pools; /* copies of from and to: their texts are borrowed by nodes */
	struct ring *rings[2];
	char hash_random[2];  /* ring i has no owners           */
	uint32_t *node_of[2]; /* server of pool i -> node        */
	struct mover_node *nodes;
	uint32_t node_count;

	struct io_timer timer;
	uint64_t turn_us, turn_wall_us; /* of the last turn */
	uint64_t second_us;		/* when on_progress was last called */
	bool paused, over, told, ok;
	bool ready;   /* no server is another one's double */
	bool held_up; /* sources are held: too many values under way */
	char why[MOVER_WHY_MAX];
	char last_error[MOVER_WHY_MAX];
	size_t held;	    /* bytes of values between source and target */
	double byte_tokens; /* may be below 0: sizes are known afterwards */
	double byte_guess;  /* what a value has on average */
	uint64_t byte_at_us;
	struct mover_tally tally;
	uint64_t worked_before; /* moved and deleted, a second ago */
	double per_s;		/* smoothed                        */
	struct mover_big bigs[MOVER_BIG_KEYS_MAX];
	uint32_t big_count; /* of them kept */
	uint32_t big_told;  /* of them  */
};

extern const struct mover_ops mover_mc_ops, mover_redis_ops;

/* --- mover_mc_scan.c */

void mover_mc_list(struct mover_node *n);
/* "HD c5 t-1 W": what follows `flag`; false: it is not there. `flags`: what is behind the first
 * word, or of VA, the second. */
bool mover_mc_flag(struct slice flags, char flag, struct slice *value_out);

/* --- mover_nodes.c */

/* False: no memory for the rings, or they cannot be built. */
bool mover_nodes_build(struct mover *m, const struct mover_plan *plan);
void mover_nodes_free(struct mover *m);
/* False: it does not move, or nobody owns it. */
bool mover_key_moves(const struct mover *m, struct slice key, struct mover_node **src_out,
		     struct mover_node **dst_out);
void mover_node_connect(struct mover_node *n);
/* Every server that takes part is known not to be another one's double. */
bool mover_nodes_ready(const struct mover *m);
/* n->identity or its address has become known: fails the job when another node has the same. */
void mover_node_check(struct mover_node *n);
void mover_node_pulse(struct mover_node *n, uint64_t now_us);
/* May keys be listed from it in this job? */
bool mover_node_is_listed(const struct mover_node *n);

/* --- mover.c */

/* May the job go on? To be asked in every callback, before anything is done: the process may have
 * slept since the last turn, and others may have gone on. */
bool mover_awake(struct mover *m);
/* The job is over; on_done is called in the next turn. */
void mover_fail(struct mover *m, const struct mover_node *n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Something to be tried again. */
void mover_error(struct mover_node *n, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A key that the server has: counted, and put into the spool when it is this job's. */
void mover_node_found(struct mover_node *n, struct slice key, uint64_t cas, uint64_t size);
void mover_node_listed(struct mover_node *n); /* that was all */
/* The pass has come to nothing: another one, after a while. */
void mover_node_restart(struct mover_node *n);
void mover_big(struct mover_node *n, struct slice key, uint64_t bytes);
void mover_key_hold(struct mover_key *k, size_t bytes);
void mover_key_release(struct mover_key *k); /* dst has it */
/* It went wrong; the next pass finds it again. */
void mover_key_failed(struct mover_key *k, const char *what, struct slice answer);
void mover_key_done(struct mover_key *k);
/* Look at it again a while later. `k` is gone. */
void mover_key_again(struct mover_key *k);
/* Begin with more keys, if that is allowed: at the end of a callback that ended one. */
void mover_node_refill(struct mover_node *n);
/* Keys/s that it may be worked on now. */
double mover_node_pace(const struct mover_node *n);

static inline struct slice mover_key_slice(const struct mover_key *k)
{
	return (struct slice){ k->key, k->n };
}

#endif
