#include "agent/chain.h"

#include <stdlib.h>

struct link {
	struct link *next;
	char *path, *data;
	size_t n;
	uint32_t flags;
	int32_t version;
	bool create, may_exist;
};

struct chain {
	struct store *store;
	struct link *head, **tail;
	void (*done)(void *ctx, enum store_rc rc);
	void *ctx;
};

struct chain *chain_new(struct store *s, void (*done)(void *ctx, enum store_rc rc), void *ctx)
{
	struct chain *c = calloc(1, sizeof(*c));
	if (!c) abort();
	*c = (struct chain){ .store = s, .done = done, .ctx = ctx };
	c->tail = &c->head;
	return c;
}

static struct link *chain_add(struct chain *c, const char *path, struct slice data)
{
	struct link *l = calloc(1, sizeof(*l));
	if (!l || !(l->path = strdup(path)) || !(l->data = malloc(data.n + 1))) abort();
	memcpy(l->data, data.p, data.n);
	l->n = data.n;
	*c->tail = l;
	c->tail = &l->next;
	return l;
}

void chain_create(struct chain *c, const char *path, struct slice data, uint32_t flags)
{
	struct link *l = chain_add(c, path, data);
	l->create = l->may_exist = true;
	l->flags = flags;
}

void chain_put(struct chain *c, const char *path, struct slice data, int32_t version)
{
	struct link *l = chain_add(c, path, data);
	l->version = version;
	l->create = version < 0;
	l->flags = STORE_PARENTS;
}

static void link_free(struct link *l)
{
	free(l->path);
	free(l->data);
	free(l);
}

static void chain_next(struct chain *c);

static void chain_on_done(void *ctx, enum store_rc rc, const struct store_stat *stat,
			  const char *path)
{
	(void)stat;
	(void)path;
	struct chain *c = ctx;
	struct link *l = c->head;
	if (rc == STORE_NODE_EXISTS && l->may_exist) rc = STORE_OK;
	c->head = l->next;
	link_free(l);
	if (rc == STORE_OK && c->head) {
		chain_next(c);
		return;
	}
	while (c->head) {
		l = c->head;
		c->head = l->next;
		link_free(l);
	}
	c->done(c->ctx, rc);
	free(c);
}

static void chain_next(struct chain *c)
{
	struct link *l = c->head;
	struct slice data = { l->data, l->n };
	if (l->create) store_create(c->store, l->path, data, l->flags, chain_on_done, c);
	else store_put(c->store, l->path, data, l->version, chain_on_done, c);
}

void chain_run(struct chain *c)
{
	chain_next(c);
}
