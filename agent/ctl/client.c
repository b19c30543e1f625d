#include "agent/ctl/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"

enum {
	CLIENT_TICK_US = 100000, /* how soon a deadline or a signal is noticed          */
	CLIENT_WINDOW = 256,	 /* reads under way at once                             */
	CLIENT_SESSION_MS = 10000,
};

struct client {
	struct io_loop loop;
	struct io_timer tick;
	struct store *store; /* NULL once it was given up */
	bool zookeeper, connected, changed;
	uint32_t timeout_ms;
};

static void client_on_session(void *ctx, enum store_session s)
{
	struct client *c = ctx;
	c->connected = s != STORE_LOST;
	c->changed = true;
}

static void client_on_change(void *ctx, const char *path)
{
	(void)path;
	((struct client *)ctx)->changed = true;
}

static void client_on_tick(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	(void)owner;
}

static void client_turn(struct client *c)
{
	io_timer_set(&c->tick, CLIENT_TICK_US);
	io_loop_turn(&c->loop);
}

static uint64_t client_deadline(const struct client *c)
{
	return clock_now_us() + c->timeout_ms * 1000ull;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static enum err client_start(struct client *c, const char *source, const char *digest,
			     struct err_at *where_out)
{
	struct store_events events = { client_on_session, client_on_change, c };
	if (strncmp(source, "zk:", 3) == 0) {
		c->zookeeper = true;
		return store_zk_new(&c->loop, source, digest, CLIENT_SESSION_MS, &events, &c->store,
				    where_out);
	}
	if (strncmp(source, "file:", 5) == 0)
		return store_file_new(&c->loop, source + 5, &events, &c->store, where_out);
	snprintf(where_out->where, sizeof(where_out->where), "%s", source);
	snprintf(where_out->why, sizeof(where_out->why),
		 "a source is zk:HOST:PORT[,...][/chroot] or file:DIR");
	return ERR_INVALID;
}

static enum err client_connect(struct client *c, const char *source, struct err_at *where_out)
{
	uint64_t deadline = client_deadline(c);
	while (!c->connected && clock_now_us() < deadline) client_turn(c);
	if (c->connected) return ERR_NONE;
	snprintf(where_out->where, sizeof(where_out->where), "%s", source);
	snprintf(where_out->why, sizeof(where_out->why), "not reached within %u ms", c->timeout_ms);
	return ERR_TIMEOUT;
}

enum err client_open(const char *source, const char *digest, uint32_t timeout_ms,
		     struct client **client_out, struct err_at *where_out)
{
	struct client *c = calloc(1, sizeof(*c));
	*where_out = (struct err_at){ 0 };
	*client_out = NULL;
	if (c == NULL || !io_loop_init(&c->loop)) {
		free(c);
		return ERR_NOMEM;
	}
	c->timeout_ms = timeout_ms;
	io_timer_init(&c->tick, &c->loop, client_on_tick, NULL);
	enum err e = client_start(c, source, digest, where_out);
	if (e == ERR_NONE) e = client_connect(c, source, where_out);
	if (e != ERR_NONE) client_close(&c);
	*client_out = c;
	return e;
}

void client_close(struct client **c)
{
	if (*c == NULL) return;
	store_free(&(*c)->store);
	io_timer_stop(&(*c)->tick);
	io_loop_fini(&(*c)->loop);
	free(*c);
	*c = NULL;
}

bool client_is_zookeeper(const struct client *c)
{
	return c->zookeeper;
}

bool client_lives(const struct client *c)
{
	return c->store != NULL;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Turn the loop until no more than `most` of *waiting are left. When the time is over the store is
 * freed, which answers whatever is still asked. */
static void client_await(struct client *c, const uint32_t *waiting, uint32_t most)
{
	uint64_t deadline = client_deadline(c);
	while (*waiting > most && clock_now_us() < deadline) client_turn(c);
	if (*waiting > most) store_free(&c->store);
}

bool client_wait_change(struct client *c, const volatile int *stop)
{
	while (!c->changed && !*stop) client_turn(c);
	c->changed = false;
	return !*stop;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct client_read {
	struct client_node *node;
	uint32_t *waiting;
};

static void client_on_data(void *ctx, enum store_rc rc, struct slice data,
			   const struct store_stat *stat)
{
	struct client_read *read = ctx;
	struct client_node *n = read->node;
	*n = (struct client_node){ .rc = rc, .stat = *stat };
	if (rc == STORE_OK) {
		n->data = malloc(data.n + 1);
		if (n->data == NULL) abort();
		memcpy(n->data, data.p, data.n);
		n->data[data.n] = '\0';
		n->n = data.n;
	}
	--*read->waiting;
}

void client_get_many(struct client *c, char *const *paths, uint32_t count, enum client_watch watch,
		     struct client_node *nodes_out)
{
	uint32_t waiting = 0;
	struct client_read *reads = calloc(count + 1, sizeof(*reads));
	if (reads == NULL) abort();
	for (uint32_t i = 0; i < count; i++) {
		nodes_out[i] = (struct client_node){ .rc = STORE_AWAY };
		client_await(c, &waiting, CLIENT_WINDOW - 1);
		if (c->store == NULL) continue;
		reads[i] = (struct client_read){ &nodes_out[i], &waiting };
		waiting++;
		store_get(c->store, paths[i], watch == CLIENT_WATCH, client_on_data, &reads[i]);
	}
	client_await(c, &waiting, 0);
	free(reads);
}

struct client_node client_get(struct client *c, const char *path, enum client_watch watch)
{
	struct client_node node;
	char *paths[] = { (char *)(uintptr_t)path };
	client_get_many(c, paths, 1, watch, &node);
	return node;
}

void client_node_fini(struct client_node *n)
{
	free(n->data);
	*n = (struct client_node){ .rc = STORE_NO_NODE };
}

struct client_listing {
	struct client_names *names;
	enum store_rc rc;
	uint32_t waiting;
};

static void client_on_list(void *ctx, enum store_rc rc, const char *const *names, uint32_t count)
{
	struct client_listing *l = ctx;
	l->rc = rc;
	l->waiting = 0;
	if (rc != STORE_OK) return;
	l->names->names = calloc(count + 1, sizeof(*names));
	if (l->names->names == NULL) abort();
	for (uint32_t i = 0; i < count; i++)
		if ((l->names->names[i] = strdup(names[i])) == NULL) abort();
	l->names->count = count;
}

enum store_rc client_list(struct client *c, const char *path, enum client_watch watch,
			  struct client_names *out)
{
	struct client_listing l = { .names = out, .rc = STORE_AWAY, .waiting = 1 };
	*out = (struct client_names){ 0 };
	if (c->store == NULL) return STORE_AWAY;
	store_list(c->store, path, watch == CLIENT_WATCH, client_on_list, &l);
	client_await(c, &l.waiting, 0);
	return l.rc;
}

void client_names_fini(struct client_names *n)
{
	for (uint32_t i = 0; i < n->count; i++) free(n->names[i]);
	free(n->names);
	*n = (struct client_names){ 0 };
}

/* --- writing ---------------------------------------------------------------------------------- */

struct client_write {
	enum store_rc rc;
	struct store_stat stat;
	uint32_t waiting;
};

static void client_on_done(void *ctx, enum store_rc rc, const struct store_stat *stat,
			   const char *path)
{
	struct client_write *w = ctx;
	(void)path;
	*w = (struct client_write){ .rc = rc, .stat = *stat };
}

enum store_rc client_put(struct client *c, const char *path, struct slice data, int32_t version,
			 struct store_stat *stat_out)
{
	struct client_write w = { .rc = STORE_AWAY, .waiting = 1 };
	if (c->store == NULL) return STORE_AWAY;
	store_put(c->store, path, data, version, client_on_done, &w);
	client_await(c, &w.waiting, 0);
	if (stat_out != NULL) *stat_out = w.stat;
	return w.rc;
}

enum store_rc client_create(struct client *c, const char *path, struct slice data, uint32_t flags)
{
	struct client_write w = { .rc = STORE_AWAY, .waiting = 1 };
	if (c->store == NULL) return STORE_AWAY;
	store_create(c->store, path, data, flags, client_on_done, &w);
	client_await(c, &w.waiting, 0);
	return w.rc;
}

enum store_rc client_delete(struct client *c, const char *path, int32_t version)
{
	struct client_write w = { .rc = STORE_AWAY, .waiting = 1 };
	if (c->store == NULL) return STORE_AWAY;
	store_delete(c->store, path, version, client_on_done, &w);
	client_await(c, &w.waiting, 0);
	return w.rc;
}

enum store_rc client_sync(struct client *c)
{
	struct client_write w = { .rc = STORE_AWAY, .waiting = 1 };
	if (c->store == NULL) return STORE_AWAY;
	store_sync(c->store, client_on_done, &w);
	client_await(c, &w.waiting, 0);
	return w.rc;
}

static enum store_rc client_delete_children(struct client *c, const char *path)
{
	struct client_names names;
	enum store_rc rc = client_list(c, path, CLIENT_ONCE, &names);
	for (uint32_t i = 0; i < names.count && rc == STORE_OK; i++) {
		char child[STORE_PATH_MAX];
		snprintf(child, sizeof(child), "%s/%s", path, names.names[i]);
		rc = client_delete_tree(c, child);
	}
	client_names_fini(&names);
	return rc;
}

enum store_rc client_delete_tree(struct client *c, const char *path)
{
	enum store_rc rc = client_delete(c, path, STORE_ANY_VERSION);
	/* somebody may go on making children for a while: agents that have not noticed */
	for (int i = 0; i < 10 && rc == STORE_NOT_EMPTY; i++) {
		rc = client_delete_children(c, path);
		if (rc == STORE_OK) rc = client_delete(c, path, STORE_ANY_VERSION);
	}
	return rc == STORE_NO_NODE ? STORE_OK : rc;
}
