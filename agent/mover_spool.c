#include "agent/mover_spool.h"

#include <stdlib.h>
#include <xxhash.h>

void spool_init(struct mover_spool *s, size_t bytes_max)
{
	*s = (struct mover_spool){ .bytes_max = bytes_max, .hi = UINT64_MAX };
}

void spool_fini(struct mover_spool *s)
{
	free(s->entries);
	scratch_fini(&s->keys);
	spool_init(s, s->bytes_max);
}

static void spool_clear(struct mover_spool *s)
{
	s->first = s->count = 0;
	scratch_clear(&s->keys);
}

void spool_reset(struct mover_spool *s)
{
	spool_clear(s);
	s->lo = 0;
	s->hi = UINT64_MAX;
}

bool spool_next_range(struct mover_spool *s)
{
	spool_clear(s);
	if (s->hi == UINT64_MAX) return false;
	s->lo = s->hi + 1;
	s->hi = UINT64_MAX;
	return true;
}

uint64_t spool_hash(struct slice key)
{
	return XXH3_64bits(key.p, key.n);
}

size_t spool_bytes(const struct mover_spool *s)
{
	return s->keys.n + (size_t)s->count * sizeof(*s->entries);
}

/* Keep those that fit `takes`; entries that were popped go in any case. */
static void spool_compact(struct mover_spool *s)
{
	struct scratch keys = { 0 };
	uint32_t n = 0;
	for (uint32_t i = s->first; i < s->count; i++) {
		struct spool_entry e = s->entries[i];
		if (!spool_takes(s, e.hash)) continue;
		struct slice key = spool_key(s, &e);
		e.at = (uint32_t)keys.n;
		scratch_puts(&keys, key);
		s->entries[n++] = e;
	}
	s->first = 0;
	s->count = n;
	scratch_fini(&s->keys);
	s->keys = keys;
}

static void spool_make_room(struct mover_spool *s, size_t more)
{
	if (s->first > s->count / 2) spool_compact(s);
	while (spool_bytes(s) + more > s->bytes_max && s->count > s->first && s->lo < s->hi) {
		s->hi = s->lo + (s->hi - s->lo) / 2;
		spool_compact(s);
	}
}

void spool_put(struct mover_spool *s, const struct spool_entry *e, struct slice key)
{
	if (spool_bytes(s) + key.n + sizeof(*e) > s->bytes_max) {
		spool_make_room(s, key.n + sizeof(*e));
		if (!spool_takes(s, e->hash)) return; /* its turn comes later */
	}
	if (s->count == s->cap) {
		uint32_t cap = s->cap ? s->cap * 2 : 256;
		struct spool_entry *larger = realloc(s->entries, cap * sizeof(*larger));
		if (!larger) abort();
		s->entries = larger;
		s->cap = cap;
	}
	struct spool_entry *to = &s->entries[s->count++];
	*to = *e;
	to->at = (uint32_t)s->keys.n;
	to->n = (uint32_t)key.n;
	scratch_puts(&s->keys, key);
}

void spool_pop(struct mover_spool *s)
{
	s->first++;
	if (s->first == s->count) spool_clear(s);
}
