#include <check.h>
#include <ctype.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "proxy/stats.h"

/* Codecs of two commands each: only their names and counts matter here. */
static const struct op_info ops[] = { { .name = "get", .id = 0 }, { .name = "set", .id = 1 } };

static const struct op_info *op(uint32_t id)
{
	return &ops[id];
}

static const struct codec fake_mc = { .name = "memcached", .op_count = 2, .op = op };
static const struct codec fake_redis = { .name = "redis", .op_count = 1, .op = op };

static struct stats *stats;
static struct scratch out;
static const struct stats_process process = {
	.started_us = 1700000000ull * 1000000,
	.config_file = "/etc/x.yml",
	.config_ok = true,
	.config_at_us = 1700000001500000ull,
	.config_reloads = 3,
	.topology_version = 7,
	.ready = true,
};

static void setup(void)
{
	stats = stats_new(2);
}

static void teardown(void)
{
	stats_free(&stats);
	ck_assert_ptr_null(stats);
	stats_free(&stats);
	scratch_fini(&out);
}

static const char *rendered(void (*render)(const struct stats *, const struct stats_process *,
					   struct scratch *))
{
	scratch_clear(&out);
	render(stats, &process, &out);
	scratch_put(&out, "", 1);
	ck_assert_uint_eq(strlen(out.p) + 1, out.n);
	ck_assert_int_eq(out.p[out.n - 2], '\n');
	return out.p;
}

/* --- registry --------------------------------------------------------------------------------- */

START_TEST(entries_are_shared_by_name)
{
	struct stats_pool *a = stats_pool_get(stats, "a", &fake_mc);
	struct stats_pool *b = stats_pool_get(stats, "b", &fake_mc);
	ck_assert_ptr_ne(a, b);
	ck_assert_ptr_eq(stats_pool_get(stats, "a", &fake_mc), a);
	struct stats_server *s = stats_server_get(a, "s");
	ck_assert_ptr_eq(stats_server_get(a, "s"), s);
	ck_assert_ptr_ne(stats_server_get(b, "s"), s);
	metric_add(&a->slots[0].m[POOL_client_requests], 2);
	metric_add(&a->slots[1].m[POOL_client_requests], 3);
	ck_assert_uint_eq(stats_pool_sum(a, POOL_client_requests), 5);
	/* In use by the next topology before the last one lets go: the counters stay. */
	stats_pool_unref(a);
	ck_assert_uint_eq(stats_pool_sum(a, POOL_client_requests), 5);
	stats_server_unref(b->servers);
	stats_server_unref(s);
	stats_pool_unref(a);
	stats_pool_unref(b);
	stats_server_unref(s); /* the last: its pool's entry goes with it */
	ck_assert_uint_eq(
	    stats_pool_sum(a = stats_pool_get(stats, "a", &fake_mc), POOL_client_requests), 0);
	stats_pool_unref(a);
}
END_TEST

START_TEST(changed_protocol_gets_new_counters)
{
	struct stats_pool *old = stats_pool_get(stats, "p", &fake_mc);
	struct stats_server *s = stats_server_get(old, "s");
	metric_add(&old->slots[0].m[POOL_client_accepted], 4);
	struct stats_pool *now = stats_pool_get(stats, "p", &fake_redis);
	ck_assert_ptr_ne(old, now);
	ck_assert_uint_eq(stats_pool_sum(now, POOL_client_accepted), 0);
	ck_assert_ptr_eq(stats_pool_get(stats, "p", &fake_redis), now);
	const char *json = rendered(stats_render_json);
	ck_assert_ptr_null(strstr(json, "\"s\":{"));
	ck_assert_ptr_nonnull(strstr(json, "\"total_connections\":4,"));
	stats_server_unref(s);
	stats_pool_unref(old);
	stats_pool_unref(now);
	stats_pool_unref(now);
}
END_TEST

START_TEST(entries_may_outlive_the_registry)
{
	struct stats_pool *p = stats_pool_get(stats, "p", &fake_mc);
	struct stats_server *s = stats_server_get(p, "s");
	stats_pool_unref(p);
	stats_free(&stats);
	metric_add(&s->slots[1].m[SERVER_requests], 1);
	ck_assert_uint_eq(stats_server_sum(s, SERVER_requests), 1);
	stats_server_unref(s);
	stats_pool_unref(NULL);
	stats_server_unref(NULL);
}
END_TEST

START_TEST(slots_have_cache_lines_of_their_own)
{
	struct stats_pool *p = stats_pool_get(stats, "p", &fake_mc);
	struct stats_server *s = stats_server_get(p, "s");
	for (uint32_t w = 0; w < 2; w++) {
		ck_assert_uint_eq((uintptr_t)&p->slots[w] % 64, 0);
		ck_assert_uint_eq((uintptr_t)&s->slots[w] % 64, 0);
		ck_assert_uint_eq((uintptr_t)p->slots[w].commands % 64, 0);
		ck_assert_uint_eq((uintptr_t)stats_worker(stats, w) % 64, 0);
	}
	stats_server_unref(s);
	stats_pool_unref(p);
}
END_TEST

START_TEST(ejected_at_is_the_latest)
{
	struct stats_pool *p = stats_pool_get(stats, "p", &fake_mc);
	struct stats_server *s = stats_server_get(p, "s");
	metric_set(&s->slots[0].m[SERVER_server_ejected_at], 1700000000000002);
	metric_set(&s->slots[1].m[SERVER_server_ejected_at], 1700000000000001);
	ck_assert_uint_eq(stats_server_sum(s, SERVER_server_ejected_at), 1700000000000002);
	stats_server_unref(s);
	stats_pool_unref(p);
}
END_TEST

/* --- fixture for the texts ---------------------------------------------------------------------
 */

static struct stats_pool *pool_a, *pool_b;
static struct stats_server *server_a, *server_odd;

static void populate(void)
{
	pool_a = stats_pool_get(stats, "alpha", &fake_mc);
	pool_b = stats_pool_get(stats, "beta", &fake_redis);
	server_a = stats_server_get(pool_a, "10.0.0.1:11211");
	server_odd = stats_server_get(pool_a, "a\"b\\c\xff \xc3\xa9");
	metric_add(&pool_a->slots[0].m[POOL_client_accepted], 10);
	metric_add(&pool_a->slots[1].m[POOL_client_connections], 4);
	metric_add(&server_a->slots[1].m[SERVER_connects], 5);
	metric_add(&server_a->slots[1].m[SERVER_server_connections], 1);
	metric_add(&pool_a->slots[0].commands[1], 9);
	metric_add(&pool_a->slots[1].commands[1], 1);
	metric_add(&server_odd->slots[0].m[SERVER_tko_workers], 1);
	for (int i = 0; i < 99; i++) hist_record(&pool_a->slots[i & 1].latency, 200);
	hist_record(&pool_a->slots[0].latency, 40000);
	hist_record(&server_a->slots[0].latency, 100000000);
	metric_add(&stats_worker(stats, 0)->m[WORKER_ticks], 8);
	metric_add(&stats_worker(stats, 1)->m[WORKER_ticks], 1);
}

static void unpopulate(void)
{
	stats_server_unref(server_a);
	stats_server_unref(server_odd);
	stats_pool_unref(pool_a);
	stats_pool_unref(pool_b);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_int_t number(const json_t *object, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(object, key)), "%s", key);
	return json_integer_value(json_object_get(object, key));
}

START_TEST(json_has_twemproxys_schema)
{
	static const char *const pool_keys[] = { "client_eof",	       "client_err",
						 "client_connections", "server_ejects",
						 "forward_error",      "fragments" };
	static const char *const server_keys[] = {
		"server_eof",	     "server_err", "server_timedout", "server_connections",
		"server_ejected_at", "requests",   "request_bytes",   "responses",
		"response_bytes",    "in_queue",   "in_queue_bytes",  "out_queue",
		"out_queue_bytes"
	};
	populate();
	json_error_t e;
	json_t *top = json_loads(rendered(stats_render_json), JSON_REJECT_DUPLICATES, &e);
	ck_assert_msg(top != NULL, "%s at %d: %s", e.text, e.position, out.p);
	ck_assert_str_eq(json_string_value(json_object_get(top, "service")), "nutcracker");
	ck_assert_str_eq(json_string_value(json_object_get(top, "version")), TWINRING_VERSION);
	ck_assert(json_is_string(json_object_get(top, "source")));
	ck_assert_int_gt(number(top, "uptime"), 0);
	ck_assert_int_gt(number(top, "timestamp"), 1700000000);
	ck_assert_int_eq(number(top, "total_connections"), 15);
	ck_assert_int_eq(number(top, "curr_connections"), 5);
	ck_assert_int_eq(number(top, "worker_ticks"), 9);
	/* Whatever is an object is a pool, and in a pool a server. */
	const char *key, *inner;
	json_t *value, *v;
	unsigned pools = 0, servers = 0;
	json_object_foreach (top, key, value) {
		if (!json_is_object(value)) continue;
		pools++;
		for (size_t i = 0; i < sizeof(pool_keys) / sizeof(*pool_keys); i++)
			number(value, pool_keys[i]);
		json_object_foreach (value, inner, v) {
			if (!json_is_object(v)) continue;
			servers++;
			for (size_t i = 0; i < sizeof(server_keys) / sizeof(*server_keys); i++)
				number(v, server_keys[i]);
		}
	}
	ck_assert_uint_eq(pools, 2);
	ck_assert_uint_eq(servers, 2);
	json_decref(top);
	unpopulate();
}
END_TEST

START_TEST(json_extras)
{
	populate();
	json_t *top = json_loads(rendered(stats_render_json), 0, NULL);
	const json_t *a = json_object_get(top, "alpha"), *b = json_object_get(top, "beta");
	ck_assert_int_eq(number(a, "cmd_set"), 10);
	ck_assert_ptr_null(json_object_get(a, "cmd_get"));
	ck_assert_int_ge(number(a, "latency_p50_us"), 200);
	ck_assert_int_le(number(a, "latency_p99_us"), 213);
	ck_assert_int_ge(number(a, "latency_p999_us"), 40000);
	ck_assert_int_eq(number(b, "latency_p50_us"), 0);
	ck_assert_ptr_nonnull(json_object_get(a, "a\"b\\c? \xc3\xa9"));
	json_decref(top);
	unpopulate();
}
END_TEST

START_TEST(empty_registry_renders)
{
	json_t *top = json_loads(rendered(stats_render_json), JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(top);
	json_decref(top);
	rendered(stats_render_prometheus);
}
END_TEST

/* --- Prometheus: what `promtool check metrics` would complain about --------------------------- */

struct checker {
	char family[128], type[16];
	char seen_families[256][128];
	unsigned family_count;
	double last_bucket, last_le;
	char last_series[512];
};

static const char *check_name(const char *p, bool label)
{
	ck_assert(isalpha((unsigned char)*p) || *p == '_' || (!label && *p == ':'));
	while (isalnum((unsigned char)*p) || *p == '_' || (!label && *p == ':')) p++;
	return p;
}

static const char *check_labels(const char *p, char *le)
{
	ck_assert_int_eq(*p++, '{');
	for (;;) {
		const char *name = p;
		p = check_name(p, true);
		size_t n = (size_t)(p - name);
		ck_assert_int_eq(*p++, '=');
		ck_assert_int_eq(*p++, '"');
		const char *value = p;
		for (; *p != '"'; p++) {
			ck_assert(*p && *p != '\n');
			if (*p == '\\') ck_assert(*++p == '\\' || *p == '"' || *p == 'n');
		}
		if (n == 2 && strncmp(name, "le", 2) == 0)
			snprintf(le, 32, "%.*s", (int)(p - value), value);
		p++;
		if (*p == '}') return p + 1;
		ck_assert_int_eq(*p++, ',');
	}
}

static void check_type(struct checker *c, const char *line)
{
	char name[128];
	ck_assert_int_eq(sscanf(line, "# TYPE %127s %15s", name, c->type), 2);
	ck_assert_str_eq(name, c->family); /* HELP came before */
	bool counter = strcmp(c->type, "counter") == 0;
	size_t n = strlen(name);
	bool total = n > 6 && strcmp(name + n - 6, "_total") == 0;
	ck_assert_msg(counter == total, "%s is a %s", name, c->type);
	ck_assert(counter || !strcmp(c->type, "gauge") || !strcmp(c->type, "histogram"));
}

static void check_help(struct checker *c, const char *line)
{
	int at = 0;
	ck_assert_int_eq(sscanf(line, "# HELP %127s %n", c->family, &at), 1);
	ck_assert_msg(line[at] && !strchr(line, '"'), "%s", line);
	for (unsigned i = 0; i < c->family_count; i++)
		ck_assert_msg(strcmp(c->seen_families[i], c->family), "%s twice", c->family);
	ck_assert_uint_lt(c->family_count, 256);
	strcpy(c->seen_families[c->family_count++], c->family);
}

static void check_bucket(struct checker *c, const char *le, double value, const char *suffix)
{
	if (!strcmp(suffix, "_bucket")) {
		double edge = strtod(le, NULL);
		ck_assert(*le && edge > c->last_le && value >= c->last_bucket);
		c->last_le = edge;
		c->last_bucket = value;
	} else if (!strcmp(suffix, "_count")) {
		ck_assert(c->last_le > 1e300 && value == c->last_bucket);
		c->last_le = c->last_bucket = 0;
	} else {
		ck_assert_str_eq(suffix, "_sum");
	}
}

static void check_sample(struct checker *c, const char *line)
{
	char le[32] = "", suffix[128], *end;
	const char *p = check_name(line, false);
	size_t family = strlen(c->family);
	ck_assert_msg(!strncmp(line, c->family, family), "%s under %s", line, c->family);
	snprintf(suffix, sizeof(suffix), "%.*s", (int)((size_t)(p - line) - family), line + family);
	if (*p == '{') p = check_labels(p, le);
	ck_assert_int_eq(*p, ' ');
	char series[512];
	snprintf(series, sizeof(series), "%.*s", (int)(p - line), line);
	ck_assert_str_ne(series, c->last_series);
	strcpy(c->last_series, series);
	double value = strtod(p + 1, &end);
	ck_assert_msg(end > p + 1 && *end == 0 && value >= 0, "%s", line);
	if (!strcmp(c->type, "histogram")) check_bucket(c, le, value, suffix);
	else ck_assert_str_eq(suffix, "");
}

START_TEST(prometheus_syntax)
{
	static struct checker c;
	populate();
	char *text = strdup(rendered(stats_render_prometheus)), *rest = text, *line;
	while ((line = strsep(&rest, "\n"))) {
		if (!*line) {
			ck_assert_ptr_null(rest); /* only the end */
			break;
		}
		if (!strncmp(line, "# HELP ", 7)) check_help(&c, line);
		else if (!strncmp(line, "# TYPE ", 7)) check_type(&c, line);
		else check_sample(&c, line);
	}
	ck_assert_uint_gt(c.family_count, 50);
	free(text);
	unpopulate();
}
END_TEST

START_TEST(prometheus_values)
{
	static const char *const lines[] = {
		"\ntwinring_up 1\n",
		"\ntwinring_build_info{version=\"" TWINRING_VERSION "\"} 1\n",
		"\ntwinring_config_last_reload_successful 1\n",
		"\ntwinring_config_last_reload_success_timestamp_seconds 1700000001.500000\n",
		"\ntwinring_requests_total{pool=\"alpha\",command=\"set\"} 10\n",
		"\ntwinring_request_duration_seconds_bucket{pool=\"alpha\",le=\"0.00025\"} 99\n",
		"\ntwinring_request_duration_seconds_bucket{pool=\"alpha\",le=\"0.0001\"} 0\n",
		"\ntwinring_request_duration_seconds_bucket{pool=\"alpha\",le=\"+Inf\"} 100\n",
		"\ntwinring_request_duration_seconds_sum{pool=\"alpha\"} 0.059800\n",
		"\ntwinring_request_duration_seconds_count{pool=\"alpha\"} 100\n",
		"\ntwinring_server_latency_seconds_bucket{pool=\"alpha\",le=\"1\","
		"server=\"10.0.0.1:11211\"} 0\n",
		"\ntwinring_server_up{pool=\"alpha\",server=\"10.0.0.1:11211\"} 1\n",
		"\ntwinring_server_up{pool=\"alpha\",server=\"a\\\"b\\\\c? \xc3\xa9\"} 0\n",
		"\ntwinring_client_connections{pool=\"alpha\"} 4\n",
		"\ntwinring_client_errors_total{pool=\"beta\",kind=\"protocol\"} 0\n",
		"\ntwinring_pool_client_accepted_total{pool=\"alpha\"} 10\n",
		"\ntwinring_server_connects_total{pool=\"alpha\",server=\"10.0.0.1:11211\"} 5\n",
		"\ntwinring_server_connections{pool=\"alpha\",server=\"10.0.0.1:11211\"} 1\n",
		"\ntwinring_server_requests_total{pool=\"alpha\",server=\"10.0.0.1:11211\"} 0\n",
		"\ntwinring_worker_ticks_total{worker=\"0\"} 8\n",
		"\ntwinring_topology_version 7\n",
	};
	populate();
	const char *text = rendered(stats_render_prometheus);
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		ck_assert_msg(strstr(text, lines[i]), "%s", lines[i]);
	unsigned long long rss = 0;
	const char *at = strstr(text, "\nprocess_resident_memory_bytes ");
	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "\nprocess_resident_memory_bytes %llu", &rss), 1);
	ck_assert_uint_gt(rss, 100000);
	unpopulate();
}
END_TEST

/* --- documentation ---------------------------------------------------------------------------- */

/* build/MODE/tests/unit/proxy/test_stats lives six levels below the top. */
static void doc_path(char *path, size_t size)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	ck_assert_int_gt(n, 0);
	exe[n] = 0;
	for (int i = 0; i < 6; i++) *strrchr(exe, '/') = 0;
	snprintf(path, size, "%s/deploy/metrics.md", exe);
}

START_TEST(documentation_is_up_to_date)
{
	char path[4200];
	scratch_clear(&out);
	stats_render_doc(&out);
	doc_path(path, sizeof(path));
	if (getenv("UPDATE_DOC")) {
		FILE *f = fopen(path, "w");
		ck_assert_ptr_nonnull(f);
		ck_assert_uint_eq(fwrite(out.p, 1, out.n, f), out.n);
		fclose(f);
	}
	FILE *f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s", path);
	char *have = calloc(1, out.n + 2);
	size_t n = fread(have, 1, out.n + 1, f);
	fclose(f);
	ck_assert_msg(n == out.n && memcmp(have, out.p, n) == 0,
		      "deploy/metrics.md is old: run this test with UPDATE_DOC=1");
	free(have);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

struct hammer {
	struct stats_pool *p;
	struct stats_server *s;
	uint32_t w;
};

static void *hammer(void *arg)
{
	const struct hammer *h = arg;
	for (int i = 0; i < 20000; i++) {
		metric_add(&h->p->slots[h->w].m[POOL_client_requests], 1);
		metric_add(&h->p->slots[h->w].commands[i & 1], 1);
		hist_record(&h->p->slots[h->w].latency, (uint64_t)i);
		hist_record(&h->s->slots[h->w].latency, (uint64_t)i);
	}
	return NULL;
}

START_TEST(workers_write_while_main_reads)
{
	struct stats_pool *p = stats_pool_get(stats, "p", &fake_mc);
	struct stats_server *s = stats_server_get(p, "s");
	struct hammer h[2] = { { p, s, 0 }, { p, s, 1 } };
	pthread_t t[2];
	for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, hammer, &h[i]);
	for (int i = 0; i < 5; i++) {
		rendered(stats_render_json);
		rendered(stats_render_prometheus);
	}
	for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
	ck_assert_uint_eq(stats_pool_sum(p, POOL_client_requests), 40000);
	stats_server_unref(s);
	stats_pool_unref(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stats");
	TCase *t = tcase_create("stats");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, entries_are_shared_by_name);
	tcase_add_test(t, changed_protocol_gets_new_counters);
	tcase_add_test(t, entries_may_outlive_the_registry);
	tcase_add_test(t, slots_have_cache_lines_of_their_own);
	tcase_add_test(t, ejected_at_is_the_latest);
	tcase_add_test(t, json_has_twemproxys_schema);
	tcase_add_test(t, json_extras);
	tcase_add_test(t, empty_registry_renders);
	tcase_add_test(t, prometheus_syntax);
	tcase_add_test(t, prometheus_values);
	tcase_add_test(t, documentation_is_up_to_date);
	tcase_add_test(t, workers_write_while_main_reads);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
