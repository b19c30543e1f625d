/* When a worker pauses, and for how long. */
#include "proxy/moderate.h"

#include <check.h>
#include <stdlib.h>

static const struct {
	uint32_t us, in_flight, clients, replies, pause;
} cases[] = {
	{ 20, 11, 1, 1, 0 },		      /* light load               */
	{ 20, 50, 50, 16, 0 },		      /* the turn was worth it    */
	{ 0, 800, 50, 1, 0 },		      /* switched off             */
	{ 20, 12, 50, 0, 20 },		      /* just enough in flight    */
	{ 20, 100, 50, 15, 20 },	      /* two for each client      */
	{ 20, 150, 50, 15, 30 },	      /* three                    */
	{ 20, 399, 50, 1, 70 },		      /* seven                    */
	{ 20, 400, 50, 1, 80 },		      /* eight                    */
	{ 20, 6400, 50, 1, 80 },	      /* no more than that        */
	{ 20, 12, 0, 1, 80 },		      /* their clients have gone  */
	{ 100000, 4000000000, 1, 0, 400000 }, /* the setting's maximum    */
	{ 20, 800, 8000, 1, 20 },	      /* most clients are idle    */
};

START_TEST(pauses)
{
	ck_assert_uint_eq(moderate_pause_us(cases[_i].us, cases[_i].in_flight, cases[_i].clients,
					    cases[_i].replies),
			  cases[_i].pause);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("moderate");
	TCase *t = tcase_create("moderate");
	tcase_add_loop_test(t, pauses, 0, sizeof(cases) / sizeof(cases[0]));
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
