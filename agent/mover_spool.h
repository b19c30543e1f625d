/* mover_spool.h - keys that wait to be moved or deleted, within a limit of memory.
 *
 * A server's list of keys comes at the server's pace and cannot be stopped for long, as the server
 * lists for one client at a time. When it does not fit, the spool gives up the upper half of the
 * range of key hashes that it takes; the server is then asked for its list again, and the next
 * range taken from it, until all hashes have had their turn.
 *
 * Threads: one.
 */
#ifndef TWINRING_AGENT_MOVER_SPOOL_H
#define TWINRING_AGENT_MOVER_SPOOL_H

#include "common/scratch.h"

struct spool_entry {
	uint64_t hash;
	uint64_t cas;		/* memcached                       */
	uint64_t not_before_us; /* 0: at once                      */
	uint64_t size;		/* of the item; 0: not known       */
	uint32_t at, n;		/* the key's bytes                 */
	uint32_t tries;		/* made so far                     */
};

struct mover_spool {
	size_t bytes_max;
	uint64_t lo, hi; /* hashes that are taken, both included */
	struct spool_entry *entries;
	uint32_t first, count, cap; /* entries[first..count) wait */
	struct scratch keys;
};

void spool_init(struct mover_spool *s, size_t bytes_max);
void spool_fini(struct mover_spool *s);
/* Forget all and take every hash. */
void spool_reset(struct mover_spool *s);
/* Forget all and take the hashes that had no turn yet. False: all had theirs. */
bool spool_next_range(struct mover_spool *s);
uint64_t spool_hash(struct slice key);

static inline bool spool_takes(const struct mover_spool *s, uint64_t hash)
{
	return hash >= s->lo && hash <= s->hi;
}

/* `e`: all but where the key is. It must be one that the spool takes. */
void spool_put(struct mover_spool *s, const struct spool_entry *e, struct slice key);

static inline uint32_t spool_waiting(const struct mover_spool *s)
{
	return s->count - s->first;
}

size_t spool_bytes(const struct mover_spool *s);
/* The first that waits; there must be one. Good until the next call. */
static inline const struct spool_entry *spool_first(const struct mover_spool *s)
{
	return &s->entries[s->first];
}

static inline struct slice spool_key(const struct mover_spool *s, const struct spool_entry *e)
{
	return (struct slice){ s->keys.p + e->at, e->n };
}

void spool_pop(struct mover_spool *s);

#endif
