/* agents.h - who is there: agents with their proxies, nannies, the coordinator. */
#ifndef TWINRING_AGENT_CTL_AGENTS_H
#define TWINRING_AGENT_CTL_AGENTS_H

#include <jansson.h>

#include "agent/ctl/ctl.h"

/* [{"agent", "host", "rack", "version", "live", "lineage", "epoch", "problem", "proxies": [{"name",
 * "pid", "version", "lag", "state", "error"}]}], a new reference. `wanted`: the version that
 * proxies should have; lag is how far below it they are. */
enum ctl_exit agents_read(struct ctl *c, int64_t wanted, json_t **out);

/* [{"agent", "abstains": null or why}], a new reference. */
enum ctl_exit nannies_read(struct ctl *c, json_t **out);

/* Its name as JSON, or null: a new reference. */
enum ctl_exit coordinator_read(struct ctl *c, json_t **out);

/* As a table: a line for each proxy, and one for each agent that has none. */
void agents_print(const json_t *agents);

#endif
