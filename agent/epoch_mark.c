#include "agent/epoch_mark.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/server_conn.h"
#include "common/clock.h"
#include "common/redis_import.h"

enum {
	MARK_TIMEOUT_MS = 10000,
	MARK_ANSWER_MAX = 64 << 20, /* CLIENT LIST of some 100,000 clients */
	MARK_WHY_MAX = 200,
	KILL_ROUNDS = 50,
	SCAN_COUNT = 1000,
};

enum node_state { NODE_BEGUN, NODE_MARKED, NODE_DONE };

struct mark_node {
	struct epoch_mark *e;
	const char *name; /* text of the errand's own copy */
	struct server_conn *conn;
	enum node_state state;
	uint64_t moved_us; /* when it last got on */
	char last_why[MARK_WHY_MAX];
	int64_t own_id;
	uint32_t round;	    /* of closing connections                             */
	int64_t highest_id; /* of the second list: who comes later is not of old  */
	uint32_t killing;
	uint64_t cursor;
};

struct epoch_mark {
	struct io_loop *loop;
	enum epoch_errand errand;
	struct topology *pools; /* copies of from and to */
	char *mark;
	char **spared;
	uint32_t spared_count;
	struct mark_node *nodes;
	uint32_t node_count;
	uint32_t timeout_ms;
	struct io_timer timer;
	bool over, ok;
	char why[MARK_WHY_MAX];
	epoch_mark_fn done;
	void *ctx;
};

/* --- the end ---------------------------------------------------------------------------------- */

static void mark_over(struct epoch_mark *e, bool ok)
{
	if (e->over) return;
	e->over = true;
	e->ok = ok;
	io_timer_set(&e->timer, 0);
}

__attribute__((format(printf, 2, 3))) static void node_fail(struct mark_node *n, const char *format,
							    ...)
{
	struct epoch_mark *e = n->e;
	if (e->over) return;
	int at = snprintf(e->why, sizeof(e->why), "%s: ", n->name);
	if (at < 0 || at >= MARK_WHY_MAX) at = 0;
	va_list args;
	va_start(args, format);
	vsnprintf(e->why + at, sizeof(e->why) - (size_t)at, format, args);
	va_end(args);
	for (char *p = e->why; *p; p++)
		if (*p < ' ' || *p > '~') *p = '?';
	mark_over(e, false);
}

/* The answer is not what it should be. */
static void node_refused(struct mark_node *n, const char *doing, struct slice answer)
{
	while (answer.n && (answer.p[answer.n - 1] == '\n' || answer.p[answer.n - 1] == '\r'))
		answer.n--;
	node_fail(n, "%s: %.*s", doing, (int)(answer.n < 120 ? answer.n : 120), answer.p);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Arguments, NULL at the end. */
static void node_ask(struct mark_node *n, server_answer_fn fn, const char *const *args)
{
	struct scratch request = { 0 };
	uint64_t count = 0;
	while (args[count]) count++;
	resp_put_head(&request, '*', count);
	for (uint64_t i = 0; i < count; i++) resp_put_bulk(&request, slice_of(args[i]));
	server_conn_ask(n->conn, SERVER_RESP, scratch_slice(&request), fn, n);
	scratch_fini(&request);
}

#define NODE_ASK(n, fn, ...) node_ask(n, fn, (const char *const[]){ __VA_ARGS__, NULL })

/* False: not an answer, or of no interest any more. */
static bool node_goes_on(struct mark_node *n, const struct server_answer *a)
{
	if (a->why || n->e->over) return false; /* with a new connection it begins anew */
	n->moved_us = clock_now_us();
	return true;
}

static void node_done(struct mark_node *n)
{
	struct epoch_mark *e = n->e;
	n->state = NODE_DONE;
	for (uint32_t i = 0; i < e->node_count; i++)
		if (e->nodes[i].state != NODE_DONE) return;
	mark_over(e, true);
}

/* What is inside "$3\r\nabc\r\n". */
static bool bulk_of(struct slice value, struct slice *out)
{
	const char *line = value.n && value.p[0] == '$' ? memchr(value.p, '\n', value.n) : NULL;
	if (!line || resp_is_nil(value)) return false;
	*out = (struct slice){ line + 1, value.n - (size_t)(line + 1 - value.p) - 2 };
	return true;
}

/* --- closing connections ---------------------------------------------------------------------- */

static void kill_round(struct mark_node *n);

/* "name=x" in a client's line; empty when it has none. */
static struct slice field_of(struct slice line, const char *name)
{
	size_t n = strlen(name);
	const char *end = line.p + line.n;
	for (const char *p = line.p; p && p + n <= end; p = memchr(p, ' ', (size_t)(end - p))) {
		if (*p == ' ') p++;
		if (p + n > end || memcmp(p, name, n) != 0) continue;
		const char *stop = memchr(p, ' ', (size_t)(end - p));
		return (struct slice){ p + n, (size_t)((stop ? stop : end) - p) - n };
	}
	return (struct slice){ 0 };
}

static bool is_spared(const struct epoch_mark *e, struct slice name)
{
	if (name.n == 0) return false;
	for (uint32_t i = 0; i < e->spared_count; i++)
		if (slice_eq(name, slice_of(e->spared[i]))) return true;
	return false;
}

static void kill_on_answer(void *ctx, const struct server_answer *a)
{
	struct mark_node *n = ctx;
	n->killing--;
	if (!node_goes_on(n, a)) return;
	/* :0, an error: it has gone by itself */
	if (n->killing == 0) kill_round(n);
}

/* Close one connection, unless it may stay. Returns whether it was there before us. */
static bool kill_client(struct mark_node *n, struct slice line)
{
	char id[24];
	struct slice digits = field_of(line, "id=");
	if (digits.n == 0 || digits.n >= sizeof(id)) return false;
	memcpy(id, digits.p, digits.n);
	id[digits.n] = '\0';
	int64_t number = atoll(id);
	if (number == n->own_id || is_spared(n->e, field_of(line, "name="))) return false;
	/* Two rounds for all: a connection that the first did not list may have waited to be
	 * accepted, with a command in it. Clients that are none of ours come again for ever. */
	if (n->round <= 2 && number > n->highest_id) n->highest_id = number;
	if (number > n->highest_id) return false;
	NODE_ASK(n, kill_on_answer, "CLIENT", "KILL", "ID", id);
	n->killing++;
	return true;
}

static void list_on_answer(void *ctx, const struct server_answer *a)
{
	struct mark_node *n = ctx;
	struct slice list;
	if (!node_goes_on(n, a)) return;
	if (!bulk_of(a->bytes, &list)) {
		node_refused(n, "CLIENT LIST", a->bytes);
		return;
	}
	uint32_t left = 0;
	for (const char *p = list.p, *end = list.p + list.n; p < end;) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		const char *stop = newline ? newline : end;
		left += kill_client(n, (struct slice){ p, (size_t)(stop - p) });
		p = stop + 1;
	}
	if (left > 0) return;
	if (n->round < 2) kill_round(n);
	else node_done(n);
}

static void kill_round(struct mark_node *n)
{
	if (n->round++ == KILL_ROUNDS) node_fail(n, "connections do not close");
	else NODE_ASK(n, list_on_answer, "CLIENT", "LIST", "TYPE", "normal");
}

static void id_on_answer(void *ctx, const struct server_answer *a)
{
	struct mark_node *n = ctx;
	if (!node_goes_on(n, a)) return;
	if (resp_integer(a->bytes, &n->own_id)) kill_round(n);
	else node_refused(n, "CLIENT ID", a->bytes);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A coordinator that was stopped, or whose command was, must not bring back an older mark. */
static const char write_script[] = "local m=redis.call('GET',KEYS[1])\n"
				   "if m then\n"
				   " local e,s=string.match(m,'^(%d+)%.(%d+)$')\n"
				   " local f,t=string.match(ARGV[1],'^(%d+)%.(%d+)$')\n"
				   " e,s,f,t=tonumber(e),tonumber(s),tonumber(f),tonumber(t)\n"
				   " if e and f and (e>f or (e==f and s>t)) then\n"
				   "  return redis.error_reply('EPOCH is '..m)\n"
				   " end\n"
				   "end\n"
				   "return redis.call('SET',KEYS[1],ARGV[1])";

static void set_on_answer(void *ctx, const struct server_answer *a)
{
	struct mark_node *n = ctx;
	if (!node_goes_on(n, a)) return;
	if (!slice_eq(a->bytes, SLICE("+OK\r\n"))) {
		node_refused(n, REDIS_EPOCH_KEY, a->bytes);
		return;
	}
	n->state = NODE_MARKED;
	if (n->e->errand == EPOCH_WRITE) {
		node_done(n);
		return;
	}
	n->round = 0;
	n->highest_id = 0;
	NODE_ASK(n, id_on_answer, "CLIENT", "ID");
}

/* --- cleaning --------------------------------------------------------------------------------- */

/* 1: deleted; 0: there was none; error: another one is in force. */
static const char clean_script[] =
    "local m=redis.call('GET',KEYS[1])\n"
    "if m and m~=ARGV[1] then return redis.error_reply('EPOCH is '..m) end\n"
    "return redis.call('DEL',KEYS[1])";

static void hashes_scan(struct mark_node *n);

static void hash_on_answer(void *ctx, const struct server_answer *a)
{
	struct mark_node *n = ctx;
	int64_t did;
	if (!node_goes_on(n, a)) return;
	if (!resp_integer(a->bytes, &did)) node_refused(n, "UNLINK", a->bytes);
}

static void hashes_on_end(void *ctx, const struct server_answer *a)
{
	struct mark_node *n = ctx;
	if (node_goes_on(n, a)) node_done(n);
}

static void hashes_unlink(struct mark_node *n, struct slice keys)
{
	size_t head;
	uint64_t count;
	if (!resp_array(keys, &head, &count)) return;
	for (size_t at = head; count > 0; count--) {
		struct slice value = resp_value(keys.p + at, keys.n - at);
		struct scratch request = { 0 };
		at += value.n;
		resp_put_head(&request, '*', 2);
		resp_put_bulk(&request, SLICE("UNLINK"));
		scratch_puts(&request, value);
		server_conn_ask(n->conn, SERVER_RESP, scratch_slice(&request), hash_on_answer, n);
		scratch_fini(&request);
	}
}

static void hashes_on_answer(void *ctx, const struct server_answer *a)
{
	struct mark_node *n = ctx;
	struct slice cursor;
	size_t head;
	uint64_t count;
	char digits[24];
	if (!node_goes_on(n, a)) return;
	struct slice value = { 0 };
	bool good = resp_array(a->bytes, &head, &count) && count == 2;
	if (good) value = resp_value(a->bytes.p + head, a->bytes.n - head);
	if (!good || !bulk_of(value, &cursor) || cursor.n >= sizeof(digits)) {
		node_refused(n, "SCAN", a->bytes);
		return;
	}
	memcpy(digits, cursor.p, cursor.n);
	digits[cursor.n] = '\0';
	n->cursor = strtoull(digits, NULL, 10);
	hashes_unlink(n, (struct slice){ value.p + value.n, a->bytes.n - head - value.n });
	if (n->cursor) hashes_scan(n);
	else NODE_ASK(n, hashes_on_end, "PING"); /* answered after the last UNLINK */
}

static void hashes_scan(struct mark_node *n)
{
	static const char pattern[] = REDIS_MOVED_PREFIX "*";
	char cursor[24], count[12];
	snprintf(cursor, sizeof(cursor), "%llu", (unsigned long long)n->cursor);
	snprintf(count, sizeof(count), "%d", SCAN_COUNT);
	NODE_ASK(n, hashes_on_answer, "SCAN", cursor, "MATCH", pattern, "COUNT", count);
}

/* A key that counts as moved must not be forgotten while an import under its mark can still be
 * made anywhere: the hashes go when the mark has gone from all nodes. */
static void clean_on_answer(void *ctx, const struct server_answer *a)
{
	struct mark_node *n = ctx;
	struct epoch_mark *e = n->e;
	int64_t did;
	if (!node_goes_on(n, a)) return;
	if (!resp_integer(a->bytes, &did)) {
		node_refused(n, "EVAL", a->bytes);
		return;
	}
	n->state = NODE_MARKED;
	for (uint32_t i = 0; i < e->node_count; i++)
		if (e->nodes[i].state == NODE_BEGUN) return;
	for (uint32_t i = 0; i < e->node_count; i++) {
		struct mark_node *other = &e->nodes[i];
		other->cursor = 0;
		if (other->state == NODE_MARKED && server_conn_up(other->conn)) hashes_scan(other);
	}
}

/* --- nodes ------------------------------------------------------------------------------------ */

static void node_on_up(void *ctx)
{
	struct mark_node *n = ctx;
	if (n->e->over || n->state == NODE_DONE) return;
	n->state = NODE_BEGUN;
	n->killing = 0;
	if (n->e->errand == EPOCH_CLEAN)
		NODE_ASK(n, clean_on_answer, "EVAL", clean_script, "1", REDIS_EPOCH_KEY,
			 n->e->mark);
	else NODE_ASK(n, set_on_answer, "EVAL", write_script, "1", REDIS_EPOCH_KEY, n->e->mark);
}

static void node_on_down(void *ctx, const char *why)
{
	struct mark_node *n = ctx;
	snprintf(n->last_why, sizeof(n->last_why), "%s", why);
}

static void node_add(struct epoch_mark *e, const struct pool_spec *pool,
		     const struct server_spec *s)
{
	static const struct server_conn_events events = { node_on_up, node_on_down };
	struct mark_node *n = &e->nodes[e->node_count++];
	struct server_peer peer = { .host = s->host,
				    .port = s->port,
				    .protocol = PROTOCOL_REDIS,
				    .auth_user = pool->auth_user,
				    .auth_password = pool->auth_password,
				    .db = pool->redis_db,
				    .timeout_ms = e->timeout_ms,
				    .answer_max = MARK_ANSWER_MAX };
	n->e = e;
	n->name = s->ring_name;
	n->moved_us = clock_now_us();
	n->conn = server_conn_new(e->loop, &peer, &events, n);
}

static bool is_lost(const struct epoch_mark_plan *plan, const char *server)
{
	for (uint32_t i = 0; i < plan->lost_count; i++)
		if (!strcmp(plan->lost[i], server)) return true;
	return false;
}

/* Keys, and so marks, belong to a database of a server. */
static bool pool_has(const struct pool_spec *pool, const struct server_spec *s, uint32_t db)
{
	for (uint32_t i = 0; i < pool->server_count && pool->redis_db == db; i++)
		if (pool->servers[i].port == s->port && !strcmp(pool->servers[i].host, s->host))
			return true;
	return false;
}

static void nodes_add(struct epoch_mark *e, const struct epoch_mark_plan *plan)
{
	const struct pool_spec *from = &e->pools->pools[0], *to = &e->pools->pools[1];
	e->nodes = calloc(from->server_count + to->server_count + 1, sizeof(*e->nodes));
	if (!e->nodes) abort();
	for (uint32_t i = 0; i < from->server_count; i++)
		if (!is_lost(plan, from->servers[i].ring_name))
			node_add(e, from, &from->servers[i]);
	for (uint32_t i = 0; i < to->server_count; i++) {
		const struct server_spec *s = &to->servers[i];
		bool known = pool_has(from, s, to->redis_db);
		if (!known && !is_lost(plan, s->ring_name)) node_add(e, to, s);
	}
}

/* --- life ------------------------------------------------------------------------------------- */

static void mark_free(struct epoch_mark *e)
{
	io_timer_stop(&e->timer);
	for (uint32_t i = 0; i < e->node_count; i++) server_conn_free(&e->nodes[i].conn);
	for (uint32_t i = 0; i < e->spared_count; i++) free(e->spared[i]);
	free(e->spared);
	free(e->nodes);
	free(e->mark);
	topology_free(&e->pools);
	free(e);
}

static void mark_on_timer(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct epoch_mark *e = owner;
	uint64_t now = clock_now_us();
	if (e->over) {
		e->done(e->ctx, e->ok, e->ok ? "" : e->why);
		mark_free(e);
		return;
	}
	for (uint32_t i = 0; i < e->node_count && !e->over; i++) {
		struct mark_node *n = &e->nodes[i];
		if (n->state == NODE_DONE || now - n->moved_us < e->timeout_ms * 1000ull) continue;
		/* A node that waits for the others is not to blame. */
		if (e->errand == EPOCH_CLEAN && n->state == NODE_MARKED) continue;
		node_fail(n, "%s", n->last_why[0] ? n->last_why : "no answer in time");
	}
	io_timer_set(&e->timer, e->over ? 0 : e->timeout_ms * 100ull);
}

/* One topology of both pools, for its deep copy. */
static struct topology *copy_pools(const struct epoch_mark_plan *plan)
{
	struct pool_spec pools[2] = { *plan->from, *plan->to };
	char names[2][8] = { "from", "to" };
	for (int i = 0; i < 2; i++) {
		pools[i].name = names[i];
		pools[i].transition = NULL;
		pools[i].failover_pool = NULL; /* names a pool that the copy has not */
		if (pools[i].failover == FAILOVER_POOL) pools[i].failover = FAILOVER_ERROR;
	}
	struct topology both = { .lineage = (char *)"", .pools = pools, .pool_count = 2 };
	struct topology *copy = topology_copy(&both);
	if (!copy) abort();
	return copy;
}

static char *copy_text(const char *s)
{
	char *copy = strdup(s);
	if (!copy) abort();
	return copy;
}

struct epoch_mark *epoch_mark_start(struct io_loop *l, const struct epoch_mark_plan *plan,
				    epoch_mark_fn done, void *ctx)
{
	struct epoch_mark *e = calloc(1, sizeof(*e));
	if (!e) abort();
	e->loop = l;
	e->errand = plan->errand;
	e->mark = copy_text(plan->mark);
	e->spared = calloc(plan->spared_count + 1, sizeof(*e->spared));
	if (!e->spared) abort();
	while (e->spared_count < plan->spared_count) {
		e->spared[e->spared_count] = copy_text(plan->spared[e->spared_count]);
		e->spared_count++;
	}
	e->timeout_ms = plan->timeout_ms ? plan->timeout_ms : MARK_TIMEOUT_MS;
	e->done = done;
	e->ctx = ctx;
	e->pools = copy_pools(plan);
	io_timer_init(&e->timer, l, mark_on_timer, e);
	nodes_add(e, plan);
	io_timer_set(&e->timer, e->timeout_ms * 100ull);
	if (e->node_count == 0) mark_over(e, true);
	return e;
}

void epoch_mark_cancel(struct epoch_mark **e)
{
	if (!*e) return;
	mark_free(*e);
	*e = NULL;
}
