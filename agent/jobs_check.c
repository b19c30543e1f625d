#include "agent/jobs_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/probe_caps.h"

enum { CHECK_TIMEOUT_MS = 3000, AT_ONCE = 64 };

struct asked {
	struct jobs_check *check;
	struct probe *probe;
	char *host, *name;
	uint16_t port;
	bool target;
};

struct jobs_check {
	struct io_loop *loop;
	struct asked *asked;
	uint32_t count, begun, ended;
	/* Of the pool, for all probes. */
	enum probe_kind kind;
	char *auth_user, *auth_password;
	uint32_t db;
	bool ok, promote;
	char why[200];
	jobs_check_fn done;
	void *ctx;
};

static void check_more(struct jobs_check *c);

static void check_on_probed(void *ctx, const struct probe_result *r)
{
	struct asked *a = ctx;
	struct jobs_check *c = a->check;
	a->probe = NULL;
	c->ended++;
	bool good = r->outcome == PROBE_GOOD;
	if (good && strcmp(r->incarnation, PROBE_CAPS_PROMOTE) != 0) c->promote = false;
	if (!good && a->target) {
		c->ok = false;
		if (!c->why[0])
			snprintf(c->why, sizeof(c->why), "server %.80s: %.100s", a->name, r->why);
	}
	if (c->ended == c->count) c->done(c->ctx, c->ok, c->promote, c->why);
	else check_more(c);
}

static void check_more(struct jobs_check *c)
{
	while (c->begun < c->count && c->begun - c->ended < AT_ONCE) {
		struct asked *a = &c->asked[c->begun++];
		struct probe_target t = { .kind = c->kind,
					  .host = a->host,
					  .port = a->port,
					  .pool = "",
					  .server = a->name,
					  .auth_user = c->auth_user,
					  .auth_password = c->auth_password,
					  .db = c->db,
					  .timeout_ms = CHECK_TIMEOUT_MS };
		a->probe = probe_caps(c->loop, &t, check_on_probed, a);
	}
}

static char *copy_of(const char *text)
{
	char *copy = text ? strdup(text) : NULL;
	if (text && !copy) abort();
	return copy;
}

static void check_add(struct jobs_check *c, const struct pool_spec *p, bool target)
{
	for (uint32_t i = 0; i < p->server_count; i++) {
		const struct server_spec *s = &p->servers[i];
		if (s->ejected) continue;
		c->asked[c->count++] = (struct asked){ .check = c,
						       .host = copy_of(s->host),
						       .name = copy_of(s->ring_name),
						       .port = s->port,
						       .target = target };
	}
}

struct jobs_check *jobs_check_new(struct io_loop *l, const struct pool_spec *ring,
				  const struct pool_spec *next, jobs_check_fn done, void *ctx)
{
	struct jobs_check *c = calloc(1, sizeof(*c));
	if (!c) abort();
	*c = (struct jobs_check){
		.loop = l,
		.asked = calloc(ring->server_count + next->server_count + 1, sizeof(*c->asked)),
		.kind = next->protocol == PROTOCOL_REDIS ? PROBE_REDIS : PROBE_MEMCACHED,
		.auth_user = copy_of(next->auth_user),
		.auth_password = copy_of(next->auth_password),
		.db = next->redis_db,
		.ok = true,
		.promote = true,
		.done = done,
		.ctx = ctx,
	};
	if (!c->asked) abort();
	check_add(c, next, true);
	check_add(c, ring, false);
	check_more(c);
	return c;
}

void jobs_check_free(struct jobs_check **check)
{
	struct jobs_check *c = *check;
	if (!c) return;
	for (uint32_t i = 0; i < c->count; i++) {
		probe_cancel(&c->asked[i].probe);
		free(c->asked[i].host);
		free(c->asked[i].name);
	}
	free(c->asked);
	free(c->auth_user);
	free(c->auth_password);
	free(c);
	*check = NULL;
}
