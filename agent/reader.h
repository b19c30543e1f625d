/* reader.h - from the tree to one topology: read, validate, keep the last good.
 *
 * Watches only say that something has changed: everything is read again, compared, and what is
 * unchanged costs nothing further. Changes that come together are read together. A pool whose state
 * is missing, broken, of another lineage or older than what is in force stays as it was, and is
 * reported; a pool leaves only by its tombstone, removed/P. One watch per pool, however many
 * servers or agents there are.
 *
 * Threads: the agent's loop.
 */
#ifndef TWINRING_AGENT_READER_H
#define TWINRING_AGENT_READER_H

#include "agent/store.h"
#include "common/pool_state.h"
#include "common/topology.h"

/* One pool as it is in force. Borrowed; good until the next turn of the loop. */
struct reader_pool {
	char *name;
	struct pool_state state;
	struct topology *body; /* of exactly this pool */
	struct topology *next; /* the other ring's of a transition; NULL: stable */
	char *problem;	       /* why something newer is not in force; or NULL */
};

struct reader_events {
	/* The topology changed. `doc` is what proxies are to get; also once at start, from the
	 * cache (confirmed is false then). */
	void (*on_topology)(void *ctx, const json_t *doc, uint64_t version, bool confirmed);
	/* The last good tree was read again, with or without changes, or a problem came or went. */
	void (*on_read)(void *ctx);
	void *ctx;
};

struct reader;

/* `cache`: file of the last good tree, or NULL. A good one is in force at once. */
/* reread_ms: everything is read again so often, whatever watches say. */
struct reader *reader_new(struct io_loop *l, struct store *s, const char *cache, uint32_t reread_ms,
			  const struct reader_events *events);
/* Something may have changed: read soon. */
void reader_poke(struct reader *r);
/* The store says that `path` changed: read soon if it matters. */
void reader_changed(struct reader *r, const char *path);
void reader_free(struct reader **r);

uint32_t reader_pool_count(const struct reader *r);
const struct reader_pool *reader_pool(const struct reader *r, uint32_t i);
uint64_t reader_version(const struct reader *r);
/* Is what is in force what the tree says, as far as we know? NULL: yes; else why not. */
const char *reader_problem(const struct reader *r);
/* The same, but only of what was in force before and is no longer followed; and when the store is
 * away, as it was before. */
const char *reader_alarm(const struct reader *r);
/* Why what is in force is not on the disk for the next start; NULL: it is. */
const char *reader_cache_problem(const struct reader *r);
/* Did the last complete reading find our own tree, and nothing older than what is in force? */
bool reader_current(const struct reader *r);
/* For how long that has not been so, by way of the cache over restarts, too. */
uint64_t reader_age_ms(const struct reader *r);
/* When the last complete reading began, clock_now_us(); 0: none yet. */
uint64_t reader_began_us(const struct reader *r);
/* Monotonic us of the last complete reading; 0: none yet. */
uint64_t reader_confirmed_us(const struct reader *r);

#endif
