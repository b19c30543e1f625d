/* mover_mc_scan.c - what keys a memcached server has.
 *
 * `lru_crawler metadump hash` walks its hash table, so no key is listed twice or left out because
 * it was used meanwhile; but a table that is just being enlarged is not walked at all. Servers that
 * do not know it list LRU by LRU instead. A server lists for one client at a time, and a second one
 * that asks is kept waiting with everybody else on the same thread of the server, so it is asked
 * first whether it lists already.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/mover_impl.h"
#include "common/codec_mc_scan.h"

enum { MC_VERSION_META = 0x10600, KEY_LINE_MAX = MC_KEY_MAX * 3 };

/* --- texts ------------------------------------------------------------------------------------ */

/* The number behind `name`, which begins the line or follows a blank. */
static bool line_number(struct slice line, const char *name, uint64_t *out)
{
	const char *p = memmem(line.p, line.n, name, strlen(name));
	if (!p) return false;
	p += strlen(name);
	const char *begin = p, *end = line.p + line.n;
	uint64_t v = 0;
	for (; p < end && *p >= '0' && *p <= '9'; p++) v = v * 10 + (uint64_t)(*p - '0');
	*out = v;
	return p > begin;
}

bool mover_mc_flag(struct slice flags, char flag, struct slice *value_out)
{
	const char *p = flags.p, *end = flags.p + flags.n;
	while (p < end) {
		const char *word = p;
		p = mc_span(p, end);
		if (p > word && *word == flag) {
			*value_out = (struct slice){ word + 1, (size_t)(p - word - 1) };
			return true;
		}
		if (p == word) p++;
	}
	return false;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "a%20b" -> "a b"; false: no key. */
static bool url_decode(struct slice in, char out[MC_KEY_MAX], size_t *n_out)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n; i++) {
		if (n == MC_KEY_MAX) return false;
		if (in.p[i] != '%') {
			out[n++] = in.p[i];
			continue;
		}
		if (i + 2 >= in.n || hex(in.p[i + 1]) < 0 || hex(in.p[i + 2]) < 0) return false;
		out[n++] = (char)(hex(in.p[i + 1]) << 4 | hex(in.p[i + 2]));
		i += 2;
	}
	*n_out = n;
	return n > 0;
}

/* --- servers that cannot list, or whose copies cannot be told apart --------------------------- */

static void flush_on_answer(void *ctx, const struct server_answer *a)
{
	struct mover_node *n = ctx;
	if (!mover_awake(n->m)) return;
	if (a->why) return; /* the connection's end restarts the pass */
	if (!slice_eq(a->bytes, SLICE("OK\r\n"))) {
		mover_fail(n->m, n, "cannot scrub: flush_all: %.*s", (int)a->bytes.n - 2,
			   a->bytes.p);
		return;
	}
	n->m->tally.deleted += n->total;
	mover_node_listed(n);
}

/* A server that owns nothing while it is scrubbed may as well be emptied. */
static void list_impossible(struct mover_node *n, const char *why)
{
	struct mover *m = n->m;
	spool_reset(&n->spool);
	bool scrub = m->kind == MOVER_SCRUB_TARGETS || m->kind == MOVER_SCRUB_SOURCES;
	int keeper = m->kind == MOVER_SCRUB_TARGETS ? m->back : !m->back;
	n->no_list = true;
	if (!scrub) mover_fail(m, n, "cannot list its keys: %s", why);
	else if (n->in[keeper]) mover_fail(m, n, "cannot scrub: %s", why);
	else if (server_conn_up(n->conn))
		server_conn_ask(n->conn, SERVER_META, SLICE("flush_all\r\n"), flush_on_answer, n);
}

/* --- the list --------------------------------------------------------------------------------- */

static void list_ask(struct mover_node *n);

/* key=KEY exp=-1 la=1795258384 cas=1 fetch=no cls=1 size=67 */
static void list_on_key(struct mover_node *n, struct slice line)
{
	char key[MC_KEY_MAX];
	size_t key_n;
	uint64_t cas = 0, size = 0;
	const char *begin = line.p + 4, *blank = memchr(begin, ' ', line.n - 4);
	if (!blank) return;
	/* What is no key of the text protocol, no client of a proxy can ask for. */
	if (!url_decode((struct slice){ begin, (size_t)(blank - begin) }, key, &key_n)) return;
	if (mc_span(key, key + key_n) != key + key_n) return;
	struct slice rest = { blank, (size_t)(line.p + line.n - blank) };
	line_number(rest, " cas=", &cas);
	line_number(rest, " size=", &size);
	if (cas == 0 && n->m->kind != MOVER_CHECK_EMPTY) {
		list_impossible(n, "it runs without cas");
		return;
	}
	mover_node_found(n, (struct slice){ key, key_n }, cas, size);
}

static void list_on_end(struct mover_node *n, struct slice line)
{
	if (slice_eq(line, SLICE("END\r\n"))) {
		/* Too good to be believed from a walk over the table. */
		if (n->pass_listed == 0 && !n->list_all) {
			n->list_all = true;
			list_ask(n);
			return;
		}
		n->list_all = false;
		mover_node_listed(n);
		return;
	}
	if (line.n >= 4 && !memcmp(line.p, "BUSY", 4)) {
		mover_error(n, "it lists its keys for somebody else");
		mover_node_restart(n);
		return;
	}
	if (!n->list_all && n->pass_listed == 0) {
		n->list_all = true; /* `hash` is not known to all that know `all` */
		list_ask(n);
		return;
	}
	char why[100];
	snprintf(why, sizeof(why), "lru_crawler: %.*s", (int)(line.n - 2 < 80 ? line.n - 2 : 80),
		 line.p);
	list_impossible(n, why);
}

static void list_on_line(void *ctx, const struct server_answer *a)
{
	struct mover_node *n = ctx;
	if (a->why || n->scan != SCAN_ASKED || n->no_list || !mover_awake(n->m)) return;
	if (a->more) list_on_key(n, a->bytes);
	else list_on_end(n, a->bytes);
}

static void list_ask(struct mover_node *n)
{
	if (!server_conn_up(n->list)) {
		mover_node_restart(n);
		return;
	}
	server_conn_ask(n->list, SERVER_LINES,
			n->list_all ? SLICE("lru_crawler metadump all\r\n")
				    : SLICE("lru_crawler metadump hash\r\n"),
			list_on_line, n);
}

/* --- what it says of itself ------------------------------------------------------------------- */

static void stats_on_line(struct mover_node *n, struct slice line)
{
	uint64_t v, major = 0, minor = 0;
	if (line_number(line, "STAT curr_items ", &v)) n->total = v;
	if (line_number(line, "STAT lru_crawler_running ", &v)) n->busy_lister = v != 0;
	if (line_number(line, "STAT version ", &major)) {
		const char *dot = memchr(line.p, '.', line.n);
		struct slice rest = { dot, dot ? (size_t)(line.p + line.n - dot) : 0 };
		if (dot) line_number(rest, ".", &minor);
		n->version = (uint32_t)(major << 16 | minor << 8);
	}
}

static void stats_on_end(struct mover_node *n)
{
	if (n->total == 0) mover_node_listed(n);
	else if (n->version < MC_VERSION_META) list_impossible(n, "it is older than memcached 1.6");
	else if (n->busy_lister) {
		mover_error(n, "it lists its keys for somebody else");
		mover_node_restart(n);
	} else list_ask(n);
}

static void stats_on_answer(void *ctx, const struct server_answer *a)
{
	struct mover_node *n = ctx;
	if (a->why || n->scan != SCAN_ASKED || !mover_awake(n->m)) return;
	if (a->more) {
		stats_on_line(n, a->bytes);
		return;
	}
	if (slice_eq(a->bytes, SLICE("END\r\n"))) {
		stats_on_end(n);
		return;
	}
	mover_error(n, "stats: %.*s", (int)a->bytes.n - 2, a->bytes.p);
	mover_node_restart(n);
}

void mover_mc_list(struct mover_node *n)
{
	n->total = n->version = 0;
	n->busy_lister = n->no_list = false;
	server_conn_ask(n->conn, SERVER_LINES, SLICE("stats\r\n"), stats_on_answer, n);
}
