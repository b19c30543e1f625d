/* agent_nanny.c - what the nanny is to look after, and where its votes go. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent_priv.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/spec.h"

/* --- votes
 * ---------------------------------------------------------------------------------------- */

static void agent_on_vote(void *ctx, const struct nanny_vote *v)
{
	struct agent *a = ctx;
	char node[NODE_NAME_MAX], path[STORE_PATH_MAX];
	if (v->restarted) log_notice("pool %s: server %s was restarted", v->pool, v->server);
	if (!v->changed) return;
	agent_count(&a->metrics, AGENT_METRIC_vote_changes);
	if (v->bad) metric_add(&a->metrics.m[AGENT_METRIC_votes], 1);
	else metric_sub(&a->metrics.m[AGENT_METRIC_votes], 1);
	node_name(node, v->server);
	pool_path(path, v->pool, "votes/%.150s/%.100s", node, a->config->id);
	log_notice("pool %s: server %s is %s%s%s", v->pool, v->server, v->bad ? "bad" : "good",
		   v->bad ? ": " : "", v->bad ? v->why : "");
	if (!v->bad) {
		keeper_unset(a->keeper, path);
		return;
	}
	json_t *doc = json_pack("{s:s, s:I}", "why", v->why, "since", (json_int_t)v->since_ms);
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (text) keeper_set(a->keeper, path, slice_of(text), true);
	free(text);
	json_decref(doc);
}

void agent_register_nanny(struct agent *a)
{
	char path[STORE_PATH_MAX];
	json_t *doc = json_pack("{s:s?}", "abstains", a->doubt[0] ? a->doubt : NULL);
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	snprintf(path, sizeof(path), "lock/nanny/%.255s", a->config->id);
	if (text) keeper_set(a->keeper, path, slice_of(text), true);
	free(text);
	json_decref(doc);
}

static void agent_on_abstain(void *ctx, const char *why)
{
	struct agent *a = ctx;
	log_notice(why ? "nanny abstains: %s" : "nanny votes again%s", why ? why : "");
	snprintf(a->doubt, sizeof(a->doubt), "%s", why ? why : "");
	agent_register_nanny(a);
}

bool agent_start_nanny(struct agent *a)
{
	struct nanny_events events = { .on_vote = agent_on_vote,
				       .on_abstain = agent_on_abstain,
				       .ctx = a,
				       .script_dir = a->config->scripts_dir,
				       .seed = clock_wall_us() };
	a->nanny = nanny_new(a->loop, &events);
	return a->nanny != NULL;
}

/* --- what to probe
 * -------------------------------------------------------------------------------- */

/* pools/P/health as the coordinator wrote it, read with the code that reads it in specs; the spec
 * around it is only a frame. NULL: not here yet, or of no use. */
static struct spec *agent_health(struct agent *a, const struct pool_spec *pool)
{
	char path[STORE_PATH_MAX];
	pool_path(path, pool->name, "health");
	const struct mirror_node *node = mirror_data(a->mirror, path);
	if (node->state != MIRROR_OK) return NULL;
	struct spec *spec = NULL;
	struct config_issues issues = { 0 };
	json_t *doc =
	    json_pack("{s:s, s:[s], s:o?}", "protocol", protocol_name(pool->protocol), "servers",
		      "frame:1", "health", json_loadb(node->data.p, node->data.n, 0, NULL));
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (text && spec_parse(text, strlen(text), pool->name, path, &spec, &issues) != ERR_NONE)
		log_warn("%s is of no use", path);
	config_issues_fini(&issues);
	free(text);
	json_decref(doc);
	return spec;
}

static void agent_fill_pool(const struct pool_spec *pool, const struct spec *spec,
			    struct nanny_server *servers, struct nanny_pool *out)
{
	for (uint32_t i = 0; i < pool->server_count; i++)
		servers[i] =
		    (struct nanny_server){ pool->servers[i].ring_name, pool->servers[i].host,
					   pool->servers[i].port, pool->servers[i].ejected };
	*out = (struct nanny_pool){ .name = pool->name,
				    .health = spec->health,
				    .auth_user = pool->auth_user,
				    .auth_password = pool->auth_password,
				    .db = pool->redis_db,
				    .servers = servers,
				    .server_count = pool->server_count };
}

void agent_want_probes(struct agent *a)
{
	const struct topology *t = a->topology;
	if (!t) return;
	struct nanny_pool *pools = calloc(t->pool_count + 1, sizeof(*pools));
	struct spec **specs = calloc(t->pool_count + 1, sizeof(*specs));
	struct nanny_server **servers = calloc(t->pool_count + 1, sizeof(*servers));
	uint32_t count = 0;
	if (!pools || !specs || !servers) abort();
	mirror_mark(a->mirror);
	for (uint32_t i = 0; i < t->pool_count; i++) {
		struct spec *spec = agent_health(a, &t->pools[i]);
		if (!spec) continue;
		specs[count] = spec;
		servers[count] = calloc(t->pools[i].server_count + 1, sizeof(**servers));
		if (!servers[count]) abort();
		agent_fill_pool(&t->pools[i], spec, servers[count], &pools[count]);
		count++;
	}
	mirror_sweep(a->mirror);
	nanny_want(a->nanny, pools, count);
	for (uint32_t i = 0; i < count; i++) {
		spec_free(&specs[i]);
		free(servers[i]);
	}
	free(servers);
	free(specs);
	free(pools);
}
