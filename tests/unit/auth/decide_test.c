/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "auth/decide.h"

static void
rows(void **state)
{
	const struct principal client = { .name = LIT("bob") };
	const struct principal bridge = { .bridge = true };
	const struct {
		const struct principal *who;
		enum action what;
		const char *topic;
		bool want;
	} rows[] = {
		{ &client, ACTION_PUBLISH, "a/b", true },
		{ &client, ACTION_PUBLISH, "a/$SYS", true },
		{ &client, ACTION_PUBLISH, "$SYS", false },
		{ &client, ACTION_PUBLISH, "$SYS/", false },
		{ &client, ACTION_PUBLISH, "$SYS/broker/uptime", false },
		{ &client, ACTION_PUBLISH, "$SYSTEM", true },
		{ &client, ACTION_PUBLISH, "$CONTROL/dynamic-security/v1",
		    false },
		{ &client, ACTION_PUBLISH, "$share/g/t", false },
		{ &client, ACTION_PUBLISH, "$nightjar/x", false },
		{ &client, ACTION_PUBLISH, "$app/x", true },
		{ &client, ACTION_PUBLISH, "$SYS/broker/connection/b/state",
		    false },
		{ &bridge, ACTION_PUBLISH, "$SYS/broker/connection/b/state",
		    true },
		{ &bridge, ACTION_PUBLISH, "$SYS/broker/connection/b/c/state",
		    false },
		{ &bridge, ACTION_PUBLISH, "$SYS/broker/uptime", false },
		{ &client, ACTION_PUBLISH, "$SYS/broker/connection/h.b/state",
		    true },
		{ &client, ACTION_PUBLISH, "$SYS/broker/connection/h.b/other",
		    false },
		{ &client, ACTION_PUBLISH, "$SYS/broker/connection/h.b2/state",
		    false },
		{ &client, ACTION_PUBLISH, "$SYS/broker/connection/x/h.b/state",
		    false },
		{ NULL, ACTION_PUBLISH, "$SYS/broker/uptime", true },
		{ &client, ACTION_SUBSCRIBE, "$SYS/#", true },
		{ &client, ACTION_SUBSCRIBE, "#", true },
		{ &client, ACTION_RECEIVE, "$SYS/broker/uptime", true },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct decision why = { .text = NULL };

		check_int(rows[i].topic,
		    decide(&(struct asker){ .who = rows[i].who,
			       .client_id = LIT("h.b") },
			rows[i].what, slice_str(rows[i].topic), &why),
		    rows[i].want);
		assert_non_null(why.text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
