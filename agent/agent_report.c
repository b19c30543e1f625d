/* agent_report.c - agents/ID and barrier/: what the proxies of this host have applied and drained.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/agent_priv.h"
#include "agent/failpoint.h"

static json_t *report_proxies(const struct agent *a)
{
	struct push_proxy proxies[PUSH_PROXIES_MAX];
	uint32_t count = push_list(a->push, proxies, PUSH_PROXIES_MAX);
	json_t *list = json_array();
	for (uint32_t i = 0; i < count && i < PUSH_PROXIES_MAX; i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:I, s:s, s:s, s:O*}", "name",
						      proxies[i].name, "pid", proxies[i].pid,
						      "version", (json_int_t)proxies[i].version,
						      "state", push_state_text(proxies[i].state),
						      "error", proxies[i].error, "blocked_on",
						      proxies[i].blocked_on));
	return list;
}

/* The highest of all pools, and the lineage that it counts in: what a tree that was made anew or
 * restored has to go beyond before we follow it. */
static uint64_t report_epoch(const struct agent *a, const char **lineage_out)
{
	uint64_t epoch = 0;
	for (uint32_t i = 0; i < reader_pool_count(a->reader); i++) {
		const struct pool_state *s = &reader_pool(a->reader, i)->state;
		if (s->epoch < epoch) continue;
		epoch = s->epoch;
		*lineage_out = s->lineage;
	}
	return epoch;
}

static void report_self(struct agent *a)
{
	char path[STORE_PATH_MAX];
	const char *problem = reader_problem(a->reader), *lineage = NULL;
	if (!problem) problem = reader_cache_problem(a->reader);
	uint64_t epoch = report_epoch(a, &lineage);
	json_t *doc = json_pack(
	    "{s:s, s:s, s:s, s:I, s:s?, s:I, s:s?, s:O?, s:o}", "host", a->config->host, "rack",
	    a->config->rack ? a->config->rack : "", "version", TWINRING_VERSION, "topology",
	    (json_int_t)reader_version(a->reader), "lineage", lineage, "epoch", (json_int_t)epoch,
	    "problem", problem, "armed", a->armed, "proxies", report_proxies(a));
	char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	snprintf(path, sizeof(path), "agents/%.255s", a->config->id);
	if (text) keeper_set(a->keeper, path, slice_of(text), false);
	free(text);
	json_decref(doc);
}

struct stale {
	struct agent *a;
	const char *keep;
};

static void report_drop_stale(void *ctx, const char *path)
{
	struct stale *s = ctx;
	if (strcmp(path, s->keep) != 0) keeper_unset(s->a->keeper, path);
}

/* {"proxies": [{"name", "client_name"}], "drained_ms"} */
static char *report_barrier_text(const struct agent *a)
{
	struct push_proxy proxies[PUSH_PROXIES_MAX];
	uint32_t count = push_list(a->push, proxies, PUSH_PROXIES_MAX);
	json_t *list = json_array();
	for (uint32_t i = 0; i < count && i < PUSH_PROXIES_MAX; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", proxies[i].name,
						      "client_name", proxies[i].client_name));
	json_t *doc = json_pack("{s:o, s:I}", "proxies", list, "drained_ms",
				(json_int_t)push_drained_ms(a->push));
	char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text) abort();
	json_decref(doc);
	return text;
}

/* Of a pool in transition the coordinator may go on without us only once our proxies' leases have
 * run out: so they need one. Which transition that is true of stands in agents/ID, as it outlives
 * our session. */
static bool report_armed(struct agent *a, const struct reader_pool *p)
{
	json_t *was = json_object_get(a->armed, p->name);
	if (!p->state.transition) {
		if (was) json_object_del(a->armed, p->name);
		return true;
	}
	if (p->state.lease_ms && !push_leased(a->push, reader_version(a->reader))) return false;
	if (!a->armed) a->armed = json_object();
	if (!was || (uint64_t)json_integer_value(was) != p->state.epoch)
		json_object_set_new(a->armed, p->name, json_integer((json_int_t)p->state.epoch));
	return true;
}

static void report_barrier(struct agent *a, const struct reader_pool *p, const char *text)
{
	char path[STORE_PATH_MAX], prefix[STORE_PATH_MAX];
	pool_path(prefix, p->name, "barrier/");
	pool_path(path, p->name, "barrier/%llu.%u/%.200s", (unsigned long long)p->state.epoch,
		  p->state.step, a->config->id);
	failpoint("agent acks");
	/* Once said it stays as it is: how a proxy is called later is for the next step. */
	if (!keeper_wants(a->keeper, path)) keeper_set(a->keeper, path, slice_of(text), true);
	keeper_each(a->keeper, prefix, report_drop_stale, &(struct stale){ a, path });
}

/* Nothing routed by an older topology is in flight on this host: say so for each pool. */
static void report_barriers(struct agent *a)
{
	if (!push_all(a->push, reader_version(a->reader), PUSH_DRAINED)) return;
	char *text = report_barrier_text(a);
	for (uint32_t i = 0; i < reader_pool_count(a->reader); i++) {
		const struct reader_pool *p = reader_pool(a->reader, i);
		/* what is in force is not what the tree says */
		if (!p->problem && report_armed(a, p)) report_barrier(a, p, text);
	}
	free(text);
}

void agent_report(struct agent *a)
{
	/* From the cache, nothing is known of what the others run by now. */
	if (a->connected && reader_confirmed_us(a->reader)) report_barriers(a);
	report_self(a);
}
