#include <stdlib.h>
#include <string.h>

#include "agent/nanny_impl.h"
#include "common/resolver.h"

static void set_text(const char **to, const char *from)
{
	char *copy = from ? strdup(from) : NULL;
	if (from && !copy) abort();
	free((char *)*to);
	*to = copy;
}

/* --- settings --------------------------------------------------------------------------------- */

static void ward_set_script(struct ward *w, const char *script)
{
	const char *dir = w->nanny->events.script_dir;
	free(w->script);
	w->script = NULL;
	if (!script) return;
	int n =
	    dir ? asprintf(&w->script, "%s/%s", dir, script) : asprintf(&w->script, "%s", script);
	if (n < 0) abort();
}

static void ward_set(struct ward *w, const struct nanny_pool *p)
{
	struct nanny_pool *own = &w->pool;
	const char *path = own->health.http_path;
	set_text(&path, p->health.http_path);
	own->health = p->health;
	own->health.http_path = (char *)path;
	own->health.script = NULL;
	ward_set_script(w, p->health.script);
	set_text(&own->auth_user, p->auth_user);
	set_text(&own->auth_password, p->auth_password);
	own->db = p->db;
}

static struct ward *ward_of(struct nanny *n, const char *name)
{
	struct ward *w;
	LIST_FOREACH (w, &n->wards, link)
		if (!strcmp(w->pool.name, name)) return w;
	w = calloc(1, sizeof(*w));
	if (!w) abort();
	w->nanny = n;
	LIST_INIT(&w->charges);
	set_text(&w->pool.name, name);
	LIST_INSERT_HEAD(&n->wards, w, link);
	return w;
}

static void ward_free(struct ward *w, bool tell)
{
	while (!LIST_EMPTY(&w->charges)) charge_free(LIST_FIRST(&w->charges), tell);
	LIST_REMOVE(w, link);
	free((char *)w->pool.name);
	free((char *)w->pool.auth_user);
	free((char *)w->pool.auth_password);
	free(w->pool.health.http_path);
	free(w->script);
	free(w);
}

/* --- servers ---------------------------------------------------------------------------------- */

static struct charge *charge_find(const struct ward *w, const struct nanny_server *s)
{
	struct charge *c;
	LIST_FOREACH (c, &w->charges, link)
		if (c->port == s->port && !strcmp(c->name, s->name) && !strcmp(c->host, s->host))
			return c;
	return NULL;
}

static void ward_want(struct ward *w, const struct nanny_pool *p)
{
	struct charge *c, *next;
	LIST_FOREACH (c, &w->charges, link) c->wanted = false;
	/* What left is told before what came: an address may have changed under a name. */
	for (uint32_t i = 0; i < p->server_count; i++)
		if ((c = charge_find(w, &p->servers[i]))) c->wanted = true;
	LIST_FOREACH_SAFE (c, &w->charges, link, next)
		if (!c->wanted) charge_free(c, true);
	for (uint32_t i = 0; i < p->server_count; i++)
		if (!charge_find(w, &p->servers[i])) charge_new(w, &p->servers[i])->wanted = true;
}

void nanny_want(struct nanny *n, const struct nanny_pool *pools, uint32_t count)
{
	struct ward *w, *next;
	LIST_FOREACH (w, &n->wards, link) w->wanted = false;
	for (uint32_t i = 0; i < count; i++) {
		if (pools[i].health.probe == PROBE_NONE) continue;
		w = ward_of(n, pools[i].name);
		w->wanted = true;
		ward_set(w, &pools[i]);
		ward_want(w, &pools[i]);
	}
	LIST_FOREACH_SAFE (w, &n->wards, link, next)
		if (!w->wanted) ward_free(w, true);
	nanny_review(n);
}

void nanny_free(struct nanny **n)
{
	if (!*n) return;
	while (!LIST_EMPTY(&(*n)->wards)) ward_free(LIST_FIRST(&(*n)->wards), false);
	io_timer_stop(&(*n)->review);
	resolver_free(&(*n)->resolver);
	free(*n);
	*n = NULL;
}
