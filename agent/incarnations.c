#include "agent/incarnations.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/probe.h"
#include "common/memory.h"
#include "common/tree_topology.h"

enum { ROUND_MS = 3000, TIMEOUT_MS = 1000, AT_ONCE = 64 };

struct watched {
	struct incarnations *owner;
	char *key; /* "host port name" */
	char *host, *name;
	uint16_t port;
	struct probe *probe;
	char incarnation[PROBE_INCARNATION_MAX];
	bool wanted, due;
	UT_hash_handle hh;
};

struct incarnations {
	struct io_loop *loop;
	struct watched *watched;
	struct io_timer round;
	uint32_t running;
	enum probe_kind kind;
	char *auth_user, *auth_password;
	uint32_t db;
	void (*on_restart)(void *ctx, const char *server, const char *why);
	void *ctx;
};

static void incarnations_more(struct incarnations *n);

static void watched_on_probed(void *ctx, const struct probe_result *r)
{
	struct watched *x = ctx;
	struct incarnations *n = x->owner;
	x->probe = NULL;
	n->running--;
	bool known = r->outcome == PROBE_GOOD && r->incarnation[0];
	bool other = known && x->incarnation[0] && strcmp(x->incarnation, r->incarnation) != 0;
	if (known) snprintf(x->incarnation, sizeof(x->incarnation), "%s", r->incarnation);
	incarnations_more(n);
	if (other) n->on_restart(n->ctx, x->name, "was started anew: what it held may be gone");
}

static void incarnations_more(struct incarnations *n)
{
	struct watched *x, *next;
	HASH_ITER (hh, n->watched, x, next) {
		if (n->running >= AT_ONCE) return;
		if (!x->due || x->probe) continue;
		struct probe_target t = { .kind = n->kind,
					  .host = x->host,
					  .port = x->port,
					  .pool = "",
					  .server = x->name,
					  .auth_user = n->auth_user,
					  .auth_password = n->auth_password,
					  .db = n->db,
					  .timeout_ms = TIMEOUT_MS };
		x->due = false;
		n->running++;
		x->probe = probe_start(n->loop, &t, watched_on_probed, x);
	}
}

static void incarnations_on_round(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct incarnations *n = owner;
	struct watched *x, *next;
	HASH_ITER (hh, n->watched, x, next) {
		x->due = true;
	}
	incarnations_more(n);
	io_timer_set(&n->round, ROUND_MS * 1000ull);
}

static void watched_free(struct watched *x)
{
	if (x->probe) x->owner->running--;
	probe_cancel(&x->probe);
	HASH_DEL(x->owner->watched, x);
	free(x->key);
	free(x->host);
	free(x->name);
	free(x);
}

static void watched_want(struct incarnations *n, const struct server_spec *s)
{
	char key[600];
	struct watched *x;
	snprintf(key, sizeof(key), "%.250s %u %.250s", s->host, s->port, s->ring_name);
	HASH_FIND_STR(n->watched, key, x);
	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x || !(x->key = strdup(key)) || !(x->host = strdup(s->host)) ||
		    !(x->name = strdup(s->ring_name)))
			abort();
		x->owner = n;
		x->port = s->port;
		x->due = true;
		HASH_ADD_KEYPTR(hh, n->watched, x->key, strlen(x->key), x);
	}
	x->wanted = true;
}

static void set_text(char **slot, const char *text)
{
	char *copy = text ? strdup(text) : NULL;
	if (text && !copy) abort();
	free(*slot);
	*slot = copy;
}

static void incarnations_want(struct incarnations *n, const struct pool_state *state,
			      const struct pool_spec *ring, const struct pool_spec *p, bool is_next)
{
	for (uint32_t i = 0; i < p->server_count; i++) {
		const struct server_spec *s = &p->servers[i];
		if (tree_server_ejection(state, ring, s, is_next)) continue;
		if (!transition_is_lost(&state->transition->rules, s->ring_name))
			watched_want(n, s);
	}
}

void incarnations_watch(struct incarnations *n, const struct pool_state *state,
			const struct pool_spec *ring, const struct pool_spec *next)
{
	struct watched *x, *after;
	n->kind = next->protocol == PROTOCOL_REDIS ? PROBE_REDIS : PROBE_MEMCACHED;
	n->db = next->redis_db;
	set_text(&n->auth_user, next->auth_user);
	set_text(&n->auth_password, next->auth_password);
	HASH_ITER (hh, n->watched, x, after) {
		x->wanted = false;
	}
	incarnations_want(n, state, ring, ring, false);
	incarnations_want(n, state, ring, next, true);
	HASH_ITER (hh, n->watched, x, after) {
		if (!x->wanted) watched_free(x);
	}
	if (!io_timer_armed(&n->round)) incarnations_on_round(0, 0, n);
	else incarnations_more(n);
}

void incarnations_forget(struct incarnations *n)
{
	struct watched *x, *next;
	HASH_ITER (hh, n->watched, x, next) {
		x->incarnation[0] = 0;
	}
}

struct incarnations *
incarnations_new(struct io_loop *l,
		 void (*on_restart)(void *ctx, const char *server, const char *why), void *ctx)
{
	struct incarnations *n = calloc(1, sizeof(*n));
	if (!n) abort();
	*n = (struct incarnations){ .loop = l, .on_restart = on_restart, .ctx = ctx };
	io_timer_init(&n->round, l, incarnations_on_round, n);
	return n;
}

void incarnations_free(struct incarnations **n)
{
	if (!*n) return;
	struct watched *x, *next;
	io_timer_stop(&(*n)->round);
	HASH_ITER (hh, (*n)->watched, x, next) {
		watched_free(x);
	}
	free((*n)->auth_user);
	free((*n)->auth_password);
	free(*n);
	*n = NULL;
}
