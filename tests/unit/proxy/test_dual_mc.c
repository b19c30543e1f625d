/* The rules of memcached keys on the move, as tables: total, and sound in themselves. */
#include <check.h>

#include "proxy/routes/dual_mc.h"

static bool in(const struct mc_sequence *s, enum mc_act act)
{
	for (int i = 0; i < MC_SEQUENCE_MAX && s->act[i] != MC_ACT_END; i++)
		if (s->act[i] == act) return true;
	return false;
}

static int place(const struct mc_sequence *s, enum mc_act act)
{
	for (int i = 0; i < MC_SEQUENCE_MAX && s->act[i] != MC_ACT_END; i++)
		if (s->act[i] == act) return i;
	return MC_SEQUENCE_MAX;
}

static bool answers(enum mc_act act)
{
	switch (act) {
	case MC_ACT_OWN_A:
	case MC_ACT_OWN_B:
	case MC_ACT_GET_A:
	case MC_ACT_GET_B:
	case MC_ACT_TOUCH_A:
	case MC_ACT_TOUCH_B:
	case MC_ACT_SAY_ITEM:
	case MC_ACT_STORE_LEASED:
	case MC_ACT_CHANGE_A:
	case MC_ACT_SAY_MISS:
	case MC_ACT_SAY_NOT_STORED:
	case MC_ACT_SAY_EXISTS:
	case MC_ACT_SAY_ERROR: return true;
	case MC_ACT_END:
	case MC_ACT_PROMOTE:
	case MC_ACT_LOOK_A:
	case MC_ACT_CHECK_A:
	case MC_ACT_DELETE_A:
	case MC_ACT_DELETE_B:
	case MC_ACT_TRY_DELETE_A:
	case MC_ACT_TRY_DELETE_B:
	case MC_ACT_PARK:
	case MC_ACT_MAX: break;
	}
	return false;
}

static bool writes(enum mc_kind kind)
{
	return kind != MC_KIND_GET && kind != MC_KIND_TOUCH && kind != MC_KIND_DEBUG;
}

#define EACH(kind, column)                                      \
	for (enum mc_kind kind = 0; kind < MC_KIND_MAX; kind++) \
		for (enum mc_column column = 0; column < MC_COL_MAX; column++)

START_TEST(every_command_has_a_rule_in_every_column)
{
	EACH(kind, column)
	{
		const struct mc_sequence *s = mc_sequence(kind, column);
		int n = 0;
		while (n < MC_SEQUENCE_MAX && s->act[n] != MC_ACT_END) n++;
		ck_assert_msg(n > 0 && n < MC_SEQUENCE_MAX && answers(s->act[n - 1]),
			      "%s in %s: %d actions", mc_kind_name(kind), mc_column_name(column),
			      n);
		for (int i = 0; i < n - 1; i++)
			ck_assert_msg(!answers(s->act[i]), "%s in %s answers before its end",
				      mc_kind_name(kind), mc_column_name(column));
	}
	for (enum mc_act act = 0; act < MC_ACT_MAX; act++) ck_assert_ptr_nonnull(mc_act_name(act));
}
END_TEST

/* Whoever may be read from dies before the one with authority is touched. */
START_TEST(mutations_delete_at_the_source_first)
{
	static const enum mc_column crosses[] = { MC_COL_DUAL, MC_COL_DRAIN, MC_COL_COLD };
	for (enum mc_kind kind = 0; kind < MC_KIND_MAX; kind++) {
		if (!writes(kind)) continue;
		for (int i = 0; i < 3; i++) {
			const struct mc_sequence *s = mc_sequence(kind, crosses[i]);
			if (in(s, MC_ACT_STORE_LEASED)) continue; /* b was seen to have nothing */
			int deleted = place(s, MC_ACT_DELETE_B);
			ck_assert_int_lt(deleted, place(s, MC_ACT_OWN_A));
			ck_assert_int_lt(deleted, place(s, MC_ACT_CHANGE_A));
			ck_assert_int_lt(deleted, MC_SEQUENCE_MAX);
		}
	}
}
END_TEST

START_TEST(nobody_writes_in_hold)
{
	static const enum mc_column holds[] = { MC_COL_HOLD, MC_COL_HOLD_COLD, MC_COL_HOLD_LOST,
						MC_COL_FENCED };
	for (enum mc_kind kind = 0; kind < MC_KIND_MAX; kind++) {
		for (int i = 0; i < 4; i++) {
			const struct mc_sequence *s = mc_sequence(kind, holds[i]);
			bool deletes = kind == MC_KIND_DELETE;
			ck_assert(deletes || !in(s, MC_ACT_OWN_A));
			ck_assert(!in(s, MC_ACT_CHANGE_A) && !in(s, MC_ACT_STORE_LEASED));
			ck_assert(!in(s, MC_ACT_PROMOTE) && !in(s, MC_ACT_TOUCH_A));
			ck_assert(!writes(kind) || !in(s, MC_ACT_OWN_B));
		}
	}
}
END_TEST

static bool asks_b(const struct mc_sequence *s)
{
	return in(s, MC_ACT_OWN_B) || in(s, MC_ACT_GET_B) || in(s, MC_ACT_TOUCH_B) ||
	       in(s, MC_ACT_PROMOTE) || in(s, MC_ACT_DELETE_B);
}

START_TEST(a_lost_source_need_not_answer)
{
	static const enum mc_column lost[] = { MC_COL_HOLD_LOST, MC_COL_LOST, MC_COL_COLD_LOST,
					       MC_COL_FENCED };
	for (enum mc_kind kind = 0; kind < MC_KIND_MAX; kind++)
		for (int i = 0; i < 4; i++) ck_assert(!asks_b(mc_sequence(kind, lost[i])));
}
END_TEST

START_TEST(servers_without_meta_commands_are_not_sent_any)
{
	static const enum mc_column cold[] = { MC_COL_HOLD_COLD, MC_COL_COLD, MC_COL_COLD_LOST };
	static const enum mc_act meta[] = { MC_ACT_GET_A,	 MC_ACT_GET_B,	  MC_ACT_TOUCH_A,
					    MC_ACT_TOUCH_B,	 MC_ACT_PROMOTE,  MC_ACT_LOOK_A,
					    MC_ACT_STORE_LEASED, MC_ACT_CHANGE_A, MC_ACT_SAY_ITEM };
	for (enum mc_kind kind = 0; kind < MC_KIND_MAX; kind++)
		for (int i = 0; i < 3; i++)
			for (size_t k = 0; k < sizeof(meta) / sizeof(meta[0]); k++)
				ck_assert(!in(mc_sequence(kind, cold[i]), meta[k]));
}
END_TEST

/* --- what clients ask for ----------------------------------------------------------------------
 */

static struct mc_ask ask(const char *text, enum mc_op op, const char *body)
{
	struct mc_ask a;
	mc_ask_parse(&mc_ops[op], slice_of(text), slice_of(body), &a);
	return a;
}

#define SAME(s, text) ck_assert_msg(slice_eq(s, SLICE(text)), "<%.*s>", (int)(s).n, (s).p)

START_TEST(classic_commands_are_understood)
{
	struct mc_ask a = ask("gats 60 key\r\n", MC_GATS, "");
	ck_assert(a.kind == MC_KIND_TOUCH && a.wants_cas && a.wants_value);
	SAME(a.key, "key");
	SAME(a.exptime, "60");
	a = ask("set key 7 -1 3\r\nabc\r\n", MC_SET, "");
	ck_assert(a.kind == MC_KIND_SET && !a.wants_cas);
	SAME(a.client, "7");
	SAME(a.exptime, "-1");
	SAME(a.value, "abc\r\n");
	a = ask("append key 7 0 3\r\n", MC_APPEND, "abc\r\n");
	ck_assert(a.kind == MC_KIND_CHANGE && a.mode == 'A');
	SAME(a.value, "abc\r\n");
	a = ask("cas key 1 2 1 00000000000000000042\r\n", MC_CAS, "x\r\n");
	ck_assert(a.kind == MC_KIND_CAS && a.token == 42);
	a = ask("decr key 5\r\n", MC_DECR, "");
	ck_assert(a.kind == MC_KIND_CHANGE && a.mode == 'D');
	SAME(a.delta, "5");
	a = ask("touch key 9\r\n", MC_TOUCH, "");
	ck_assert(a.kind == MC_KIND_TOUCH && !a.wants_value);
	SAME(a.exptime, "9");
}
END_TEST

START_TEST(meta_commands_are_understood)
{
	struct mc_ask a = ask("mg a2V5 b v c k\r\n", MC_MG, "");
	ck_assert(a.kind == MC_KIND_GET && a.base64 && a.wants_cas && a.wants_value);
	SAME(a.key, "a2V5");
	ck_assert_uint_eq(a.flags.n, 4);
	ck_assert(ask("mg k T30\r\n", MC_MG, "").kind == MC_KIND_TOUCH);
	ck_assert(ask("ms k 1\r\nx\r\n", MC_MS, "").kind == MC_KIND_SET);
	ck_assert(ask("ms k 1 ME\r\nx\r\n", MC_MS, "").kind == MC_KIND_ADD);
	ck_assert(ask("ms k 1 Me\r\nx\r\n", MC_MS, "").kind == MC_KIND_ADD);
	ck_assert(ask("ms k 1 MA\r\nx\r\n", MC_MS, "").kind == MC_KIND_CHANGE);
	a = ask("ms k 1 F5 T9 C77\r\nx\r\n", MC_MS, "");
	ck_assert(a.kind == MC_KIND_CAS && a.token == 77);
	SAME(a.client, "5");
	SAME(a.exptime, "9");
	ck_assert(ask("md k q\r\n", MC_MD, "").kind == MC_KIND_DELETE);
	ck_assert(ask("md k C5\r\n", MC_MD, "").kind == MC_KIND_CAS);
	a = ask("ma k N60 J5 D2 v\r\n", MC_MA, "");
	ck_assert(a.kind == MC_KIND_CHANGE && a.vivify.p);
	SAME(a.initial, "5");
	ck_assert(ask("me k\r\n", MC_ME, "").kind == MC_KIND_DEBUG);
}
END_TEST

START_TEST(replies_are_understood)
{
	struct mc_item i;
	mc_item_parse(SLICE("VA 3 f7 t-1 c9 X W\r\nabc\r\n"), &i);
	ck_assert(mc_item_is_hit(&i) && i.client == 7 && i.ttl == -1 && i.cas == 9 && i.stale);
	SAME(i.value, "abc\r\n");
	mc_item_parse(SLICE("VA 0 s0 f0 t5 c1 Z\r\n\r\n"), &i);
	ck_assert(!mc_item_is_hit(&i) && mc_item_is_placeholder(&i) && i.leased && !i.won);
	mc_item_parse(SLICE("HD s0 c1 W\r\n"), &i);
	ck_assert(mc_item_is_placeholder(&i) && i.won);
	mc_item_parse(SLICE("VA 0 s0\r\n\r\n"), &i);
	ck_assert(mc_item_is_hit(&i));
	mc_item_parse(SLICE("EN\r\n"), &i);
	ck_assert(mc_item_is(&i, "EN") && !mc_item_is_hit(&i));
	mc_item_parse(SLICE("SERVER_ERROR out of memory\r\n"), &i);
	ck_assert(!mc_item_is_hit(&i) && i.code[0] == '\0');
	mc_item_parse(SLICE(""), &i);
	ck_assert(!mc_item_is_hit(&i));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dual_mc");
	TCase *t = tcase_create("dual_mc");
	tcase_add_test(t, every_command_has_a_rule_in_every_column);
	tcase_add_test(t, mutations_delete_at_the_source_first);
	tcase_add_test(t, nobody_writes_in_hold);
	tcase_add_test(t, a_lost_source_need_not_answer);
	tcase_add_test(t, servers_without_meta_commands_are_not_sent_any);
	tcase_add_test(t, classic_commands_are_understood);
	tcase_add_test(t, meta_commands_are_understood);
	tcase_add_test(t, replies_are_understood);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
