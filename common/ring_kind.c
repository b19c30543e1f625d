#include "common/ring_variant.h"

static const struct {
	const char *name;
	const struct ring_variant *variant;
} kinds[RING_KIND_MAX] = {
	[RING_KETAMA] = { "ketama", &ring_ketama },
	[RING_KETAMA_LIBMEMCACHED] = { "ketama_libmemcached", &ring_ketama_libmemcached },
	[RING_KETAMA_LIBMEMCACHED_WEIGHTED] = { "ketama_libmemcached_weighted",
						&ring_ketama_libmemcached_weighted },
	[RING_KETAMA_RJ] = { "ketama_rj", &ring_ketama_rj },
	[RING_KETAMA_WAYFAIR] = { "ketama_wayfair", &ring_wayfair },
	[RING_KETAMA_WAYFAIR_LIB] = { "ketama_wayfair_lib", &ring_wayfair_lib },
	[RING_MODULA] = { "modula", &ring_modula },
	[RING_MODULA_LIBMEMCACHED] = { "modula_libmemcached", &ring_modula_libmemcached },
	[RING_RANDOM] = { "random", &ring_random },
};

const struct ring_variant *ring_kind_variant(enum ring_kind kind)
{
	return kinds[kind].variant;
}

bool ring_kind_parse(struct slice name, enum ring_kind *kind_out)
{
	for (unsigned k = 0; k < RING_KIND_MAX; k++) {
		if (slice_eq(name, slice_of(kinds[k].name))) {
			*kind_out = (enum ring_kind)k;
			return true;
		}
	}
	return false;
}

const char *ring_kind_name(enum ring_kind kind)
{
	return (unsigned)kind < RING_KIND_MAX ? kinds[kind].name : NULL;
}
