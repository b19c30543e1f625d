/* Rings against what the original programs chose (tests/data), against a second implementation
 * written here from the description, and the rules the originals leave open. */
#include <check.h>
#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/ring_variant.h"

/* --- helpers ---------------------------------------------------------------------------------- */

static uint64_t test_rng = 0x243f6a8885a308d3;

static uint32_t test_random(uint32_t below)
{
	test_rng ^= test_rng << 13;
	test_rng ^= test_rng >> 7;
	test_rng ^= test_rng << 17;
	return (uint32_t)((test_rng >> 32) % below);
}

/* For inner loops: every ck_assert, even a true one, writes a message to the runner. */
static void same(uint32_t got, uint32_t want)
{
	if (got != want) ck_assert_uint_eq(got, want);
}

static struct ring *build(const struct ring_spec *spec)
{
	struct ring *r;
	ck_assert_int_eq(ring_build(spec, &r), ERR_NONE);
	ck_assert_ptr_nonnull(r);
	return r;
}

static uint32_t lookup(const struct ring *r, const char *key)
{
	uint64_t rng = 1;
	return ring_lookup(r, slice_of(key), &rng);
}

static struct slice random_key(char *buf, size_t cap)
{
	size_t n = 1 + test_random((uint32_t)cap);
	for (size_t i = 0; i < n; i++) buf[i] = (char)test_random(256);
	return (struct slice){ buf, n };
}

enum { POOL_MAX = 64 };

struct pool {
	struct ring_server servers[POOL_MAX];
	char hosts[POOL_MAX][24];
	struct ring_spec spec;
};

static void pool_init(struct pool *p, enum ring_kind kind, uint32_t count)
{
	*p = (struct pool){ .spec = { .kind = kind, .server_count = count } };
	p->spec.servers = p->servers;
	for (uint32_t i = 0; i < count; i++) {
		/* neither the order of lengths nor that of bytes is the configuration order */
		snprintf(p->hosts[i], sizeof(p->hosts[i]), "10.%u.0.%u", (i * 7) % 20, 250 - i);
		p->servers[i] = (struct ring_server){ .host = p->hosts[i],
						      .port = i % 3 ? 11211 : 6379,
						      .weight = 1 };
	}
}

/* --- golden vectors --------------------------------------------------------------------------- */

static const struct {
	const char *variant;
	enum ring_kind kind;
	enum hash_kind hash; /* where the file does not say */
	size_t files;
} golden[] = {
	{ "twemproxy_ketama", RING_KETAMA, HASH_FNV1A_64, 102 },
	{ "twemproxy_modula", RING_MODULA, HASH_FNV1A_64, 32 },
	{ "wayfair_twemproxy_ketama", RING_KETAMA_WAYFAIR, HASH_FNV1A_64, 24 },
	{ "wayfair_libketama_file", RING_KETAMA_WAYFAIR_LIB, HASH_FNV1A_64, 8 },
	{ "rj_libketama", RING_KETAMA_RJ, HASH_FNV1A_64, 8 },
	{ "libmemcached_ketama", RING_KETAMA_LIBMEMCACHED, HASH_ONE_AT_A_TIME, 8 },
	{ "libmemcached_ketama_md5", RING_KETAMA_LIBMEMCACHED, HASH_MD5, 8 },
	{ "libmemcached_ketama_weighted", RING_KETAMA_LIBMEMCACHED_WEIGHTED, HASH_MD5, 8 },
	{ "libmemcached_ketama_weighted_fnv1a_32", RING_KETAMA_LIBMEMCACHED_WEIGHTED, HASH_FNV1A_32,
	  8 },
	{ "libmemcached_ketama_weighted_fnv1a_64", RING_KETAMA_LIBMEMCACHED_WEIGHTED, HASH_FNV1A_64,
	  8 },
	{ "libmemcached_modula_default", RING_MODULA_LIBMEMCACHED, HASH_ONE_AT_A_TIME, 8 },
	{ "libmemcached_modula_crc32", RING_MODULA_LIBMEMCACHED, HASH_CRC32, 8 },
};

/* The files hold a name for every server; it is explicit when it is not the address. */
static const char *golden_name(const json_t *server)
{
	const char *name = json_string_value(json_object_get(server, "name"));
	const json_t *explicit_name = json_object_get(server, "explicit_name");
	char address[64];

	if (explicit_name) return json_is_true(explicit_name) ? name : NULL;
	snprintf(address, sizeof(address), "%s:%d",
		 json_string_value(json_object_get(server, "host")),
		 (int)json_integer_value(json_object_get(server, "port")));
	return strcmp(name, address) == 0 ? NULL : name;
}

static void golden_servers(const json_t *root, struct pool *p)
{
	const json_t *servers = json_object_get(root, "servers"), *s;
	size_t i;

	ck_assert_uint_le(json_array_size(servers), POOL_MAX);
	p->spec.server_count = (uint32_t)json_array_size(servers);
	json_array_foreach (servers, i, s) {
		p->servers[i] = (struct ring_server){
			.name = golden_name(s),
			.host = json_string_value(json_object_get(s, "host")),
			.port = (uint16_t)json_integer_value(json_object_get(s, "port")),
			.weight = (uint32_t)json_integer_value(json_object_get(s, "weight")),
		};
	}
}

static void golden_points(const char *path, const json_t *root, const struct ring *r)
{
	const json_t *total = json_object_get(root, "points"), *s, *points;
	size_t i;

	if (total) ck_assert_msg(ring_point_count(r) == json_integer_value(total), "%s", path);
	json_array_foreach (json_object_get(root, "servers"), i, s) {
		points = json_object_get(s, "points");
		if (points)
			ck_assert_msg(ring_server_point_count(r, (uint32_t)i) ==
					  json_integer_value(points),
				      "%s: points of server %zu", path, i);
	}
}

static void golden_file(const char *path, enum ring_kind kind, enum hash_kind hash)
{
	json_error_t error;
	json_t *root = json_load_file(path, 0, &error), *want, *keys;
	ck_assert_msg(root != NULL, "%s: %s", path, error.text);

	struct pool p = { .spec = { .kind = kind, .hash = hash, .servers = p.servers } };
	golden_servers(root, &p);
	const char *named = json_string_value(json_object_get(root, "hash"));
	if (named) ck_assert_msg(hash_kind_parse(slice_of(named), &p.spec.hash), "%s", path);
	const char *tag = json_string_value(json_object_get(root, "hash_tag")), *key;
	if (tag) memcpy(p.spec.hash_tag, tag, 2);

	struct ring *r = build(&p.spec);
	golden_points(path, root, r);
	keys = json_object_get(root, "keys");
	ck_assert_uint_ge(json_object_size(keys), 209);
	json_object_foreach (keys, key, want) {
		uint32_t got = lookup(r, key);
		if (got >= p.spec.server_count) ck_abort_msg("%s: %s -> %u", path, key, got);
		const json_t *server = json_array_get(json_object_get(root, "servers"), got);
		ck_assert_msg(json_equal(json_object_get(server, "name"), want),
			      "%s: %s -> %s, not %s", path, key,
			      json_string_value(json_object_get(server, "name")),
			      json_string_value(want));
	}
	ring_free(&r);
	json_decref(root);
}

START_TEST(golden_variant)
{
	char pattern[128];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "tests/data/%s.*.json", golden[_i].variant);
	ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
	ck_assert_uint_eq(found.gl_pathc, golden[_i].files);
	for (size_t f = 0; f < found.gl_pathc; f++)
		golden_file(found.gl_pathv[f], golden[_i].kind, golden[_i].hash);
	globfree(&found);
}
END_TEST

/* --- a second implementation ------------------------------------------------------------------ */

struct naive_point {
	uint32_t value, rank, server;
};

static int naive_cmp(const void *pa, const void *pb)
{
	const struct naive_point *a = pa, *b = pb;
	if (a->value != b->value) return a->value < b->value ? -1 : 1;
	return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static uint32_t naive_search(const struct naive_point *points, size_t n, uint32_t h)
{
	size_t left = 0, right = n;
	while (left < right) {
		size_t middle = left + (right - left) / 2;
		if (points[middle].value < h) left = middle + 1;
		else right = middle;
	}
	return points[left == n ? 0 : left].server;
}

/* twemproxy's ketama with libcrypto's MD5; servers must already be in ring order. */
static size_t naive_ketama(const struct ring_spec *spec, struct naive_point *points)
{
	uint32_t live = 0, weight = 0;
	size_t n = 0;
	for (uint32_t i = 0; i < spec->server_count; i++) {
		if (spec->servers[i].ejected) continue;
		live++;
		weight += spec->servers[i].weight;
	}
	for (uint32_t i = 0; i < spec->server_count; i++) {
		const struct ring_server *s = &spec->servers[i];
		if (s->ejected) continue;
		volatile float share = (float)s->weight / (float)weight;
		volatile float points160 = share * 160;
		volatile float digests = points160 / 4;
		digests = digests * (float)live;
		for (uint32_t k = 0; k < (uint32_t)floorf(digests); k++) {
			char label[64];
			unsigned char md[EVP_MAX_MD_SIZE];
			int length = snprintf(label, sizeof(label), "%s-%u", s->name, k);
			EVP_Digest(label, (size_t)length, md, NULL, EVP_md5(), NULL);
			for (int w = 0; w < 4; w++, n++)
				points[n] =
				    (struct naive_point){ (uint32_t)md[4 * w] |
							      (uint32_t)md[4 * w + 1] << 8 |
							      (uint32_t)md[4 * w + 2] << 16 |
							      (uint32_t)md[4 * w + 3] << 24,
							  i, i };
		}
	}
	qsort(points, n, sizeof(*points), naive_cmp);
	return n;
}

START_TEST(equals_second_implementation)
{
	static struct naive_point points[POOL_MAX * 160 * 2];
	char names[POOL_MAX][24];

	for (int round = 0; round < 40; round++) {
		struct pool p;
		pool_init(&p, RING_KETAMA, 2 + test_random(POOL_MAX - 2));
		p.spec.hash = (enum hash_kind)test_random(HASH_KIND_MAX);
		for (uint32_t i = 0; i < p.spec.server_count; i++) {
			snprintf(names[i], sizeof(names[i]), "r%u-%04u", round, i);
			p.servers[i].name = names[i];
			p.servers[i].weight = round % 2 ? 1 : 1 + test_random(1000);
			p.servers[i].ejected = i > 1 && test_random(4) == 0;
		}
		struct ring *r = build(&p.spec);
		size_t n = naive_ketama(&p.spec, points);
		ck_assert_uint_eq(ring_point_count(r), n);
		for (int k = 0; k < 2000; k++) {
			char bytes[32];
			struct slice key = random_key(bytes, sizeof(bytes));
			same(ring_lookup(r, key, NULL),
			     naive_search(points, n, hash_key(p.spec.hash, key)));
		}
		ring_free(&r);
	}
}
END_TEST

/* --- the search ------------------------------------------------------------------------------- */

static uint32_t identity_hash_value;

static uint32_t identity_hash(struct slice key)
{
	(void)key;
	return identity_hash_value;
}

/* The bucket table against a binary search over the ring's own points, at every edge: each point,
 * its neighbours, both ends of the circle, and numbers between. */
static void search_all_edges(struct ring *r)
{
	const uint32_t n = r->point_count;
	struct naive_point *points = calloc(n, sizeof(*points));
	for (uint32_t i = 0; i < n; i++)
		points[i] = (struct naive_point){ r->points[i], i, r->owners[i] };

	r->key_hash = identity_hash;
	const uint32_t edges[] = { 0, 1, UINT32_MAX - 1, UINT32_MAX };
	for (uint32_t i = 0; i < n + 4 + 500; i++) {
		uint32_t base = i < n	    ? r->points[i]
				: i < n + 4 ? edges[i - n]
					    : test_random(UINT32_MAX);
		for (uint32_t step = 0; step < 3; step++) {
			uint32_t h = identity_hash_value = base + step - 1;
			if (r->modulus) h %= r->modulus;
			same(ring_lookup(r, SLICE("k"), NULL), naive_search(points, n, h));
		}
	}
	free(points);
}

START_TEST(search_every_kind)
{
	const enum ring_kind kind = (enum ring_kind)_i;
	if (kind == RING_RANDOM) return; /* draws its hash itself: random_reaches_live_servers */

	for (unsigned hash = 0; hash < HASH_KIND_MAX; hash++) {
		for (uint32_t count = 2; count < POOL_MAX; count += 1 + count / 2) {
			struct pool p;
			pool_init(&p, kind, count);
			p.spec.hash = (enum hash_kind)hash;
			for (uint32_t i = 0; i < count && hash % 2; i++)
				p.servers[i].weight = 1 + test_random(50);
			struct ring *r = build(&p.spec);
			search_all_edges(r);
			ring_free(&r);
		}
	}
}
END_TEST

START_TEST(one_point_for_two_rings)
{
	const enum ring_kind kind = (enum ring_kind)_i;
	struct pool few, many;
	pool_init(&few, kind, 3);
	pool_init(&many, kind, 5);
	struct ring *a = build(&few.spec), *b = build(&many.spec);
	ck_assert_int_eq(ring_shares_points(a, b), kind != RING_RANDOM);
	for (uint32_t i = 0; i < 1000 && kind != RING_RANDOM; i++) {
		char key[20];
		snprintf(key, sizeof(key), "%.*s%u", i ? 3 : 0, "key", i);
		uint32_t point = ring_point(a, slice_of(key));
		same(ring_owner(a, point), ring_lookup(a, slice_of(key), NULL));
		same(ring_owner(b, point), ring_lookup(b, slice_of(key), NULL));
	}
	ring_free(&b);
	many.spec.hash_tag[0] = many.spec.hash_tag[1] = '%';
	b = build(&many.spec);
	ck_assert(!ring_shares_points(a, b));
	ring_free(&a);
	ring_free(&b);
}
END_TEST

/* Points crowded into 15 bits must not share a few buckets. */
START_TEST(search_stays_short)
{
	struct pool p;
	pool_init(&p, RING_KETAMA_LIBMEMCACHED, 50);
	p.spec.hash = HASH_CRC32;
	struct ring *r = build(&p.spec);
	ck_assert_uint_eq(ring_point_count(r), 5000);
	for (uint32_t i = 20; i < r->point_count; i++)
		ck_assert_uint_ne(r->points[i] >> r->shift, r->points[i - 20] >> r->shift);
	ring_free(&r);
}
END_TEST

/* --- ejection --------------------------------------------------------------------------------- */

START_TEST(ejection_equals_remaining)
{
	const enum ring_kind kind = (enum ring_kind)_i;

	for (int round = 0; round < 20; round++) {
		struct pool p, rest;
		uint32_t kept[POOL_MAX], kept_count = 0;
		pool_init(&p, kind, 2 + test_random(40));
		for (uint32_t i = 0; i < p.spec.server_count; i++) {
			/* from 2 up, as libmemcached's switch to weighted points is sticky */
			p.servers[i].weight = 2 + test_random(9);
			p.servers[i].ejected = i > 0 && test_random(3) == 0;
		}
		rest = p;
		rest.spec.servers = rest.servers;
		for (uint32_t i = 0; i < p.spec.server_count; i++) {
			if (p.servers[i].ejected) continue;
			kept[kept_count] = i;
			rest.servers[kept_count++] = p.servers[i];
		}
		rest.spec.server_count = kept_count;

		struct ring *a = build(&p.spec), *b = build(&rest.spec);
		ck_assert_uint_eq(ring_checksum(a), ring_checksum(b));
		ck_assert_uint_eq(ring_point_count(a), ring_point_count(b));
		uint64_t rng_a = 5, rng_b = 5;
		for (int k = 0; k < 1000; k++) {
			char bytes[24];
			struct slice key = random_key(bytes, sizeof(bytes));
			same(ring_lookup(a, key, &rng_a), kept[ring_lookup(b, key, &rng_b)]);
		}
		ring_free(&a);
		ring_free(&b);
	}
}
END_TEST

START_TEST(ejection_moves_totals)
{
	/* 26 equal servers have 160 points each, 25 have 156: healthy servers lose some too */
	struct pool p;
	pool_init(&p, RING_KETAMA, 26);
	struct ring *r = build(&p.spec);
	ck_assert_uint_eq(ring_point_count(r), 26 * 160);
	ring_free(&r);

	p.servers[3].ejected = true;
	r = build(&p.spec);
	ck_assert_uint_eq(ring_point_count(r), 25 * 156);
	ck_assert_uint_eq(ring_server_point_count(r, 3), 0);
	ck_assert_uint_eq(ring_server_point_count(r, 4), 156);
	ring_free(&r);
}
END_TEST

START_TEST(libmemcached_stays_weighted)
{
	struct pool p;
	pool_init(&p, RING_KETAMA_LIBMEMCACHED, 4);
	p.servers[2].weight = 5;
	p.servers[2].ejected = true;
	struct ring *r = build(&p.spec);
	ck_assert_uint_eq(ring_point_count(r), 3 * 160);
	ring_free(&r);

	p.servers[2].weight = 1;
	r = build(&p.spec);
	ck_assert_uint_eq(ring_point_count(r), 3 * 100);
	ring_free(&r);
}
END_TEST

/* --- no server, one server -------------------------------------------------------------------- */

START_TEST(no_live_server)
{
	struct pool p;
	struct ring *r;
	uint64_t rng = 9;

	pool_init(&p, (enum ring_kind)_i, 3);
	p.servers[0].ejected = p.servers[2].ejected = true;
	p.servers[1].weight = 0; /* weight 0 takes no keys */
	r = build(&p.spec);
	same(ring_lookup(r, SLICE("k"), &rng), RING_NONE);
	same(ring_lookup(r, SLICE(""), &rng), RING_NONE);
	ck_assert_uint_eq(ring_point_count(r), 0);
	ring_free(&r);
	ck_assert_ptr_null(r);
	ring_free(&r);

	p.spec.server_count = 0;
	p.spec.servers = NULL;
	r = build(&p.spec);
	same(ring_lookup(r, SLICE("k"), &rng), RING_NONE);
	ring_free(&r);
}
END_TEST

START_TEST(one_live_server)
{
	struct pool p;
	struct ring *r;
	uint64_t rng = 9;

	pool_init(&p, (enum ring_kind)_i, 3);
	p.servers[0].ejected = p.servers[1].ejected = true;
	r = build(&p.spec);
	r->key_hash = NULL; /* the shortcut does not hash */
	for (int i = 0; i < 10; i++) same(ring_lookup(r, SLICE("k"), &rng), 2);
	ck_assert_uint_eq(rng, 9);
	ring_free(&r);
}
END_TEST

START_TEST(weight_zero_is_absent)
{
	struct pool p, rest;
	pool_init(&p, (enum ring_kind)_i, 5);
	rest = p;
	rest.spec.servers = rest.servers;
	p.servers[4].weight = 0;
	rest.spec.server_count = 4;
	struct ring *a = build(&p.spec), *b = build(&rest.spec);
	ck_assert_uint_eq(ring_checksum(a), ring_checksum(b));
	ring_free(&a);
	ring_free(&b);
}
END_TEST

START_TEST(zero_points)
{
	struct pool p;
	pool_init(&p, RING_KETAMA, 2);
	p.servers[0].weight = 1;
	p.servers[1].weight = 100000;
	struct ring *r = build(&p.spec);
	ck_assert_uint_eq(ring_point_count(r), 316);
	ck_assert_uint_eq(ring_server_point_count(r, 0), 0);
	ck_assert_uint_eq(ring_server_point_count(r, 1), 316);
	for (int k = 0; k < 1000; k++) {
		char bytes[16];
		same(ring_lookup(r, random_key(bytes, sizeof(bytes)), NULL), 1);
	}
	ring_free(&r);
}
END_TEST

/* Somebody owns the keys however the weights are spread and rounded. */
START_TEST(live_ring_has_points)
{
	static const uint32_t weights[] = { 1, 2, 3, 1000, 16777217, 33554433, 60000000 };
	for (uint32_t count = 1; count < POOL_MAX; count += 1 + count / 8) {
		for (size_t w = 0; w < sizeof(weights) / sizeof(weights[0]); w++) {
			struct pool p;
			pool_init(&p, (enum ring_kind)_i, count);
			for (uint32_t i = 0; i < count; i++)
				p.servers[i].weight =
				    i % 2 ? weights[w] : 1 + test_random(weights[w]);
			struct ring *r = build(&p.spec);
			ck_assert_uint_gt(r->point_count, 0);
			ck_assert_uint_ne(lookup(r, "k"), RING_NONE);
			ring_free(&r);
		}
	}
}
END_TEST

/* --- ties ------------------------------------------------------------------------------------- */

/* Equal names tie at every point; the one configured first wins all. */
START_TEST(ties_of_equal_names)
{
	const enum ring_kind kind = (enum ring_kind)_i;
	if (kind >= RING_MODULA) return; /* no continuum, no ties */

	struct pool p;
	pool_init(&p, kind, 3);
	p.servers[0].name = p.servers[1].name = "same";
	p.servers[2].name = "other";
	struct ring *r = build(&p.spec);
	uint32_t seen[3] = { 0 };
	for (int k = 0; k < 2000; k++) {
		char bytes[16];
		seen[ring_lookup(r, random_key(bytes, sizeof(bytes)), NULL)]++;
	}
	ck_assert_uint_gt(seen[0], 0);
	ck_assert_uint_eq(seen[1], 0);
	ck_assert_uint_gt(seen[2], 0);
	ring_free(&r);
}
END_TEST

static uint32_t servers_used(const struct ring *r)
{
	uint32_t used[2] = { 0 };
	for (int k = 0; k < 500; k++) {
		char bytes[16];
		used[ring_lookup(r, random_key(bytes, sizeof(bytes)), NULL)] = 1;
	}
	return used[0] | used[1] << 1;
}

static const struct {
	enum ring_kind kind;
	size_t length; /* bytes of a name that count */
} cuts[] = { { RING_KETAMA_WAYFAIR_LIB, 21 }, { RING_KETAMA_WAYFAIR, 85 } };

/* Names cut to the same bytes tie as well; the order of the whole names decides, not config. */
START_TEST(ties_of_cut_names)
{
	char first[100], second[100];
	struct pool p;
	pool_init(&p, cuts[_i].kind, 2);
	p.servers[0].name = second;
	p.servers[1].name = first;

	/* equal but for the first byte beyond the cut */
	snprintf(first, sizeof(first), "%0*d1", (int)cuts[_i].length, 0);
	snprintf(second, sizeof(second), "%0*d2", (int)cuts[_i].length, 0);
	struct ring *r = build(&p.spec);
	ck_assert_uint_eq(ring_point_count(r), 320);
	ck_assert_uint_eq(servers_used(r), 1u << 1);
	ring_free(&r);

	/* equal but for the last byte before it */
	p.servers[0].name = second + 1;
	p.servers[1].name = first + 1;
	r = build(&p.spec);
	ck_assert_uint_eq(servers_used(r), 3);
	ring_free(&r);
}
END_TEST

/* A real collision of different names: 15-bit points. Finds one, then a key that lands on it. */
START_TEST(ties_of_different_names)
{
	uint32_t collisions = 0;
	struct pool p;
	pool_init(&p, RING_KETAMA_LIBMEMCACHED, 20);
	p.spec.hash = HASH_CRC32;
	struct ring *r = build(&p.spec);

	for (uint32_t i = 0; i + 1 < r->point_count && collisions < 5; i++) {
		if (i > 0 && r->points[i] == r->points[i - 1]) continue;
		if (r->points[i] != r->points[i + 1] || r->owners[i] == r->owners[i + 1]) continue;
		uint32_t lowest = RING_NONE;
		for (uint32_t j = i; j < r->point_count && r->points[j] == r->points[i]; j++)
			if (r->owners[j] < lowest) lowest = r->owners[j];
		for (uint32_t k = 0; k < 2000000; k++) {
			char key[16];
			snprintf(key, sizeof(key), "k%u", k);
			if (hash_key(HASH_CRC32, slice_of(key)) != r->points[i]) continue;
			same(lookup(r, key), lowest);
			collisions++;
			break;
		}
	}
	ck_assert_uint_eq(collisions, 5);
	ring_free(&r);
}
END_TEST

/* --- keys ------------------------------------------------------------------------------------- */

START_TEST(empty_key)
{
	struct pool p;
	pool_init(&p, (enum ring_kind)_i, 30);
	p.spec.hash = HASH_MURMUR;
	struct ring *r = build(&p.spec);
	const uint32_t empty = ring_lookup(r, SLICE(""), &(uint64_t){ 1 });

	switch (p.spec.kind) {
	case RING_KETAMA_RJ: identity_hash_value = hash_key(HASH_MD5, SLICE("")); break;
	case RING_KETAMA_WAYFAIR_LIB: identity_hash_value = HASH_FNV_32_BASIS; break;
	case RING_RANDOM: ring_free(&r); return;
	case RING_KETAMA:
	case RING_KETAMA_LIBMEMCACHED:
	case RING_KETAMA_LIBMEMCACHED_WEIGHTED:
	case RING_KETAMA_WAYFAIR:
	case RING_MODULA:
	case RING_MODULA_LIBMEMCACHED:
	case RING_KIND_MAX: identity_hash_value = 0; break;
	}
	r->key_hash = identity_hash;
	ck_assert_uint_eq(empty, lookup(r, "k"));
	ring_free(&r);
}
END_TEST

START_TEST(empty_key_ignores_hash)
{
	/* MD5 of nothing is not 0, yet the empty key goes where 0 does */
	struct pool p;
	pool_init(&p, RING_MODULA, 7);
	p.spec.hash = HASH_MD5;
	struct ring *r = build(&p.spec);
	ck_assert_uint_ne(hash_key(HASH_MD5, SLICE("")) % 7, 0);
	/* shortest name, then lowest bytes: 10.7.0.249 of the seven */
	same(lookup(r, ""), 1);
	ring_free(&r);
}
END_TEST

START_TEST(libraries_stop_at_nul)
{
	static const enum ring_kind kinds[] = { RING_KETAMA_RJ, RING_KETAMA_WAYFAIR_LIB };
	for (int i = 0; i < 2; i++) {
		struct pool p;
		pool_init(&p, kinds[i], 40);
		struct ring *r = build(&p.spec);
		for (int k = 0; k < 200; k++) {
			char key[16] = { 0 };
			int n = snprintf(key, sizeof(key), "key%d", k);
			key[n + 1] = 'x';
			ck_assert_uint_eq(
			    ring_lookup(r, (struct slice){ key, (size_t)n + 2 }, NULL),
			    ring_lookup(r, (struct slice){ key, (size_t)n }, NULL));
		}
		ring_free(&r);
	}
}
END_TEST

START_TEST(tag_groups_keys)
{
	struct pool p;
	pool_init(&p, RING_KETAMA, 40);
	memcpy(p.spec.hash_tag, "{}", 2);
	struct ring *r = build(&p.spec);
	const uint32_t home = lookup(r, "user1000");
	uint32_t elsewhere = 0;
	for (int k = 0; k < 50; k++) {
		char key[40];
		snprintf(key, sizeof(key), "%d{user1000}%d", k, k * k);
		same(lookup(r, key), home);
		snprintf(key, sizeof(key), "%d{}%d", k, k * k);
		elsewhere += lookup(r, key) != home;
	}
	ck_assert_uint_gt(elsewhere, 40);
	ring_free(&r);
}
END_TEST

/* --- random, order, names, checksum ----------------------------------------------------------- */

START_TEST(random_reaches_live_servers)
{
	enum { DRAWS = 40000, SERVERS = 10, LIVE = 8 };
	struct pool p;
	uint64_t rng = 12345, again = 12345, zero = 0, seeded = 77;
	uint32_t seen[SERVERS] = { 0 };

	pool_init(&p, RING_RANDOM, SERVERS);
	p.spec.random_seed = 77;
	p.servers[3].ejected = p.servers[7].ejected = true;
	p.servers[0].weight = 1000; /* ignored */
	struct ring *r = build(&p.spec);
	ck_assert_uint_eq(ring_point_count(r), LIVE);
	for (int i = 0; i < DRAWS; i++) {
		uint32_t got = ring_lookup(r, SLICE("same key"), &rng);
		if (got >= SERVERS) ck_abort_msg("index %u", got);
		same(got, ring_lookup(r, SLICE("another"), &again));
		same(ring_lookup(r, SLICE(""), &zero), ring_lookup(r, SLICE(""), &seeded));
		seen[got]++;
	}
	for (int i = 0; i < SERVERS; i++) {
		if (p.servers[i].ejected) ck_assert_uint_eq(seen[i], 0);
		else /* 5,000 expected, deviation 66 */ ck_assert(seen[i] > 4600 && seen[i] < 5400);
	}
	ring_free(&r);

	/* a zero seed and a zero state still move */
	p.spec.random_seed = zero = 0;
	r = build(&p.spec);
	ring_lookup(r, SLICE("k"), &zero);
	ck_assert_uint_ne(zero, 0);
	ring_free(&r);
}
END_TEST

/* The same servers configured in another order: same owners for kinds that sort or hash names. */
START_TEST(configuration_order)
{
	const enum ring_kind kind = (enum ring_kind)_i;
	const bool follows_order = kind == RING_MODULA_LIBMEMCACHED;
	struct pool p, q;
	uint32_t moved = 0;

	pool_init(&p, kind, 20);
	for (uint32_t i = 0; i < 20; i++) p.servers[i].weight = 1 + i % 3;
	q = p;
	q.spec.servers = q.servers;
	for (uint32_t i = 0; i < 20; i++) q.servers[i] = p.servers[19 - i];

	struct ring *a = build(&p.spec), *b = build(&q.spec);
	for (int k = 0; k < 500; k++) {
		char bytes[16];
		struct slice key = random_key(bytes, sizeof(bytes));
		moved += ring_lookup(a, key, &(uint64_t){ 3 }) !=
			 19 - ring_lookup(b, key, &(uint64_t){ 3 });
	}
	if (follows_order) ck_assert_uint_gt(moved, 0);
	else ck_assert_uint_eq(moved, 0);
	ck_assert_int_eq(ring_checksum(a) != ring_checksum(b), follows_order);
	ring_free(&a);
	ring_free(&b);
}
END_TEST

static const struct {
	struct ring_server server;
	const char *twemproxy, *libmemcached, *libketama;
} names[] = {
	{ { .name = "n1", .host = "h", .port = 11211 }, "n1", "n1", "n1" },
	{ { .host = "10.0.0.1", .port = 11211 }, "10.0.0.1", "10.0.0.1", "10.0.0.1:11211" },
	{ { .host = "localhost", .port = 6379 },
	  "localhost:6379",
	  "localhost:6379",
	  "localhost:6379" },
	{ { .host = "h", .port = 65535 }, "h:65535", "h:65535", "h:65535" },
	{ { .host = "/run/r.sock" }, "/run/r.sock:", "/run/r.sock:0", "/run/r.sock" },
	{ { .name = "n2", .host = "/run/r.sock" }, "n2", "n2", "n2" },
};

START_TEST(server_names)
{
	const struct ring_server *s = &names[_i].server;
	char buf[64], small[4];

	ck_assert_uint_eq(ring_server_name(s, buf, sizeof(buf)), strlen(names[_i].twemproxy));
	ck_assert_str_eq(buf, names[_i].twemproxy);
	ring_name_libmemcached(s, buf, sizeof(buf));
	ck_assert_str_eq(buf, names[_i].libmemcached);
	ring_name_libketama(s, buf, sizeof(buf));
	ck_assert_str_eq(buf, names[_i].libketama);

	ck_assert_uint_eq(ring_server_name(s, small, sizeof(small)), strlen(names[_i].twemproxy));
	ck_assert_uint_le(strlen(small), 3);
	ck_assert_uint_eq(ring_server_name(s, NULL, 0), strlen(names[_i].twemproxy));
}
END_TEST

static uint64_t checksum_of(const struct ring_spec *spec)
{
	struct ring *r = build(spec);
	uint64_t sum = ring_checksum(r);
	ring_free(&r);
	return sum;
}

START_TEST(checksum_sees_changes)
{
	struct pool p;
	pool_init(&p, RING_KETAMA, 10);
	const uint64_t before = checksum_of(&p.spec);
	ck_assert_uint_eq(checksum_of(&p.spec), before);

	p.spec.hash = HASH_MD5;
	ck_assert_uint_ne(checksum_of(&p.spec), before);
	p.spec.hash = HASH_FNV1A_64;
	memcpy(p.spec.hash_tag, "{}", 2);
	ck_assert_uint_ne(checksum_of(&p.spec), before);
	p.spec.hash_tag[0] = 0;
	p.servers[4].weight = 2;
	ck_assert_uint_ne(checksum_of(&p.spec), before);
	p.servers[4].weight = 1;
	p.servers[4].name = "moved";
	ck_assert_uint_ne(checksum_of(&p.spec), before);
	p.servers[4].name = NULL;
	p.servers[4].port++;
	ck_assert_uint_ne(checksum_of(&p.spec), before);
	p.servers[4].port--;
	p.spec.kind = RING_KETAMA_WAYFAIR;
	ck_assert_uint_ne(checksum_of(&p.spec), before);
	p.spec.kind = RING_KETAMA;
	ck_assert_uint_eq(checksum_of(&p.spec), before);

	/* two kinds that agree on every key, and a third that parts with them at NUL */
	p.spec.hash = HASH_MD5;
	const uint64_t md5 = checksum_of(&p.spec);
	p.spec.kind = RING_KETAMA_LIBMEMCACHED_WEIGHTED;
	ck_assert_uint_eq(checksum_of(&p.spec), md5);
	for (uint32_t i = 0; i < 10; i++) p.servers[i].port = 6379; /* named alike */
	const uint64_t weighted = checksum_of(&p.spec);
	p.spec.kind = RING_KETAMA_RJ;
	ck_assert_uint_ne(checksum_of(&p.spec), weighted);

	/* an unused key hash does not count */
	p.spec.kind = RING_KETAMA_RJ;
	const uint64_t rj = checksum_of(&p.spec);
	p.spec.hash = HASH_JENKINS;
	ck_assert_uint_eq(checksum_of(&p.spec), rj);
}
END_TEST

START_TEST(kind_names_round_trip)
{
	for (unsigned k = 0; k < RING_KIND_MAX; k++) {
		enum ring_kind kind = RING_KIND_MAX;
		ck_assert(ring_kind_parse(slice_of(ring_kind_name((enum ring_kind)k)), &kind));
		ck_assert_uint_eq(kind, k);
	}
	enum ring_kind kind = RING_KIND_MAX;
	ck_assert(!ring_kind_parse(SLICE("Ketama"), &kind));
	ck_assert(!ring_kind_parse(SLICE(""), &kind));
	ck_assert(!ring_kind_parse(SLICE("ketama_"), &kind));
	ck_assert_uint_eq(kind, RING_KIND_MAX);
	ck_assert_str_eq(ring_kind_name((enum ring_kind)0), "ketama");
	ck_assert_ptr_null(ring_kind_name(RING_KIND_MAX));
}
END_TEST

START_TEST(bad_specs)
{
	struct pool p;
	struct ring *r = (struct ring *)&p;

	pool_init(&p, RING_KIND_MAX, 2);
	ck_assert_int_eq(ring_build(&p.spec, &r), ERR_INVALID);
	ck_assert_ptr_null(r);
	pool_init(&p, RING_KETAMA, 2);
	p.spec.hash = HASH_KIND_MAX;
	ck_assert_int_eq(ring_build(&p.spec, &r), ERR_INVALID);
	pool_init(&p, RING_KETAMA, 2);
	p.servers[1].host = NULL;
	ck_assert_int_eq(ring_build(&p.spec, &r), ERR_INVALID);
	pool_init(&p, RING_MODULA, 2);
	p.spec.server_count = RING_SERVERS_MAX + 1;
	ck_assert_int_eq(ring_build(&p.spec, &r), ERR_INVALID);

	/* weights: 2^32 - 1 in all is the most, and costs no memory */
	pool_init(&p, RING_MODULA, 2);
	p.servers[0].weight = UINT32_MAX;
	ck_assert_int_eq(ring_build(&p.spec, &r), ERR_INVALID);
	p.servers[0].weight = UINT32_MAX - 1;
	ck_assert_int_eq(ring_build(&p.spec, &r), ERR_NONE);
	ck_assert_uint_eq(ring_point_count(r), UINT32_MAX);
	ck_assert_uint_eq(ring_server_point_count(r, 0), UINT32_MAX - 1);
	ring_free(&r);
}
END_TEST

/* --- cost: printed, not judged, as the machine is shared -------------------------------------- */

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void print_lookup_cost(const struct ring *r, const char *what)
{
	enum { KEYS = 4096, ROUNDS = 50, LENGTH = 16 };
	static char keys[KEYS][LENGTH];
	for (int k = 0; k < KEYS; k++)
		for (int i = 0; i < LENGTH; i++) keys[k][i] = (char)('a' + test_random(26));

	double best = INFINITY;
	uint32_t sum = 0;
	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ms();
		for (int k = 0; k < KEYS; k++)
			sum += ring_lookup(r, (struct slice){ keys[k], LENGTH }, NULL);
		best = fmin(best, now_ms() - start);
	}
	printf("  %s: %.1f ns a lookup of a 16-byte key (%u)\n", what, best * 1e6 / KEYS, sum & 1);
}

START_TEST(cost)
{
	enum { SERVERS = 1000 };
	static const struct {
		uint32_t servers;
		enum hash_kind hash;
	} cases[] = { { 3, HASH_FNV1A_64 },
		      { 50, HASH_FNV1A_64 },
		      { SERVERS, HASH_FNV1A_64 },
		      { 50, HASH_MD5 } };
	static char hosts[SERVERS][24];
	static struct ring_server servers[SERVERS];

	for (int i = 0; i < SERVERS; i++) {
		snprintf(hosts[i], sizeof(hosts[i]), "10.0.%d.%d", i / 250, i % 250);
		servers[i] = (struct ring_server){ .host = hosts[i], .port = 6379, .weight = 1 };
	}
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct ring_spec spec = { .hash = cases[c].hash,
					  .servers = servers,
					  .server_count = cases[c].servers };
		char what[64];
		double start = now_ms();
		struct ring *r = build(&spec);
		snprintf(what, sizeof(what), "%u servers, %s, built in %.2f ms", cases[c].servers,
			 hash_kind_name(cases[c].hash), now_ms() - start);
		ck_assert_uint_gt(ring_point_count(r), 156 * cases[c].servers - 1);
		print_lookup_cost(r, what);
		ring_free(&r);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ring");
	TCase *t = tcase_create("ring");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, golden_variant, 0, sizeof(golden) / sizeof(golden[0]));
	tcase_add_test(t, equals_second_implementation);
	tcase_add_loop_test(t, search_every_kind, 0, RING_KIND_MAX);
	tcase_add_loop_test(t, one_point_for_two_rings, 0, RING_KIND_MAX);
	tcase_add_test(t, search_stays_short);
	tcase_add_loop_test(t, ejection_equals_remaining, 0, RING_KIND_MAX);
	tcase_add_test(t, ejection_moves_totals);
	tcase_add_test(t, libmemcached_stays_weighted);
	tcase_add_loop_test(t, no_live_server, 0, RING_KIND_MAX);
	tcase_add_loop_test(t, one_live_server, 0, RING_KIND_MAX);
	tcase_add_loop_test(t, weight_zero_is_absent, 0, RING_KIND_MAX);
	tcase_add_test(t, zero_points);
	tcase_add_loop_test(t, live_ring_has_points, 0, RING_KIND_MAX);
	tcase_add_loop_test(t, ties_of_equal_names, 0, RING_KIND_MAX);
	tcase_add_loop_test(t, ties_of_cut_names, 0, sizeof(cuts) / sizeof(cuts[0]));
	tcase_add_test(t, ties_of_different_names);
	tcase_add_loop_test(t, empty_key, 0, RING_KIND_MAX);
	tcase_add_test(t, empty_key_ignores_hash);
	tcase_add_test(t, libraries_stop_at_nul);
	tcase_add_test(t, tag_groups_keys);
	tcase_add_test(t, random_reaches_live_servers);
	tcase_add_loop_test(t, configuration_order, 0, RING_KIND_MAX);
	tcase_add_loop_test(t, server_names, 0, sizeof(names) / sizeof(names[0]));
	tcase_add_test(t, checksum_sees_changes);
	tcase_add_test(t, kind_names_round_trip);
	tcase_add_test(t, bad_specs);
	tcase_add_test(t, cost);
	suite_add_tcase(s, t);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
