#include <check.h>
#include <stdlib.h>

#include "common/ctlmsg.h"

static struct scratch out;

static void teardown(void)
{
	scratch_fini(&out);
}

static const char *text_of(json_t *message)
{
	scratch_clear(&out);
	ctlmsg_put(message, &out);
	json_decref(message);
	scratch_put(&out, "", 1);
	return out.p;
}

START_TEST(good_requests)
{
	struct ctlmsg m;
	struct err_at at;
	ck_assert_int_eq(
	    ctlmsg_parse(SLICE("{\"id\":7,\"method\":\"a.b\",\"params\":{\"x\":1}}\n"), &m, &at),
	    ERR_NONE);
	ck_assert_int_eq(json_integer_value(m.id), 7);
	ck_assert_str_eq(m.method, "a.b");
	ck_assert_int_eq(json_integer_value(json_object_get(m.params, "x")), 1);
	ctlmsg_fini(&m);
	ck_assert_int_eq(ctlmsg_parse(SLICE("{\"method\":\"m\"}"), &m, &at), ERR_NONE);
	ck_assert(json_is_null(m.id));
	ck_assert_uint_eq(json_object_size(m.params), 0);
	ctlmsg_fini(&m);
	ck_assert_int_eq(
	    ctlmsg_parse(SLICE("{\"id\":\"x\",\"method\":\"m\",\"params\":null}"), &m, &at),
	    ERR_NONE);
	ck_assert_str_eq(json_string_value(m.id), "x");
	ctlmsg_fini(&m);
}
END_TEST

START_TEST(bad_requests)
{
	static const struct {
		const char *line, *where;
		int id;
	} cases[] = {
		{ "", "column 0", 0 },
		{ "hello", "column 5", 0 },
		{ "[1]", "$", 0 },
		{ "\"x\"", NULL, 0 },
		{ "{\"id\":1}", "$.method", 1 },
		{ "{\"id\":1,\"method\":2}", "$.method", 1 },
		{ "{\"id\":1,\"method\":\"m\",\"params\":[]}", "$.params", 1 },
		{ "{\"id\":1,\"method\":\"m\",\"parms\":{}}", "$", 1 },
		{ "{\"id\":{},\"method\":\"m\"}", "$.id", 0 },
		{ "{\"id\":1,\"id\":2,\"method\":\"m\"}", NULL, 0 },
		{ "{\"id\":1,\"method\":\"m\"} {}", NULL, 0 },
		{ "{\"method\":\"\xff\"}", NULL, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ctlmsg m;
		struct err_at at = { "", "" };
		ck_assert_int_eq(ctlmsg_parse(slice_of(cases[i].line), &m, &at), ERR_INVALID);
		if (cases[i].where) ck_assert_str_eq(at.where, cases[i].where);
		ck_assert_str_ne(at.why, "");
		ck_assert_int_eq(json_integer_value(m.id), cases[i].id);
		json_decref(ctlmsg_error(m.id, "PARSE", &at));
		ctlmsg_fini(&m);
	}
}
END_TEST

START_TEST(answers)
{
	json_t *id = json_integer(3);
	struct err_at at = { "$.x", "bad \"x\"" };
	ck_assert_str_eq(text_of(ctlmsg_result(id, NULL)), "{\"id\":3,\"result\":{}}\n");
	ck_assert_str_eq(text_of(ctlmsg_result(NULL, json_string("a\nb"))),
			 "{\"id\":null,\"result\":\"a\\nb\"}\n");
	ck_assert_str_eq(text_of(ctlmsg_error(id, ctlmsg_code(ERR_INVALID), &at)),
			 "{\"id\":3,\"error\":{\"code\":\"INVALID\",\"message\":\"bad \\\"x\\\"\","
			 "\"where\":\"$.x\"}}\n");
	at = (struct err_at){ "", "\xff" };
	ck_assert_str_eq(text_of(ctlmsg_error(id, "PARSE", &at)),
			 "{\"id\":3,\"error\":{\"code\":\"PARSE\",\"message\":\"?\"}}\n");
	json_decref(id);
	ck_assert_str_eq(ctlmsg_code(ERR_UNKNOWN_NAME), "UNKNOWN_NAME");
	ck_assert_str_eq(ctlmsg_code(ERR_MAX), "UNKNOWN");
}
END_TEST

START_TEST(versions)
{
	static const struct {
		const char *theirs;
		uint32_t agreed;
	} cases[] = {
		{ "[1,1]", 1 }, { "[1,9]", 1 }, { "[2,3]", 0 }, { "[]", 0 },	    { "[1]", 0 },
		{ "[0,1]", 0 }, { "[3,1]", 0 }, { "1", 0 },	{ "[\"1\",1]", 0 }, { "null", 0 },
	};
	char why[200];
	ck_assert_uint_eq(ctlmsg_agree(NULL, why, sizeof(why)), 1); /* from before it was said */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *theirs = json_loads(cases[i].theirs, JSON_DECODE_ANY, NULL);
		why[0] = 0;
		ck_assert_uint_eq(ctlmsg_agree(theirs, why, sizeof(why)), cases[i].agreed);
		ck_assert_int_eq(why[0] == 0, cases[i].agreed != 0);
		json_decref(theirs);
	}
	json_t *ours = ctlmsg_protocol();
	ck_assert_uint_eq(ctlmsg_agree(ours, why, sizeof(why)), CTLMSG_PROTOCOL_MAX);
	json_decref(ours);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ctlmsg");
	TCase *t = tcase_create("ctlmsg");
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, good_requests);
	tcase_add_test(t, bad_requests);
	tcase_add_test(t, answers);
	tcase_add_test(t, versions);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
