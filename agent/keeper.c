#include "agent/keeper.h"

#include <stdlib.h>

#include "common/log.h"

#include "common/memory.h"

enum { RETRY_US = 1000000 };

struct kept {
	char *path;
	struct keeper *keeper;
	char *data;
	size_t n;
	bool ephemeral, wanted;
	bool founding; /* any content will do */
	bool there;    /* as far as we know, with the data and of this session */
	bool made;     /* it has been there since the session was last established */
	bool busy;     /* a write is under way            */
	bool again;    /* what is wanted changed during it */
	UT_hash_handle hh;
};

struct keeper {
	struct store *store;
	struct kept *kept;
	struct io_timer retry;
	bool connected;
};

static void kept_work(struct kept *x);

static void kept_free(struct kept *x)
{
	HASH_DEL(x->keeper->kept, x);
	free(x->path);
	free(x->data);
	free(x);
}

static void kept_done(struct kept *x, bool good)
{
	struct keeper *k = x->keeper;
	x->busy = false;
	bool again = x->again;
	x->again = false;
	if (good && !again) {
		x->there = x->made = x->wanted;
		if (!x->wanted) kept_free(x);
		return;
	}
	if (again && good) {
		x->there = false;
		kept_work(x);
		return;
	}
	x->there = false;
	if (!io_timer_armed(&k->retry)) io_timer_set(&k->retry, RETRY_US);
}

static void kept_on_deleted(void *ctx, enum store_rc rc, const struct store_stat *stat,
			    const char *path)
{
	(void)stat;
	(void)path;
	struct kept *x = ctx;
	bool gone = rc == STORE_OK || rc == STORE_NO_NODE;
	if (gone && x->wanted) {
		/* Another session's node stood in the way. */
		x->busy = false;
		x->again = false;
		kept_work(x);
		return;
	}
	kept_done(x, gone);
}

static void kept_on_put(void *ctx, enum store_rc rc, const struct store_stat *stat,
			const char *path)
{
	(void)stat;
	(void)path;
	kept_done(ctx, rc == STORE_OK);
}

static void kept_on_found(void *ctx, enum store_rc rc, struct slice data,
			  const struct store_stat *stat)
{
	struct kept *x = ctx;
	struct store *s = x->keeper->store;
	if (rc != STORE_OK) kept_done(x, false);
	else if (x->ephemeral && !stat->mine)
		store_delete(s, x->path, stat->version, kept_on_deleted, x);
	else if (x->founding || (data.n == x->n && memcmp(data.p, x->data, x->n) == 0))
		kept_done(x, true);
	else
		store_put(s, x->path, (struct slice){ x->data, x->n }, STORE_ANY_VERSION,
			  kept_on_put, x);
}

static void kept_on_created(void *ctx, enum store_rc rc, const struct store_stat *stat,
			    const char *path)
{
	(void)stat;
	(void)path;
	struct kept *x = ctx;
	if (rc == STORE_NODE_EXISTS) {
		store_get(x->keeper->store, x->path, false, kept_on_found, x);
		return;
	}
	if (rc != STORE_OK && rc != STORE_AWAY)
		log_warn("%s cannot be written: %s", x->path, store_rc_text(rc));
	kept_done(x, rc == STORE_OK);
}

static void kept_work(struct kept *x)
{
	struct store *s = x->keeper->store;
	if (x->busy) {
		x->again = true;
		return;
	}
	if (!x->keeper->connected) return;
	x->busy = true;
	if (!x->wanted) store_delete(s, x->path, STORE_ANY_VERSION, kept_on_deleted, x);
	else
		store_create(s, x->path, (struct slice){ x->data, x->n },
			     STORE_PARENTS | (x->ephemeral ? STORE_EPHEMERAL : 0), kept_on_created,
			     x);
}

static void keeper_on_retry(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct keeper *k = owner;
	struct kept *x, *next;
	HASH_ITER (hh, k->kept, x, next) {
		if (!x->there && !x->busy) kept_work(x);
	}
}

struct keeper *keeper_new(struct io_loop *l, struct store *s)
{
	struct keeper *k = calloc(1, sizeof(*k));
	if (!k) return NULL;
	k->store = s;
	io_timer_init(&k->retry, l, keeper_on_retry, k);
	return k;
}

void keeper_set(struct keeper *k, const char *path, struct slice data, bool ephemeral)
{
	struct kept *x;
	HASH_FIND_STR(k->kept, path, x);
	if (x && x->wanted && x->n == data.n && memcmp(x->data, data.p, data.n) == 0) return;
	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x || !(x->path = strdup(path))) abort();
		x->keeper = k;
		HASH_ADD_KEYPTR(hh, k->kept, x->path, strlen(x->path), x);
	}
	free(x->data);
	x->data = malloc(data.n + 1);
	if (!x->data) abort();
	memcpy(x->data, data.p, data.n);
	x->n = data.n;
	x->ephemeral = ephemeral;
	x->wanted = true;
	x->there = false;
	kept_work(x);
}

void keeper_found(struct keeper *k, const char *path, struct slice data)
{
	struct kept *x;
	keeper_set(k, path, data, false);
	HASH_FIND_STR(k->kept, path, x);
	if (x) x->founding = true;
}

void keeper_unset(struct keeper *k, const char *path)
{
	struct kept *x;
	HASH_FIND_STR(k->kept, path, x);
	if (!x || !x->wanted) return;
	x->wanted = false;
	x->there = false;
	kept_work(x);
}

void keeper_each(struct keeper *k, const char *prefix, void (*fn)(void *ctx, const char *path),
		 void *ctx)
{
	struct kept *x, *next;
	HASH_ITER (hh, k->kept, x, next) {
		if (x->wanted && strncmp(x->path, prefix, strlen(prefix)) == 0) fn(ctx, x->path);
	}
}

bool keeper_wants(const struct keeper *k, const char *path)
{
	const struct kept *x;
	HASH_FIND_STR(k->kept, path, x);
	return x && x->wanted;
}

bool keeper_has(const struct keeper *k, const char *path)
{
	const struct kept *x;
	HASH_FIND_STR(k->kept, path, x);
	return x && x->wanted && x->made && k->connected;
}

void keeper_session(struct keeper *k, enum store_session session)
{
	struct kept *x, *next;
	k->connected = session != STORE_LOST;
	if (!k->connected) return;
	HASH_ITER (hh, k->kept, x, next) {
		/* Even in the same session: an operator may have removed it meanwhile. */
		x->there = x->made = false;
		kept_work(x);
	}
}

/* After the store: nothing is under way any more. */
void keeper_free(struct keeper **k)
{
	if (!*k) return;
	struct kept *x, *next;
	HASH_ITER (hh, (*k)->kept, x, next) {
		kept_free(x);
	}
	io_timer_stop(&(*k)->retry);
	free(*k);
	*k = NULL;
}
