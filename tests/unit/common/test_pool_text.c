/* Pools in our own words and in those of others, and YAML that reads back as what it was. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/pool_text.h"
#include "common/spec.h"
#include "common/yaml.h"
#include "common/yaml_emit.h"

static struct spec *spec;
static struct scratch out;

static const struct pool_spec *pool_of(const char *text)
{
	struct config_issues issues;
	spec_free(&spec);
	enum err e = spec_parse(text, strlen(text), "p", "f", &spec, &issues);
	ck_assert_msg(e == ERR_NONE, "%s: %s", issues.items ? issues.items[0].at.where : "",
		      issues.items ? issues.items[0].at.why : "");
	config_issues_fini(&issues);
	return spec->pool;
}

static const char *text_of(void)
{
	scratch_put(&out, "", 1);
	return out.p;
}

static void teardown(void)
{
	spec_free(&spec);
	scratch_fini(&out);
	out = (struct scratch){ 0 };
}

static const char *const natives[] = {
	"servers: [h:1]\n",
	"servers: [h:11211:3, '[::1]:7:2 v6', /tmp/s:4 u, {host: h, port: 9, name: a b}]\n",
	"protocol: redis\nauth: {user: u, password: 'p: #'}\nredis_db: 3\nservers: [h:1:1 a]\n",
	"distribution: ketama_rj\nhash_tag: '{}'\nservers: [h:1:1 a]\ntimeout_ms: 0\n",
	"distribution: modula\nhash: crc16\nvalue_max: 1m\nfailover: error\nkeepalive: false\n"
	"servers: [h:1:1 a, h:2:1 b]\n",
};

START_TEST(native_reads_back)
{
	json_t *want = pool_spec_to_json(pool_of(natives[_i])), *doc = pool_text_native(spec->pool);
	yaml_emit(doc, 0, &out);
	json_decref(doc);
	const char *text = text_of();
	json_t *got = pool_spec_to_json(pool_of(text));
	ck_assert_msg(json_equal(want, got), "%s", text);
	json_decref(want);
	json_decref(got);
}
END_TEST

START_TEST(native_says_no_more_than_needed)
{
	json_t *doc =
	    pool_text_native(pool_of("servers: [h:1:1 a]\nhash: fnv1a_64\ntimeout_ms: 5\n"));
	yaml_emit(doc, 2, &out);
	json_decref(doc);
	ck_assert_str_eq(text_of(), "  protocol: memcached\n  distribution: ketama\n"
				    "  hash: fnv1a_64\n  timeout_ms: 5\n"
				    "  servers:\n    - h:1:1 a\n");
}
END_TEST

static const char *const compatible[] = {
	"protocol: redis\nauth: {password: pw}\nredis_db: 2\nhash_tag: '{}'\n"
	"servers: [h:1:2 a, 10.0.0.1:11211:1]\ntimeout_ms: 250\nauto_eject_hosts: true\n",
	"distribution: modula\nhash: crc32a\nservers: [h:1:1 a, /tmp/s:1 b]\npreconnect: true\n",
};

/* What nutcracker would read is what we read from it. */
START_TEST(nutcracker_reads_back)
{
	const char *why;
	const struct pool_spec *p = pool_of(compatible[_i]);
	ck_assert(pool_text_nutcracker(p, "127.0.0.1:22121", &out, &why));
	struct config *config;
	struct config_issues issues;
	size_t n = out.n;
	ck_assert_int_eq(config_parse(text_of(), n, "f", &config, &issues), ERR_NONE);
	ck_assert_int_eq(config->syntax, CONFIG_NUTCRACKER);
	const struct pool_spec *got = &config->topology->pools[0];
	ck_assert_str_eq(got->name, "p");
	ck_assert_int_eq(got->protocol, p->protocol);
	ck_assert_int_eq(got->distribution, p->distribution);
	ck_assert_int_eq(got->hash, p->hash);
	ck_assert_uint_eq(got->timeout_ms, p->timeout_ms);
	ck_assert_uint_eq(got->redis_db, p->redis_db);
	ck_assert_uint_eq(got->server_count, p->server_count);
	for (uint32_t i = 0; i < p->server_count; i++)
		ck_assert_str_eq(got->servers[i].ring_name, p->servers[i].ring_name);
	config_issues_fini(&issues);
	config_free(&config);
}
END_TEST

static const struct {
	const char *text, *why;
} obstacles[] = {
	{ "distribution: ketama_rj\nservers: [h:1:1 a]\n", "distribution" },
	{ "servers: ['[::1]:7:2 v6']\n", "IPv6" },
	{ "servers: [{host: h, port: 9, name: a b}]\n", "name or path" },
	{ "protocol: redis\nauth: {user: u, password: p}\nservers: [h:1]\n", "user" },
};

START_TEST(nutcracker_obstacles)
{
	const char *why;
	ck_assert(!pool_text_nutcracker(pool_of(obstacles[_i].text), "h:1", &out, &why));
	ck_assert_ptr_nonnull(strstr(why, obstacles[_i].why));
}
END_TEST

START_TEST(ketama_servers)
{
	const char *why;
	struct pool_spec p = *pool_of("distribution: ketama_rj\nservers: [10.0.0.1:11211:600, "
				      "10.0.0.2:11211:300, 10.0.0.3:1:7]\n");
	ck_assert(pool_text_ketama(&p, &out, &why));
	ck_assert_str_eq(text_of(), "10.0.0.1:11211\t600\n10.0.0.2:11211\t300\n10.0.0.3:1\t7\n");
	out.n = 0;
	p.servers[1].ejected = true;
	ck_assert(pool_text_ketama(&p, &out, &why));
	ck_assert_str_eq(text_of(), "10.0.0.1:11211\t600\n10.0.0.3:1\t7\n");
	out.n = 0;
	ck_assert(!pool_text_ketama(pool_of("servers: [h:1]\n"), &out, &why));
	ck_assert_ptr_nonnull(strstr(why, "distribution"));
	ck_assert(!pool_text_ketama(pool_of("distribution: ketama_rj\nservers: [h:1:1 a]\n"), &out,
				    &why));
	ck_assert_ptr_nonnull(strstr(why, "names"));
}
END_TEST

/* --- YAML ------------------------------------------------------------------------------------- */

static const char *const texts[] = {
	"",	"a",	"a b",	" a",	      "a ",	  "a: b",
	"a:",	"a #b", "#",	"-",	      "- a",	  "yes",
	"No",	"true", "null", "~",	      "1",	  "1.5",
	"0x1f", "1e3",	"1:30", "2001-01-01", "10.0.0.1", "10.0.0.1:11211:1 a",
	"[a]",	"{a}",	"a\nb", "a\tb",	      "\"a\"",	  "'",
	"&a",	"*a",	"!a",	"|",	      ">",	  "%a",
	"@a",	"`a",	"a  b", "/tmp/s:1 b", "\xc3\xa4", "\xe2\x80\xa8",
	"a,b",	"=",	"<<",	"...",	      "---",	  "h-1_x.y",
	"\x7f", "y",	"e3",
};

START_TEST(any_text_reads_back)
{
	json_t *doc = json_pack("{s:s, s:[s], s:{s:s}}", "k", texts[_i], "l", texts[_i], "m",
				*texts[_i] ? texts[_i] : "x", texts[_i]);
	yaml_emit(doc, 0, &out);
	struct report r = { .label = "f" };
	struct node *root = yaml_parse(out.p, out.n, &r);
	ck_assert_msg(root != NULL && r.error_count == 0, "%.*s", (int)out.n, out.p);
	json_t *got = node_to_json(root);
	ck_assert_msg(json_equal(doc, got), "%.*s", (int)out.n, out.p);
	json_decref(got);
	json_decref(doc);
	node_free(&root);
	report_fini(&r);
}
END_TEST

#define ADD_LOOP(tc, test, table) \
	tcase_add_loop_test(tc, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
	Suite *s = suite_create("pool_text");
	TCase *tc = tcase_create("pool_text");
	tcase_add_checked_fixture(tc, NULL, teardown);
	ADD_LOOP(tc, native_reads_back, natives);
	tcase_add_test(tc, native_says_no_more_than_needed);
	ADD_LOOP(tc, nutcracker_reads_back, compatible);
	ADD_LOOP(tc, nutcracker_obstacles, obstacles);
	tcase_add_test(tc, ketama_servers);
	ADD_LOOP(tc, any_text_reads_back, texts);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
