/* mover_redis.c - Redis: one key, imported as a proxy does it, or deleted.
 *
 * SCAN returns every key that is there from its beginning to its end, and nothing new that moves
 * comes to a source while its keys are moved; so a whole SCAN without one proves that none is left.
 * A server that was started anew may have other cursors: the scan begins again with a connection.
 * What each script does, and why nothing can come twice or too late: common/redis_import.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/mover_impl.h"
#include "common/clock.h"
#include "common/redis_import.h"

enum {
	SCAN_COUNT = 500,
	SCAN_PER_KEY = 25, /* keys listed at the cost of one that is worked on */
};

static void ask(struct server_conn *c, const struct scratch *request, server_answer_fn fn,
		void *ctx)
{
	server_conn_ask(c, SERVER_RESP, scratch_slice(request), fn, ctx);
}

static struct slice text_of(struct slice answer)
{
	while (answer.n && (answer.p[answer.n - 1] == '\n' || answer.p[answer.n - 1] == '\r'))
		answer.n--;
	return answer;
}

/* What is inside "$3\r\nabc\r\n". */
static struct slice bulk_of(struct slice value)
{
	const char *line = value.n && value.p[0] == '$' ? memchr(value.p, '\n', value.n) : NULL;
	if (!line || resp_is_nil(value)) return (struct slice){ 0 };
	return (struct slice){ line + 1, value.n - (size_t)(line + 1 - value.p) - 2 };
}

/* --- who it is -------------------------------------------------------------------------------- */

static void info_on_answer(void *ctx, const struct server_answer *a)
{
	struct mover_node *n = ctx;
	if (a->why || n->m->over) return;
	struct slice info = bulk_of(a->bytes);
	const char *id = info.n ? memmem(info.p, info.n, "run_id:", 7) : NULL;
	size_t len = 0;
	if (id) {
		id += 7;
		while (id + len < info.p + info.n && id[len] > ' ') len++;
	}
	if (len == 0 || len >= MOVER_IDENTITY_MAX) {
		/* Without the right to ask, its address has to do. */
		mover_error(n, "INFO: no run_id");
		id = "unknown";
		len = 0;
	}
	if (len) snprintf(n->identity, sizeof(n->identity), "%.*s", (int)len, id);
	else snprintf(n->identity, sizeof(n->identity), "%s at %p", id, (void *)n);
	mover_node_check(n);
}

static void redis_identify(struct mover_node *n)
{
	server_conn_ask(n->conn, SERVER_RESP, SLICE("*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"),
			info_on_answer, n);
}

/* --- listing ---------------------------------------------------------------------------------- */

static void scan_keys(struct mover_node *n, struct slice keys)
{
	size_t head;
	uint64_t count;
	if (!resp_array(keys, &head, &count)) return;
	for (size_t at = head; count > 0; count--) {
		struct slice value = resp_value(keys.p + at, keys.n - at);
		struct slice key = bulk_of(value);
		at += value.n;
		if (!redis_import_is_ours(key)) mover_node_found(n, key, 0, 0);
	}
}

/* "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n" */
static bool scan_read(struct mover_node *n, struct slice answer)
{
	size_t head;
	uint64_t count;
	char digits[24];
	if (!resp_array(answer, &head, &count) || count != 2) return false;
	struct slice value = resp_value(answer.p + head, answer.n - head), cursor = bulk_of(value);
	if (cursor.n == 0 || cursor.n >= sizeof(digits)) return false;
	memcpy(digits, cursor.p, cursor.n);
	digits[cursor.n] = '\0';
	n->cursor = strtoull(digits, NULL, 10);
	scan_keys(n, (struct slice){ value.p + value.n, answer.n - head - value.n });
	return true;
}

static void scan_on_answer(void *ctx, const struct server_answer *a)
{
	struct mover_node *n = ctx;
	n->scan_asked = false;
	if (a->why || n->scan != SCAN_ASKED || !mover_awake(n->m)) return;
	if (!scan_read(n, a->bytes)) {
		struct slice text = text_of(a->bytes);
		mover_error(n, "SCAN: %.*s", (int)(text.n < 100 ? text.n : 100), text.p);
		mover_node_restart(n);
		return;
	}
	if (n->cursor == 0) mover_node_listed(n);
	mover_node_refill(n);
}

static void redis_more(struct mover_node *n)
{
	uint64_t now = clock_now_us();
	if (n->scan_asked || now < n->scan_at_us) return;
	struct scratch request = { 0 };
	scratch_printf(&request, "SCAN %llu COUNT %d\r\n", (unsigned long long)n->cursor,
		       SCAN_COUNT);
	n->scan_at_us = now + (uint64_t)(SCAN_COUNT * 1e6 / (mover_node_pace(n) * SCAN_PER_KEY));
	n->scan_asked = true;
	ask(n->conn, &request, scan_on_answer, n);
	scratch_fini(&request);
}

static void size_on_answer(void *ctx, const struct server_answer *a)
{
	struct mover_node *n = ctx;
	int64_t total;
	if (!a->why && resp_integer(a->bytes, &total)) n->total = (uint64_t)total;
}

static void redis_list(struct mover_node *n)
{
	server_conn_ask(n->conn, SERVER_RESP, SLICE("*1\r\n$6\r\nDBSIZE\r\n"), size_on_answer, n);
	redis_more(n);
}

/* --- what may go wrong with a key ------------------------------------------------------------- */

/* True: the answer is good for the next step. Else the key is gone. */
static bool key_goes_on(struct mover_key *k, const struct server_answer *a,
			enum redis_import_step step, struct mover_node *asked,
			struct redis_dump *dump_out)
{
	static const char *const doing[] = { "dump", "restore", "unlink" };
	struct mover *m = k->src->m;
	if (a->why) {
		mover_key_failed(k, doing[step], slice_of(a->why));
		return false;
	}
	if (!mover_awake(m)) {
		mover_key_done(k);
		return false;
	}
	switch (redis_import_read(step, a->bytes, dump_out)) {
	case IMPORT_OK: return true;
	case IMPORT_ABSENT: {
		struct mover_node *n = k->src;
		mover_key_done(k);
		mover_node_refill(n);
		return false;
	}
	case IMPORT_BIG: {
		const char *digits = memchr(a->bytes.p, ' ', a->bytes.n);
		mover_big(k->src, mover_key_slice(k), digits ? strtoull(digits, NULL, 10) : 0);
		mover_key_done(k);
		return false;
	}
	case IMPORT_REFUSED:
		mover_fail(m, asked,
			   "mark %s " MOVER_MARK_GONE ": it was started anew, or another "
			   "transition has begun",
			   m->mark);
		mover_key_done(k);
		return false;
	case IMPORT_FAILED: break;
	}
	mover_key_failed(k, doing[step], a->bytes);
	return false;
}

static bool key_can_ask(struct mover_key *k, const struct server_conn *c, const char *name)
{
	if (c && server_conn_up(c)) return true;
	mover_key_failed(k, name, SLICE("not connected"));
	return false;
}

/* --- moving, deleting ------------------------------------------------------------------------- */

static void on_unlinked(void *ctx, const struct server_answer *a)
{
	struct mover_key *k = ctx;
	struct mover_node *n = k->src;
	if (!key_goes_on(k, a, IMPORT_UNLINK, n, NULL)) return;
	bool did = redis_import_did(a->bytes);
	if (did && n->m->kind == MOVER_MOVE) n->m->tally.moved++;
	else n->m->tally.deleted += did;
	mover_key_done(k);
	mover_node_refill(n);
}

static void unlink_key(struct mover_key *k)
{
	struct scratch request = { 0 };
	redis_import_put_unlink(&request, mover_key_slice(k), k->src->m->mark);
	ask(k->src->conn, &request, on_unlinked, k);
	scratch_fini(&request);
}

static void on_restored(void *ctx, const struct server_answer *a)
{
	struct mover_key *k = ctx;
	mover_key_release(k);
	if (!key_goes_on(k, a, IMPORT_RESTORE, k->dst, NULL)) return;
	if (key_can_ask(k, k->src->conn, "unlink")) unlink_key(k);
}

static void on_dumped(void *ctx, const struct server_answer *a)
{
	struct mover_key *k = ctx;
	struct redis_dump dump = { .expire_ms = -1 };
	if (!key_goes_on(k, a, IMPORT_DUMP, k->src, &dump)) return;
	if (!key_can_ask(k, k->dst->sink, k->dst->name)) return;
	struct scratch request = { 0 };
	mover_key_hold(k, dump.value.n);
	redis_import_put_restore(&request, mover_key_slice(k), k->src->m->mark, &dump);
	scratch_puts(&request, dump.value);
	ask(k->dst->sink, &request, on_restored, k);
	scratch_fini(&request);
}

static void redis_work(struct mover_key *k)
{
	struct mover *m = k->src->m;
	if (m->kind != MOVER_MOVE) {
		unlink_key(k);
		return;
	}
	if (!key_can_ask(k, k->dst->sink, k->dst->name)) return;
	struct scratch request = { 0 };
	redis_import_put_dump(&request, mover_key_slice(k), m->mark, m->move_max_bytes);
	ask(k->src->conn, &request, on_dumped, k);
	scratch_fini(&request);
}

/* Only a scan that finds nothing is the proof. */
static bool redis_again(const struct mover_node *n)
{
	return n->m->kind != MOVER_CHECK_EMPTY && n->round_found > n->round_big;
}

const struct mover_ops mover_redis_ops = {
	.list = redis_list,
	.more = redis_more,
	.work = redis_work,
	.again = redis_again,
	.identify = redis_identify,
};
