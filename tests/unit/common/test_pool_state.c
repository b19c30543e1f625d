/* pools/P/state: read strictly, printed within its bounds, ordered by epoch and step. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pool_state.h"

static struct pool_state state;
static struct scratch text;
static struct err_at at;

static void teardown(void)
{
	pool_state_fini(&state);
	scratch_fini(&text);
}

/* JSON with ' for ". */
static enum err parse(const char *json)
{
	scratch_clear(&text);
	scratch_put(&text, json, strlen(json));
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '\'') text.p[i] = '"';
	pool_state_fini(&state);
	return pool_state_parse(scratch_slice(&text), &state, &at);
}

static void good(const char *json)
{
	ck_assert_msg(parse(json) == ERR_NONE, "%s: %s", at.where, at.why);
}

#define RING "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define STATE(epoch, ring, ejected, more)                                                       \
	"{'lineage': 'l', 'epoch': " epoch ", 'step': 2, 'ring': " ring ", 'ejected': " ejected \
	", 'spec_version': 7, 'lease_ms': 60000" more "}"
#define NEXT "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define TRANSITION                                                                                 \
	", 'transition': {'next': '" NEXT "', 'phase': 'dual', 'mode': 'storage', 'mark': '5.2', " \
	"'dirty': true, 'lost': ['b', 'c']}"
#define GOOD(more) STATE("5", "'" RING "'", "[]", more)

static void check_same(const struct pool_state *a, const struct pool_state *b)
{
	ck_assert_str_eq(a->lineage, b->lineage);
	ck_assert_uint_eq(a->epoch, b->epoch);
	ck_assert_uint_eq(a->step, b->step);
	ck_assert_str_eq(a->ring, b->ring);
	ck_assert_uint_eq(a->spec_version, b->spec_version);
	ck_assert_uint_eq(a->lease_ms, b->lease_ms);
	ck_assert_int_eq(a->transition != NULL, b->transition != NULL);
	if (a->transition) {
		const struct transition_rules *x = &a->transition->rules,
					      *y = &b->transition->rules;
		ck_assert_str_eq(a->transition->next, b->transition->next);
		ck_assert_int_eq(a->transition->dirty, b->transition->dirty);
		ck_assert_int_eq(a->transition->back, b->transition->back);
		ck_assert_int_eq(a->transition->paused, b->transition->paused);
		ck_assert_mem_eq(x->phases, y->phases, sizeof(x->phases));
		ck_assert_int_eq(x->storage, y->storage);
		ck_assert_int_eq(x->promote, y->promote);
		ck_assert_pstr_eq(x->mark, y->mark);
		ck_assert_uint_eq(x->hold_park_ms, y->hold_park_ms);
		ck_assert_uint_eq(x->move_max_bytes, y->move_max_bytes);
		ck_assert_uint_eq(x->lost_count, y->lost_count);
		for (uint32_t i = 0; i < x->lost_count; i++)
			ck_assert_str_eq(x->lost[i], y->lost[i]);
	}
	ck_assert_uint_eq(a->ejected_count, b->ejected_count);
	for (uint32_t i = 0; i < a->ejected_count; i++) {
		ck_assert_str_eq(a->ejected[i].server, b->ejected[i].server);
		ck_assert_uint_eq(a->ejected[i].since_ms, b->ejected[i].since_ms);
		ck_assert_pstr_eq(a->ejected[i].why, b->ejected[i].why);
	}
}

START_TEST(whole_state)
{
	good(STATE("5", "'" RING "'", "[{'server': 'a', 'since': 9, 'why': 'x'}, {'server': 'b'}]",
		   TRANSITION));
	ck_assert_str_eq(state.lineage, "l");
	ck_assert_uint_eq(state.epoch, 5);
	ck_assert_uint_eq(state.step, 2);
	ck_assert_str_eq(state.ring, RING);
	ck_assert_uint_eq(state.spec_version, 7);
	ck_assert_uint_eq(state.lease_ms, 60000);
	const struct transition_rules *rules = &state.transition->rules;
	ck_assert_str_eq(state.transition->next, NEXT);
	ck_assert(state.transition->dirty && !state.transition->back && !state.transition->paused);
	ck_assert(transition_is_whole(rules) && rules->phases[7] == PHASE_DUAL);
	ck_assert(rules->storage && !rules->promote);
	ck_assert_str_eq(rules->mark, "5.2");
	ck_assert(transition_is_lost(rules, "c") && !transition_is_lost(rules, "a"));
	ck_assert_uint_eq(rules->hold_park_ms, 250);
	ck_assert_uint_eq(state.ejected_count, 2);
	ck_assert_str_eq(pool_state_ejection(&state, "a")->why, "x");
	ck_assert_uint_eq(pool_state_ejection(&state, "a")->since_ms, 9);
	ck_assert_ptr_null(pool_state_ejection(&state, "b")->why);
	ck_assert_ptr_null(pool_state_ejection(&state, "c"));
}
END_TEST

START_TEST(slices_of_a_transition)
{
	good(GOOD(", 'transition': {'next': '" NEXT "', 'slices': ["
		  "'dual','dual','dual','dual','dual','dual','dual','dual','hold','prepare',"
		  "'prepare','prepare','prepare','prepare','prepare','prepare']}"));
	const struct transition_rules *rules = &state.transition->rules;
	ck_assert(!transition_is_whole(rules));
	ck_assert_int_eq(rules->phases[7], PHASE_DUAL);
	ck_assert_int_eq(rules->phases[8], PHASE_HOLD);
	ck_assert_int_eq(rules->phases[9], PHASE_PREPARE);
	uint32_t dual = 0, hold = 0;
	for (uint32_t i = 0; i < 16000; i++) {
		char key[16];
		snprintf(key, sizeof(key), "key%u", i);
		enum phase p = transition_phase(rules, slice_of(key));
		dual += p == PHASE_DUAL;
		hold += p == PHASE_HOLD;
	}
	ck_assert(dual > 7600 && dual < 8400);
	ck_assert(hold > 850 && hold < 1150);
	struct pool_state again;
	ck_assert_int_eq(pool_state_print(&state, &text), ERR_NONE);
	ck_assert_int_eq(pool_state_parse(scratch_slice(&text), &again, &at), ERR_NONE);
	check_same(&state, &again);
	pool_state_fini(&again);
}
END_TEST

static void bad(const char *json)
{
	ck_assert_msg(parse(json) == ERR_INVALID, "taken: %s", json);
	ck_assert_ptr_null(state.transition);
}

START_TEST(bad_transitions)
{
	bad(GOOD(", 'transition': {'phase': 'dual'}"));
	bad(GOOD(", 'transition': {'next': '" RING "', 'phase': 'dual'}"));
	bad(GOOD(", 'transition': {'next': '" NEXT "', 'phase': 'twice'}"));
	bad(GOOD(", 'transition': {'next': '" NEXT "', 'slices': ['dual']}"));
	bad(GOOD(", 'transition': {'next': '" NEXT "', 'mode': 'both'}"));
	bad(GOOD(", 'transition': {'next': '" NEXT "', 'lost': [1]}"));
	bad(GOOD(", 'transition': 3"));
}
END_TEST

START_TEST(there_and_back)
{
	good(STATE("5", "'" RING "'", "[{'server': 'a', 'since': 9, 'why': 'x'}, {'server': 'b'}]",
		   TRANSITION));
	struct pool_state copy, again;
	ck_assert(pool_state_copy(&copy, &state));
	ck_assert_int_eq(pool_state_print(&state, &text), ERR_NONE);
	ck_assert_int_eq(pool_state_parse(scratch_slice(&text), &again, &at), ERR_NONE);
	check_same(&state, &again);
	pool_state_fini(&state);
	check_same(&copy, &again);
	pool_state_fini(&copy);
	pool_state_fini(&again);
}
END_TEST

START_TEST(bytes_of_a_state)
{
	good(GOOD(""));
	ck_assert_int_eq(pool_state_print(&state, &text), ERR_NONE);
	const char *want = "{\"lineage\":\"l\",\"epoch\":5,\"step\":2,\"ring\":\"" RING
			   "\",\"spec_version\":7,\"lease_ms\":60000,\"ejected\":[]}";
	ck_assert_uint_eq(text.n, strlen(want));
	ck_assert_mem_eq(text.p, want, text.n);
}
END_TEST

START_TEST(later_versions_may_add_keys)
{
	good(GOOD(", 'slices': [1, 2], 'lost': {}, 'transition': null"));
	ck_assert_ptr_null(state.transition);
	good(STATE("5", "'" RING "'", "[{'server': 'a', 'by': 'n1'}]", ""));
	ck_assert_uint_eq(state.ejected_count, 1);
}
END_TEST

#define EPOCH(value)   STATE(value, "'" RING "'", "[]", "")
#define ON_RING(value) STATE("5", value, "[]", "")
#define EJECTED(value) STATE("5", "'" RING "'", value, "")

static const struct {
	const char *json, *where, *why;
} refusals[] = {
	{ "", "$", "1 to 2048 bytes, not 0" },
	{ "{", "$", "line 1, column 1: string or '}' expected" },
	{ "null", "$", "must be a mapping, not nothing" },
	{ "[]", "$", "must be a mapping, not a list" },
	{ "{}", "$", "'lineage' is missing" },
	{ "{} x", "$", "end of file expected" },
	{ "\x01\x02", "$", "line 1" },
	{ "{'lineage': 'l', 'epoch': 1, 'step': 1, 'ring': '" RING "', 'ejected': [], "
	  "'lease_ms': 0}",
	  "$", "'spec_version' is missing" },
	{ GOOD(", 'step': 3"), "$", "duplicate object key" },
	{ EPOCH("'5'"), "$.epoch", "not the text '5'" },
	{ EPOCH("-1"), "$.epoch", "not -1" },
	{ EPOCH("5.0"), "$.epoch", "must be a whole number" },
	{ EPOCH("9223372036854775808"), "$", "too big integer" },
	{ EPOCH("true"), "$.epoch", "must be a whole number" },
	{ ON_RING("'abc'"), "$.ring", "64 hexadecimal digits" },
	{ ON_RING("'" RING "0'"), "$.ring", "64 hexadecimal digits" },
	{ ON_RING("'0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef'"), "$.ring",
	  "64 hexadecimal digits" },
	{ ON_RING("null"), "$.ring", "64 hexadecimal digits" },
	{ EJECTED("null"), "$.ejected", "must be a list, not nothing" },
	{ EJECTED("{}"), "$.ejected", "must be a list, not a mapping" },
	{ EJECTED("['a']"), "$.ejected[0]", "must be a mapping, not a string" },
	{ EJECTED("[{}]"), "$.ejected[0]", "'server' is missing" },
	{ EJECTED("[{'server': ''}]"), "$.ejected[0].server", "must have 1 to" },
	{ EJECTED("[{'server': 1}]"), "$.ejected[0].server", "must be a string" },
	{ EJECTED("[{'server': 'a'}, {'server': 'a'}]"), "$.ejected[1]", "ejected twice" },
	{ EJECTED("[{'server': 'a', 'since': 'now'}]"), "$.ejected[0].since", "whole number" },
	{ EJECTED("[{'server': 'a\\u0000'}]"), "$", "\\u0000" },
};

START_TEST(refused)
{
	ck_assert_int_eq(parse(refusals[_i].json), ERR_INVALID);
	ck_assert_str_eq(at.where, refusals[_i].where);
	ck_assert_msg(strstr(at.why, refusals[_i].why) != NULL, "%s", at.why);
	ck_assert_ptr_null(state.lineage);
	ck_assert_int_eq(pool_state_parse(scratch_slice(&text), &state, NULL), ERR_INVALID);
}
END_TEST

START_TEST(size_is_bounded)
{
	char big[POOL_STATE_BYTES_MAX + 2];
	good(GOOD(""));
	memset(big, ' ', sizeof(big));
	memcpy(big, text.p, text.n);
	struct pool_state s;
	ck_assert_int_eq(pool_state_parse((struct slice){ big, POOL_STATE_BYTES_MAX }, &s, &at),
			 ERR_NONE);
	pool_state_fini(&s);
	ck_assert_int_eq(pool_state_parse((struct slice){ big, POOL_STATE_BYTES_MAX + 1 }, &s, &at),
			 ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(at.why, "not 2049"));
}
END_TEST

/* How much the print of `count` ejections says: 2 reasons, 1 times, 0 names, -1 nothing. */
static int detail_of(unsigned count)
{
	char name[32];
	good(GOOD(""));
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "10.0.0.%u:11211", i);
		ck_assert(pool_state_eject(&state, name, 1700000000000, "3 of 5 nannies: timeout"));
	}
	if (pool_state_print(&state, &text) != ERR_NONE) return -1;
	ck_assert_uint_le(text.n, POOL_STATE_BYTES_MAX);
	struct pool_state again;
	ck_assert_int_eq(pool_state_parse(scratch_slice(&text), &again, &at), ERR_NONE);
	ck_assert_uint_eq(again.ejected_count, count);
	int detail = (again.ejected[0].why != NULL) + (again.ejected[0].since_ms > 0);
	pool_state_fini(&again);
	return detail;
}

START_TEST(many_ejections_lose_their_reasons_first)
{
	ck_assert_int_eq(detail_of(20), 2);
	ck_assert_int_eq(detail_of(35), 1);
	ck_assert_int_eq(detail_of(60), 0);
	ck_assert_int_eq(detail_of(90), -1);
}
END_TEST

START_TEST(ejecting_and_restoring)
{
	good(GOOD(""));
	ck_assert(pool_state_eject(&state, "a", 1, "x"));
	ck_assert(pool_state_eject(&state, "b", 2, NULL));
	ck_assert(pool_state_eject(&state, "c", 3, "z"));
	ck_assert(pool_state_eject(&state, "a", 9, "later"));
	ck_assert_uint_eq(state.ejected_count, 3);
	ck_assert_uint_eq(pool_state_ejection(&state, "a")->since_ms, 1);
	pool_state_restore(&state, "b");
	pool_state_restore(&state, "b");
	ck_assert_uint_eq(state.ejected_count, 2);
	ck_assert_str_eq(state.ejected[1].server, "c");
	pool_state_restore(&state, "c");
	pool_state_restore(&state, "a");
	ck_assert_uint_eq(state.ejected_count, 0);
	ck_assert(pool_state_set_lineage(&state, "m"));
	ck_assert_str_eq(state.lineage, "m");
}
END_TEST

/* A server's own words may be anything. */
START_TEST(reasons_that_are_no_text)
{
	good(GOOD(""));
	ck_assert(pool_state_eject(&state, "a", 1, "\xff\xfe"));
	ck_assert(pool_state_eject(&state, "b", 1, "tab\there \x01"));
	ck_assert_int_eq(pool_state_print(&state, &text), ERR_NONE);
	struct pool_state again;
	ck_assert_int_eq(pool_state_parse(scratch_slice(&text), &again, &at), ERR_NONE);
	ck_assert_ptr_null(again.ejected[0].why);
	ck_assert_str_eq(again.ejected[1].why, "tab\there \x01");
	pool_state_fini(&again);
}
END_TEST

static struct pool_state numbered(const char *lineage, uint64_t epoch, uint32_t step)
{
	return (struct pool_state){ .lineage = (char *)(uintptr_t)lineage,
				    .epoch = epoch,
				    .step = step };
}

START_TEST(order)
{
	const struct {
		struct pool_state a, b;
		enum pool_state_order order;
	} cases[] = {
		{ numbered("l", 5, 2), numbered("l", 5, 2), POOL_STATE_EQUAL },
		{ numbered("l", 5, 1), numbered("l", 5, 2), POOL_STATE_LOWER },
		{ numbered("l", 5, 3), numbered("l", 5, 2), POOL_STATE_HIGHER },
		{ numbered("l", 4, 9), numbered("l", 5, 0), POOL_STATE_LOWER },
		{ numbered("l", 6, 0), numbered("l", 5, 9), POOL_STATE_HIGHER },
		{ numbered("l", INT64_MAX, 0), numbered("l", 0, 0), POOL_STATE_HIGHER },
		{ numbered("l", 5, 2), numbered("m", 5, 2), POOL_STATE_FOREIGN },
		{ numbered("l", 9, 2), numbered("m", 5, 2), POOL_STATE_FOREIGN },
		{ numbered(NULL, 5, 2), numbered("l", 5, 2), POOL_STATE_FOREIGN },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_int_eq(pool_state_compare(&cases[i].a, &cases[i].b), cases[i].order);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pool_state");
	TCase *tc = tcase_create("pool_state");
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, whole_state);
	tcase_add_test(tc, slices_of_a_transition);
	tcase_add_test(tc, bad_transitions);
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, bytes_of_a_state);
	tcase_add_test(tc, later_versions_may_add_keys);
	tcase_add_loop_test(tc, refused, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(tc, size_is_bounded);
	tcase_add_test(tc, many_ejections_lose_their_reasons_first);
	tcase_add_test(tc, ejecting_and_restoring);
	tcase_add_test(tc, reasons_that_are_no_text);
	tcase_add_test(tc, order);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
