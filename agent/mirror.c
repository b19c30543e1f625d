#include "agent/mirror.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"

enum { GATHER_US = 5000, RETRY_US = 500000 };

enum entry_kind { ENTRY_DATA = 'd', ENTRY_LIST = 'l' };

struct entry {
	char *key; /* the kind, then the path */
	struct mirror *mirror;
	struct mirror_node node;
	bool reading, stale; /* a read is under way; it is out of date already */
	bool refresh;	     /* and what it finds is of no use                 */
	bool forgotten;	     /* swept while being read: freed when the read ends */
	uint64_t round;
	UT_hash_handle hh;
};

struct mirror {
	struct store *store;
	struct entry *entries;
	uint64_t round;
	struct io_timer gather;
	struct io_timer retry;
	void (*on_change)(void *ctx);
	void *ctx;
};

static void entry_clear(struct entry *e)
{
	free((char *)e->node.data.p);
	for (uint32_t i = 0; i < e->node.count; i++) free(e->node.names[i]);
	free(e->node.names);
	e->node = (struct mirror_node){ 0 };
}

static void entry_free(struct entry *e)
{
	entry_clear(e);
	free(e->key);
	free(e);
}

static void entry_read(struct entry *e);

static void mirror_tell(struct mirror *m)
{
	if (!io_timer_armed(&m->gather)) io_timer_set(&m->gather, GATHER_US);
}

/* true: the entry goes on; false: it is gone, or nothing was learnt. */
static bool entry_done(struct entry *e, enum store_rc rc)
{
	struct mirror *m = e->mirror;
	e->reading = false;
	if (e->forgotten) {
		entry_free(e);
		return false;
	}
	if (rc != STORE_OK && rc != STORE_NO_NODE) {
		/* What was known stays; ask again before long. */
		e->stale = true;
		if (!io_timer_armed(&m->retry)) io_timer_set(&m->retry, RETRY_US);
		return false;
	}
	entry_clear(e);
	if (e->refresh && e->stale) return true;
	e->refresh = false;
	e->node.state = rc == STORE_OK ? MIRROR_OK : MIRROR_NONE;
	return true;
}

static void entry_on_data(void *ctx, enum store_rc rc, struct slice data,
			  const struct store_stat *stat)
{
	struct entry *e = ctx;
	if (!entry_done(e, rc)) return;
	if (rc == STORE_OK && e->node.state == MIRROR_OK) {
		char *copy = malloc(data.n + 1);
		if (!copy) abort();
		memcpy(copy, data.n ? data.p : "", data.n);
		copy[data.n] = 0;
		e->node.data = (struct slice){ copy, data.n };
		e->node.stat = *stat;
	}
	mirror_tell(e->mirror);
	if (e->stale) entry_read(e);
}

static void entry_on_list(void *ctx, enum store_rc rc, const char *const *names, uint32_t count)
{
	struct entry *e = ctx;
	if (!entry_done(e, rc)) return;
	if (e->node.state == MIRROR_OK && count > 0) {
		e->node.names = calloc(count, sizeof(*e->node.names));
		if (!e->node.names) abort();
		for (uint32_t i = 0; i < count; i++)
			if ((e->node.names[i] = strdup(names[i])) == NULL) abort();
		e->node.count = count;
	}
	mirror_tell(e->mirror);
	if (e->stale) entry_read(e);
}

static void entry_read(struct entry *e)
{
	if (e->reading) {
		e->stale = true;
		return;
	}
	e->reading = true;
	e->stale = false;
	struct store *s = e->mirror->store;
	if (e->key[0] == ENTRY_DATA) store_get(s, e->key + 1, true, entry_on_data, e);
	else store_list(s, e->key + 1, true, entry_on_list, e);
}

static void mirror_on_gathered(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct mirror *m = owner;
	m->on_change(m->ctx);
}

static void mirror_on_retry(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct mirror *m = owner;
	for (struct entry *e = m->entries; e; e = e->hh.next)
		if (e->stale) entry_read(e);
}

struct mirror *mirror_new(struct io_loop *l, struct store *s, void (*on_change)(void *ctx),
			  void *ctx)
{
	struct mirror *m = calloc(1, sizeof(*m));
	if (!m) return NULL;
	*m = (struct mirror){ .store = s, .on_change = on_change, .ctx = ctx };
	io_timer_init(&m->gather, l, mirror_on_gathered, m);
	io_timer_init(&m->retry, l, mirror_on_retry, m);
	return m;
}

static const struct mirror_node *mirror_ask(struct mirror *m, enum entry_kind kind,
					    const char *path)
{
	char key[STORE_PATH_MAX + 1];
	struct entry *e;
	snprintf(key, sizeof(key), "%c%s", (char)kind, path);
	HASH_FIND_STR(m->entries, key, e);
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e || !(e->key = strdup(key))) abort();
		e->mirror = m;
		HASH_ADD_KEYPTR(hh, m->entries, e->key, strlen(e->key), e);
		entry_read(e);
	}
	e->round = m->round;
	return &e->node;
}

const struct mirror_node *mirror_data(struct mirror *m, const char *path)
{
	return mirror_ask(m, ENTRY_DATA, path);
}

const struct mirror_node *mirror_list(struct mirror *m, const char *path)
{
	return mirror_ask(m, ENTRY_LIST, path);
}

void mirror_mark(struct mirror *m)
{
	m->round++;
}

void mirror_sweep(struct mirror *m)
{
	struct entry *e, *next;
	HASH_ITER (hh, m->entries, e, next) {
		if (e->round == m->round) continue;
		HASH_DEL(m->entries, e);
		if (e->reading) e->forgotten = true;
		else entry_free(e);
	}
}

void mirror_changed(struct mirror *m, const char *path)
{
	for (struct entry *e = m->entries; e; e = e->hh.next)
		if (!path || strcmp(e->key + 1, path) == 0) entry_read(e);
}

void mirror_refresh(struct mirror *m, const char *path)
{
	for (struct entry *e = m->entries; e; e = e->hh.next) {
		if (strcmp(e->key + 1, path) != 0) continue;
		entry_clear(e);
		e->refresh = e->reading;
		entry_read(e);
	}
}

/* After the store, whose last callbacks have come: nothing is being read any more. */
void mirror_free(struct mirror **m)
{
	if (!*m) return;
	struct entry *e, *next;
	HASH_ITER (hh, (*m)->entries, e, next) {
		HASH_DEL((*m)->entries, e);
		entry_free(e);
	}
	io_timer_stop(&(*m)->gather);
	io_timer_stop(&(*m)->retry);
	free(*m);
	*m = NULL;
}
