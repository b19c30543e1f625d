/* Edits of a spec's text: the right values, with all else as its author wrote it. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/assign.h"
#include "agent/ctl/edit.h"

static struct scratch out;
static enum edit_kept kept;
static struct config_issues issues;

static void teardown(void)
{
	scratch_fini(&out);
	out = (struct scratch){ 0 };
	config_issues_fini(&issues);
}

static enum err apply(const char *text, struct edit e)
{
	teardown();
	enum err result = edit_apply(slice_of(text), "f", &e, 1, &out, &kept, &issues);
	json_decref(e.value);
	return result;
}

static void expect(const char *want, enum edit_kept how)
{
	scratch_put(&out, "", 1);
	ck_assert_str_eq(out.p, want);
	ck_assert_int_eq(kept, how);
}

#define KEY(k)           \
	{                \
		.key = k \
	}
#define INDEX(i)           \
	{                  \
		.index = i \
	}

static const struct {
	const char *before;
	struct edit edit;
	const char *value; /* JSON */
	const char *after;
} kept_cases[] = {
	{ "a: 1 # one\nb: 2\n", { EDIT_SET, { KEY("a") }, 1, NULL }, "5", "a: 5 # one\nb: 2\n" },
	{ "a: 1", { EDIT_SET, { KEY("b") }, 1, NULL }, "true", "a: 1\nb: true\n" },
	{ "a: 'it''s' # q\n", { EDIT_SET, { KEY("a") }, 1, NULL }, "\"b\"", "a: b # q\n" },
	{ "a: \"x\\\"y\"\nb: 1\n", { EDIT_SET, { KEY("a") }, 1, NULL }, "1", "a: 1\nb: 1\n" },
	{ "# top\na:\n  b: 1 # x\n  c: 2\nd: 3\n",
	  { EDIT_SET, { KEY("a"), KEY("e") }, 2, NULL },
	  "7",
	  "# top\na:\n  b: 1 # x\n  c: 2\n  e: 7\nd: 3\n" },
	{ "d: 3\n", { EDIT_SET, { KEY("a"), KEY("e") }, 2, NULL }, "7", "d: 3\na:\n  e: 7\n" },
	{ "s:\n- x # 1\n- y # 2\n# end\n",
	  { EDIT_APPEND, { KEY("s") }, 1, NULL },
	  "\"h:1:1 z\"",
	  "s:\n- x # 1\n- y # 2\n- h:1:1 z\n# end\n" },
	{ "s:\n  -   x\nt: 1\n",
	  { EDIT_APPEND, { KEY("s") }, 1, NULL },
	  "\"yes\"",
	  "s:\n  -   x\n  -   \"yes\"\nt: 1\n" },
	{ "s: [x, y] # c\n",
	  { EDIT_APPEND, { KEY("s") }, 1, NULL },
	  "\"z\"",
	  "s: [x, y, \"z\"] # c\n" },
	{ "s: []\n", { EDIT_APPEND, { KEY("s") }, 1, NULL }, "\"z\"", "s: [\"z\"]\n" },
	{ "t: 1\n", { EDIT_APPEND, { KEY("s") }, 1, NULL }, "\"z\"", "t: 1\ns:\n  - z\n" },
	{ "{\n  \"s\": [\n    \"x\",\n    \"y\"\n  ],\n  \"t\": 1\n}\n",
	  { EDIT_APPEND, { KEY("s") }, 1, NULL },
	  "\"z\"",
	  "{\n  \"s\": [\n    \"x\",\n    \"y\",\n    \"z\"\n  ],\n  \"t\": 1\n}\n" },
	{ "{\n  \"s\": [{\"a\": 1}],\n  \"t\": 1\n}\n",
	  { EDIT_SET, { KEY("u"), KEY("v") }, 2, NULL },
	  "2",
	  "{\n  \"s\": [{\"a\": 1}],\n  \"t\": 1,\n  \"u\": {\"v\": 2}\n}\n" },
	{ "s:\n  - x\n  # of y\n  - y # 2\n  - z\n",
	  { EDIT_REMOVE, { KEY("s"), INDEX(1) }, 2, NULL },
	  NULL,
	  "s:\n  - x\n  # of y\n  - z\n" },
	{ "s: [x, y, z]\n", { EDIT_REMOVE, { KEY("s"), INDEX(0) }, 2, NULL }, NULL, "s: [y, z]\n" },
	{ "s: [x, y, z]\n", { EDIT_REMOVE, { KEY("s"), INDEX(2) }, 2, NULL }, NULL, "s: [x, y]\n" },
	{ "a: 1\nb:\n  c: 1\n  d: 2\ne: 1\n",
	  { EDIT_REMOVE, { KEY("b") }, 1, NULL },
	  NULL,
	  "a: 1\ne: 1\n" },
	{ "a: 1\nb:\n  c: 1\ne: 1\n",
	  { EDIT_REMOVE, { KEY("b"), KEY("c") }, 2, NULL },
	  NULL,
	  "a: 1\ne: 1\n" },
	{ "a: {b: {c: 1}, d: 1}\n",
	  { EDIT_REMOVE, { KEY("a"), KEY("b"), KEY("c") }, 3, NULL },
	  NULL,
	  "a: {d: 1}\n" },
	{ "a: 1\n", { EDIT_REMOVE, { KEY("b"), KEY("c") }, 2, NULL }, NULL, "a: 1\n" },
	{ "s:\n  - host: h\n    port: 1\n  - y\n",
	  { EDIT_SET, { KEY("s"), INDEX(0) }, 2, NULL },
	  "\"h:2:1 n\"",
	  "s:\n  - h:2:1 n\n  - y\n" },
	{ "\xc3\xa4: \xc3\xb6 # \xc3\xbc\nb: [\xe2\x82\xac, y]\n",
	  { EDIT_SET, { KEY("b"), INDEX(1) }, 2, NULL },
	  "\"z\"",
	  "\xc3\xa4: \xc3\xb6 # \xc3\xbc\nb: [\xe2\x82\xac, \"z\"]\n" },
};

START_TEST(all_else_is_kept)
{
	struct edit e = kept_cases[_i].edit;
	if (kept_cases[_i].value != NULL)
		e.value = json_loads(kept_cases[_i].value, JSON_DECODE_ANY, NULL);
	ck_assert_int_eq(apply(kept_cases[_i].before, e), ERR_NONE);
	expect(kept_cases[_i].after, EDIT_KEPT);
}
END_TEST

START_TEST(an_empty_text_gets_its_first_keys)
{
	ck_assert_int_eq(
	    apply("", (struct edit){ EDIT_SET, { KEY("a"), KEY("b") }, 2, json_integer(1) }),
	    ERR_NONE);
	expect("a:\n  b: 1\n", EDIT_KEPT);
}
END_TEST

/* Layouts that we do not take apart: the values are right, and we say what it cost. */
START_TEST(else_it_is_written_anew)
{
	ck_assert_int_eq(apply("a: >\n  folded\n  text\nb: 1 # c\n",
			       (struct edit){ EDIT_SET, { KEY("a") }, 1, json_integer(1) }),
			 ERR_NONE);
	expect("a: 1\nb: 1\n", EDIT_REWRITTEN);
	ck_assert_int_eq(
	    apply("a:\nb: 1\n",
		  (struct edit){ EDIT_SET, { KEY("a"), KEY("c") }, 2, json_string("on") }),
	    ERR_NONE);
	expect("a:\n  c: \"on\"\nb: 1\n", EDIT_REWRITTEN);
	ck_assert_int_eq(apply("s:\n  - x\nb: 1\n",
			       (struct edit){ EDIT_REMOVE, { KEY("s"), INDEX(0) }, 2, NULL }),
			 ERR_NONE);
	expect("s: []\nb: 1\n", EDIT_REWRITTEN);
}
END_TEST

START_TEST(what_cannot_be_read_or_reached_is_refused)
{
	ck_assert_int_eq(
	    apply("a: [1\n", (struct edit){ EDIT_SET, { KEY("a") }, 1, json_integer(1) }),
	    ERR_INVALID);
	ck_assert_uint_eq(issues.error_count, 1);
	ck_assert_int_eq(
	    apply("a: 1\na: 2\n", (struct edit){ EDIT_SET, { KEY("b") }, 1, json_integer(1) }),
	    ERR_INVALID);
	ck_assert_int_eq(
	    apply("a: 1\n", (struct edit){ EDIT_SET, { KEY("a"), KEY("b") }, 2, json_integer(1) }),
	    ERR_INVALID);
	ck_assert_int_eq(
	    apply("- 1\n", (struct edit){ EDIT_SET, { KEY("a") }, 1, json_integer(1) }),
	    ERR_INVALID);
}
END_TEST

/* --- KEY=VALUE -------------------------------------------------------------------------------- */

static const struct {
	const char *text, *key, *inner;
	const char *value; /* JSON; NULL: removed */
} assigns[] = {
	{ "timeout_ms=200", "timeout_ms", NULL, "200" },
	{ "health.fall=5", "health", "fall", "5" },
	{ "hash_tag={}", "hash_tag", NULL, "\"{}\"" },
	{ "hash_tag=\"{}\"", "hash_tag", NULL, "\"{}\"" },
	{ "failover=pool:b", "failover", NULL, "\"pool:b\"" },
	{ "value_max=64m", "value_max", NULL, "\"64m\"" },
	{ "value_max=4096", "value_max", NULL, "4096" },
	{ "preconnect=true", "preconnect", NULL, "true" },
	{ "pins.10.0.0.1:7=out", "pins", "10.0.0.1:7", "\"out\"" },
	{ "servers=[\"h:1\"]", "servers", NULL, "[\"h:1\"]" },
	{ "timeout_ms=soon", "timeout_ms", NULL, "\"soon\"" },
	{ "timeout_ms=", "timeout_ms", NULL, NULL },
};

START_TEST(assignments)
{
	struct assign a;
	struct edit e;
	struct err_at why;
	ck_assert(assign_parse(assigns[_i].text, &a, &e, &why));
	ck_assert_str_eq(e.path[0].key, assigns[_i].key);
	ck_assert_uint_eq(e.depth, assigns[_i].inner != NULL ? 2 : 1);
	if (assigns[_i].inner != NULL) ck_assert_str_eq(e.path[1].key, assigns[_i].inner);
	ck_assert_int_eq(e.op, assigns[_i].value != NULL ? EDIT_SET : EDIT_REMOVE);
	json_t *want =
	    assigns[_i].value != NULL ? json_loads(assigns[_i].value, JSON_DECODE_ANY, NULL) : NULL;
	ck_assert(want == NULL || json_equal(e.value, want));
	json_decref(want);
	assign_fini(&a);
}
END_TEST

static const char *const bad_assigns[] = { "timeout_ms", "=1", "", "auth.password=x",
					   "auth={\"password\":\"x\"}" };

START_TEST(assignments_that_are_refused)
{
	struct assign a;
	struct edit e;
	struct err_at why;
	ck_assert(!assign_parse(bad_assigns[_i], &a, &e, &why));
	ck_assert_str_ne(why.why, "");
	assign_fini(&a);
}
END_TEST

#define ADD_LOOP(tc, test, table) \
	tcase_add_loop_test(tc, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
	Suite *s = suite_create("ctl_edit");
	TCase *tc = tcase_create("edit");
	tcase_add_checked_fixture(tc, NULL, teardown);
	ADD_LOOP(tc, all_else_is_kept, kept_cases);
	tcase_add_test(tc, an_empty_text_gets_its_first_keys);
	tcase_add_test(tc, else_it_is_written_anew);
	tcase_add_test(tc, what_cannot_be_read_or_reached_is_refused);
	ADD_LOOP(tc, assignments, assigns);
	ADD_LOOP(tc, assignments_that_are_refused, bad_assigns);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
