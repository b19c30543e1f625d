/* dual_redis_import.c - a key is brought from b to a: dump, restore, unlink.
 *
 * The order is what makes it safe (common/redis_import.h, tests/model/transition_storage.pml): b
 * keeps the key until a has it and its mark, and the client's command waits until b has let go.
 * Should any step fail, the command fails as well; the next one that touches the key takes it up
 * where this one stopped.
 *
 * A key that is too large to be moved while clients wait stays where it is, readable. A cache
 * cannot wait for a mover: there a write drops it, with the same steps and no value.
 */
#include "proxy/routes/dual_redis.h"

#include <stdlib.h>
#include <xxhash.h>

#include "common/redis_import.h"

enum { IMPORT_BUCKETS = 256, MOVED_SLOTS = 4096, MOVED_KEY_MAX = 47 };

/* A key that b was found not to have. Under one mark that stays so: nobody writes to b, and what
 * could still reach it is refused. Only a new epoch may bring keys there. */
struct moved {
	uint64_t key_hash, mark_hash;
	uint64_t a, b; /* dest.id: never used again for another server */
	uint8_t n;
	char key[MOVED_KEY_MAX];
};
_Static_assert(sizeof(struct moved) == 80, "compared as a whole: it has no gaps");

/* Of one worker: the flows that import, by key; and some of the keys that need no import. */
struct imports {
	LIST_HEAD(, redis_flow) buckets[IMPORT_BUCKETS];
	struct moved moved[MOVED_SLOTS];
};

static struct imports *imports_get(struct core *core)
{
	if (!core->imports) core->imports = calloc(1, sizeof(*core->imports));
	if (!core->imports) abort();
	return core->imports;
}

static uint64_t hash_of(struct slice s)
{
	return XXH3_64bits(s.p, s.n);
}

static struct moved moved_entry(const struct transition *t, struct slice key, const struct dest *a,
				const struct dest *b)
{
	struct moved m = { .key_hash = hash_of(key), .a = a->id, .b = b->id, .n = (uint8_t)key.n };
	m.mark_hash = hash_of(slice_of(t->rules.mark ? t->rules.mark : ""));
	memcpy(m.key, key.p, key.n);
	return m;
}

bool import_is_done(struct core *core, const struct transition *t, struct slice key,
		    const struct dest *a, const struct dest *b)
{
	if (!core->imports || key.n > MOVED_KEY_MAX) return false;
	struct moved m = moved_entry(t, key, a, b);
	return memcmp(&core->imports->moved[m.key_hash % MOVED_SLOTS], &m, sizeof(m)) == 0;
}

static void import_remember(const struct redis_flow *f)
{
	struct imports *all = f->base.core->imports;
	struct slice key = f->key->name;
	if (key.n > MOVED_KEY_MAX) return;
	struct moved m = moved_entry(f->transition, key, f->base.a, f->key->b);
	all->moved[m.key_hash % MOVED_SLOTS] = m;
}

static const char *import_mark(const struct redis_flow *f)
{
	const char *mark = f->transition->rules.mark;
	return mark ? mark : "";
}

/* The flow that brings the same key the same way under the same mark, if there is one. A newer
 * snapshot's does not count for one of an older: the epoch may be another. */
static struct redis_flow *import_leader(struct imports *all, const struct redis_flow *f)
{
	struct redis_flow *l;
	LIST_FOREACH (l, &all->buckets[f->key_hash % IMPORT_BUCKETS], leader) {
		if (l->key_hash == f->key_hash && slice_eq(l->key->name, f->key->name) &&
		    l->base.a == f->base.a && l->key->b == f->key->b &&
		    strcmp(import_mark(l), import_mark(f)) == 0)
			return l;
	}
	return NULL;
}

static void import_count(const struct redis_flow *f, enum pool_metric m)
{
	dual_count(f->base.pool, f->base.core, m);
}

static void import_tell(struct redis_flow *f, const struct import_end *end)
{
	import_done_fn done = f->done;
	f->done = NULL;
	f->key = NULL;
	done(f, end);
}

static void import_finish(struct redis_flow *f, const struct import_end *end)
{
	STAILQ_HEAD(, redis_flow) followers = STAILQ_HEAD_INITIALIZER(followers);
	struct redis_flow *next;
	if (end->how == IMPORT_UNSURE) import_count(f, POOL_import_errors);
	if (end->how == IMPORT_MOVED) import_remember(f);
	LIST_REMOVE(f, leader);
	STAILQ_CONCAT(&followers, &f->followers);
	import_tell(f, end); /* which may end it */
	while ((next = STAILQ_FIRST(&followers))) {
		STAILQ_REMOVE_HEAD(&followers, follower);
		import_tell(next, end);
	}
}

static void import_fail(struct redis_flow *f, const struct answer *a)
{
	import_finish(
	    f, &(struct import_end){ .how = IMPORT_UNSURE, .err = a->err, .server = a->server });
}

static void import_refuse(struct redis_flow *f, const char *why, const struct answer *a)
{
	char text[256];
	struct slice said = a->bytes;
	if (said.n > 120) said.n = 120;
	int n = snprintf(text, sizeof(text) - 2, "-TRYAGAIN %s: server %s said %.*s", why,
			 a->server ? a->server : "", (int)said.n, said.p);
	/* One line, whatever it said. */
	while (n > 0 && (text[n - 1] == '\r' || text[n - 1] == '\n')) n--;
	for (int i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ') text[i] = ' ';
	memcpy(text + n, "\r\n", 2);
	import_finish(
	    f, &(struct import_end){ .how = IMPORT_UNSURE, .text = { text, (size_t)n + 2 } });
}

/* What an answer means that is not simply good. true: the import has ended. */
static bool import_ends(struct redis_flow *f, enum redis_import_result result,
			const struct answer *a)
{
	switch (result) {
	case IMPORT_OK: return false;
	case IMPORT_ABSENT:
		import_finish(f, &(struct import_end){ .how = IMPORT_MOVED });
		return true;
	case IMPORT_BIG:
		import_finish(f, &(struct import_end){ .how = IMPORT_TOO_BIG });
		return true;
	case IMPORT_REFUSED:
		import_refuse(f, "the transition has gone on, and the key is not moved yet", a);
		return true;
	case IMPORT_FAILED: import_refuse(f, "the key cannot be moved", a); return true;
	}
	return true;
}

static void import_on_unlink(struct flow *flow, const struct answer *a)
{
	struct redis_flow *f = (struct redis_flow *)flow;
	if (a->err) {
		import_fail(f, a);
	} else if (!import_ends(f, redis_import_read(IMPORT_UNLINK, a->bytes, NULL), a)) {
		import_count(f, f->drops ? POOL_import_drops : POOL_imported);
		import_finish(f, &(struct import_end){ .how = IMPORT_MOVED, .brought = true });
	}
}

static void import_on_restore(struct flow *flow, const struct answer *a)
{
	struct redis_flow *f = (struct redis_flow *)flow;
	struct scratch *out = &flow->core->text;
	if (a->err) {
		import_fail(f, a);
		return;
	}
	if (import_ends(f, redis_import_read(IMPORT_RESTORE, a->bytes, NULL), a)) return;
	scratch_clear(out);
	redis_import_put_unlink(out, f->key->name, import_mark(f));
	flow_call(flow, f->key->b, redis_import_op(IMPORT_UNLINK), scratch_slice(out),
		  (struct slice){ 0 }, NULL, import_on_unlink);
}

bool import_may_drop(const struct redis_flow *f)
{
	return !f->transition->rules.storage && f->info->access != OP_READ;
}

static void import_on_dump(struct flow *flow, const struct answer *a)
{
	struct redis_flow *f = (struct redis_flow *)flow;
	struct scratch *out = &flow->core->text;
	struct redis_dump dump;
	if (a->err) {
		import_fail(f, a);
		return;
	}
	enum redis_import_result result = redis_import_read(IMPORT_DUMP, a->bytes, &dump);
	f->drops = result == IMPORT_BIG && import_may_drop(f);
	if (f->drops) dump = (struct redis_dump){ SLICE("\r\n"), -1 };
	else if (import_ends(f, result, a)) return;
	scratch_clear(out);
	redis_import_put_restore(out, f->key->name, import_mark(f), &dump);
	flow_call(flow, flow->a, redis_import_op(IMPORT_RESTORE), scratch_slice(out), dump.value,
		  a->buf, import_on_restore);
}

void import_start(struct redis_flow *f, const struct redis_key *key, import_done_fn done)
{
	struct core *core = f->base.core;
	struct imports *all = imports_get(core);
	struct scratch *out = &core->text;
	f->key = key;
	f->done = done;
	f->key_hash = hash_of(key->name);
	struct redis_flow *leader = import_leader(all, f);
	if (leader) {
		STAILQ_INSERT_TAIL(&leader->followers, f, follower);
		return;
	}
	STAILQ_INIT(&f->followers);
	LIST_INSERT_HEAD(&all->buckets[f->key_hash % IMPORT_BUCKETS], f, leader);
	scratch_clear(out);
	redis_import_put_dump(out, key->name, import_mark(f), f->transition->rules.move_max_bytes);
	flow_call(&f->base, key->b, redis_import_op(IMPORT_DUMP), scratch_slice(out),
		  (struct slice){ 0 }, NULL, import_on_dump);
}

void imports_free(struct core *core)
{
	free(core->imports);
	core->imports = NULL;
}
