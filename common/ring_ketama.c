/* ring_ketama.c - ketama with MD5 points: twemproxy, libmemcached, last.fm's libketama.
 *
 * A server of weight w among n servers weighing W in all gets about 160 * n * w / W points. The
 * exact count is decided by IEEE single rounding: 25 equal servers have 156 points each in
 * twemproxy and 160 in last.fm's library. Every intermediate below is rounded where the originals
 * round it; their "+ 0.0000000001" is left out because a float of 1 or more cannot hold it.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/ring_variant.h"

_Static_assert(FLT_EVAL_METHOD == 0, "point counts need float expressions rounded to float");

/* Points of one MD5, and points per server of libmemcached's unweighted ring. */
enum { POINTS_PER_DIGEST = 4, LIBMEMCACHED_POINTS = 100 };

typedef uint32_t digest_count_fn(const struct ring_set *set, const struct ring_member *m);

static uint32_t ketama_digests(const struct ring_set *set, const struct ring_member *m)
{
	const float part = (float)m->weight / (float)set->weight_total;
	return (uint32_t)floorf(part * 160.0f / 4.0f * (float)set->count);
}

/* last.fm's library multiplies in double and rounds once. */
static uint32_t ketama_rj_digests(const struct ring_set *set, const struct ring_member *m)
{
	const float part = (float)m->weight / (float)set->weight_total;
	return (uint32_t)floorf((float)((double)part * 40.0 * (double)(float)set->count));
}

/* "name-k", rewritten in place for each k. */
struct ketama_label {
	char *text;
	size_t name_length, capacity;
};

enum { LABEL_SUFFIX_MAX = sizeof("-4294967295") };

static bool label_init(struct ketama_label *l, const struct ring_set *set)
{
	size_t longest = 0;
	for (uint32_t i = 0; i < set->count; i++)
		if (set->at[i].name.n > longest) longest = set->at[i].name.n;
	l->capacity = longest + LABEL_SUFFIX_MAX;
	l->text = malloc(l->capacity);
	return l->text != NULL;
}

static void label_name(struct ketama_label *l, struct slice name)
{
	memcpy(l->text, name.p, name.n);
	l->name_length = name.n;
}

static struct slice label_at(struct ketama_label *l, uint32_t k)
{
	int suffix = snprintf(l->text + l->name_length, l->capacity - l->name_length, "-%u", k);
	return (struct slice){ l->text, l->name_length + (size_t)suffix };
}

static void place_digests(const struct ring_set *set, struct ring_plan *plan,
			  digest_count_fn *count)
{
	struct ketama_label label;
	if (!label_init(&label, set)) {
		plan->failed = true;
		return;
	}
	for (uint32_t i = 0; i < set->count; i++) {
		const struct ring_member *m = &set->at[i];
		const uint32_t digests = count(set, m);
		label_name(&label, m->name);
		for (uint32_t k = 0; k < digests; k++) {
			uint32_t words[POINTS_PER_DIGEST];
			hash_md5_words(label_at(&label, k), words);
			for (int w = 0; w < POINTS_PER_DIGEST; w++)
				ring_plan_add(plan, words[w], i);
		}
	}
	free(label.text);
}

static void ketama_place(const struct ring_set *set, struct ring_plan *plan)
{
	place_digests(set, plan, ketama_digests);
}

static void ketama_rj_place(const struct ring_set *set, struct ring_plan *plan)
{
	place_digests(set, plan, ketama_rj_digests);
}

/* Without weights: 100 points each, placed with the key hash. The first weight above 1 switches
 * the whole ring to the weighted form while keys keep their hash; ejecting that server does not
 * switch it back. */
static void ketama_libmemcached_place(const struct ring_set *set, struct ring_plan *plan)
{
	struct ketama_label label;
	if (set->any_weight) {
		ketama_place(set, plan);
		return;
	}
	if (!label_init(&label, set)) {
		plan->failed = true;
		return;
	}
	for (uint32_t i = 0; i < set->count; i++) {
		label_name(&label, set->at[i].name);
		for (uint32_t k = 0; k < LIBMEMCACHED_POINTS; k++)
			ring_plan_add(plan, set->key_hash(label_at(&label, k)), i);
	}
	free(label.text);
}

/* The library takes C strings. */
static uint32_t md5_to_nul(struct slice key)
{
	return hash_md5((struct slice){ key.p, key.n ? strnlen(key.p, key.n) : 0 });
}

const struct ring_variant ring_ketama = {
	.name = ring_server_name,
	.order = ring_order_twemproxy,
	.place = ketama_place,
};

const struct ring_variant ring_ketama_libmemcached = {
	.name = ring_name_libmemcached,
	.place = ketama_libmemcached_place,
};

const struct ring_variant ring_ketama_libmemcached_weighted = {
	.name = ring_name_libmemcached,
	.place = ketama_place,
};

const struct ring_variant ring_ketama_rj = {
	.name = ring_name_libketama,
	.place = ketama_rj_place,
	.key_hash = md5_to_nul,
	.hashes_empty_key = true,
};
