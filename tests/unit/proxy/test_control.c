#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/net.h"
#include "proxy/control.h"

static struct event_base *base;
static struct control *control;
static char dir[64], path[96], lock_path[96];
static struct err_at at;

/* What the operations did. */
static struct {
	unsigned hello, shown;
	size_t param_bytes, result_bytes;
	enum err fail;
} seen;

static enum err op_hello(void *ctx, const json_t *params, json_t **result_out, struct err_at *e)
{
	(void)e;
	ck_assert_ptr_eq(ctx, &seen);
	seen.hello++;
	seen.param_bytes = json_string_length(json_object_get(params, "x"));
	*result_out = json_pack("{s:i}", "pid", 42);
	return ERR_NONE;
}

static enum err op_apply(void *ctx, const json_t *params, json_t **result_out, struct err_at *e)
{
	(void)ctx, (void)params;
	if (seen.fail != ERR_NONE) {
		snprintf(e->where, sizeof(e->where), "$.pools.a");
		snprintf(e->why, sizeof(e->why), "no servers");
		return seen.fail;
	}
	*result_out = json_pack("{s:s}", "state", "applied");
	return ERR_NONE;
}

static enum err op_pool(void *ctx, const json_t *params, json_t **result_out, struct err_at *e)
{
	(void)ctx, (void)params, (void)e;
	*result_out = json_object(); /* freed for us, as we fail */
	return ERR_UNKNOWN_NAME;
}

static enum err op_stats(void *ctx, const json_t *params, json_t **result_out, struct err_at *e)
{
	(void)ctx, (void)params, (void)e;
	char *big = malloc(seen.result_bytes + 1);
	memset(big, 'r', seen.result_bytes);
	*result_out = json_stringn(big, seen.result_bytes);
	free(big);
	seen.shown++;
	return ERR_NONE;
}

static enum err op_drain(void *ctx, const json_t *params, json_t **result_out, struct err_at *e)
{
	(void)ctx, (void)params, (void)result_out, (void)e;
	return ERR_NONE;
}

static const struct control_ops ops = { .hello = op_hello,
					.topology_apply = op_apply,
					.pool_show = op_pool,
					.stats_show = op_stats,
					.drain = op_drain,
					.shutdown = op_drain };

static void setup(void)
{
	strcpy(dir, "/tmp/test_control.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.sock", dir);
	snprintf(lock_path, sizeof(lock_path), "%s/a.lock", dir);
	log_level_set(LOG_LEVEL_CRIT);
	memset(&seen, 0, sizeof(seen));
	base = event_base_new();
	ck_assert_int_eq(control_new(base, path, &ops, &seen, &control, &at), ERR_NONE);
}

static void teardown(void)
{
	control_free(&control);
	control_free(&control);
	event_base_free(base);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing left behind */
}

/* --- a client in the same thread ---------------------------------------------------------------
 */

struct client {
	int fd;
	char *text;
	size_t n, cap;
	int lines;
	bool eof;
};

static struct client client_new(void)
{
	struct net_addr a;
	struct client c = { .text = calloc(1, 1) };
	ck_assert(net_addr_unix(path, &a));
	ck_assert_int_eq(net_connect_nonblocking(&a, &c.fd), ERR_NONE);
	return c;
}

static void client_free(struct client *c)
{
	close(c->fd);
	free(c->text);
}

static void client_read(struct client *c)
{
	enum { CHUNK = 65536 };
	for (;;) {
		if (c->cap < c->n + CHUNK + 1) {
			c->cap = 2 * (c->n + CHUNK + 1);
			c->text = realloc(c->text, c->cap);
		}
		ssize_t n = recv(c->fd, c->text + c->n, CHUNK, MSG_DONTWAIT);
		for (ssize_t i = 0; i < n; i++) c->lines += c->text[c->n + (size_t)i] == '\n';
		if (n > 0) c->n += (size_t)n;
		if (n == 0 || (n < 0 && errno == ECONNRESET)) c->eof = true;
		c->text[c->n] = 0;
		if (n <= 0) return;
	}
}

static bool turn(const uint64_t end)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
	return clock_now_us() < end;
}

static void client_send(struct client *c, const char *bytes, size_t n)
{
	const uint64_t end = clock_now_us() + 5000000;
	while (n > 0) {
		ssize_t sent = send(c->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent > 0) {
			bytes += sent;
			n -= (size_t)sent;
		}
		ck_assert(turn(end));
		if (sent < 0 && errno != EAGAIN) return; /* they closed */
	}
}

/* Run until `lines` lines have come, or the end if -1; returns the text from the first. */
static const char *client_wait(struct client *c, int lines)
{
	const uint64_t end = clock_now_us() + 5000000;
	for (;;) {
		client_read(c);
		if (lines >= 0 ? c->lines >= lines : c->eof) return c->text;
		ck_assert_msg(!c->eof, "closed after %d lines: %.200s", c->lines, c->text);
		ck_assert_msg(turn(end), "waited in vain: %.200s", c->text);
	}
}

static void client_clear(struct client *c)
{
	c->n = 0;
	c->lines = 0;
	c->text[0] = 0;
}

/* One request of a fresh client, its one answer compared. */
static void ask(const char *request, const char *answer)
{
	struct client c = client_new();
	client_send(&c, request, strlen(request));
	ck_assert_str_eq(client_wait(&c, 1), answer);
	client_free(&c);
}

/* --- requests --------------------------------------------------------------------------------- */

START_TEST(methods_reach_their_operations)
{
	ask("{\"id\":1,\"method\":\"hello\",\"params\":{\"x\":\"abc\"}}\n",
	    "{\"id\":1,\"result\":{\"pid\":42}}\n");
	ck_assert_uint_eq(seen.hello, 1);
	ck_assert_uint_eq(seen.param_bytes, 3);
	ask("{\"id\":\"q\",\"method\":\"drain\"}\n", "{\"id\":\"q\",\"result\":{}}\n");
	ask("{\"id\":2,\"method\":\"pool.show\"}\r\n",
	    "{\"id\":2,\"error\":{\"code\":\"UNKNOWN_NAME\",\"message\":\"no such name\"}}\n");
	seen.fail = ERR_INVALID;
	ask("{\"id\":3,\"method\":\"topology.apply\"}\n",
	    "{\"id\":3,\"error\":{\"code\":\"INVALID\",\"message\":\"no servers\","
	    "\"where\":\"$.pools.a\"}}\n");
	/* unknown, and known but not supported here */
	ask("{\"id\":4,\"method\":\"nonsense\"}\n",
	    "{\"id\":4,\"error\":{\"code\":\"NO_METHOD\",\"message\":\"no such method\","
	    "\"where\":\"$.method\"}}\n");
	ask("{\"id\":5,\"method\":\"log.set\"}\n",
	    "{\"id\":5,\"error\":{\"code\":\"NO_METHOD\",\"message\":\"no such method\","
	    "\"where\":\"$.method\"}}\n");
}
END_TEST

START_TEST(garbage_is_answered_and_survived)
{
	static const char garbage[] = "\n \r\nhelp\n\0\x01\xff\n[]\n";
	struct client c = client_new();
	client_send(&c, garbage, sizeof(garbage) - 1);
	const char *s = client_wait(&c, 3);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(strncmp(s, "{\"id\":null,\"error\":{\"code\":\"PARSE\"", 34), 0);
		s = strchr(s, '\n') + 1;
	}
	client_clear(&c);
	client_send(&c, "{\"id\":1,\"method\":\"drain\"}\n", 26);
	ck_assert_str_eq(client_wait(&c, 1), "{\"id\":1,\"result\":{}}\n");
	client_free(&c);
}
END_TEST

START_TEST(any_split_of_the_bytes)
{
	const char two[] = "{\"id\":1,\"method\":\"drain\"}\n{\"id\":2,\"method\":\"drain\"}\n";
	for (size_t split = 1; split < sizeof(two) - 1; split += 5) {
		struct client c = client_new();
		client_send(&c, two, split);
		client_send(&c, two + split, sizeof(two) - 1 - split);
		ck_assert_str_eq(client_wait(&c, 2),
				 "{\"id\":1,\"result\":{}}\n{\"id\":2,\"result\":{}}\n");
		client_free(&c);
	}
}
END_TEST

START_TEST(answers_after_half_close)
{
	struct client c = client_new();
	client_send(&c, "{\"id\":1,\"method\":\"drain\"}\n", 26);
	shutdown(c.fd, SHUT_WR);
	ck_assert_str_eq(client_wait(&c, -1), "{\"id\":1,\"result\":{}}\n");
	client_free(&c);
}
END_TEST

/* --- bounds ----------------------------------------------------------------------------------- */

START_TEST(long_lines)
{
	static const char head[] = "{\"id\":1,\"method\":\"hello\",\"params\":{\"x\":\"";
	struct client other = client_new(), c = client_new();
	size_t fill = CTLMSG_LINE_MAX - (sizeof(head) - 1) - 4;
	char *big = malloc(CTLMSG_LINE_MAX + 1);
	memset(big, 'x', CTLMSG_LINE_MAX + 1);
	client_send(&c, head, sizeof(head) - 1);
	client_send(&c, big, fill);
	client_send(&c, "\"}}\n", 4); /* exactly as much as is allowed */
	ck_assert_str_eq(client_wait(&c, 1), "{\"id\":1,\"result\":{\"pid\":42}}\n");
	ck_assert_uint_eq(seen.param_bytes, fill);
	client_clear(&c);
	client_send(&c, big, CTLMSG_LINE_MAX + 1);
	ck_assert_ptr_nonnull(strstr(client_wait(&c, -1), "\"TOO_LONG\""));
	client_send(&other, "{\"id\":1,\"method\":\"drain\"}\n", 26);
	ck_assert_str_eq(client_wait(&other, 1), "{\"id\":1,\"result\":{}}\n");
	client_free(&c);
	client_free(&other);
	free(big);
}
END_TEST

START_TEST(half_lines_end_in_time)
{
	control_line_timeout(control, 40);
	struct client idle = client_new(), half = client_new();
	client_send(&half, "{\"id\":1,\"method\":\"drain\"}\n{\"id\"", 31);
	const char *s = client_wait(&half, -1);
	ck_assert_ptr_nonnull(strstr(s, "{\"id\":1,\"result\":{}}\n"));
	ck_assert_ptr_nonnull(strstr(s, "\"TIMEOUT\""));
	/* Silence between lines is no offence. */
	client_send(&idle, "{\"id\":1,\"method\":\"drain\"}\n", 26);
	ck_assert_str_eq(client_wait(&idle, 1), "{\"id\":1,\"result\":{}}\n");
	client_free(&half);
	client_free(&idle);
}
END_TEST

/* Who only connects must not keep out who has something to say. */
START_TEST(silent_connections_give_way)
{
	struct client c[CONTROL_CONNECTIONS + 1];
	for (int i = 0; i <= CONTROL_CONNECTIONS; i++) {
		c[i] = client_new();
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	client_wait(&c[0], -1); /* the oldest */
	for (int i = 1; i <= CONTROL_CONNECTIONS; i++) {
		client_send(&c[i], "{\"id\":1,\"method\":\"drain\"}\n", 26);
		ck_assert_str_eq(client_wait(&c[i], 1), "{\"id\":1,\"result\":{}}\n");
	}
	for (int i = 0; i <= CONTROL_CONNECTIONS; i++) client_free(&c[i]);
	event_base_loop(base, EVLOOP_NONBLOCK);
}
END_TEST

START_TEST(too_many_connections)
{
	struct client c[CONTROL_CONNECTIONS + 1];
	for (int i = 0; i <= CONTROL_CONNECTIONS; i++) {
		c[i] = client_new();
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (i == CONTROL_CONNECTIONS) break;
		client_send(&c[i], "{\"id\":1,\"method\":\"drain\"}\n", 26);
		client_wait(&c[i], 1);
		client_clear(&c[i]);
	}
	ck_assert_ptr_nonnull(strstr(client_wait(&c[CONTROL_CONNECTIONS], -1), "\"BUSY\""));
	client_send(&c[0], "{\"id\":1,\"method\":\"drain\"}\n", 26);
	ck_assert_str_eq(client_wait(&c[0], 1), "{\"id\":1,\"result\":{}}\n");
	for (int i = 0; i <= CONTROL_CONNECTIONS; i++) client_free(&c[i]);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_loop(base, EVLOOP_NONBLOCK);
	ask("{\"id\":1,\"method\":\"drain\"}\n", "{\"id\":1,\"result\":{}}\n");
}
END_TEST

START_TEST(who_does_not_read_is_not_read)
{
	enum { REQUESTS = 500 };
	struct client c = client_new();
	struct scratch all = { 0 };
	seen.result_bytes = 20000;
	for (int i = 0; i < REQUESTS; i++)
		scratch_puts(&all, SLICE("{\"method\":\"stats.show\"}\n"));
	client_send(&c, all.p, all.n);
	scratch_fini(&all);
	for (int i = 0; i < 20; i++) event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_lt(seen.shown, REQUESTS / 2);
	client_wait(&c, REQUESTS);
	ck_assert_uint_eq(seen.shown, REQUESTS);
	client_free(&c);
}
END_TEST

/* --- events ----------------------------------------------------------------------------------- */

START_TEST(events_reach_subscribers)
{
	struct client applier = client_new(), plain = client_new(), refused = client_new(),
		      listener = client_new();
	json_t *event = json_pack("{s:s, s:i}", "event", "drained", "version", 7);
	client_send(&plain, "{\"id\":1,\"method\":\"drain\"}\n", 26);
	client_send(&applier, "{\"id\":1,\"method\":\"topology.apply\"}\n", 35);
	client_send(&listener, "{\"id\":1,\"method\":\"subscribe\"}\n", 30);
	client_wait(&applier, 1);
	seen.fail = ERR_INVALID;
	client_send(&refused, "{\"id\":1,\"method\":\"topology.apply\"}\n", 35);
	client_wait(&refused, 1);
	client_wait(&plain, 1);
	client_wait(&listener, 1);
	control_broadcast(control, CONTROL_TOPOLOGY, event);
	ck_assert_str_eq(client_wait(&applier, 2), "{\"id\":1,\"result\":{\"state\":\"applied\"}}\n"
						   "{\"event\":\"drained\",\"version\":7}\n");
	client_wait(&listener, 2);
	client_send(&plain, "{\"id\":2,\"method\":\"drain\"}\n", 26);
	ck_assert_str_eq(client_wait(&plain, 2),
			 "{\"id\":1,\"result\":{}}\n{\"id\":2,\"result\":{}}\n");
	client_read(&refused);
	ck_assert_ptr_null(strstr(refused.text, "event"));
	json_decref(event);
	client_free(&applier);
	client_free(&plain);
	client_free(&refused);
	client_free(&listener);
}
END_TEST

START_TEST(a_subscriber_that_does_not_read_is_dropped)
{
	enum { EVENT = 1 << 20 };
	struct client deaf = client_new(), good = client_new();
	char *big = malloc(EVENT);
	memset(big, 'e', EVENT);
	json_t *event = json_pack("{s:s%}", "event", big, (size_t)EVENT);
	client_send(&deaf, "{\"id\":1,\"method\":\"subscribe\"}\n", 30);
	client_send(&good, "{\"id\":1,\"method\":\"subscribe\"}\n", 30);
	client_wait(&deaf, 1);
	client_wait(&good, 1);
	for (int i = 0; i < 12; i++) {
		control_broadcast(control, CONTROL_TOPOLOGY, event);
		client_wait(&good, 2 + i);
	}
	client_wait(&deaf, -1);
	ck_assert_uint_lt(deaf.n, 12u * EVENT);
	ck_assert(!good.eof);
	json_decref(event);
	free(big);
	client_free(&deaf);
	client_free(&good);
}
END_TEST

/* --- files and rights ------------------------------------------------------------------------- */

START_TEST(one_process_per_socket)
{
	struct control *second = NULL;
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(control_new(base, path, &ops, &seen, &second, &at), ERR_IO);
	ck_assert_ptr_null(second);
	ck_assert_str_eq(at.where, lock_path);
	ck_assert_ptr_nonnull(strstr(at.why, "held by process "));
	ask("{\"id\":1,\"method\":\"drain\"}\n", "{\"id\":1,\"result\":{}}\n");
	/* alive, but without its lock file: still an error */
	ck_assert_int_eq(unlink(lock_path), 0);
	ck_assert_int_eq(control_new(base, path, &ops, &seen, &second, &at), ERR_IO);
	ck_assert_str_eq(at.where, path);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_dead_process_socket_is_replaced)
{
	control_free(&control);
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_ne(access(lock_path, F_OK), 0);
	/* what a killed process leaves: the socket's file and the lock's */
	pid_t child = fork();
	if (child == 0) {
		struct event_base *b = event_base_new();
		_exit(control_new(b, path, &ops, &seen, &control, &at) == ERR_NONE ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(access(lock_path, F_OK), 0);
	ck_assert_int_eq(control_new(base, path, &ops, &seen, &control, &at), ERR_NONE);
	ask("{\"id\":1,\"method\":\"drain\"}\n", "{\"id\":1,\"result\":{}}\n");
}
END_TEST

START_TEST(last_words_arrive)
{
	struct client c = client_new();
	json_t *event = json_pack("{s:s}", "event", "bye");
	client_send(&c, "{\"id\":1,\"method\":\"subscribe\"}\n", 30);
	client_wait(&c, 1);
	control_broadcast(control, CONTROL_TOPOLOGY, event); /* queued, not written */
	control_free(&control);
	ck_assert_str_eq(client_wait(&c, -1), "{\"id\":1,\"result\":{}}\n{\"event\":\"bye\"}\n");
	json_decref(event);
	client_free(&c);
}
END_TEST

/* Connect as another user; exits 0 when turned away. */
static _Noreturn void be_nobody(void)
{
	char text[256] = "";
	struct net_addr a;
	int fd;
	if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
	if (!net_addr_unix(path, &a) || net_connect_nonblocking(&a, &fd) != ERR_NONE) _exit(3);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	if (poll(&p, 1, 5000) != 1 || recv(fd, text, sizeof(text) - 1, 0) <= 0) _exit(4);
	_exit(strstr(text, "FORBIDDEN") ? 0 : 5);
}

START_TEST(other_users_are_turned_away)
{
	const uint64_t end = clock_now_us() + 5000000;
	int status;
	if (geteuid() != 0) return; /* only root can be somebody else */
	/* Suppose that somebody opened up the file's mode. */
	ck_assert_int_eq(chmod(dir, 0755) | chmod(path, 0666), 0);
	pid_t child = fork();
	if (child == 0) be_nobody();
	while (waitpid(child, &status, WNOHANG) == 0) ck_assert(turn(end));
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("control");
	TCase *t = tcase_create("control");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, methods_reach_their_operations);
	tcase_add_test(t, garbage_is_answered_and_survived);
	tcase_add_test(t, any_split_of_the_bytes);
	tcase_add_test(t, answers_after_half_close);
	tcase_add_test(t, long_lines);
	tcase_add_test(t, half_lines_end_in_time);
	tcase_add_test(t, silent_connections_give_way);
	tcase_add_test(t, too_many_connections);
	tcase_add_test(t, who_does_not_read_is_not_read);
	tcase_add_test(t, events_reach_subscribers);
	tcase_add_test(t, a_subscriber_that_does_not_read_is_dropped);
	tcase_add_test(t, one_process_per_socket);
	tcase_add_test(t, a_dead_process_socket_is_replaced);
	tcase_add_test(t, last_words_arrive);
	tcase_add_test(t, other_users_are_turned_away);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
