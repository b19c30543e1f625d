/* cmd_init.c - make the tree of a new cluster. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"

/* Whoever makes a node decides who may write to it: so operators make these, with their digest. */
static const char *const init_nodes[] = { "pools", "removed",	       "agents",     "live",
					  "lock",  "lock/coordinator", "lock/nanny", "log" };

enum { UUID_CHARS = 36 };

/* Version 4: random. */
static void uuid_make(char out[UUID_CHARS + 1])
{
	unsigned char b[16];
	arc4random_buf(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(out, UUID_CHARS + 1,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
}

/* What `cluster` holds; false: said what is wrong with it. */
static bool init_lineage(const struct client_node *n, char lineage_out[UUID_CHARS + 1])
{
	json_t *doc = json_loadb(n->data, n->n, JSON_REJECT_DUPLICATES, NULL);
	const char *lineage = out_string(doc, "lineage");
	bool good = json_integer_value(json_object_get(doc, "format")) == 1 && *lineage != '\0';
	snprintf(lineage_out, UUID_CHARS + 1, "%s", lineage);
	json_decref(doc);
	if (!good) ctl_say("cluster: this is no tree of Twinring's, or of another version");
	return good;
}

static enum ctl_exit init_cluster(struct ctl *c, char lineage_out[UUID_CHARS + 1], bool *made)
{
	struct client_node n = client_get(c->client, "cluster", CLIENT_ONCE);
	*made = n.rc == STORE_NO_NODE;
	enum ctl_exit e = CTL_OK;
	if (n.rc == STORE_OK && !init_lineage(&n, lineage_out)) e = CTL_REFUSED;
	else if (n.rc != STORE_OK && !*made) e = ctl_exit_of(n.rc, "cluster");
	client_node_fini(&n);
	if (e != CTL_OK || !*made) return e;
	uuid_make(lineage_out);
	if (c->dry_run) return CTL_OK;
	char text[128];
	snprintf(text, sizeof(text), "{\"format\": 1, \"lineage\": \"%s\"}\n", lineage_out);
	enum store_rc rc = client_create(c->client, "cluster", slice_of(text), 0);
	if (rc == STORE_NODE_EXISTS) return init_cluster(c, lineage_out, made);
	return ctl_exit_of(rc, "cluster");
}

static enum ctl_exit init_node(struct ctl *c, const char *path, unsigned *made)
{
	struct client_node n = client_get(c->client, path, CLIENT_ONCE);
	enum store_rc rc = n.rc;
	client_node_fini(&n);
	if (rc != STORE_NO_NODE) return ctl_exit_of(rc, path);
	++*made;
	if (c->dry_run) return CTL_OK;
	rc = client_create(c->client, path, SLICE(""), STORE_PARENTS);
	return rc == STORE_NODE_EXISTS ? CTL_OK : ctl_exit_of(rc, path);
}

static enum ctl_exit init_run(struct ctl *c, const struct args *a)
{
	char lineage[UUID_CHARS + 1];
	bool fresh = false;
	unsigned made = 0;
	(void)a;
	enum ctl_exit e = ctl_open(c);
	if (e == CTL_OK) e = init_cluster(c, lineage, &fresh);
	for (size_t i = 0; i < sizeof(init_nodes) / sizeof(init_nodes[0]) && e == CTL_OK; i++)
		e = init_node(c, init_nodes[i], &made);
	if (e != CTL_OK) return e;
	if (c->digest_file == NULL && client_is_zookeeper(c->client))
		out_note(
		    "note: without --digest-file whoever reaches ZooKeeper may change the tree");
	if (c->json) {
		out_json(json_pack("{s:s, s:b, s:i}", "lineage", lineage, "new", fresh,
				   "nodes_made", (int)made));
		return CTL_OK;
	}
	out_line("%s lineage %s, %u nodes %s",
		 fresh ? "new cluster:" : "the cluster is there:", lineage, made,
		 c->dry_run ? "would be made" : "made");
	return CTL_OK;
}

const struct command cmd_init = {
	.name = "init",
	.operands = "",
	.help = "make the tree of a new cluster",
	.more = "Makes `cluster` with a new lineage, and the fixed nodes, for the digest alone.\n"
		"What is there already stays as it is: run it as often as you like.\n",
	.writes = true,
	.run = init_run,
};
