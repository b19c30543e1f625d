/* agent_report.c - agents/ID and barrier/: what the proxies of this host have applied and drained.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/agent_priv.h"

static json_t *report_proxies(const struct agent *a)
{
	struct push_proxy proxies[PUSH_PROXIES_MAX];
	uint32_t count = push_list(a->push, proxies, PUSH_PROXIES_MAX);
	json_t *list = json_array();
	for (uint32_t i = 0; i < count && i < PUSH_PROXIES_MAX; i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:I, s:s, s:s}", "name",
						      proxies[i].name, "pid", proxies[i].pid,
						      "version", (json_int_t)proxies[i].version,
						      "state", push_state_text(proxies[i].state),
						      "error", proxies[i].error));
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
	json_t *doc =
	    json_pack("{s:s, s:s, s:s, s:I, s:s?, s:I, s:s?, s:o}", "host", a->config->host, "rack",
		      a->config->rack ? a->config->rack : "", "version", TWINRING_VERSION,
		      "topology", (json_int_t)reader_version(a->reader), "lineage", lineage,
		      "epoch", (json_int_t)epoch, "problem", problem, "proxies", report_proxies(a));
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

/* Nothing routed by an older topology is in flight on this host: say so for each pool. */
static void report_barriers(struct agent *a)
{
	if (!push_all(a->push, reader_version(a->reader), PUSH_DRAINED)) return;
	uint32_t proxies = push_list(a->push, NULL, 0);
	for (uint32_t i = 0; i < reader_pool_count(a->reader); i++) {
		const struct reader_pool *p = reader_pool(a->reader, i);
		char path[STORE_PATH_MAX], prefix[STORE_PATH_MAX], data[64];
		if (p->problem) continue; /* what is in force is not what the tree says */
		snprintf(data, sizeof(data), "{\"proxies\":%u}", proxies);
		pool_path(prefix, p->name, "barrier/");
		pool_path(path, p->name, "barrier/%llu.%u/%.200s",
			  (unsigned long long)p->state.epoch, p->state.step, a->config->id);
		keeper_set(a->keeper, path, slice_of(data), true);
		keeper_each(a->keeper, prefix, report_drop_stale, &(struct stale){ a, path });
	}
}

void agent_report(struct agent *a)
{
	report_self(a);
	/* From the cache, nothing is known of what the others run by now. */
	if (a->connected && reader_confirmed_us(a->reader)) report_barriers(a);
}
