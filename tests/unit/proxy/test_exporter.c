#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/net.h"
#include "proxy/exporter.h"

static struct event_base *base;
static struct stats *stats;
static struct exporter *server;
static struct stats_process state;
static char dir[64], text[1 << 20];
static struct err_at at;

static void process(void *ctx, struct stats_process *out)
{
	ck_assert_ptr_eq(ctx, &state);
	*out = state;
}

static void setup(void)
{
	strcpy(dir, "/tmp/test_exporter.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	state = (struct stats_process){ .ready = true };
	base = event_base_new();
	stats = stats_new(1);
	server = exporter_new(base, stats, process, &state);
}

static void teardown(void)
{
	exporter_free(&server);
	exporter_free(&server);
	stats_free(&stats);
	event_base_free(base);
	ck_assert_int_eq(rmdir(dir), 0);
}

static enum err listen_on(enum exporter_port which, const char *where)
{
	struct listen_spec spec;
	const char *why;
	ck_assert(listen_spec_parse(where, &spec, &why));
	enum err e = exporter_listen(server, which, &spec, &at);
	listen_spec_fini(&spec);
	return e;
}

static int dial(int listening)
{
	struct net_addr a = { .len = sizeof(a.ss) };
	int fd;
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&a.ss, &a.len), 0);
	ck_assert_int_eq(net_connect_nonblocking(&a, &fd), ERR_NONE);
	return fd;
}

/* Run the loop and read until the other side closes; false if it does not within 2 s. */
static bool read_all(int fd)
{
	size_t n = 0;
	uint64_t end = clock_now_us() + 2000000;
	while (clock_now_us() < end) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, 1) != 1) continue;
		ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);
		if (got > 0) n += (size_t)got;
		text[n] = 0;
		if (got == 0 || (got < 0 && errno != EAGAIN)) return got == 0;
	}
	return false;
}

static const char *http(const char *request)
{
	int fd = dial(exporter_fd(server, EXPORTER_HTTP));
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	ck_assert_int_eq(poll(&p, 1, 1000), 1);
	ck_assert_int_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	ck_assert_msg(read_all(fd), "%s", request);
	close(fd);
	return text;
}

#define GET(path) http("GET " path " HTTP/1.0\r\n\r\n")

static void must_be_json(const char *body)
{
	json_error_t e;
	json_t *top = json_loads(body, JSON_REJECT_DUPLICATES, &e);
	ck_assert_msg(top != NULL, "%s: %s", e.text, body);
	ck_assert_str_eq(json_string_value(json_object_get(top, "service")), "nutcracker");
	json_decref(top);
}

START_TEST(json_on_connect)
{
	ck_assert_int_eq(listen_on(EXPORTER_JSON, "127.0.0.1:0"), ERR_NONE);
	for (int i = 0; i < 3; i++) {
		int fd = dial(exporter_fd(server, EXPORTER_JSON));
		/* Some scrapers speak first, some close their end first. */
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		poll(&p, 1, 1000);
		if (i == 1) ck_assert_int_eq(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
		if (i == 2) shutdown(fd, SHUT_WR);
		ck_assert(read_all(fd));
		must_be_json(text);
		close(fd);
	}
}
END_TEST

START_TEST(pages)
{
	ck_assert_int_eq(listen_on(EXPORTER_HTTP, "127.0.0.1:0"), ERR_NONE);
	const char *s = GET("/metrics");
	ck_assert_int_eq(strncmp(s, "HTTP/1.0 200 OK\r\n", 17), 0);
	ck_assert_ptr_nonnull(strstr(s, "Content-Type: text/plain; version=0.0.4"));
	ck_assert_ptr_nonnull(strstr(s, "\ntwinring_up 1\n"));
	ck_assert_ptr_nonnull(strstr(GET("/metrics?x=1"), "\ntwinring_up 1\n"));
	ck_assert_ptr_nonnull(strstr(GET("/healthz"), "\r\n\r\nok\n"));
	s = GET("/stats");
	ck_assert_ptr_nonnull(strstr(s, "application/json"));
	must_be_json(strstr(s, "\r\n\r\n") + 4);
	ck_assert_int_eq(strncmp(GET("/"), "HTTP/1.0 404 ", 13), 0);
	ck_assert_int_eq(strncmp(GET("/../etc/passwd"), "HTTP/1.0 404 ", 13), 0);
	s = http("HEAD /metrics HTTP/1.0\r\n\r\n");
	ck_assert_int_eq(strncmp(s, "HTTP/1.0 200 OK\r\n", 17), 0);
	ck_assert_str_eq(strstr(s, "\r\n\r\n"), "\r\n\r\n");
	s = http("POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
	ck_assert_ptr_null(strstr(s, "twinring_up"));
}
END_TEST

START_TEST(readiness)
{
	ck_assert_int_eq(listen_on(EXPORTER_HTTP, "127.0.0.1:0"), ERR_NONE);
	ck_assert_ptr_nonnull(strstr(GET("/readyz"), "\r\n\r\nready\n"));
	state.draining = true;
	const char *s = GET("/readyz");
	ck_assert_int_eq(strncmp(s, "HTTP/1.0 503 ", 13), 0);
	ck_assert_ptr_nonnull(strstr(s, "\r\n\r\ndraining\n"));
	ck_assert_ptr_nonnull(strstr(GET("/healthz"), "\r\n\r\nok\n"));
	state.draining = state.ready = false;
	ck_assert_int_eq(strncmp(GET("/readyz"), "HTTP/1.0 503 ", 13), 0);
}
END_TEST

START_TEST(garbage_is_survived)
{
	ck_assert_int_eq(listen_on(EXPORTER_HTTP, "127.0.0.1:0"), ERR_NONE);
	http("\r\n\r\n\x01\x02 nonsense\r\n\r\n");
	ck_assert_ptr_nonnull(strstr(GET("/healthz"), "\r\n\r\nok\n"));
}
END_TEST

START_TEST(unix_sockets)
{
	char path[96];
	for (int i = 0; i < EXPORTER_MAX; i++) {
		snprintf(path, sizeof(path), "%s/%d", dir, i);
		ck_assert_int_eq(listen_on(i, path), ERR_NONE);
	}
	int fd = dial(exporter_fd(server, EXPORTER_JSON));
	ck_assert(read_all(fd));
	must_be_json(text);
	close(fd);
	ck_assert_ptr_nonnull(strstr(GET("/healthz"), "\r\n\r\nok\n"));
	ck_assert_int_eq(exporter_listen(server, EXPORTER_JSON, NULL, &at), ERR_NONE);
	snprintf(path, sizeof(path), "%s/0", dir);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(reload_moves_the_ports)
{
	char where[32];
	for (int which = 0; which < EXPORTER_MAX; which++) {
		ck_assert_int_eq(exporter_fd(server, which), -1);
		ck_assert_int_eq(listen_on(which, "127.0.0.1:0"), ERR_NONE);
		int fd = exporter_fd(server, which);
		uint16_t port = net_local_port(fd);
		/* the same again: nothing happens */
		ck_assert_int_eq(listen_on(which, "127.0.0.1:0"), ERR_NONE);
		ck_assert_uint_eq(net_local_port(exporter_fd(server, which)), port);
		/* a busy one: the old one stays */
		struct listen_spec spec = { .text = "x", .host = "127.0.0.1", .port_any = true };
		int busy = -1;
		ck_assert_int_eq(net_listen(&spec, 1, false, &busy, &at), ERR_NONE);
		snprintf(where, sizeof(where), "127.0.0.1:%u", net_local_port(busy));
		ck_assert_int_eq(listen_on(which, where), ERR_IO);
		ck_assert_str_eq(at.where, where);
		ck_assert_uint_eq(net_local_port(exporter_fd(server, which)), port);
		close(busy);
		/* now free */
		ck_assert_int_eq(listen_on(which, where), ERR_NONE);
		ck_assert_uint_ne(net_local_port(exporter_fd(server, which)), port);
		ck_assert_int_eq(exporter_listen(server, which, NULL, &at), ERR_NONE);
		ck_assert_int_eq(exporter_fd(server, which), -1);
	}
}
END_TEST

START_TEST(readers_are_bounded)
{
	/* Readers that never read: the oldest give way, and a new one is served. */
	enum { MANY = EXPORTER_JSON_CONNECTIONS + 10 };
	int fds[MANY];
	ck_assert_int_eq(listen_on(EXPORTER_JSON, "127.0.0.1:0"), ERR_NONE);
	for (int i = 0; i < MANY; i++) {
		fds[i] = dial(exporter_fd(server, EXPORTER_JSON));
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	int fd = dial(exporter_fd(server, EXPORTER_JSON));
	ck_assert(read_all(fd));
	must_be_json(text);
	close(fd);
	for (int i = 0; i < MANY; i++) close(fds[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("exporter");
	TCase *t = tcase_create("exporter");
	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, json_on_connect);
	tcase_add_test(t, pages);
	tcase_add_test(t, readiness);
	tcase_add_test(t, garbage_is_survived);
	tcase_add_test(t, unix_sockets);
	tcase_add_test(t, reload_moves_the_ports);
	tcase_add_test(t, readers_are_bounded);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
