/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "memory.h"

struct diffs {
	char text[512];
	size_t n;
};

static void
note(void *arg, const struct conf_opt *o, const struct conf_listener *l,
    bool restart)
{
	struct diffs *d = arg;
	char where[16] = "";

	if (l)
		(void)snprintf(where, sizeof where, "@%u", l->port);
	d->n += (size_t)snprintf(d->text + d->n, sizeof d->text - d->n,
	    "%s%s%s;", o->name, where, restart ? " restart" : "");
	assert_true(d->n < sizeof d->text);
}

static void
test_rows(void **state)
{
	static const struct {
		const char *old, *new, *want;
	} rows[] = {
		{ "", "", "" },
		{ "max_queued_messages 5\n", "# now the default\n",
		    "max_queued_messages;" },
		{ "sys_interval 10\n", "", "" },
		{ "user a\n", "user b\n", "user restart;" },
		{ "threads 1\n", "threads 2\nmemory_limit 1M\n",
		    "memory_limit;threads restart;" },
		{ "password_file a\n", "password_file b\n", "password_file;" },
		{ "log_dest stderr\n", "log_dest file /x\n", "log_dest;" },
		{ "log_dest file /x\n", "log_dest file /y\n", "log_dest;" },
		{ "log_type all\n", "", "log_type;" },
		{ "listener 1\n", "listener 2\n",
		    "listener@2 restart;listener@1 restart;" },
		{ "listener 1\nlistener 2\nmax_qos 1\n",
		    "listener 2\nlistener 1\n", "max_qos@2;" },
		{ "listener 1\n", "listener 1 127.0.0.1\n",
		    "listener@1 restart;listener@1 restart;" },
		{ "listener 8883\ncertfile a\nkeyfile b\n",
		    "listener 8883\ncertfile a\nkeyfile c\n"
		    "tls_version tlsv1.3\n",
		    "keyfile@8883;tls_version@8883;" },
		{ "listener 1\n", "listener 1\nlistener_allow_anonymous true\n",
		    "listener_allow_anonymous@1;" },
		{ "per_listener_settings true\nlistener 1\npassword_file a\n",
		    "per_listener_settings true\nlistener 1\n"
		    "password_file b\n",
		    "password_file@1;" },
		{ "listener 1\naccept_protocol_versions 5\n", "listener 1\n",
		    "accept_protocol_versions@1;" },
		{ "persistent_client_expiration 1d\n",
		    "persistent_client_expiration 24h\n", "" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct conf_report report = { 0 };
		struct conf a, b;
		struct diffs d = { .n = 0 };

		(void)!memory_parse(rows[i].old, NULL, &a, &report);
		(void)!memory_parse(rows[i].new, NULL, &b, &report);
		assert_int_equal(report.faults, 0);
		conf_diff(&a, &b, note, &d);
		if (strcmp(d.text, rows[i].want) != 0)
			fail_msg("%s -> %s: %s, not %s", rows[i].old,
			    rows[i].new, d.text, rows[i].want);
		conf_report_free(&report);
		conf_free(&a);
		conf_free(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
