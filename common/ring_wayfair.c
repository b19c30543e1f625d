/* ring_wayfair.c - Wayfair's ketama: FNV-1a points, each hash being the basis of the next.
 *
 * Their libketama hashes key bytes unsigned and stops at NUL; their twemproxy keeps the pool's
 * hash. The two agree only on ASCII keys with `hash: fnv1a_32`, equal weights and server counts
 * where the library's float arithmetic reaches 160.
 */
#include <float.h>
#include <math.h>

#include "common/ring_variant.h"

_Static_assert(FLT_EVAL_METHOD == 0, "point counts need float expressions rounded to float");

enum {
	WAYFAIR_POINTS = 160,
	PROXY_NAME_MAX = 85, /* bytes; the rest is cut off silently, and below too */
	LIB_NAME_MAX = 21,
};

static void place_chain(const struct ring_set *set, struct ring_plan *plan, uint32_t member,
			size_t name_max, uint32_t points)
{
	struct slice name = set->at[member].name;
	if (name.n > name_max) name.n = name_max;

	uint32_t point = HASH_FNV_32_BASIS;
	for (uint32_t k = 0; k < points; k++) {
		point = hash_fnv1a_32_unsigned(point, name);
		ring_plan_add(plan, point, member);
	}
}

static void wayfair_place(const struct ring_set *set, struct ring_plan *plan)
{
	for (uint32_t i = 0; i < set->count; i++)
		place_chain(set, plan, i, PROXY_NAME_MAX, WAYFAIR_POINTS);
}

/* The original refuses more than 125 servers; the formula does not care. */
static void wayfair_lib_place(const struct ring_set *set, struct ring_plan *plan)
{
	for (uint32_t i = 0; i < set->count; i++) {
		const float part = (float)set->at[i].weight / (float)set->weight_total;
		const float points = floorf(part * (float)WAYFAIR_POINTS * (float)set->count);
		place_chain(set, plan, i, LIB_NAME_MAX, (uint32_t)points);
	}
}

static uint32_t fnv1a_to_nul(struct slice key)
{
	key.n = key.n ? strnlen(key.p, key.n) : 0;
	return hash_fnv1a_32_unsigned(HASH_FNV_32_BASIS, key);
}

const struct ring_variant ring_wayfair = {
	.name = ring_server_name,
	.order = ring_order_twemproxy,
	.place = wayfair_place,
};

const struct ring_variant ring_wayfair_lib = {
	.name = ring_name_libketama,
	.order = ring_order_strcmp,
	.place = wayfair_lib_place,
	.key_hash = fnv1a_to_nul,
	.hashes_empty_key = true,
};
