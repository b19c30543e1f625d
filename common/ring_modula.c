/* ring_modula.c - no continuum: the hash, or a random number, modulo the length of a list. */
#include "common/ring_variant.h"

/* twemproxy's list holds each server `weight` times in a row. A point at the last of its places
 * says the same without a list as long as the sum of weights. */
static void modula_place(const struct ring_set *set, struct ring_plan *plan)
{
	uint32_t end = 0;
	for (uint32_t i = 0; i < set->count; i++) {
		end += set->at[i].weight;
		ring_plan_add(plan, end - 1, i);
	}
	plan->modulus = end;
}

static void modula_place_once(const struct ring_set *set, struct ring_plan *plan)
{
	for (uint32_t i = 0; i < set->count; i++) ring_plan_add(plan, i, i);
	plan->modulus = set->count;
}

const struct ring_variant ring_modula = {
	.name = ring_server_name,
	.order = ring_order_twemproxy,
	.place = modula_place,
};

const struct ring_variant ring_modula_libmemcached = {
	.name = ring_name_libmemcached,
	.place = modula_place_once,
};

const struct ring_variant ring_random = {
	.name = ring_server_name,
	.order = ring_order_twemproxy,
	.place = modula_place_once,
	.draws = true,
};
