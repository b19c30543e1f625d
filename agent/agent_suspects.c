/* agent_suspects.c - pools/P/suspects/S/A: a proxy of this host has had the server marked down, on
 * all of its workers, for a while. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent_priv.h"
#include "common/clock.h"

enum { SUSPECT_AFTER_US = 2000000, FORGET_AFTER_US = 10000000 };

/* One server as one proxy sees it, while it is marked down there. */
struct suspicion {
	struct suspicion *next;
	char *proxy, *pool, *server;
	uint64_t since_us, heard_us;
	bool told;
};

static void suspicion_path(const struct agent *a, const struct suspicion *s,
			   char path[STORE_PATH_MAX])
{
	char node[NODE_NAME_MAX];
	node_name(node, s->server);
	pool_path(path, s->pool, "suspects/%.150s/%.100s", node, a->config->id);
}

static struct suspicion *suspicion_find(struct agent *a, const char *proxy, const char *pool,
					const char *server)
{
	for (struct suspicion *s = a->suspicions; s; s = s->next)
		if (strcmp(s->server, server) == 0 && strcmp(s->pool, pool) == 0 &&
		    strcmp(s->proxy, proxy) == 0)
			return s;
	return NULL;
}

static void suspicion_add(struct agent *a, const char *proxy, const char *pool, const char *server)
{
	struct suspicion *s = calloc(1, sizeof(*s));
	if (!s || !(s->proxy = strdup(proxy)) || !(s->pool = strdup(pool)) ||
	    !(s->server = strdup(server)))
		abort();
	s->since_us = s->heard_us = clock_now_us();
	s->next = a->suspicions;
	a->suspicions = s;
}

static void suspicion_free(struct suspicion *s)
{
	free(s->proxy);
	free(s->pool);
	free(s->server);
	free(s);
}

/* Another proxy of this host may still suspect the same server. */
static bool suspicion_is_shared(const struct agent *a, const struct suspicion *gone)
{
	for (const struct suspicion *s = a->suspicions; s; s = s->next)
		if (s != gone && s->told && strcmp(s->server, gone->server) == 0 &&
		    strcmp(s->pool, gone->pool) == 0)
			return true;
	return false;
}

static void suspicion_end(struct agent *a, struct suspicion *s)
{
	char path[STORE_PATH_MAX];
	struct suspicion **at = &a->suspicions;
	while (*at != s) at = &(*at)->next;
	*at = s->next;
	suspicion_path(a, s, path);
	if (s->told && !suspicion_is_shared(a, s)) keeper_unset(a->keeper, path);
	suspicion_free(s);
}

void agent_note_suspects(struct agent *a, const char *proxy, const json_t *event)
{
	const char *pool, *server;
	json_t *servers, *figures;
	json_int_t threads = json_integer_value(json_object_get(event, "threads"));
	json_object_foreach (json_object_get(event, "pools"), pool, servers) {
		json_object_foreach (servers, server, figures) {
			bool down =
			    json_integer_value(json_object_get(figures, "tko_workers")) >= threads;
			struct suspicion *s = suspicion_find(a, proxy, pool, server);
			if (s && down) s->heard_us = clock_now_us();
			else if (s) suspicion_end(a, s);
			else if (down && threads > 0) suspicion_add(a, proxy, pool, server);
		}
	}
}

void agent_check_suspects(struct agent *a)
{
	uint64_t now = clock_now_us();
	struct suspicion *s = a->suspicions, *next;
	for (; s; s = next) {
		next = s->next;
		char path[STORE_PATH_MAX];
		if (now - s->heard_us > FORGET_AFTER_US) {
			suspicion_end(a, s); /* its proxy is gone */
		} else if (!s->told && now - s->since_us >= SUSPECT_AFTER_US) {
			s->told = true;
			suspicion_path(a, s, path);
			keeper_set(a->keeper, path, SLICE("{}"), true);
		}
	}
}

void agent_free_suspects(struct agent *a)
{
	while (a->suspicions) {
		struct suspicion *s = a->suspicions;
		a->suspicions = s->next;
		suspicion_free(s);
	}
}
