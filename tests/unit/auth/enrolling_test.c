/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "auth/decide.h"
#include "auth/enrolling.h"

#define OF(r, id)                                    \
	{                                            \
		.right = ENROLLING_##r, .enrols = id \
	}

static void
who_may_what(void **state)
{
	const struct principal plain = { .name = LIT("bob") };
	const struct principal device = OF(BESIDES, LIT("d1"));
	const struct principal new = OF(NEW, LIT("d1"));
	const struct principal late = OF(LATE, LIT("d1"));
	const struct principal look = OF(LOOK, SLICE_NONE);
	const struct {
		const char *what; /* p: publish, s: subscribe, r: receive */
		/* plain, device, new, late, look */
		bool want[5];
	} rows[] = {
		{ "pa/b", { true, true, false, false, false } },
		{ "p$app", { true, true, false, false, false } },
		{ "p$nightjar", { false, false, false, false, false } },
		{ "p$nightjar/enroll/cacerts",
		    { true, true, true, true, true } },
		{ "p$nightjar/enroll/csrattrs/der",
		    { true, true, true, true, true } },
		{ "p$nightjar/enroll/simpleenroll",
		    { false, false, true, false, false } },
		{ "p$nightjar/enroll/simplereenroll/p7",
		    { false, true, false, true, false } },
		{ "p$nightjar/enroll/simplereenroll/x",
		    { false, false, false, false, false } },
		{ "p$nightjar/enroll/reply/d1",
		    { false, false, false, false, false } },
		{ "s#", { true, true, false, false, false } },
		{ "s$nightjar/#", { false, false, false, false, false } },
		{ "s$nightjar/enroll/reply/d1/#",
		    { false, true, true, true, false } },
		{ "s$nightjar/enroll/reply/d1",
		    { false, true, true, true, false } },
		{ "s$nightjar/enroll/reply/d1x/#",
		    { false, false, false, false, false } },
		{ "s$nightjar/enroll/reply/d2/#",
		    { false, false, false, false, false } },
		{ "s$nightjar/enroll/reply/+/#",
		    { false, false, false, false, false } },
		{ "s$nightjar/enroll/reply/-/#",
		    { false, false, false, false, true } },
		{ "s$share/g/$nightjar/enroll/reply/d1/#",
		    { false, false, false, false, false } },
		{ "s$share/g/a", { true, true, false, false, false } },
		{ "r$nightjar/enroll/reply/d1/x/ok",
		    { false, true, true, true, false } },
		{ "ra", { true, true, false, false, false } },
	};
	const struct principal *who[] = { &plain, &device, &new, &late, &look };

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		enum action a = rows[i].what[0] == 'p' ? ACTION_PUBLISH
		    : rows[i].what[0] == 's'	       ? ACTION_SUBSCRIBE
						       : ACTION_RECEIVE;

		for (size_t k = 0; k < LEN(who); k++) {
			struct decision why = { .text = NULL };

			check_int(rows[i].what,
			    decide(&(struct asker){ .who = who[k] }, a,
				slice_str(rows[i].what + 1), &why),
			    rows[i].want[k]);
			assert_non_null(why.text);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_what),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
