/* Redis keys on their way from one server to another: which bytes go where, in which order, before
 * the client hears anything. Server 0 is the old owner, server 1 the new one. */
#include <stdio.h>
#include <stdlib.h>

#include "common/redis_import.h"
#include "proxy/routes/flow.h"
#include "tests/sim/sim.h"

#define OPTIONS "    timeout_ms: 100\n"
#define RULES(p)                                                           \
	"\"phase\": \"" p "\", \"mode\": \"storage\", \"mark\": \"7.3\", " \
	"\"hold_park_ms\": 250, \"move_max_bytes\": 1000"
#define OLD  sim_server(0)
#define NEW  sim_server(1)
#define DUMP "*2\r\n$4\r\nDUMP\r\n:-1\r\n"

static const char *k, *k2; /* keys that move from server 0 to server 1 */

static void phase(const char *rules)
{
	sim_transition("redis", 1, 2, OPTIONS, rules);
}

static struct sock *start(const char *rules)
{
	sim_start("redis", 1, OPTIONS, "");
	phase(rules);
	k = sim_moving(0, 1, 0);
	k2 = sim_moving(0, 1, 1);
	return sim_client();
}

static void nothing_left(void)
{
	ck_assert_uint_eq(sim_live(), 0);
	ck_assert_uint_eq(flows_live(&sim.w->core), 0);
	ck_assert_uint_eq(sim.w->core.wide_flows, 0);
	sim_stop();
}

/* "GET a" as an array; words are split at single blanks. */
static struct scratch *array(const char *format, va_list args)
{
	static struct scratch out;
	char line[2000];
	uint32_t words = 1;
	vsnprintf(line, sizeof(line), format, args);
	for (const char *c = line; *c; c++) words += *c == ' ';
	scratch_clear(&out);
	resp_put_head(&out, '*', words);
	for (char *save, *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
		resp_put_bulk(&out, slice_of(w));
	return &out;
}

/* The client asks. */
static void __attribute__((format(printf, 2, 3))) ask(struct sock *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	struct scratch *out = array(format, args);
	va_end(args);
	sim_send_bytes(s, out->p, out->n);
}

/* A server was sent exactly this. */
static void __attribute__((format(printf, 2, 3))) asked(struct sock *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	struct scratch *out = array(format, args);
	va_end(args);
	sim_expect_bytes(s, out->p, out->n);
}

static void silent(struct sock *s)
{
	if (s) sim_expect(s, "%s", "");
}

static void asked_dump(struct sock *s, const char *key)
{
	struct scratch want = { 0 };
	redis_import_put_dump(&want, slice_of(key), "7.3", 1000);
	sim_expect_bytes(s, want.p, want.n);
	scratch_fini(&want);
}

static void asked_restore(struct sock *s, const char *key)
{
	struct redis_dump dump = { SLICE("DUMP\r\n"), -1 };
	struct scratch want = { 0 };
	redis_import_put_restore(&want, slice_of(key), "7.3", &dump);
	scratch_puts(&want, dump.value);
	sim_expect_bytes(s, want.p, want.n);
	scratch_fini(&want);
}

static void asked_unlink(struct sock *s, const char *key)
{
	struct scratch want = { 0 };
	redis_import_put_unlink(&want, slice_of(key), "7.3");
	sim_expect_bytes(s, want.p, want.n);
	scratch_fini(&want);
}

static void asked_held(struct sock *s, const char *key, const char *verb)
{
	sim_expect(s,
		   "*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nEXISTS\r\n$%zu\r\n%s\r\n"
		   "*2\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n*1\r\n$4\r\nEXEC\r\n",
		   strlen(key), key, strlen(verb), verb, strlen(key), key);
}

#define HELD(present, value) "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:" present "\r\n" value

static void import(const char *key)
{
	asked_dump(OLD, key);
	sim_send(OLD, DUMP);
	asked_restore(NEW, key);
	sim_send(NEW, ":1\r\n");
	asked_unlink(OLD, key);
	sim_send(OLD, ":1\r\n");
}

static void error_is(struct sock *c, const char *begin)
{
	ck_assert_msg(c->out_n > strlen(begin) && memcmp(c->out, begin, strlen(begin)) == 0,
		      "got %.*s", (int)c->out_n, c->out);
	ck_assert_ptr_eq(memchr(c->out, '\n', c->out_n), c->out + c->out_n - 1);
	sock_take(c, c->out_n);
}

/* --- HOLD ------------------------------------------------------------------------------------- */

START_TEST(a_read_in_hold_is_the_sources)
{
	struct sock *c = start(RULES("hold"));
	ask(c, "GET %s", k);
	asked_held(OLD, k, "GET");
	silent(c);
	sim_send(OLD, HELD("1", "$1\r\nx\r\n"));
	sim_expect(c, "$1\r\nx\r\n");
	silent(NEW);
	/* An error is an answer too. */
	ask(c, "GET %s", k);
	sock_take(OLD, OLD->out_n);
	sim_send(OLD, HELD("1", "-WRONGTYPE no\r\n"));
	sim_expect(c, "-WRONGTYPE no\r\n");
	nothing_left();
}
END_TEST

START_TEST(what_the_source_has_not_is_read_at_the_target)
{
	struct sock *c = start(RULES("hold"));
	ask(c, "GET %s", k);
	asked_held(OLD, k, "GET");
	sim_send(OLD, HELD("0", "$-1\r\n"));
	asked(NEW, "GET %s", k);
	silent(c);
	sim_send(NEW, "$1\r\ny\r\n");
	sim_expect(c, "$1\r\ny\r\n");
	nothing_left();
}
END_TEST

START_TEST(a_held_read_that_is_refused)
{
	struct sock *c = start(RULES("hold"));
	ask(c, "GET %s", k);
	asked_held(OLD, k, "GET");
	sim_send(OLD, "+OK\r\n-LOADING no\r\n-LOADING no\r\n-EXECABORT no\r\n");
	sim_expect(c, "-LOADING no\r\n");
	ask(c, "GET %s", k);
	sock_take(OLD, OLD->out_n);
	/* Nor is a reply of another kind than the command's an answer. */
	sim_send(OLD, HELD("1", ":5\r\n"));
	error_is(c, "-ERR protocol error from server");
	silent(NEW);
	nothing_left();
}
END_TEST

START_TEST(a_write_in_hold_waits_and_is_refused)
{
	struct sock *c = start(RULES("hold"));
	ask(c, "SET %s x", k);
	ask(c, "GET %s", k); /* not before the write */
	sim_pass_ms(240);
	silent(c);
	silent(OLD);
	sim_pass_ms(30);
	asked_held(OLD, k, "GET");
	error_is(c, "-TRYAGAIN ");
	sim_send(OLD, HELD("1", "$1\r\no\r\n"));
	sim_expect(c, "$1\r\no\r\n");
	silent(NEW);
	nothing_left();
}
END_TEST

START_TEST(a_write_that_hold_did_not_outlast)
{
	struct sock *c = start(RULES("hold"));
	ask(c, "SET %s x", k);
	ask(c, "GET %s", k);
	sim_pass_ms(100);
	phase(RULES("dual"));
	import(k);
	sim_expect(NEW,
		   "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$1\r\nx\r\n*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
		   strlen(k), k, strlen(k), k);
	sim_send(NEW, "+OK\r\n$1\r\nx\r\n");
	sim_expect(c, "+OK\r\n$1\r\nx\r\n");
	nothing_left();
}
END_TEST

/* --- DUAL ------------------------------------------------------------------------------------- */

START_TEST(a_command_waits_until_the_source_has_let_go)
{
	struct sock *c = start(_i ? RULES("dual-r") : RULES("dual"));
	struct sock *from = NULL, *to = NULL;
	ask(c, "INCR %s", k);
	from = _i ? NEW : OLD;
	asked_dump(from, k);
	sim_send(from, DUMP);
	to = _i ? OLD : NEW;
	asked_restore(to, k);
	silent(from);
	sim_send(to, ":1\r\n");
	asked_unlink(from, k);
	silent(to);
	sim_send(from, ":1\r\n");
	asked(to, "INCR %s", k);
	silent(c);
	sim_send(to, ":8\r\n");
	sim_expect(c, ":8\r\n");
	nothing_left();
}
END_TEST

START_TEST(what_has_moved_is_not_moved_again)
{
	struct sock *c = start(RULES("dual"));
	ask(c, "GET %s", k);
	asked_dump(OLD, k);
	sim_send(OLD, "$-1\r\n");
	asked(NEW, "GET %s", k);
	sim_send(NEW, "$1\r\nx\r\n");
	sim_expect(c, "$1\r\nx\r\n");
	/* Nor asked for, in this epoch ... */
	phase(RULES("drain"));
	phase(RULES("dual"));
	ask(c, "GET %s", k);
	asked(NEW, "GET %s", k);
	sim_send(NEW, "$1\r\nx\r\n");
	sim_expect(c, "$1\r\nx\r\n");
	ask(c, "SUNION %s %s", k, k2);
	asked_dump(OLD, k2);
	sim_send(OLD, "-EPOCH is not 7.3\r\n");
	error_is(c, "-TRYAGAIN ");
	/* ... and only in this: the way back may have been begun in between. */
	phase("\"phase\": \"dual\", \"mode\": \"storage\", \"mark\": \"8.1\"");
	ask(c, "GET %s", k);
	ck_assert(OLD->out_n > 0 && memmem(OLD->out, OLD->out_n, "'DUMP'", 6));
	sock_take(OLD, OLD->out_n);
	silent(NEW);
	sim_send(OLD, "$-1\r\n");
	asked(NEW, "GET %s", k);
	sim_send(NEW, "$1\r\nx\r\n");
	sim_expect(c, "$1\r\nx\r\n");
	nothing_left();
}
END_TEST

static const struct {
	const char *dump, *restore, *unlink, *error;
} failures[] = {
	{ "-EPOCH is not 7.3\r\n", NULL, NULL, "-TRYAGAIN the transition has gone on" },
	{ DUMP, "-EPOCH is not 7.3\r\n", NULL, "-TRYAGAIN the transition has gone on" },
	{ DUMP, ":1\r\n", "-EPOCH is not 7.3\r\n", "-TRYAGAIN the transition has gone on" },
	{ "-BIGKEY 2000 bytes\r\n", NULL, NULL, "-TRYAGAIN the key is over" },
	{ "-NOPERM no\r\n", NULL, NULL, "-TRYAGAIN the key cannot be moved: server s0 said" },
	{ DUMP, "-OOM no\r\n", NULL, "-TRYAGAIN the key cannot be moved: server s1 said" },
	{ DUMP, ":0\r\n", "-NOPERM no\r\n", "-TRYAGAIN the key cannot be moved: server s0 said" },
	{ "", NULL, NULL, "-ERR Connection timed out (server s0)" },
	{ DUMP, "", NULL, "-ERR Connection timed out (server s1)" },
	{ DUMP, ":1\r\n", "", "-ERR Connection timed out (server s0)" },
	{ "+OK\r\n", NULL, NULL, "-ERR protocol error from server (server s0)" },
	{ DUMP, "+OK\r\n", NULL, "-ERR protocol error from server (server s1)" },
	{ "*1\r\n:1\r\n", NULL, NULL, "-TRYAGAIN the key cannot be moved" },
};

/* "" is silence. false: it ended here. */
static bool answer_step(struct sock *s, const char *reply)
{
	sock_take(s, s->out_n);
	if (!reply) return false;
	if (*reply) sim_send(s, "%s", reply);
	else sim_pass_ms(120);
	return true;
}

START_TEST(a_step_that_fails_is_the_commands_failure)
{
	struct sock *c = start(RULES("dual"));
	ask(c, "SET %s x", k);
	bool more = answer_step(OLD, failures[_i].dump) && failures[_i].restore &&
		    answer_step(NEW, failures[_i].restore) && failures[_i].unlink &&
		    answer_step(OLD, failures[_i].unlink);
	(void)more;
	error_is(c, failures[_i].error);
	sim_pass_ms(300);
	/* A probe may have been sent, the command was not. */
	ck_assert(!NEW || !NEW->out_n || !memmem(NEW->out, NEW->out_n, "SET\r\n", 5));
	sim_stop();
}
END_TEST

START_TEST(large_keys_are_read_where_they_are)
{
	struct sock *c = start(RULES("dual"));
	ask(c, "GET %s", k);
	asked_dump(OLD, k);
	sim_send(OLD, "-BIGKEY 2000 bytes\r\n");
	asked_held(OLD, k, "GET");
	sim_send(OLD, HELD("1", "$1\r\nx\r\n"));
	sim_expect(c, "$1\r\nx\r\n");
	silent(NEW);
	nothing_left();
}
END_TEST

/* A cache has no mover to wait for: the write drops the key, marked as any other. */
START_TEST(large_keys_of_a_cache_are_dropped_by_writes)
{
	struct redis_dump none = { SLICE("\r\n"), -1 };
	struct scratch want = { 0 };
	struct sock *c = start("\"phase\": \"dual\", \"mode\": \"cache\", \"mark\": \"7.3\", "
			       "\"move_max_bytes\": 1000");
	struct sock *d = sim_client();
	ask(c, "GET %s", k);
	ask(d, "SET %s x", k);
	asked_dump(OLD, k);
	sim_send(OLD, "-BIGKEY 2000 bytes\r\n");
	sock_take(OLD, OLD->out_n); /* the held read, and a dump for the write */
	sim_send(OLD, HELD("1", "$1\r\no\r\n") "-BIGKEY 2000 bytes\r\n");
	sim_expect(c, "$1\r\no\r\n");
	redis_import_put_restore(&want, slice_of(k), "7.3", &none);
	scratch_puts(&want, none.value);
	sim_expect_bytes(NEW, want.p, want.n);
	scratch_fini(&want);
	sim_send(NEW, ":0\r\n");
	asked_unlink(OLD, k);
	sim_send(OLD, ":1\r\n");
	asked(NEW, "SET %s x", k);
	sim_send(NEW, "+OK\r\n");
	sim_expect(d, "+OK\r\n");
	nothing_left();
}
END_TEST

START_TEST(each_read_counts_for_the_server_that_it_needed)
{
	struct sock *c = start(RULES("dual")), *d = sim_client();
	ask(c, "GET %s", k); /* and who waits for it */
	ask(d, "GET %s", k);
	import(k);
	sock_take(NEW, NEW->out_n);
	sim_send(NEW, "$1\r\nx\r\n$1\r\nx\r\n");
	sim_moving_reads(0, 2);
	ask(c, "GET %s", k);
	sim_send(NEW, "$1\r\nx\r\n");
	sim_moving_reads(1, 2);
	/* The mover was here. */
	ask(c, "GET %s", k2);
	sim_send(OLD, "$-1\r\n");
	sim_send(NEW, "$1\r\ny\r\n");
	sim_moving_reads(2, 2);
	/* Nobody has it. */
	const char *k3 = sim_moving(0, 1, 2);
	ask(c, "GET %s", k3);
	sim_send(OLD, "$-1\r\n");
	sim_send(NEW, "$-1\r\n");
	sim_moving_reads(2, 2);
	/* It is no read. */
	ask(c, "INCR %s", k);
	sim_send(NEW, ":1\r\n");
	sim_moving_reads(2, 2);
	/* It is too large to be moved. */
	ask(c, "GET %s", sim_moving(0, 1, 3));
	sim_send(OLD, "-BIGKEY 2000 bytes\r\n");
	sim_send(OLD, HELD("1", "$1\r\nz\r\n"));
	sim_moving_reads(2, 3);
	/* Where only one of them is asked there is nothing to compare. */
	phase(RULES("drain"));
	ask(c, "GET %s", k);
	sim_send(NEW, "$1\r\nx\r\n");
	sim_moving_reads(2, 3);
	nothing_left();
}
END_TEST

START_TEST(our_own_keys_do_not_move)
{
	char name[64];
	struct sock *c = start(RULES("dual"));
	for (uint32_t i = 0;; i++) {
		uint64_t rng = 1;
		snprintf(name, sizeof(name), "twinring:%u", i);
		if (route_locate(worker_entry(sim.w, 0), slice_of(name), &rng)->per_key) break;
	}
	ask(c, "GET %s", name);
	error_is(c, "-TRYAGAIN ");
	ask(c, "EVAL s 2 %s %s", k, name);
	error_is(c, "-TRYAGAIN ");
	silent(OLD);
	nothing_left();
}
END_TEST

START_TEST(one_import_for_all_who_wait)
{
	struct sock *c = start(RULES("dual")), *d = sim_client();
	ask(c, "INCR %s", k);
	ask(d, "INCR %s", k);
	asked_dump(OLD, k);
	sim_send(OLD, DUMP);
	ask(d, "GET %s", k);
	asked_restore(NEW, k);
	sim_send(NEW, ":1\r\n");
	asked_unlink(OLD, k);
	sim_send(OLD, ":1\r\n");
	char incr[100], get[100];
	snprintf(incr, sizeof(incr), "*2\r\n$4\r\nINCR\r\n$%zu\r\n%s\r\n", strlen(k), k);
	snprintf(get, sizeof(get), "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(k), k);
	sim_expect(NEW, "%s%s%s", incr, incr, get);
	silent(OLD);
	sim_send(NEW, ":1\r\n:2\r\n$1\r\n2\r\n");
	sim_expect(c, ":1\r\n");
	sim_expect(d, ":2\r\n$1\r\n2\r\n");
	nothing_left();
}
END_TEST

START_TEST(a_failed_import_is_told_to_all_who_wait)
{
	struct sock *c = start(RULES("dual")), *d = sim_client();
	ask(c, "INCR %s", k);
	ask(d, "INCR %s", k);
	sim_send(OLD, "-EPOCH is not 7.3\r\n");
	error_is(c, "-TRYAGAIN ");
	error_is(d, "-TRYAGAIN ");
	silent(NEW);
	nothing_left();
}
END_TEST

START_TEST(a_pipeline_asks_the_source_once)
{
	struct sock *c = start(RULES("dual"));
	for (int i = 0; i < 5; i++) sim_feed(c, "*2\r\n$4\r\nINCR\r\n$%zu\r\n%s\r\n", strlen(k), k);
	sim_settle();
	import(k);
	ck_assert_uint_eq(NEW->out_n, 5 * (strlen(k) + strlen("*2\r\n$4\r\nINCR\r\n$1\r\n\r\n")) +
					  5 * (strlen(k) > 9));
	sock_take(NEW, NEW->out_n);
	silent(OLD);
	sim_send(NEW, ":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n");
	sim_expect(c, ":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n");
	nothing_left();
}
END_TEST

START_TEST(a_client_that_leaves_ends_no_import)
{
	struct sock *c = start(RULES("dual"));
	ask(c, "SET %s x", k);
	asked_dump(OLD, k);
	c->eof = true;
	sim_settle();
	sim_send(OLD, DUMP);
	asked_restore(NEW, k);
	sim_send(NEW, ":1\r\n");
	asked_unlink(OLD, k);
	sim_send(OLD, ":1\r\n");
	asked(NEW, "SET %s x", k);
	sim_send(NEW, "+OK\r\n");
	nothing_left();
}
END_TEST

START_TEST(a_lost_source_counts_as_empty)
{
	struct sock *c = start(RULES("dual") ", \"lost\": [\"s0\"]");
	ask(c, "SET %s x", k);
	asked(NEW, "SET %s x", k);
	sim_send(NEW, "+OK\r\n");
	sim_expect(c, "+OK\r\n");
	phase(RULES("hold") ", \"lost\": [\"s0\"]");
	ask(c, "GET %s", k);
	asked(NEW, "GET %s", k);
	sim_send(NEW, "$1\r\nx\r\n");
	sim_expect(c, "$1\r\nx\r\n");
	nothing_left();
}
END_TEST

/* --- several keys ----------------------------------------------------------------------------- */

START_TEST(no_part_of_a_write_runs_in_hold)
{
	struct sock *c = start(RULES("hold"));
	ask(c, "MSET %s x %s y", k, sim_key(0, 0));
	error_is(c, "-TRYAGAIN ");
	ask(c, "DEL %s %s", sim_key(0, 0), k);
	error_is(c, "-TRYAGAIN ");
	silent(OLD);
	nothing_left();
}
END_TEST

START_TEST(several_keys_of_which_there_is_one)
{
	static const char *const verbs[] = { "DEL", "EVAL s 1" };
	struct sock *c = start(RULES("hold"));
	const char *keys[] = { k, k2 };
	for (int i = 0; i < 2; i++) {
		ask(c, "%s %s", verbs[i], keys[i]);
		sim_pass_ms(100);
		silent(c);
		phase(RULES("dual"));
		import(keys[i]);
		asked(NEW, "%s %s", verbs[i], keys[i]);
		sim_send(NEW, ":1\r\n");
		sim_expect(c, ":1\r\n");
		phase(RULES("hold"));
	}
	nothing_left();
}
END_TEST

START_TEST(reads_in_hold_are_answered_key_by_key)
{
	struct sock *c = start(RULES("hold"));
	ask(c, "MGET %s %s", k, k2);
	sim_expect(OLD,
		   "*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nEXISTS\r\n$%zu\r\n%s\r\n"
		   "*2\r\n$4\r\nMGET\r\n$%zu\r\n%s\r\n*1\r\n$4\r\nEXEC\r\n"
		   "*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nEXISTS\r\n$%zu\r\n%s\r\n"
		   "*2\r\n$4\r\nMGET\r\n$%zu\r\n%s\r\n*1\r\n$4\r\nEXEC\r\n",
		   strlen(k), k, strlen(k), k, strlen(k2), k2, strlen(k2), k2);
	sim_send(OLD, HELD("1", "*1\r\n$1\r\nx\r\n") HELD("0", "*1\r\n$-1\r\n"));
	asked(NEW, "MGET %s", k2);
	sim_send(NEW, "*1\r\n$1\r\ny\r\n");
	sim_expect(c, "*2\r\n$1\r\nx\r\n$1\r\ny\r\n");
	nothing_left();
}
END_TEST

/* A script on two keys of which both move: both are imported first. */
START_TEST(a_script_runs_when_all_its_keys_are_there)
{
	struct sock *c = start(RULES("dual"));
	ask(c, "EVAL s 2 %s %s", k, k2);
	import(k);
	silent(c);
	import(k2);
	asked(NEW, "EVAL s 2 %s %s", k, k2);
	sim_send(NEW, ":1\r\n");
	sim_expect(c, ":1\r\n");
	nothing_left();
}
END_TEST

START_TEST(keys_that_end_up_apart_are_refused)
{
	struct sock *c = start(RULES("dual"));
	const char *stays = NULL;
	for (uint32_t i = 0; !stays; i++) {
		char name[32];
		snprintf(name, sizeof(name), "stays%u", i);
		const struct route *entry = worker_entry(sim.w, 0);
		uint64_t rng = 1;
		if (!route_locate(entry, slice_of(name), &rng)->per_key) stays = strdup(name);
	}
	ask(c, "RENAME %s %s", k, stays);
	error_is(c, "-CROSSSLOT ");
	/* In HOLD both are still at one server: what only reads can be answered, if nothing has
	 * moved. */
	phase(RULES("hold"));
	ask(c, "SUNION %s %s", k, stays);
	sim_expect(OLD,
		   "*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nEXISTS\r\n$%zu\r\n%s\r\n"
		   "*3\r\n$6\r\nSUNION\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n*1\r\n$4\r\nEXEC\r\n",
		   strlen(k), k, strlen(k), k, strlen(stays), stays);
	sim_send(OLD, HELD("1", "*1\r\n$1\r\nm\r\n"));
	sim_expect(c, "*1\r\n$1\r\nm\r\n");
	ask(c, "SUNION %s %s", k, stays);
	sock_take(OLD, OLD->out_n);
	sim_send(OLD, HELD("0", "*0\r\n"));
	error_is(c, "-TRYAGAIN ");
	silent(NEW);
	ask(c, "RENAME %s %s", k, stays);
	error_is(c, "-TRYAGAIN ");
	free((char *)stays);
	nothing_left();
}
END_TEST

START_TEST(reads_of_several_keys_in_hold_are_of_one_moment)
{
	struct sock *c = start(RULES("hold"));
	static const struct {
		const char *reply;
		char then; /* a: asks the target, e: error, v: value */
	} rows[] = { { HELD("2", "*0\r\n"), 'v' },
		     { HELD("1", "*0\r\n"), 'e' },
		     { HELD("0", "*0\r\n"), 'a' } };
	for (size_t i = 0; i < 3; i++) {
		ask(c, "SUNION %s %s", k, k2);
		sock_take(OLD, OLD->out_n);
		sim_send(OLD, "%s", rows[i].reply);
		if (rows[i].then == 'e') {
			error_is(c, "-TRYAGAIN ");
			continue;
		}
		if (rows[i].then == 'a') {
			asked(NEW, "SUNION %s %s", k, k2);
			sim_send(NEW, "*0\r\n");
		}
		sim_expect(c, "*0\r\n");
	}
	nothing_left();
}
END_TEST

/* What comes after a command of several keys waits for it, whichever of them it touches; and what
 * came before goes first. */
START_TEST(order_holds_over_all_keys)
{
	struct sock *c = start(RULES("dual"));
	sim_feed(c, "*2\r\n$4\r\nINCR\r\n$%zu\r\n%s\r\n", strlen(k2), k2);
	sim_feed(c, "*3\r\n$6\r\nRENAME\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(k), k, strlen(k2),
		 k2);
	sim_feed(c, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(k2), k2);
	sim_settle();
	asked_dump(OLD, k2);
	sim_send(OLD, "$-1\r\n");
	asked(NEW, "INCR %s", k2);
	asked_dump(OLD, k);
	silent(NEW);
	sim_send(OLD, "$-1\r\n");
	sim_expect(
	    NEW,
	    "*3\r\n$6\r\nRENAME\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
	    strlen(k), k, strlen(k2), k2, strlen(k2), k2);
	sim_send(NEW, ":1\r\n+OK\r\n$1\r\n5\r\n");
	sim_expect(c, ":1\r\n+OK\r\n$1\r\n5\r\n");
	nothing_left();
}
END_TEST

/* A parked write, a script behind it and a read behind that, when the next step comes. */
START_TEST(order_holds_when_routed_again)
{
	struct sock *c = start(RULES("hold"));
	sim_feed(c, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$1\r\nx\r\n", strlen(k), k);
	sim_feed(c, "*3\r\n$6\r\nSUNION\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(k), k, strlen(k2),
		 k2);
	sim_feed(c, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(k2), k2);
	sim_settle();
	silent(OLD);
	phase(RULES("dual"));
	asked_dump(OLD, k);
	sim_send(OLD, "$-1\r\n");
	asked(NEW, "SET %s x", k);
	asked_dump(OLD, k2);
	phase(RULES("drain"));
	sim_send(OLD, "$-1\r\n");
	sim_expect(
	    NEW,
	    "*3\r\n$6\r\nSUNION\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
	    strlen(k), k, strlen(k2), k2, strlen(k2), k2);
	sim_send(NEW, "+OK\r\n*0\r\n$-1\r\n");
	sim_expect(c, "+OK\r\n*0\r\n$-1\r\n");
	nothing_left();
}
END_TEST

/* --- fencing, and commands for all ------------------------------------------------------------ */

START_TEST(a_fenced_proxy_touches_nothing_that_moves)
{
	static const char *const phases[] = { RULES("prepare"), RULES("hold"), RULES("dual"),
					      RULES("drain") };
	struct sock *c = start(RULES("prepare") ", \"lease_ms\": 60000");
	for (size_t i = 0; i < 4; i++) {
		char rules[300];
		snprintf(rules, sizeof(rules), "%s, \"lease_ms\": 60000", phases[i]);
		phase(rules);
		static const char *const verbs[] = { "GET", "INCR", "MGET" };
		for (size_t v = 0; v < 3; v++) {
			ask(c, "%s %s", verbs[v], k);
			error_is(c, "-TRYAGAIN ");
		}
		ask(c, "MGET %s %s", sim_key(0, 0), k);
		error_is(c, "-TRYAGAIN ");
		ask(c, "EVAL s 2 %s %s", k, k2);
		error_is(c, "-TRYAGAIN ");
	}
	silent(OLD);
	nothing_left();
}
END_TEST

/* An error may be told as a miss by the pool's wish; a key that is on its way is no miss. */
START_TEST(a_key_on_its_way_is_never_a_miss)
{
	sim_start("redis", 1, OPTIONS "    on_error: miss\n", "");
	sim_transition("redis", 1, 2, OPTIONS "    on_error: miss\n", RULES("dual"));
	k = sim_moving(0, 1, 0);
	k2 = sim_moving(0, 1, 1);
	struct sock *c = sim_client();
	ask(c, "GET %s", k);
	sim_send(OLD, "-EPOCH is not 7.3\r\n");
	error_is(c, "-TRYAGAIN ");
	ask(c, "EXISTS %s %s", k, k2);
	sim_send(OLD, "-EPOCH is not 7.3\r\n-EPOCH is not 7.3\r\n");
	error_is(c, "-TRYAGAIN ");
	ask(c, "MGET %s %s", k, k2);
	sim_send(OLD, "$-1\r\n-EPOCH is not 7.3\r\n");
	sim_send(NEW, "*1\r\n$1\r\nx\r\n");
	ck_assert_msg(memcmp(c->out, "*2\r\n$1\r\nx\r\n-TRYAGAIN ", 21) == 0, "%.*s", (int)c->out_n,
		      c->out);
	sock_take(c, c->out_n);
	nothing_left();
}
END_TEST

START_TEST(commands_for_all_go_to_both_rings)
{
	struct sock *c = start(RULES("dual"));
	ask(c, "DBSIZE");
	asked(OLD, "DBSIZE");
	asked(NEW, "DBSIZE");
	sim_send(OLD, ":3\r\n");
	sim_send(NEW, ":4\r\n");
	sim_expect(c, ":7\r\n");
	sim_stop();
	sim_start("redis", 1, OPTIONS "    allow_flush: true\n", "");
	sim_transition("redis", 1, 2, OPTIONS "    allow_flush: true\n", RULES("dual"));
	c = sim_client();
	ask(c, "FLUSHALL");
	error_is(c, "-TRYAGAIN ");
	nothing_left();
}
END_TEST

/* --- the model's table ------------------------------------------------------------------------ */

/* Two servers that hold one key or not, and write down what they are asked. */
struct world {
	bool has[2]; /* by server number */
	char done[200];
	int a; /* number of the server that is the table's a */
};

static void note(struct world *w, const char *what, int server)
{
	size_t n = strlen(w->done);
	snprintf(w->done + n, sizeof(w->done) - n, "%s%s %c", n ? "; " : "", what,
		 server == w->a ? 'a' : 'b');
}

static bool has_word(struct sock *s, const char *word)
{
	return memmem(s->out, s->out_n, word, strlen(word)) != NULL;
}

static void serve_read(struct world *w, int server, struct sock *s)
{
	bool held = has_word(s, "MULTI");
	bool has = w->has[server];
	note(w, "read", server);
	sock_take(s, s->out_n);
	if (held) sim_send(s, "%s", has ? HELD("1", "$1\r\nx\r\n") : HELD("0", "$-1\r\n"));
	else sim_send(s, "%s", has ? "$1\r\nx\r\n" : "$-1\r\n");
}

/* Answer one request, if there is one. */
static bool serve(struct world *w, int server)
{
	struct sock *s = sim_server((uint32_t)server);
	if (!s || s->out_n == 0) return false;
	if (has_word(s, "$3\r\nGET\r\n") && !has_word(s, "EVAL")) {
		serve_read(w, server, s);
		return true;
	}
	const char *reply = "+OK\r\n", *what = "write";
	bool had = w->has[server];
	if (has_word(s, "redis.call('RESTORE'")) {
		what = "restore";
		w->has[server] = true;
		reply = ":1\r\n";
	} else if (has_word(s, "redis.call('DUMP'")) {
		what = "dump";
		reply = had ? DUMP : "$-1\r\n";
	} else if (has_word(s, "redis.call('UNLINK'")) {
		what = "unlink";
		w->has[server] = false;
		reply = ":1\r\n";
	} else if (has_word(s, "$3\r\nDEL\r\n")) {
		what = "delete";
		w->has[server] = false;
		reply = had ? ":1\r\n" : ":0\r\n";
	} else {
		w->has[server] = true;
	}
	note(w, what, server);
	sock_take(s, s->out_n);
	sim_send(s, "%s", reply);
	return true;
}

static const char *verdict(struct sock *c, const char *op)
{
	if (c->out_n > 9 && memcmp(c->out, "-TRYAGAIN", 9) == 0) return "refuse";
	if (strcmp(op, "read") != 0) return c->out_n && c->out[0] != '-' ? "ack" : "?";
	return has_word(c, "$-1\r\n") ? "miss" : has_word(c, "$1\r\nx\r\n") ? "value" : "?";
}

static void enter(const char *step)
{
	static const struct {
		const char *step, *rules;
	} steps[] = {
		{ "STABLE", NULL },
		{ "PREPARE", RULES("prepare") },
		{ "HOLD", RULES("hold") },
		{ "DUAL", RULES("dual") },
		{ "DRAIN", RULES("drain") },
		{ "HOLD-R", RULES("hold-r") },
		{ "DUAL-R", RULES("dual-r") },
		{ "DRAIN-R", RULES("drain-r") },
		{ "FENCED", RULES("dual") ", \"lease_ms\": 60000" },
	};
	if (strcmp(step, "STABLE'") == 0) {
		sim_swap("redis", 2, OPTIONS, "");
		return;
	}
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (strcmp(step, steps[i].step) != 0) continue;
		if (steps[i].rules) phase(steps[i].rules);
		else sim_swap("redis", 1, OPTIONS, "");
		return;
	}
	ck_abort_msg("the table has a step that is not known here: %s", step);
}

/* "a=absent b=value": does it hold for these contents? */
static bool applies(const char *when, bool a, bool b)
{
	return !(strstr(when, a ? "a=absent" : "a=value") ||
		 strstr(when, b ? "b=absent" : "b=value"));
}

/* One of "x -> y | z -> y". */
static bool one_of(const char *outcomes, const char *got)
{
	size_t n = strlen(got);
	for (const char *p = outcomes; *p;) {
		size_t len = strcspn(p, "|");
		size_t trimmed = len;
		while (trimmed && p[trimmed - 1] == ' ') trimmed--;
		if (trimmed == n && memcmp(p, got, n) == 0) return true;
		p += len;
		p += strspn(p, "| ");
	}
	return false;
}

static void play(const char *line, const char *step, const char *op, const char *outcomes, bool a,
		 bool b)
{
	char got[300];
	struct sock *c = start(RULES("prepare"));
	struct world w = { .a = strcmp(step, "HOLD") == 0 || strcmp(step, "DUAL") == 0 ||
				strcmp(step, "DRAIN") == 0 || strcmp(step, "STABLE'") == 0 };
	w.has[w.a] = a;
	w.has[!w.a] = b;
	enter(step);
	ask(c,
	    strcmp(op, "read") == 0	? "GET %s"
	    : strcmp(op, "delete") == 0 ? "DEL %s"
					: "SET %s x",
	    k);
	while (serve(&w, 0) || serve(&w, 1)) continue;
	if (c->out_n == 0) sim_pass_ms(300); /* it was parked */
	snprintf(got, sizeof(got), "%s -> %s", w.done[0] ? w.done : "nothing", verdict(c, op));
	ck_assert_msg(one_of(outcomes, got), "%s\n with a=%d b=%d did: %s", line, a, b, got);
	sock_take(c, c->out_n);
	nothing_left();
}

START_TEST(the_rules_are_the_models)
{
	char line[500], step[40], op[40];
	uint32_t played = 0;
	FILE *f = fopen("tests/model/table.txt", "r");
	ck_assert_msg(f != NULL, "run from the top of the tree");
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "redis %39s %39[^ :]", step, op) != 2) continue;
		if (strcmp(step, "move") == 0 || strcmp(op, "import") == 0)
			continue; /* the mover's */
		char *outcomes = strstr(line, ": ");
		char when[100] = "";
		char *open = strchr(line, '[');
		ck_assert_ptr_nonnull(outcomes);
		if (open && open < outcomes)
			snprintf(when, sizeof(when), "%.*s", (int)strcspn(open, "]"), open);
		for (int both = 0; both < 4; both++) {
			if (!applies(when, both & 1, both & 2)) continue;
			play(line, step, op, outcomes + 2, both & 1, both & 2);
			played++;
		}
	}
	fclose(f);
	ck_assert_uint_gt(played, 60);
}
END_TEST

/* --- anything, in any order ------------------------------------------------------------------- */

static struct {
	uint64_t state;
	struct parser parser;
	struct sock *clients[3];
	uint32_t asked[3], answered[3];
	uint32_t good, held, dumps, unions; /* that anything of it happened */
} chaos;

static uint32_t roll(uint32_t n)
{
	chaos.state = chaos.state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(chaos.state >> 33) % n;
}

/* What a server says to one command; "" is silence, for ever. */
static const char *chaos_reply(const struct command *cmd, bool *multi)
{
	struct slice verb = cmd->argv[0], first = cmd->argc > 1 ? cmd->argv[1] : verb;
	if (roll(400) == 0) return "";
	chaos.held += resp_is(verb, "multi");
	chaos.dumps += resp_is(verb, "eval");
	chaos.unions += resp_is(verb, "sunion");
	if (resp_is(verb, "ping")) return "+PONG\r\n";
	if (resp_is(verb, "multi")) {
		*multi = true;
		return "+OK\r\n";
	}
	if (resp_is(verb, "exec")) {
		*multi = false;
		return roll(2) ? "*2\r\n:0\r\n*0\r\n" : "*2\r\n:1\r\n-ERR any\r\n";
	}
	if (*multi) return "+QUEUED\r\n";
	if (roll(50) == 0) return "-EPOCH is not 7.3\r\n";
	if (resp_is(verb, "eval") && memmem(first.p, first.n, "'DUMP'", 6))
		return roll(3) ? "$-1\r\n" : roll(5) ? DUMP : "-BIGKEY 2000 bytes\r\n";
	if (resp_is(verb, "eval") || resp_is(verb, "incr") || resp_is(verb, "del")) return ":1\r\n";
	if (resp_is(verb, "sunion")) return "*0\r\n";
	if (resp_is(verb, "mget")) return "*1\r\n$-1\r\n";
	return resp_is(verb, "get") ? "$-1\r\n" : "+OK\r\n";
}

static void chaos_serve(struct sock *s)
{
	static const struct codec_limits limits = { .value_max_bytes = 1000000,
						    .request_max_bytes = 1000000,
						    .args_max = 1000 };
	struct scratch replies = { 0 };
	size_t at = 0;
	bool multi = false, silent_now = false;
	if (!s || s->closed) return;
	while (at < s->out_n) {
		struct parse_resume resume = { 0 };
		struct command cmd;
		size_t skip;
		if (codec_resp.parse_request(&chaos.parser, &limits, s->out + at, s->out_n - at,
					     &resume, &cmd, &skip) != PARSE_OK)
			break;
		const char *reply = chaos_reply(&cmd, &multi);
		silent_now |= *reply == 0;
		if (!silent_now) scratch_put(&replies, reply, strlen(reply));
		at += cmd.consumed;
	}
	sock_take(s, at);
	if (replies.n) sim_send_bytes(s, replies.p, replies.n);
	if (silent_now && !s->closed) s->eof = true;
	scratch_fini(&replies);
}

static void chaos_ask(struct sock *c, uint32_t n)
{
	static const char *const one[] = { "GET", "INCR", "DEL", "MGET" };
	char line[200];
	const char *x = sim_moving(0, 1, roll(3)), *y = sim_moving(0, 1, roll(3));
	for (uint32_t i = 0; i < n; i++) {
		if (roll(4)) snprintf(line, sizeof(line), "%s %s", one[roll(4)], x);
		else snprintf(line, sizeof(line), "%s %s %s", roll(2) ? "SUNION" : "RENAME", x, y);
		struct scratch out = { 0 };
		uint32_t words = 1;
		for (const char *p = line; *p; p++) words += *p == ' ';
		resp_put_head(&out, '*', words);
		for (char *save, *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
			resp_put_bulk(&out, slice_of(w));
		sim_feed(c, "%.*s", (int)out.n, out.p);
		scratch_fini(&out);
	}
}

/* Whole replies in what a client got. */
static uint32_t chaos_replies(struct sock *c)
{
	uint32_t n = 0;
	size_t at = 0;
	while (at < c->out_n) {
		struct slice v = resp_value(c->out + at, c->out_n - at);
		if (v.n == 0) break;
		chaos.good += v.p[0] != '-';
		at += v.n;
		n++;
	}
	sock_take(c, at);
	return n;
}

/* Each time in an epoch of its own. */
static void chaos_phase(uint32_t epoch)
{
	static const char *const phases[] = { "prepare", "hold",   "dual",   "drain",
					      "hold-r",	 "dual-r", "drain-r" };
	char rules[200];
	snprintf(rules, sizeof(rules),
		 "\"phase\": \"%s\", \"mode\": \"storage\", \"mark\": \"%u.1\", "
		 "\"hold_park_ms\": 250, \"move_max_bytes\": 1000",
		 phases[roll(7)], epoch);
	phase(rules);
}

static void chaos_round(uint32_t round)
{
	uint32_t i = roll(3);
	switch (roll(6)) {
	case 0:
	case 1:
	case 2: {
		uint32_t n = 1 + roll(6);
		chaos_ask(chaos.clients[i], n);
		chaos.asked[i] += n;
		break;
	}
	case 3: chaos_phase(round); break;
	case 4: sim_pass_ms(1 + roll(40)); break;
	case 5: {
		struct sock *s = sim_server(roll(2));
		if (s && roll(10) == 0) s->eof = true;
		break;
	}
	}
	if (round % 2) sim_settle();
	if (roll(3)) chaos_serve(OLD);
	if (roll(3)) chaos_serve(NEW);
	for (i = 0; i < 3; i++) chaos.answered[i] += chaos_replies(chaos.clients[i]);
}

/* Whatever happens: one answer for each request, none is forgotten, and nothing is left. */
START_TEST(every_request_is_answered_once)
{
	const char *seed = getenv("SIM_SEED");
	memset(&chaos, 0, sizeof(chaos));
	chaos.state = seed ? strtoull(seed, NULL, 0) : (uint64_t)_i * 7919 + 1;
	chaos.clients[0] = start(RULES("prepare"));
	chaos.clients[1] = sim_client();
	chaos.clients[2] = sim_client();
	for (uint32_t round = 0; round < 1500; round++) chaos_round(round);
	phase(RULES("drain"));
	for (int i = 0; i < 60; i++) {
		chaos_serve(OLD);
		chaos_serve(NEW);
		sim_pass_ms(20);
	}
	for (int i = 0; i < 3; i++) {
		chaos.answered[i] += chaos_replies(chaos.clients[i]);
		ck_assert_msg(chaos.asked[i] == chaos.answered[i], "client %d: %u of %u, seed %d",
			      i, chaos.answered[i], chaos.asked[i], _i);
	}
	ck_assert_uint_gt(chaos.good, (chaos.asked[0] + chaos.asked[1] + chaos.asked[2]) / 2);
	ck_assert(chaos.held > 50 && chaos.dumps > 100 && chaos.unions > 100);
	ck_assert_uint_eq(flows_live(&sim.w->core), 0);
	ck_assert_uint_eq(sim.w->core.wide_flows, 0);
	parser_fini(&chaos.parser);
	sim_stop();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("dual_redis");
	tcase_add_test(t, a_read_in_hold_is_the_sources);
	tcase_add_test(t, what_the_source_has_not_is_read_at_the_target);
	tcase_add_test(t, a_held_read_that_is_refused);
	tcase_add_test(t, a_write_in_hold_waits_and_is_refused);
	tcase_add_test(t, a_write_that_hold_did_not_outlast);
	tcase_add_loop_test(t, a_command_waits_until_the_source_has_let_go, 0, 2);
	tcase_add_test(t, what_has_moved_is_not_moved_again);
	tcase_add_loop_test(t, a_step_that_fails_is_the_commands_failure, 0,
			    sizeof(failures) / sizeof(failures[0]));
	tcase_add_test(t, large_keys_are_read_where_they_are);
	tcase_add_test(t, large_keys_of_a_cache_are_dropped_by_writes);
	tcase_add_test(t, each_read_counts_for_the_server_that_it_needed);
	tcase_add_test(t, our_own_keys_do_not_move);
	tcase_add_test(t, one_import_for_all_who_wait);
	tcase_add_test(t, a_failed_import_is_told_to_all_who_wait);
	tcase_add_test(t, a_pipeline_asks_the_source_once);
	tcase_add_test(t, a_client_that_leaves_ends_no_import);
	tcase_add_test(t, a_lost_source_counts_as_empty);
	tcase_add_test(t, no_part_of_a_write_runs_in_hold);
	tcase_add_test(t, several_keys_of_which_there_is_one);
	tcase_add_test(t, reads_in_hold_are_answered_key_by_key);
	tcase_add_test(t, a_script_runs_when_all_its_keys_are_there);
	tcase_add_test(t, keys_that_end_up_apart_are_refused);
	tcase_add_test(t, reads_of_several_keys_in_hold_are_of_one_moment);
	tcase_add_test(t, order_holds_over_all_keys);
	tcase_add_test(t, order_holds_when_routed_again);
	tcase_add_test(t, a_fenced_proxy_touches_nothing_that_moves);
	tcase_add_test(t, a_key_on_its_way_is_never_a_miss);
	tcase_add_test(t, commands_for_all_go_to_both_rings);
	tcase_add_test(t, the_rules_are_the_models);
	tcase_add_loop_test(t, every_request_is_answered_once, 0, 20);
	return sim_run("dual_redis", t);
}
