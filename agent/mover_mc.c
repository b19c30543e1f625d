/* mover_mc.c - memcached: one key, promoted as a proxy does it, or deleted.
 *
 * Promoting: take a lease at the target (`mg N`), which only the first asker of a key that is not
 * there gets; read the source; store under the lease's cas, so that nothing that anybody has
 * written or deleted meanwhile is overwritten. Deleting: under the cas that was listed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/mover_impl.h"
#include "common/clock.h"
#include "common/codec_mc_scan.h"

enum {
	MC_LINE = MC_KEY_MAX + 100,
	MC_TRIES = 8,			      /* a second apart: longer than a lease lasts    */
	MC_TTL_RELATIVE_MAX = 30 * 24 * 3600, /* from here on it is a date, for memcached     */
};

__attribute__((format(printf, 5, 6))) static void key_ask(struct mover_key *k,
							  struct server_conn *c, struct slice body,
							  server_answer_fn fn, const char *format,
							  ...)
{
	char line[MC_LINE];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	struct scratch request = { 0 };
	scratch_put(&request, line, (size_t)n);
	scratch_puts(&request, body);
	server_conn_ask(c, SERVER_META, scratch_slice(&request), fn, k);
	scratch_fini(&request);
}

#define NO_BODY ((struct slice){ 0 })
#define KEY(k)	(int)(k)->n, (k)->key

/* "HD", "EN" ... */
static bool says(const struct server_answer *a, const char *word)
{
	return a->bytes.n >= 4 && !memcmp(a->bytes.p, word, 2) &&
	       (a->bytes.p[2] == ' ' || a->bytes.p[2] == '\r');
}

/* What stands on the first line behind the word and, of VA, the number. */
static struct slice flags_of(const struct server_answer *a)
{
	const char *end = memchr(a->bytes.p, '\r', a->bytes.n);
	const char *p = a->bytes.p + 2;
	if (!end || p > end) return (struct slice){ 0 };
	if (a->bytes.p[0] == 'V') p = mc_span(p + 1, end);
	return (struct slice){ p, (size_t)(end - p) };
}

/* True: the answer is one, and the job goes on. Else the key is gone. */
static bool key_goes_on(struct mover_key *k, const struct server_answer *a, const char *doing)
{
	if (a->why) {
		mover_key_failed(k, doing, slice_of(a->why));
		return false;
	}
	if (mover_awake(k->src->m)) return true;
	mover_key_done(k);
	return false;
}

static void key_end(struct mover_key *k)
{
	struct mover_node *n = k->src;
	mover_key_done(k);
	mover_node_refill(n);
}

/* The server will say the same next time: a cache can do without this key. */
static void key_give_up(struct mover_key *k, const char *doing, const struct server_answer *a)
{
	size_t n = a->bytes.n < 80 ? a->bytes.n : 80;
	mover_error(k->src, "%s: %.*s", doing, (int)(n >= 2 ? n - 2 : n), a->bytes.p);
	key_end(k);
}

/* --- deleting --------------------------------------------------------------------------------- */

static void on_deleted(void *ctx, const struct server_answer *a)
{
	struct mover_key *k = ctx;
	if (!key_goes_on(k, a, "md")) return;
	if (says(a, "HD")) k->src->m->tally.deleted++;
	else if (!says(a, "NF") && !says(a, "EX")) {
		mover_key_failed(k, "md", a->bytes);
		return;
	}
	key_end(k);
}

/* --- promoting -------------------------------------------------------------------------------- */

static void on_returned(void *ctx, const struct server_answer *a)
{
	struct mover_key *k = ctx;
	if (key_goes_on(k, a, "md")) key_end(k);
}

/* The lease is of no use: others need not wait until it ends. */
static void lease_return(struct mover_key *k)
{
	if (!server_conn_up(k->dst->sink)) {
		key_end(k);
		return;
	}
	key_ask(k, k->dst->sink, NO_BODY, on_returned, "md %.*s C%llu\r\n", KEY(k),
		(unsigned long long)k->cas);
}

static void on_stored(void *ctx, const struct server_answer *a)
{
	struct mover_key *k = ctx;
	if (!key_goes_on(k, a, "ms")) return;
	/* EX, NF: somebody wrote, or deleted, what is newer */
	if (says(a, "HD")) k->src->m->tally.moved++;
	else if (!says(a, "EX") && !says(a, "NF") && !says(a, "NS")) {
		mover_error(k->dst, "ms: %.*s", (int)a->bytes.n - 2, a->bytes.p);
		lease_return(k);
		return;
	}
	key_end(k);
}

/* " T100", " T1795258384", or nothing for what never expires. False: it has expired. */
static bool ttl_text(struct slice ttl, char out[32])
{
	long long left = atoll(ttl.p); /* ends at a blank or at the line's end */
	out[0] = '\0';
	if (left == -1) return true;
	if (left <= 0) return false;
	if (left > MC_TTL_RELATIVE_MAX) left += (long long)(clock_wall_us() / 1000000);
	snprintf(out, 32, " T%lld", left);
	return true;
}

static void store(struct mover_key *k, const struct server_answer *a)
{
	struct slice flags = flags_of(a), client = SLICE("0"), ttl = SLICE("-1"), ignored;
	size_t bytes = strtoull(a->bytes.p + 3, NULL, 10);
	char expires[32];
	mover_mc_flag(flags, 'f', &client);
	mover_mc_flag(flags, 't', &ttl);
	/* Somebody's lease at the source, or what was declared stale: as good as absent. */
	bool hollow = mover_mc_flag(flags, 'Z', &ignored) || mover_mc_flag(flags, 'W', &ignored) ||
		      mover_mc_flag(flags, 'X', &ignored);
	if (hollow || !ttl_text(ttl, expires) || !server_conn_up(k->dst->sink)) {
		lease_return(k);
		return;
	}
	struct slice body = { a->bytes.p + a->bytes.n - bytes - 2, bytes + 2 };
	mover_key_hold(k, bytes);
	key_ask(k, k->dst->sink, body, on_stored, "ms %.*s %zu C%llu F%.*s%s\r\n", KEY(k), bytes,
		(unsigned long long)k->cas, (int)client.n, client.p, expires);
}

static void on_read(void *ctx, const struct server_answer *a)
{
	struct mover_key *k = ctx;
	if (!key_goes_on(k, a, "mg")) return;
	if (says(a, "VA")) store(k, a);
	else lease_return(k);
}

static void on_lease(void *ctx, const struct server_answer *a)
{
	struct mover_key *k = ctx;
	struct slice token, ignored;
	if (!key_goes_on(k, a, "mg")) return;
	if (!says(a, "HD")) {
		key_give_up(k, "mg", a);
		return;
	}
	struct slice flags = flags_of(a);
	if (mover_mc_flag(flags, 'W', &ignored) && mover_mc_flag(flags, 'c', &token)) {
		k->cas = strtoull(token.p, NULL, 10);
		if (server_conn_up(k->src->conn))
			key_ask(k, k->src->conn, NO_BODY, on_read, "mg %.*s v f t\r\n", KEY(k));
		else lease_return(k);
		return;
	}
	/* Somebody is about to promote it. Should they fail, the lease ends by itself. */
	if (mover_mc_flag(flags, 'Z', &ignored) && k->tries < MC_TRIES) mover_key_again(k);
	else key_end(k);
}

/* --- begin ------------------------------------------------------------------------------------ */

static void promote(struct mover_key *k)
{
	const struct mover *m = k->src->m;
	if (m->move_max_bytes && k->size > m->move_max_bytes) {
		mover_big(k->src, mover_key_slice(k), k->size);
		mover_key_done(k);
		return;
	}
	if (!k->dst->sink || !server_conn_up(k->dst->sink)) {
		mover_key_failed(k, k->dst->name, SLICE("not connected"));
		return;
	}
	key_ask(k, k->dst->sink, NO_BODY, on_lease, "mg %.*s t c N%d\r\n", KEY(k), MOVER_LEASE_S);
}

static void mc_work(struct mover_key *k)
{
	if (k->src->m->kind == MOVER_MOVE) promote(k);
	else
		key_ask(k, k->src->conn, NO_BODY, on_deleted, "md %.*s C%llu\r\n", KEY(k),
			(unsigned long long)k->cas);
}

/* The one pass that deletes is not yet the proof that nothing is left. Promoting goes on without
 * us for what comes later: clients do it. */
static bool mc_again(const struct mover_node *n)
{
	return n->m->kind != MOVER_MOVE && n->m->kind != MOVER_CHECK_EMPTY && n->round_found > 0 &&
	       !n->no_list;
}

const struct mover_ops mover_mc_ops = {
	.list = mover_mc_list,
	.work = mc_work,
	.again = mc_again,
};
