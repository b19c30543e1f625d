/* ring_variant.h - what a ring kind supplies, and the built ring. For ring*.c and their tests.
 *
 * ring_build.c collects the live servers, names and orders them as the variant says, lets the
 * variant place points, sorts those and builds the table that makes a lookup O(1).
 */
#ifndef TWINRING_COMMON_RING_VARIANT_H
#define TWINRING_COMMON_RING_VARIANT_H

#include "common/hash_fns.h"
#include "common/ring.h"

struct ring_member {	   /* a live server */
	struct slice name; /* ends in NUL; lives as long as the set */
	uint32_t weight;
	uint32_t server;   /* index into the spec's servers */
	uint64_t name_sum; /* XXH64 of the name */
};

struct ring_set {
	struct ring_member *at; /* in the variant's order */
	uint32_t count;
	uint32_t weight_total;
	bool any_weight;   /* some configured server, ejected or not, weighs more than 1 */
	hash_fn *key_hash; /* the spec's, for variants that place points with it */
};

struct ring_plan {
	uint64_t *at; /* point << 32 | member, in the order placed: earlier wins a tie */
	size_t count, capacity;
	uint32_t modulus; /* 0: points lie on the whole 32-bit circle */
	bool failed;	  /* out of memory; checked once, at the end */
};

/* `member` is an index into the set. */
void ring_plan_add(struct ring_plan *plan, uint32_t point, uint32_t member);

typedef size_t ring_name_fn(const struct ring_server *server, char *buf, size_t cap);
typedef int ring_order_fn(const struct ring_member *a, const struct ring_member *b);
typedef void ring_place_fn(const struct ring_set *set, struct ring_plan *plan);

struct ring_variant {
	ring_name_fn *name;
	ring_order_fn *order; /* NULL: configuration order */
	ring_place_fn *place;
	hash_fn *key_hash;     /* NULL: the spec's */
	bool hashes_empty_key; /* false: the empty key hashes to 0 */
	bool draws;	       /* ignores the key */
};

/* ring_kind.c; the kind must be valid */
const struct ring_variant *ring_kind_variant(enum ring_kind kind);

extern const struct ring_variant ring_ketama, ring_ketama_libmemcached,
    ring_ketama_libmemcached_weighted, ring_ketama_rj;		 /* ring_ketama.c */
extern const struct ring_variant ring_wayfair, ring_wayfair_lib; /* ring_wayfair.c */
extern const struct ring_variant ring_modula, ring_modula_libmemcached,
    ring_random; /* ring_modula.c */

/* ring_name.c; ring_server_name() is the third */
ring_name_fn ring_name_libmemcached, ring_name_libketama;
ring_order_fn ring_order_twemproxy, ring_order_strcmp;

/* What most lookups need to know of a bucket, in one cache line: a large ring is in no cache. */
struct ring_slot {
	_Alignas(16) uint32_t point; /* the first in this bucket or later */
	uint32_t more;		     /* the second, if in this bucket too: its index; else 0 */
	uint32_t owners[2]; /* of keys up to `point`; of those beyond, unless there is `more` */
};

/* One allocation: the arrays follow the struct. */
struct ring {
	hash_fn *key_hash;
	uint32_t empty_hash; /* of the empty key */
	uint32_t modulus;    /* 0: none; else the hash is reduced by it first */
	uint32_t shift;	     /* bucket of h = h >> shift, at most bucket_count */
	uint32_t bucket_count;
	uint32_t member_count; /* live servers */
	uint32_t sole;	       /* the answer while member_count < 2 */
	char tag[2];
	bool draws;
	uint32_t point_count;
	uint64_t random_seed;
	uint64_t checksum;
	uint32_t *points; /* [point_count + 1]: ascending; the last is UINT32_MAX, a sentinel */
	uint32_t *owners; /* [point_count + 1]: the sentinel's is owners[0], which wraps around */
	struct ring_slot slots[]; /* [bucket_count + 1]; the last: of what is beyond all points */
};

#endif
