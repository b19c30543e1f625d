/* cmd_proxy.c - the proxies that agents told of. */
#include <stdio.h>

#include "agent/ctl/agents.h"
#include "agent/ctl/out.h"
#include "agent/ctl/view.h"

/* The version that proxies should have: the highest of all states. */
static enum ctl_exit wanted_version(struct ctl *c, int64_t *version)
{
	struct views views;
	enum ctl_exit e = views_read(c, NULL, 0, &views);
	*version = 0;
	for (uint32_t i = 0; i < views.count; i++)
		if (views.items[i].state_node.stat.mzxid > *version)
			*version = views.items[i].state_node.stat.mzxid;
	views_fini(&views);
	return e;
}

static enum ctl_exit proxy_list_run(struct ctl *c, const struct args *a)
{
	int64_t version;
	json_t *agents = NULL;
	(void)a;
	enum ctl_exit e = wanted_version(c, &version);
	if (e == CTL_OK) e = agents_read(c, version, &agents);
	if (e == CTL_OK && c->json) out_json(json_incref(agents));
	else if (e == CTL_OK) agents_print(agents);
	json_decref(agents);
	return e;
}

const struct command cmd_proxy_list = {
	.name = "proxy list",
	.operands = "",
	.help = "list every agent's proxies",
	.run = proxy_list_run,
};

/* --- forget ----------------------------------------------------------------------------------- */

/* CTL_OK: it is registered, and dead. */
static enum ctl_exit forget_check(struct ctl *c, const char *agent, const char *path,
				  int32_t *version)
{
	char live[STORE_PATH_MAX];
	snprintf(live, sizeof(live), "live/%s", agent);
	struct client_node n = client_get(c->client, live, CLIENT_ONCE);
	enum store_rc rc = n.rc;
	client_node_fini(&n);
	if (rc == STORE_OK) {
		ctl_say("agent '%s' is alive: stop it first", agent);
		return CTL_REFUSED;
	}
	if (rc != STORE_NO_NODE) return ctl_exit_of(rc, live);
	n = client_get(c->client, path, CLIENT_ONCE);
	rc = n.rc;
	*version = n.stat.version;
	client_node_fini(&n);
	return ctl_exit_of(rc, path);
}

static enum ctl_exit proxy_forget_run(struct ctl *c, const struct args *a)
{
	char path[STORE_PATH_MAX];
	int32_t version = STORE_ANY_VERSION;
	const char *agent = a->operands[0];
	if (strchr(agent, '/') != NULL || *agent == '\0') {
		ctl_say("'%s' is no agent's name", agent);
		return CTL_USAGE;
	}
	snprintf(path, sizeof(path), "agents/%s", agent);
	enum ctl_exit e = ctl_open(c);
	if (e == CTL_OK) e = ctl_exit_of(client_sync(c->client), "sync");
	if (e == CTL_OK) e = forget_check(c, agent, path, &version);
	if (e == CTL_OK && c->dry_run) out_line("%s: would be forgotten", agent);
	if (e != CTL_OK || c->dry_run) return e;
	e = ctl_exit_of(client_delete(c->client, path, version), path);
	if (e == CTL_OK && c->json)
		out_json(json_pack("{s:s, s:b}", "agent", agent, "forgotten", 1));
	else if (e == CTL_OK) out_line("%s: forgotten", agent);
	return e;
}

const struct command cmd_proxy_forget = {
	.name = "proxy forget",
	.operands = "AGENT",
	.help = "deregister a dead host, so that no transition waits for it",
	.more =
	    "Refused while the agent lives. Its proxies must be dead too: nobody will tell them\n"
	    "of changes, and nobody will wait for them.\n",
	.least = 1,
	.most = 1,
	.writes = true,
	.run = proxy_forget_run,
};

const struct command cmd_agent_deregister = {
	.name = "agent deregister",
	.operands = "AGENT",
	.help = "the same as proxy forget: no transition waits for that dead host",
	.more = "A transition that has not begun to move keys waits for every registered host, "
		"however\n"
		"long it has been silent: its proxies might still write by the old ring alone.\n",
	.least = 1,
	.most = 1,
	.writes = true,
	.run = proxy_forget_run,
};
