/* ring.c - using a built ring. */
#include <stdlib.h>

#include "common/ring_variant.h"

/* xorshift64*: one multiplication, and its upper half is good enough to pick a server. */
static uint32_t ring_draw(const struct ring *r, uint64_t *rng)
{
	uint64_t x = *rng ? *rng : r->random_seed;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*rng = x;
	return (uint32_t)((x * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

static inline uint32_t ring_hash(const struct ring *r, struct slice key)
{
	if (r->tag[0]) key = hash_tag_apply(key, r->tag);
	return key.n > 0 ? r->key_hash(key) : r->empty_hash;
}

static inline uint32_t ring_find(const struct ring *r, uint32_t h)
{
	if (r->modulus) h %= r->modulus;

	uint32_t bucket = h >> r->shift;
	if (bucket > r->bucket_count) bucket = r->bucket_count;

	/* On which side of the point is a coin toss: a mispredicted branch would cost more than the
	 * whole search. */
	const struct ring_slot *s = &r->slots[bucket];
	const bool beyond = s->point < h;
	if (__builtin_expect(beyond & (s->more != 0), 0)) {
		uint32_t i = s->more;
		while (r->points[i] < h) i++; /* the sentinel ends it */
		return r->owners[i];
	}
	return s->owners[beyond];
}

uint32_t ring_lookup(const struct ring *r, struct slice key, uint64_t *rng)
{
	if (r->member_count < 2) return r->sole;
	return ring_find(r, r->draws ? ring_draw(r, rng) : ring_hash(r, key));
}

void ring_lookup_keys(const struct ring *r, const struct slice *keys, uint32_t step, uint32_t count,
		      uint64_t *rng, uint32_t *owners_out)
{
	bool plain = r->member_count > 1 && !r->draws;
	for (uint32_t i = 0; i < count; i++, keys += step)
		owners_out[i] =
		    plain ? ring_find(r, ring_hash(r, *keys)) : ring_lookup(r, *keys, rng);
}

uint32_t ring_point(const struct ring *r, struct slice key)
{
	return ring_hash(r, key);
}

uint32_t ring_owner(const struct ring *r, uint32_t point)
{
	return r->member_count < 2 ? r->sole : ring_find(r, point);
}

bool ring_shares_points(const struct ring *a, const struct ring *b)
{
	return !a->draws && !b->draws && a->key_hash == b->key_hash && a->tag[0] == b->tag[0] &&
	       a->tag[1] == b->tag[1] && a->empty_hash == b->empty_hash;
}

uint32_t ring_point_count(const struct ring *r)
{
	return r->modulus ? r->modulus : r->point_count;
}

uint32_t ring_server_point_count(const struct ring *r, uint32_t server)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < r->point_count; i++) {
		if (r->owners[i] != server) continue;
		/* With a modulus a point stands for all places since the one before. */
		count += !r->modulus ? 1
			 : i == 0    ? r->points[0] + 1
				     : r->points[i] - r->points[i - 1];
	}
	return count;
}

uint64_t ring_checksum(const struct ring *r)
{
	return r->checksum;
}

void ring_free(struct ring **r)
{
	free(*r);
	*r = NULL;
}
