#include "common/ring_body.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/topology_check.h"
#include "common/topology_ring.h"

#define CHECKSUM_HEX_CHARS 16

bool ring_hex_is_valid(const char *hex)
{
	return strlen(hex) == RING_HEX_CHARS && strspn(hex, "0123456789abcdef") == RING_HEX_CHARS;
}

/* False only when libcrypto has no memory. */
static bool ring_body_hash(struct slice body, char hex_out[RING_HEX_CHARS + 1])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	if (EVP_Digest(body.p, body.n, digest, &n, EVP_sha256(), NULL) != 1) return false;
	for (unsigned i = 0; i < RING_HEX_CHARS / 2; i++)
		snprintf(hex_out + 2 * (size_t)i, 3, "%02x", digest[i]);
	return true;
}

/* A verdict belongs to the state, not to the ring. NULL: no memory. */
static json_t *ring_body_pool_json(const struct pool_spec *pool)
{
	json_t *out = pool_spec_to_json(pool), *server;
	size_t i;
	json_array_foreach (json_object_get(out, "servers"), i, server) {
		json_object_del(server, "ejected");
		json_object_del(server, "held");
	}
	return out;
}

/* What a ring without ejections looks like. */
static enum err ring_body_measure(const struct pool_spec *pool, uint32_t *points_out,
				  char checksum_out[CHECKSUM_HEX_CHARS + 1])
{
	struct ring *ring;
	struct pool_spec whole = *pool;
	whole.servers = calloc(pool->server_count + 1, sizeof(*whole.servers));
	if (whole.servers == NULL) return ERR_NOMEM;
	for (uint32_t i = 0; i < pool->server_count; i++) {
		whole.servers[i] = pool->servers[i]; /* its texts are borrowed */
		whole.servers[i].ejected = false;
	}
	enum err e = pool_ring_build(&whole, &ring);
	free(whole.servers);
	if (e != ERR_NONE) return e;
	*points_out = ring_point_count(ring);
	snprintf(checksum_out, CHECKSUM_HEX_CHARS + 1, "%016llx",
		 (unsigned long long)ring_checksum(ring));
	ring_free(&ring);
	return ERR_NONE;
}

/* --- out -------------------------------------------------------------------------------------- */

static enum err ring_body_put(const json_t *body, struct scratch *out)
{
	size_t bytes = json_dumpb(body, NULL, 0, JSON_COMPACT | JSON_SORT_KEYS);
	if (bytes == 0) return ERR_NOMEM;
	if (bytes > RING_BODY_MAX) return ERR_INVALID;
	scratch_clear(out);
	json_dumpb(body, scratch_reserve(out, bytes), bytes, JSON_COMPACT | JSON_SORT_KEYS);
	out->n = bytes;
	return ERR_NONE;
}

enum err ring_body_print(const struct pool_spec *pool, struct scratch *out,
			 char hex_out[RING_HEX_CHARS + 1])
{
	uint32_t points;
	char checksum[CHECKSUM_HEX_CHARS + 1];
	enum err e = ring_body_measure(pool, &points, checksum);
	if (e != ERR_NONE) return e;
	json_t *body = json_pack("{s:o, s:I, s:s}", "pool", ring_body_pool_json(pool), "points",
				 (json_int_t)points, "checksum", checksum);
	e = body != NULL ? ring_body_put(body, out) : ERR_NOMEM;
	json_decref(body);
	if (e == ERR_NONE && !ring_body_hash(scratch_slice(out), hex_out)) e = ERR_NOMEM;
	return e;
}

/* --- in --------------------------------------------------------------------------------------- */

static json_t *ring_body_load(struct slice body, const char *hex, struct report *r)
{
	char actual[RING_HEX_CHARS + 1];
	json_error_t e;
	if (body.n > RING_BODY_MAX) {
		report_error(r, NULL, AT_VALUE, "a ring may have %u KiB at most",
			     RING_BODY_MAX >> 10);
		return NULL;
	}
	if (!ring_body_hash(body, actual)) {
		r->nomem = true;
		return NULL;
	}
	if (strcmp(actual, hex) != 0) {
		report_error(r, NULL, AT_VALUE, "the content is not what its name says: %.64s",
			     actual);
		return NULL;
	}
	json_t *doc = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &e);
	if (doc == NULL) report_error(r, NULL, AT_VALUE, "column %d: %s", e.column, e.text);
	return doc;
}

/* The ring we build must be the one that its writer built. */
static void ring_body_check(const struct pool_spec *pool, const struct node *doc, struct report *r)
{
	uint32_t points;
	char checksum[CHECKSUM_HEX_CHARS + 1], number[16];
	const struct node *want_points = node_get(doc, "points");
	const struct node *want_checksum = node_get(doc, "checksum");
	if (want_points == NULL || want_checksum == NULL) {
		report_error(r, doc, AT_VALUE, "'points' and 'checksum' must be there");
		return;
	}
	if (!settings_expect(want_points, NODE_INT, "points", r) ||
	    !settings_expect(want_checksum, NODE_STRING, "checksum", r) || r->error_count > 0)
		return;
	enum err e = ring_body_measure(pool, &points, checksum);
	if (e == ERR_NOMEM) r->nomem = true;
	else if (e != ERR_NONE) report_error(r, doc, AT_VALUE, "no ring can be built of this");
	if (e != ERR_NONE) return;
	snprintf(number, sizeof(number), "%u", points);
	if (strcmp(want_points->text, number) != 0)
		report_error(r, want_points, AT_VALUE, "the ring has %s points here, not %.40s",
			     number, want_points->text);
	if (strcmp(want_checksum->text, checksum) != 0)
		report_error(r, want_checksum, AT_VALUE,
			     "the ring's checksum is %s here, not %.40s", checksum,
			     want_checksum->text);
}

static void ring_body_read(struct topology *t, const char *pool_name, const struct node *doc,
			   struct report *r)
{
	if (!settings_expect(doc, NODE_MAP, "the ring", r)) return;
	const struct node *pool = node_get(doc, "pool");
	if (pool == NULL) {
		report_error(r, doc, AT_VALUE, "'pool' is missing");
		return;
	}
	if (!topology_reserve(t, 1, doc, r)) return;
	struct pool_spec *p = &t->pools[0];
	pool_read_native(p, pool_name, pool, NULL, r);
	for (uint32_t i = 0; i < p->server_count; i++) {
		if (!p->servers[i].ejected) continue;
		report_error(r, pool, AT_VALUE, "a ring knows no ejections, yet server %u is", i);
		break;
	}
	ring_body_check(p, doc, r);
}

enum err ring_body_parse(struct slice body, const char *hex, const char *pool_name,
			 struct topology **topology_out, struct err_at *where_out)
{
	struct report r = { .unknown_keys = UNKNOWN_IGNORED };
	json_t *doc = ring_body_load(body, hex, &r);
	struct node *root = doc != NULL ? node_from_json(doc, &r) : NULL;
	struct topology *t = topology_new();
	if (t == NULL) r.nomem = true;
	if (t != NULL && root != NULL) ring_body_read(t, pool_name, root, &r);
	node_free(&root);
	json_decref(doc);

	if (where_out != NULL) *where_out = (struct err_at){ "$", "" };
	enum err e = report_outcome(&r, where_out);
	report_fini(&r);
	if (e != ERR_NONE) topology_free(&t);
	*topology_out = t;
	return e;
}
