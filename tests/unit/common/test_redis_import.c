/* The import scripts on two real redis-servers: what moves and how, what is refused, what a command
 * that comes late can still do. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/redis_import.h"

enum { SOURCE, TARGET, NODES };

struct server {
	pid_t pid;
	int fd;
	char path[128];
};

static char dir[64];
static struct server nodes[NODES];
static struct scratch out, in;

/* --- servers ---------------------------------------------------------------------------------- */

static void server_start(struct server *n, int number)
{
	snprintf(n->path, sizeof(n->path), "%s/%d.sock", dir, number);
	n->pid = fork();
	ck_assert_int_ge(n->pid, 0);
	if (n->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!freopen("/dev/null", "w", stdout)) _exit(126);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", n->path,
		       "--save", "", "--appendonly", "no", "--dir", dir, NULL);
		_exit(127);
	}
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	memcpy(addr.sun_path, n->path, strlen(n->path) + 1);
	n->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (int i = 0; i < 500; i++) {
		if (connect(n->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) return;
		usleep(20000);
	}
	ck_abort_msg("redis-server does not answer");
}

static void both_start(void)
{
	strcpy(dir, "/tmp/twinring-import-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (int i = 0; i < NODES; i++) server_start(&nodes[i], i);
}

static void both_stop(void)
{
	for (int i = 0; i < NODES; i++) {
		close(nodes[i].fd);
		kill(nodes[i].pid, SIGKILL);
		waitpid(nodes[i].pid, NULL, 0);
		unlink(nodes[i].path);
	}
	rmdir(dir);
	scratch_fini(&out);
	scratch_fini(&in);
}

/* Send what is in `out`, take the reply for one to `info`. Good until the next. */
static struct slice ask(int node, const struct op_info *info)
{
	for (size_t at = 0; at < out.n;) {
		ssize_t n = send(nodes[node].fd, out.p + at, out.n - at, MSG_NOSIGNAL);
		ck_assert_int_gt(n, 0);
		at += (size_t)n;
	}
	scratch_clear(&out);
	scratch_clear(&in);
	struct reply_resume resume = { 0 };
	struct reply reply;
	for (;;) {
		ssize_t n = recv(nodes[node].fd, scratch_reserve(&in, 65536), 65536, 0);
		ck_assert_int_gt(n, 0);
		in.n += (size_t)n;
		enum parse_result r =
		    codec_resp.parse_reply(info, (struct slice){ 0 }, in.p, in.n, &resume, &reply);
		ck_assert_msg(r == PARSE_OK || r == PARSE_NEED, "no legal reply to %s: %.*s",
			      info->name, (int)in.n, in.p);
		if (r == PARSE_OK) break;
	}
	ck_assert_uint_eq(reply.n, in.n);
	return scratch_slice(&in);
}

/* A command of space-separated words; any reply. */
static struct slice say(int node, const char *line)
{
	uint32_t words = 1;
	for (const char *c = line; *c; c++) words += *c == ' ';
	resp_put_head(&out, '*', words);
	for (const char *c = line;;) {
		size_t n = strcspn(c, " ");
		resp_put_bulk(&out, (struct slice){ c, n });
		if (!c[n]) break;
		c += n + 1;
	}
	return ask(node, &resp_command_at(RESP_EVAL)->op);
}

static void says(int node, const char *line, const char *want)
{
	struct slice got = say(node, line);
	ck_assert_msg(slice_eq(got, slice_of(want)), "%s: %.*s", line, (int)got.n, got.p);
}

static void epoch(const char *mark)
{
	char line[80];
	snprintf(line, sizeof(line), "SET twinring:epoch %s", mark);
	for (int i = 0; i < NODES; i++) says(i, line, "+OK\r\n");
}

static void fresh(void)
{
	for (int i = 0; i < NODES; i++) says(i, "FLUSHALL", "+OK\r\n");
	epoch("7.3");
}

/* --- the three steps -------------------------------------------------------------------------- */

static struct scratch kept;

static enum redis_import_result dump(const char *key, const char *mark, uint64_t max,
				     struct redis_dump *d)
{
	redis_import_put_dump(&out, slice_of(key), mark, max);
	enum redis_import_result r =
	    redis_import_read(IMPORT_DUMP, ask(SOURCE, redis_import_op(IMPORT_DUMP)), d);
	if (r != IMPORT_OK) return r;
	scratch_clear(&kept);
	scratch_puts(&kept, d->value);
	d->value = scratch_slice(&kept);
	return r;
}

static enum redis_import_result restore(const char *key, const char *mark,
					const struct redis_dump *d, bool *did)
{
	redis_import_put_restore(&out, slice_of(key), mark, d);
	scratch_puts(&out, d->value);
	struct slice reply = ask(TARGET, redis_import_op(IMPORT_RESTORE));
	*did = redis_import_did(reply);
	return redis_import_read(IMPORT_RESTORE, reply, NULL);
}

static enum redis_import_result drop(const char *key, const char *mark, bool *did)
{
	redis_import_put_unlink(&out, slice_of(key), mark);
	struct slice reply = ask(SOURCE, redis_import_op(IMPORT_UNLINK));
	*did = redis_import_did(reply);
	return redis_import_read(IMPORT_UNLINK, reply, NULL);
}

static void move(const char *key)
{
	struct redis_dump d;
	bool did;
	ck_assert_int_eq(dump(key, "7.3", 0, &d), IMPORT_OK);
	ck_assert_int_eq(restore(key, "7.3", &d, &did), IMPORT_OK);
	ck_assert(did);
	ck_assert_int_eq(drop(key, "7.3", &did), IMPORT_OK);
	ck_assert(did);
}

/* --- tests ------------------------------------------------------------------------------------ */

static const struct {
	const char *make, *show;
} types[] = {
	{ "SET k v", "GET k" },
	{ "HSET k f v g 2", "HGETALL k" },
	{ "RPUSH k a b c", "LRANGE k 0 -1" },
	{ "SADD k 1 2 3", "SMEMBERS k" },
	{ "ZADD k 1 a 2.5 b", "ZRANGE k 0 -1 WITHSCORES" },
	{ "XADD k 5-1 f v", "XRANGE k - +" },
	{ "PFADD k a b c", "PFCOUNT k" },
	{ "SETBIT k 100 1", "BITCOUNT k" },
	{ "GEOADD k 13.36 38.11 P", "GEOPOS k P" },
};

/* What `line` shows at `node`, kept. */
static char *shown(int node, const char *line)
{
	struct slice got = say(node, line);
	return strndup(got.p, got.n);
}

START_TEST(every_type_moves_whole)
{
	fresh();
	say(SOURCE, types[_i].make);
	char *before = shown(SOURCE, types[_i].show);
	ck_assert_int_ne(before[0], '-');
	move("k");
	says(TARGET, types[_i].show, before);
	says(TARGET, "PTTL k", ":-1\r\n");
	says(SOURCE, "EXISTS k", ":0\r\n");
	free(before);
}
END_TEST

START_TEST(groups_of_a_stream_move_too)
{
	fresh();
	say(SOURCE, "XADD k 5-1 f v");
	say(SOURCE, "XGROUP CREATE k g 0");
	say(SOURCE, "XREADGROUP GROUP g c STREAMS k >");
	char *before = shown(SOURCE, "XPENDING k g");
	move("k");
	says(TARGET, "XPENDING k g", before);
	free(before);
}
END_TEST

START_TEST(value_may_be_any_bytes)
{
	fresh();
	resp_put_head(&out, '*', 3);
	resp_put_bulk(&out, SLICE("SET"));
	resp_put_bulk(&out, SLICE("k"));
	resp_put_bulk(&out, SLICE("a\0b\r\n\xff$3\r\n"));
	ask(SOURCE, &resp_command_at(RESP_SET)->op);
	move("k");
	struct slice got = say(TARGET, "GET k");
	ck_assert(slice_eq(got, SLICE("$10\r\na\0b\r\n\xff$3\r\n\r\n")));
}
END_TEST

START_TEST(time_in_transit_is_no_life)
{
	fresh();
	says(SOURCE, "SET k v PX 90000000", "+OK\r\n");
	char *expires = shown(SOURCE, "PEXPIRETIME k");
	struct redis_dump d;
	bool did;
	ck_assert_int_eq(dump("k", "7.3", 0, &d), IMPORT_OK);
	usleep(30000);
	ck_assert_int_eq(restore("k", "7.3", &d, &did), IMPORT_OK);
	says(TARGET, "PEXPIRETIME k", expires);
	free(expires);
}
END_TEST

START_TEST(life_may_end_in_transit)
{
	fresh();
	says(SOURCE, "SET k v PX 30", "+OK\r\n");
	struct redis_dump d;
	bool did;
	ck_assert_int_eq(dump("k", "7.3", 0, &d), IMPORT_OK);
	usleep(50000);
	ck_assert_int_eq(restore("k", "7.3", &d, &did), IMPORT_OK);
	says(TARGET, "EXISTS k", ":0\r\n");
}
END_TEST

/* Servers before 7.0: the script's other way to the same time. */
START_TEST(expiry_without_pexpiretime)
{
	fresh();
	says(SOURCE, "SET k v PX 90000000", "+OK\r\n");
	says(SOURCE, "ACL SETUSER default -pexpiretime", "+OK\r\n");
	struct redis_dump d;
	enum redis_import_result r = dump("k", "7.3", 0, &d);
	says(SOURCE, "ACL SETUSER default +pexpiretime", "+OK\r\n");
	ck_assert_int_eq(r, IMPORT_OK);
	int64_t want;
	ck_assert(resp_integer(say(SOURCE, "PEXPIRETIME k"), &want));
	ck_assert_int_ge(d.expire_ms, want - 100);
	ck_assert_int_le(d.expire_ms, want + 100);
	says(SOURCE, "PERSIST k", ":1\r\n");
	says(SOURCE, "ACL SETUSER default -pexpiretime", "+OK\r\n");
	r = dump("k", "7.3", 0, &d);
	says(SOURCE, "ACL SETUSER default +pexpiretime", "+OK\r\n");
	ck_assert_int_eq(r, IMPORT_OK);
	ck_assert_int_eq(d.expire_ms, -1);
}
END_TEST

START_TEST(what_is_not_there_is_no_error)
{
	fresh();
	struct redis_dump d;
	bool did;
	ck_assert_int_eq(dump("k", "7.3", 100, &d), IMPORT_ABSENT);
	ck_assert_int_eq(drop("k", "7.3", &did), IMPORT_OK);
	ck_assert(!did);
}
END_TEST

START_TEST(large_keys_are_not_dumped)
{
	fresh();
	say(SOURCE, "SETRANGE k 20000 x");
	struct redis_dump d;
	ck_assert_int_eq(dump("k", "7.3", 20000, &d), IMPORT_BIG);
	ck_assert_int_eq(dump("k", "7.3", 0, &d), IMPORT_OK);
	ck_assert_int_eq(dump("k", "7.3", 1000000, &d), IMPORT_OK);
}
END_TEST

START_TEST(each_step_wants_its_epoch)
{
	fresh();
	says(SOURCE, "SET k v", "+OK\r\n");
	struct redis_dump d, unused;
	bool did;
	ck_assert_int_eq(dump("k", "7.3", 0, &d), IMPORT_OK);
	static const char *const later[] = { "SET twinring:epoch 7.30", "SET twinring:epoch 8.1",
					     "DEL twinring:epoch" };
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		for (int node = 0; node < NODES; node++) say(node, later[i]);
		ck_assert_int_eq(dump("k", "7.3", 0, &unused), IMPORT_REFUSED);
		ck_assert_int_eq(restore("k", "7.3", &d, &did), IMPORT_REFUSED);
		ck_assert_int_eq(drop("k", "7.3", &did), IMPORT_REFUSED);
	}
	says(TARGET, "EXISTS k twinring:moved:7.3", ":0\r\n");
	says(SOURCE, "GET k", "$1\r\nv\r\n");
}
END_TEST

/* A late restore must neither bring back what was deleted nor overwrite what is newer. */
START_TEST(moved_once_is_moved_for_the_epoch)
{
	fresh();
	says(SOURCE, "SET k old", "+OK\r\n");
	struct redis_dump late;
	bool did;
	ck_assert_int_eq(dump("k", "7.3", 0, &late), IMPORT_OK);
	ck_assert_int_eq(restore("k", "7.3", &late, &did), IMPORT_OK);
	ck_assert(did);
	says(TARGET, "SET k new", "+OK\r\n");
	ck_assert_int_eq(restore("k", "7.3", &late, &did), IMPORT_OK);
	ck_assert(!did);
	says(TARGET, "GET k", "$3\r\nnew\r\n");
	says(TARGET, "DEL k", ":1\r\n");
	ck_assert_int_eq(restore("k", "7.3", &late, &did), IMPORT_OK);
	ck_assert(!did);
	says(TARGET, "EXISTS k", ":0\r\n");
}
END_TEST

START_TEST(present_target_is_kept_and_marked)
{
	fresh();
	says(SOURCE, "SET k old", "+OK\r\n");
	says(TARGET, "SET k new", "+OK\r\n");
	struct redis_dump d;
	bool did;
	ck_assert_int_eq(dump("k", "7.3", 0, &d), IMPORT_OK);
	ck_assert_int_eq(restore("k", "7.3", &d, &did), IMPORT_OK);
	ck_assert(!did);
	says(TARGET, "GET k", "$3\r\nnew\r\n");
	says(TARGET, "HGETALL twinring:moved:7.3", "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
}
END_TEST

/* Were the key marked, the next import would unlink the only copy. */
START_TEST(failed_restore_leaves_no_mark)
{
	fresh();
	says(SOURCE, "SET k v", "+OK\r\n");
	struct redis_dump d;
	bool did;
	ck_assert_int_eq(dump("k", "7.3", 0, &d), IMPORT_OK);
	struct redis_dump broken = { .value = SLICE("not a dump\r\n"), .expire_ms = -1 };
	ck_assert_int_eq(restore("k", "7.3", &broken, &did), IMPORT_FAILED);
	says(TARGET, "EXISTS k twinring:moved:7.3", ":0\r\n");
	says(TARGET, "CONFIG SET maxmemory 1000", "+OK\r\n");
	enum redis_import_result r = restore("k", "7.3", &d, &did);
	says(TARGET, "CONFIG SET maxmemory 0", "+OK\r\n");
	ck_assert_int_eq(r, IMPORT_FAILED);
	says(TARGET, "EXISTS k twinring:moved:7.3", ":0\r\n");
	ck_assert_int_eq(restore("k", "7.3", &d, &did), IMPORT_OK);
	ck_assert(did);
}
END_TEST

START_TEST(a_mark_without_a_value)
{
	fresh();
	says(SOURCE, "SET k v", "+OK\r\n");
	struct redis_dump d, none = { SLICE("\r\n"), -1 };
	bool did;
	ck_assert_int_eq(dump("k", "7.3", 0, &d), IMPORT_OK);
	ck_assert_int_eq(restore("k", "7.3", &none, &did), IMPORT_OK);
	ck_assert(!did);
	ck_assert_int_eq(restore("k", "7.3", &d, &did), IMPORT_OK);
	ck_assert(!did);
	says(TARGET, "EXISTS k", ":0\r\n");
}
END_TEST

START_TEST(our_keys_are_known)
{
	ck_assert(redis_import_is_ours(SLICE("twinring:epoch")));
	ck_assert(redis_import_is_ours(SLICE("twinring:moved:1.2")));
	ck_assert(!redis_import_is_ours(SLICE("twinring")));
	ck_assert(!redis_import_is_ours(SLICE("")));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("redis_import");
	TCase *t = tcase_create("scripts");
	tcase_add_unchecked_fixture(t, both_start, both_stop);
	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, every_type_moves_whole, 0, sizeof(types) / sizeof(types[0]));
	tcase_add_test(t, groups_of_a_stream_move_too);
	tcase_add_test(t, value_may_be_any_bytes);
	tcase_add_test(t, time_in_transit_is_no_life);
	tcase_add_test(t, life_may_end_in_transit);
	tcase_add_test(t, expiry_without_pexpiretime);
	tcase_add_test(t, what_is_not_there_is_no_error);
	tcase_add_test(t, large_keys_are_not_dumped);
	tcase_add_test(t, each_step_wants_its_epoch);
	tcase_add_test(t, moved_once_is_moved_for_the_epoch);
	tcase_add_test(t, present_target_is_kept_and_marked);
	tcase_add_test(t, failed_restore_leaves_no_mark);
	tcase_add_test(t, a_mark_without_a_value);
	tcase_add_test(t, our_keys_are_known);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
