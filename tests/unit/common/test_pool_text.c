/* Pools as people write them, and YAML that reads back as what it was. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

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
	json_t *doc = pool_text_native(pool_of("servers: [h:1:1 a]\nhash: fnv1a_64\ntimeout_ms: 5\n"
					       "transition: instant\n"));
	yaml_emit(doc, 2, &out);
	json_decref(doc);
	ck_assert_str_eq(text_of(), "  protocol: memcached\n  distribution: ketama\n"
				    "  hash: fnv1a_64\n  timeout_ms: 5\n"
				    "  servers:\n    - h:1:1 a\n");
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
	ADD_LOOP(tc, any_text_reads_back, texts);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
