/* ring_build.c - from a list of servers to the tables of a ring. */
#include <endian.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "common/giveway.h"
#include "common/ring_variant.h"

/* Rounds that take some 50 us: a point to make, to sort, to look at. */
enum { PLACE_ROUNDS = 1024, SORT_ROUNDS = 16384, FILL_ROUNDS = 8192, SUM_ROUNDS = 2048 };
enum { HUGE_PAGE = 2 * 1024 * 1024 };

struct ring_draft { /* everything of a build that does not outlive it */
	const struct ring_spec *spec;
	const struct ring_variant *variant;
	struct ring_set set;
	struct ring_plan plan;
	char *names; /* all members' names, each with its NUL */
};

static void draft_fini(struct ring_draft *d)
{
	free(d->set.at);
	free(d->plan.at);
	free(d->names);
}

/* --- the live servers ------------------------------------------------------------------------- */

static bool server_is_live(const struct ring_server *s)
{
	return !s->ejected && s->weight > 0;
}

static enum err draft_count(struct ring_draft *d, size_t *names_bytes_out)
{
	uint64_t weight_total = 0;
	size_t bytes = 0;

	for (uint32_t i = 0; i < d->spec->server_count; i++) {
		const struct ring_server *s = &d->spec->servers[i];
		if (s->host == NULL) return ERR_INVALID;
		if (s->weight > 1) d->set.any_weight = true;
		if (!server_is_live(s)) continue;
		d->set.count++;
		weight_total += s->weight;
		bytes += d->variant->name(s, NULL, 0) + 1;
	}
	if (weight_total > UINT32_MAX) return ERR_INVALID;
	d->set.weight_total = (uint32_t)weight_total;
	*names_bytes_out = bytes;
	return ERR_NONE;
}

static int member_cmp(const void *pa, const void *pb, void *variant)
{
	const struct ring_member *a = pa, *b = pb;
	int by_name = ((const struct ring_variant *)variant)->order(a, b);
	if (by_name != 0) return by_name;
	return a->server < b->server ? -1 : a->server > b->server;
}

static enum err draft_collect(struct ring_draft *d)
{
	size_t left;
	enum err e = draft_count(d, &left);
	if (e != ERR_NONE || d->set.count == 0) return e;

	d->set.at = calloc(d->set.count, sizeof(*d->set.at));
	d->names = malloc(left);
	if (d->set.at == NULL || d->names == NULL) return ERR_NOMEM;

	char *name = d->names;
	struct ring_member *m = d->set.at;
	for (uint32_t i = 0; i < d->spec->server_count; i++) {
		const struct ring_server *s = &d->spec->servers[i];
		if (!server_is_live(s)) continue;
		size_t length = d->variant->name(s, name, left);
		*m++ = (struct ring_member){
			.name = { name, length },
			.name_sum = XXH64(name, length, 0),
			.weight = s->weight,
			.server = i,
		};
		name += length + 1;
		left -= length + 1;
	}
	if (d->variant->order)
		qsort_r(d->set.at, d->set.count, sizeof(*d->set.at), member_cmp,
			(void *)d->variant);
	return ERR_NONE;
}

/* --- their points ----------------------------------------------------------------------------- */

void ring_plan_add(struct ring_plan *p, uint32_t point, uint32_t member)
{
	if (p->count == p->capacity) {
		size_t capacity = p->capacity ? 2 * p->capacity : 1024;
		uint64_t *at = reallocarray(p->at, capacity, sizeof(*at));
		if (at == NULL) {
			p->failed = true;
			return;
		}
		p->at = at;
		p->capacity = capacity;
	}
	p->at[p->count++] = (uint64_t)point << 32 | member;
	give_way_each(PLACE_ROUNDS, p->count);
}

/* One pass of a byte-wise radix sort. */
static void sort_pass(const uint64_t *from, uint64_t *to, size_t count, unsigned shift)
{
	size_t place[256] = { 0 };
	for (size_t i = 0; i < count; i++) {
		place[(uint8_t)(from[i] >> shift)]++;
		give_way_each(SORT_ROUNDS, i);
	}
	for (size_t b = 0, sum = 0; b < 256; b++) {
		size_t n = place[b];
		place[b] = sum;
		sum += n;
	}
	for (size_t i = 0; i < count; i++) {
		to[place[(uint8_t)(from[i] >> shift)]++] = from[i];
		give_way_each(SORT_ROUNDS, i);
	}
}

/* Sorts by point. Stable, which is the tie rule: equal points stay in the order placed. An even
 * number of passes ends in the array they began in. */
static enum err plan_sort(struct ring_plan *p)
{
	uint64_t *scratch = reallocarray(NULL, p->count, sizeof(*scratch));
	if (scratch == NULL) return ERR_NOMEM;
	for (unsigned shift = 32; shift < 64; shift += 16) {
		sort_pass(p->at, scratch, p->count, shift);
		sort_pass(scratch, p->at, p->count, shift + 8);
	}
	free(scratch);
	return ERR_NONE;
}

static enum err draft_place(struct ring_draft *d)
{
	if (d->set.count == 0) return ERR_NONE;
	d->variant->place(&d->set, &d->plan);
	if (d->plan.failed) return ERR_NOMEM;
	return plan_sort(&d->plan);
}

/* --- the ring --------------------------------------------------------------------------------- */

/* At least a bucket a point, over the range that points occupy: some key hashes place all
 * points below 2^15, which buckets over all 32 bits would put into one. */
static void ring_size_buckets(struct ring *r, uint32_t last_point)
{
	uint64_t buckets = 2;
	while (buckets < r->point_count) buckets *= 2;
	while ((last_point >> r->shift) >= buckets) r->shift++;
	r->bucket_count = (last_point >> r->shift) + 1;
}

/* A large ring is read at random, once per request: in huge pages, where the system has some to
 * give, finding the address costs no more than in a small ring. */
static void *ring_memory(size_t bytes)
{
	if (bytes < HUGE_PAGE / 2) return malloc(bytes);
	bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	void *p = aligned_alloc(HUGE_PAGE, bytes);
	if (p) (void)madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

static struct ring *ring_alloc(const struct ring_plan *plan)
{
	struct ring head = { .point_count = (uint32_t)plan->count, .modulus = plan->modulus };
	if (plan->count > 0) ring_size_buckets(&head, (uint32_t)(plan->at[plan->count - 1] >> 32));

	const size_t slots = (size_t)head.bucket_count + 1, points = plan->count + 1;
	struct ring *r =
	    ring_memory(sizeof(*r) + slots * sizeof(*r->slots) + 2 * points * sizeof(*r->points));
	if (r == NULL) return NULL;
	*r = head;
	r->points = (uint32_t *)(r->slots + slots);
	r->owners = r->points + points;
	return r;
}

/* `first`: the first point in this bucket or later. */
static void ring_fill_slot(struct ring *r, uint32_t bucket, uint32_t first)
{
	const uint32_t n = r->point_count, second = first < n ? first + 1 : n;
	bool more = second < n && (r->points[second] >> r->shift) == bucket;
	r->slots[bucket] = (struct ring_slot){
		.point = r->points[first],
		.more = more ? second : 0,
		.owners = { r->owners[first], r->owners[second] },
	};
}

static void ring_fill(struct ring *r, const struct ring_draft *d)
{
	const uint32_t n = r->point_count;
	for (uint32_t i = 0; i < n; i++) {
		r->points[i] = (uint32_t)(d->plan.at[i] >> 32);
		r->owners[i] = d->set.at[(uint32_t)d->plan.at[i]].server;
		give_way_each(FILL_ROUNDS, i);
	}
	r->points[n] = UINT32_MAX;
	r->owners[n] = n > 0 ? r->owners[0] : RING_NONE;

	for (uint32_t bucket = 0, i = 0; bucket <= r->bucket_count; bucket++) {
		while (i < n && (r->points[i] >> r->shift) < bucket) i++;
		ring_fill_slot(r, bucket, i);
		give_way_each(FILL_ROUNDS, bucket);
	}
}

static uint64_t sum_text(uint64_t sum, const char *text)
{
	return XXH64(text, strlen(text), sum);
}

/* What decides a key's server: the hash and tag, and the points with their servers' names. Where
 * the kind brings its own hash, the kind's name stands for it. */
static uint64_t draft_checksum(const struct ring_draft *d)
{
	const struct ring_spec *spec = d->spec;
	const bool spec_hash = d->variant->key_hash == NULL && !d->variant->draws;
	uint64_t sum =
	    sum_text(0, spec_hash ? hash_kind_name(spec->hash) : ring_kind_name(spec->kind));
	if (spec->hash_tag[0]) sum = XXH64(spec->hash_tag, sizeof(spec->hash_tag), sum);

	for (size_t i = 0; i < d->plan.count; i++) {
		const struct ring_member *m = &d->set.at[(uint32_t)d->plan.at[i]];
		const uint64_t pair[2] = { htole64(d->plan.at[i] >> 32), htole64(m->name_sum) };
		sum = XXH64(pair, sizeof(pair), sum);
		give_way_each(SUM_ROUNDS, i);
	}
	return sum;
}

static enum err draft_finish(const struct ring_draft *d, struct ring **ring_out)
{
	struct ring *r = ring_alloc(&d->plan);
	if (r == NULL) return ERR_NOMEM;
	ring_fill(r, d);

	const struct slice empty = { "", 0 };
	r->key_hash = d->set.key_hash;
	r->empty_hash = d->variant->hashes_empty_key ? r->key_hash(empty) : 0;
	memcpy(r->tag, d->spec->hash_tag, sizeof(r->tag));
	r->draws = d->variant->draws;
	/* xorshift stays at 0 for ever, so a zero seed becomes some other number */
	r->random_seed = d->spec->random_seed ? d->spec->random_seed : UINT64_C(0x9e3779b97f4a7c15);
	r->member_count = d->set.count;
	r->sole = d->set.count > 0 ? d->set.at[0].server : RING_NONE;
	r->checksum = draft_checksum(d);
	*ring_out = r;
	return ERR_NONE;
}

enum err ring_build(const struct ring_spec *spec, struct ring **ring_out)
{
	*ring_out = NULL;
	if ((unsigned)spec->kind >= RING_KIND_MAX || (unsigned)spec->hash >= HASH_KIND_MAX ||
	    spec->server_count > RING_SERVERS_MAX)
		return ERR_INVALID;

	struct ring_draft d = { .spec = spec, .variant = ring_kind_variant(spec->kind) };
	d.set.key_hash = d.variant->key_hash ? d.variant->key_hash : hash_kind_fn(spec->hash);

	enum err e = draft_collect(&d);
	if (e == ERR_NONE) e = draft_place(&d);
	if (e == ERR_NONE) e = draft_finish(&d, ring_out);
	draft_fini(&d);
	return e;
}
