#include "agent/agent_metrics.h"

#include <check.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/net.h"

static struct event_base *base;
static struct agent_metrics metrics;
static struct http_pages *pages;
static struct scratch out;
static char text[1 << 17];
static unsigned filled;

static void fill(void *ctx, struct agent_metrics *m)
{
	ck_assert_ptr_eq(ctx, &filled);
	filled++;
	agent_gauge(m, AGENT_METRIC_topology_version, 77);
	agent_metrics_begin(m);
	agent_metrics_pool(m, "alpha")->m[AGENT_POOL_ejected] = 2;
	agent_metrics_pool(m, "b\"\\\n")->m[AGENT_POOL_servers] = UINT64_MAX;
}

static void setup(void)
{
	base = event_base_new();
	filled = 0;
	agent_metrics_init(&metrics);
	metrics.fill = fill;
	metrics.ctx = &filled;
	pages = http_pages_new(base, agent_pages, &metrics);
}

static void teardown(void)
{
	http_pages_free(&pages);
	agent_metrics_fini(&metrics);
	scratch_fini(&out);
	event_base_free(base);
}

static const char *render(void)
{
	scratch_clear(&out);
	agent_metrics_render(&metrics, &out);
	scratch_put(&out, "", 1);
	return out.p;
}

START_TEST(rendered)
{
	for (int i = 0; i < 3; i++) agent_count(&metrics, AGENT_METRIC_store_sessions);
	const char *p = render();
	ck_assert_ptr_nonnull(strstr(p, "\ntwinring_agent_store_sessions_total 3\n"));
	ck_assert_ptr_nonnull(strstr(p, "# TYPE twinring_agent_store_sessions_total counter\n"));
	ck_assert_ptr_nonnull(strstr(p, "\ntwinring_agent_topology_version 77\n"));
	ck_assert_ptr_nonnull(strstr(p, "# TYPE twinring_agent_topology_version gauge\n"));
	ck_assert_ptr_nonnull(strstr(p, "\ntwinring_agent_pool_ejected{pool=\"alpha\"} 2\n"));
	ck_assert_ptr_nonnull(
	    strstr(p, "twinring_agent_pool_servers{pool=\"b\\\"\\\\\\n\"} 18446744073709551615\n"));
	ck_assert_ptr_nonnull(
	    strstr(p, "\ntwinring_agent_build_info{version=\"" TWINRING_VERSION "\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(p, "\nprocess_open_fds "));
	char *first = strdup(p);
	ck_assert_ptr_eq(strstr(strstr(p, "pool=\"alpha\"") + 1, "# HELP twinring_agent_ready"),
			 NULL);
	p = render(); /* pools do not add up */
	ck_assert_uint_eq(filled, 2);
	ck_assert_int_eq(strncmp(first, p, (size_t)(strstr(p, "# HELP twinring_agent_build") - p)),
			 0);
	free(first);
}
END_TEST

/* Each name has one HELP, one TYPE and, under them, its samples. */
START_TEST(well_formed)
{
	char *rest = strdup(render()), *all = rest, name[128] = "";
	unsigned families = 0;
	for (char *line; (line = strsep(&rest, "\n")) && *line;) {
		char word[128];
		if (sscanf(line, "# HELP %127s", word) == 1) {
			ck_assert_str_ne(name, word);
			strcpy(name, word);
			families++;
		} else if (sscanf(line, "# TYPE %127s", word) == 1) {
			ck_assert_str_eq(name, word);
		} else {
			size_t n = strcspn(line, "{ ");
			ck_assert_msg(n == strlen(name) && strncmp(line, name, n) == 0, "%s", line);
		}
	}
	ck_assert_uint_eq(families, AGENT_METRIC_MAX + AGENT_POOL_METRIC_MAX + 7);
	free(all);
}
END_TEST

START_TEST(without_pools)
{
	metrics.fill = NULL;
	ck_assert_ptr_null(strstr(render(), "twinring_agent_pool_"));
}
END_TEST

/* --- pages ------------------------------------------------------------------------------------ */

static const char *get(const char *path)
{
	struct net_addr a = { .len = sizeof(a.ss) };
	char request[128];
	size_t n = 0;
	int fd;
	ck_assert_int_eq(getsockname(http_pages_fd(pages), (struct sockaddr *)&a.ss, &a.len), 0);
	ck_assert_int_eq(net_connect_nonblocking(&a, &fd), ERR_NONE);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	ck_assert_int_eq(poll(&p, 1, 1000), 1);
	snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
	ck_assert_int_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	for (uint64_t end = clock_now_us() + 4000000; clock_now_us() < end;) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		p = (struct pollfd){ .fd = fd, .events = POLLIN };
		if (poll(&p, 1, 1) != 1) continue;
		ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);
		if (got <= 0) break;
		n += (size_t)got;
	}
	text[n] = 0;
	close(fd);
	return text;
}

START_TEST(pages_served)
{
	struct listen_spec spec;
	struct err_at at;
	const char *why;
	ck_assert_int_eq(http_pages_fd(pages), -1);
	ck_assert(listen_spec_parse("127.0.0.1:0", &spec, &why));
	ck_assert_int_eq(http_pages_listen(pages, &spec, &at), ERR_NONE);
	ck_assert_ptr_nonnull(strstr(get("/metrics"), "HTTP/1.0 200 OK\r\n"));
	ck_assert_ptr_nonnull(strstr(text, "Content-Type: text/plain; version=0.0.4"));
	ck_assert_ptr_nonnull(strstr(text, "\ntwinring_agent_topology_version 77\n"));
	ck_assert_ptr_nonnull(strstr(get("/healthz"), "\r\n\r\nok\n"));
	ck_assert_ptr_nonnull(strstr(get("/readyz"), "HTTP/1.0 503 "));
	ck_assert_ptr_nonnull(strstr(text, "\r\n\r\nno topology yet\n"));
	agent_gauge(&metrics, AGENT_METRIC_ready, 1);
	ck_assert_ptr_nonnull(strstr(get("/readyz"), "\r\n\r\nready, without the store\n"));
	ck_assert_ptr_nonnull(strstr(text, "HTTP/1.0 200 "));
	agent_gauge(&metrics, AGENT_METRIC_store_connected, 1);
	ck_assert_ptr_nonnull(strstr(get("/readyz"), "\r\n\r\nready\n"));
	ck_assert_ptr_nonnull(strstr(get("/stats"), "HTTP/1.0 404 "));
	ck_assert_ptr_nonnull(strstr(text, "try /metrics /healthz /readyz\n"));
	int fd = http_pages_fd(pages);
	ck_assert_int_eq(http_pages_listen(pages, &spec, &at), ERR_NONE); /* the same */
	ck_assert_int_eq(http_pages_fd(pages), fd);
	ck_assert_int_eq(http_pages_listen(pages, NULL, &at), ERR_NONE);
	ck_assert_int_eq(http_pages_fd(pages), -1);
	listen_spec_fini(&spec);
}
END_TEST

/* --- the manual ------------------------------------------------------------------------------- */

/* To write it anew: TWINRING_WRITE_DOCS=1 build/release/tests/unit/agent/test_agent_metrics */
START_TEST(documented)
{
	agent_metrics_document(&out);
	if (getenv("TWINRING_WRITE_DOCS") != NULL) {
		FILE *f = fopen("deploy/agent-metrics.md", "w");
		ck_assert_ptr_nonnull(f);
		fwrite(out.p, 1, out.n, f);
		fclose(f);
	}
	FILE *f = fopen("deploy/agent-metrics.md", "r");
	ck_assert_ptr_nonnull(f);
	size_t n = fread(text, 1, sizeof(text), f);
	fclose(f);
	ck_assert_msg(slice_eq(scratch_slice(&out), (struct slice){ text, n }),
		      "deploy/agent-metrics.md is not what the table says");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_metrics");
	TCase *t = tcase_create("agent_metrics");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, rendered);
	tcase_add_test(t, well_formed);
	tcase_add_test(t, without_pools);
	tcase_add_test(t, pages_served);
	tcase_add_test(t, documented);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
