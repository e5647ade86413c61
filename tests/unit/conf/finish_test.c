/* SPDX-License-Identifier: Apache-2.0
 *
 * Which ports are opened, and who is let in where.
 */
#include <stdio.h>

#include "base/log.h"
#include "memory.h"

#define TLS "certfile a\nkeyfile b\n"
#define MTLS                                       \
	TLS "cafile c\nrequire_certificate true\n" \
	    "use_identity_as_username true\n"

/* "host:port flags password;" for each: T tls, A anonymous. */
static void
ports(const struct conf *c, char *dst, size_t size)
{
	size_t n = 0;

	dst[0] = '\0';
	for (uint32_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *l = &c->listeners[i];
		int k = snprintf(dst + n, size - n, "%s:%u%s%s%s%s%s;",
		    l->unix_path  ? l->unix_path
			: l->host ? l->host
				  : "*",
		    l->port, l->tls || l->allow_anonymous ? " " : "",
		    l->tls ? "T" : "", l->allow_anonymous ? "A" : "",
		    l->password_file ? " " : "",
		    l->password_file ? l->password_file : "");

		assert_true(k > 0 && (size_t)k < size - n);
		n += (size_t)k;
	}
}

static const struct {
	const char *why, *text, *want;
	unsigned faults, warnings;
} rows[] = {
	{ "nothing: loopback, anonymous", "", "127.0.0.1:1883 A;::1:1883 A;", 0,
	    0 },
	{ "no listener, but a password file: nobody anonymous",
	    "password_file p\n", "127.0.0.1:1883 p;::1:1883 p;", 0, 0 },
	{ "unless it says so", "password_file p\nallow_anonymous true\n",
	    "127.0.0.1:1883 A p;::1:1883 A p;", 0, 0 },
	{ "no listener, anonymous off", "allow_anonymous false\n",
	    "127.0.0.1:1883;::1:1883;", 0, 0 },
	{ "listener options without one stay on loopback",
	    "max_connections 10\n", "127.0.0.1:1883 A;::1:1883 A;", 0, 0 },
	{ "only IPv4", "socket_domain ipv4\n", "127.0.0.1:1883 A;", 0, 0 },
	{ "any listener turns anonymous off", "listener 1883\n", "*:1883;", 0,
	    1 },
	{ "so does port", "port 1883\n", "*:1883;", 0, 1 },
	{ "and bind_address", "bind_address 10.0.0.1\n", "10.0.0.1:1883;", 0,
	    1 },
	{ "port and bind_address are one",
	    "port 1884\nbind_address 10.0.0.1\nallow_anonymous true\n",
	    "10.0.0.1:1884 A;", 0, 0 },
	{ "unless the file says otherwise",
	    "listener 1883\nallow_anonymous true\n", "*:1883 A;", 0, 0 },
	{ "wherever it says so", "allow_anonymous true\nlistener 1883\n",
	    "*:1883 A;", 0, 0 },
	{ "several",
	    "allow_anonymous true\nlistener 1883 127.0.0.1\n"
	    "listener 1884 ::1 # loopback\nlistener 0 /run/m.sock\n",
	    "127.0.0.1:1883 A;::1:1884 A;/run/m.sock:0 A;", 0, 0 },
	{ "the default one comes first, its options with it",
	    "allow_anonymous true\nlistener 1\nport 2\n", "*:2 A;*:1 A;", 0,
	    0 },
	{ "anonymous on one",
	    "listener 1\nlistener_allow_anonymous true\nlistener 2\n"
	    "password_file p\n",
	    "*:1 A p;*:2 p;", 0, 0 },
	{ "anonymous on all but one",
	    "allow_anonymous true\nlistener 1\nlistener 2\n"
	    "listener_allow_anonymous false\npassword_file p\n",
	    "*:1 A p;*:2 p;", 0, 0 },
	{ "per listener",
	    "per_listener_settings true\nlistener 1\nallow_anonymous true\n"
	    "listener 2\npassword_file p\n",
	    "*:1 A;*:2 p;", 0, 0 },
	{ "per listener, default one",
	    "per_listener_settings true\nport 1\nallow_anonymous true\n"
	    "listener 2\npassword_file p\n",
	    "*:1 A;*:2 p;", 0, 0 },
	{ "per listener, none at all",
	    "per_listener_settings true\npassword_file p\n",
	    "127.0.0.1:1883 p;::1:1883 p;", 0, 0 },
	{ "per listener, above the first",
	    "per_listener_settings true\npassword_file p\nlistener 1\n"
	    "allow_anonymous true\n",
	    "*:1 A;", 1, 0 },
	{ "per listener stays on",
	    "per_listener_settings true\nper_listener_settings false\n"
	    "listener 1\nallow_anonymous true\nlistener 2\n",
	    "*:1 A;*:2;", 0, 2 },
	/* TLS never ends in an open port */
	{ "TLS without a listener", "cafile a\n" TLS,
	    "127.0.0.1:1883 TA;::1:1883 TA;", 3, 0 },
	{ "TLS above the listener", TLS "listener 1883\nallow_anonymous true\n",
	    "*:1883 A;", 2, 0 },
	{ "TLS for port may stand above it", TLS "port 8883\npassword_file p\n",
	    "*:8883 T p;", 0, 0 },
	{ "certfile alone", "listener 8883\npassword_file p\ncertfile a\n",
	    "*:8883 p;", 1, 0 },
	{ "keyfile alone", "listener 8883\npassword_file p\nkeyfile a\n",
	    "*:8883 p;", 1, 0 },
	{ "cafile alone", "listener 8883\npassword_file p\ncafile a\n",
	    "*:8883 p;", 1, 1 },
	{ "require_certificate on a plain port",
	    "listener 1883\npassword_file p\nrequire_certificate true\n",
	    "*:1883 p;", 1, 0 },
	{ "require_certificate false says nothing",
	    "listener 1883\npassword_file p\nrequire_certificate false\n",
	    "*:1883 p;", 0, 0 },
	{ "tls_version on a plain port",
	    "listener 1883\npassword_file p\ntls_version tlsv1.2\n",
	    "*:1883 p;", 1, 0 },
	{ "no CA to check with",
	    "listener 8883\n" TLS "require_certificate true\n"
	    "use_identity_as_username true\n",
	    "*:8883 T;", 1, 0 },
	{ "CRL without CA",
	    "listener 8883\npassword_file p\n" TLS "crlfile r\n", "*:8883 T p;",
	    1, 0 },
	{ "user name from certificates nobody checks",
	    "listener 8883\n" TLS "use_subject_as_username true\n", "*:8883 T;",
	    1, 0 },
	{ "certificates name the user", "listener 8883\n" MTLS, "*:8883 T;", 0,
	    0 },
	{ "both names", "listener 8883\n" MTLS "use_subject_as_username true\n",
	    "*:8883 T;", 0, 1 },
	{ "certificates wanted, but nobody named",
	    "listener 8883\n" TLS "cafile c\nrequire_certificate true\n",
	    "*:8883 T;", 0, 1 },
	{ "plain text on TLS's port", "listener 8883\npassword_file p\n",
	    "*:8883 p;", 0, 1 },
	/* what would apply to none */
	{ "restricting, above the listener",
	    "max_connections 5\nlistener 1\nallow_anonymous true\n", "*:1 A;",
	    1, 0 },
	{ "tuning, above the listener",
	    "max_topic_alias 5\nlistener 1\nallow_anonymous true\n", "*:1 A;",
	    0, 1 },
	/* addresses */
	{ "twice the same", "allow_anonymous true\nlistener 1\nlistener 1\n",
	    "*:1 A;*:1 A;", 1, 0 },
	{ "same port, other address",
	    "allow_anonymous true\nlistener 1 ::1\nlistener 1 127.0.0.1\n",
	    "::1:1 A;127.0.0.1:1 A;", 0, 0 },
	{ "same port, IPv4 and IPv6",
	    "allow_anonymous true\nlistener 1\nsocket_domain ipv4\n"
	    "listener 1\nsocket_domain ipv6\n",
	    "*:1 A;*:1 A;", 0, 0 },
	{ "same socket", "allow_anonymous true\nlistener 0 /a\nlistener 0 /a\n",
	    "/a:0 A;/a:0 A;", 1, 0 },
};

static void
test_ports(void **state)
{
	char got[512];

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct conf_report report = { 0 };
		struct conf c;

		(void)!memory_parse(rows[i].text, NULL, &c, &report);
		ports(&c, got, sizeof got);
		if (strcmp(got, rows[i].want) != 0 ||
		    report.faults != rows[i].faults ||
		    report.warnings != rows[i].warnings) {
			memory_tell(&report);
			fail_msg("%s: %s with %u, %u, not %s", rows[i].why, got,
			    report.faults, report.warnings, rows[i].want);
		}
		conf_report_free(&report);
		conf_free(&c);
	}
}

static void
test_port_of_command_line(void **state)
{
	const struct conf_args args = {
		.ports = { 1900, 1901 }, .nports = 2, .verbose = true
	};
	struct conf_report report = { 0 };
	struct conf c;
	char got[512];

	(void)state;
	assert_int_equal(
	    memory_parse("log_type error\n", &args, &c, &report), NJ_OK);
	ports(&c, got, sizeof got);
	assert_string_equal(
	    got, "127.0.0.1:1900 A;::1:1900 A;127.0.0.1:1901 A;::1:1901 A;");
	assert_true(c.local_only);
	assert_int_equal(c.log_types, LOG_T_ALL);
	assert_int_equal(report.warnings, 0);
	conf_free(&c);

	assert_int_equal(memory_parse("listener 1\nallow_anonymous true\n",
			     &args, &c, &report),
	    NJ_OK);
	ports(&c, got, sizeof got);
	assert_string_equal(got, "*:1 A;");
	assert_false(c.local_only);
	assert_int_equal(report.warnings, 1);
	conf_report_free(&report);
	conf_free(&c);
}

static void
test_environment(void **state)
{
	static const struct memory_file env[] = {
		{ "MOSQUITTO_PERSISTENCE_LOCATION", "/data" },
		{ "CREDENTIALS_DIRECTORY", "/run/cred" },
		{ NULL, NULL },
	};
	const struct memory m = { NULL, env };
	struct conf_source src = memory_source(&m);
	struct conf_report report = { 0 };
	struct conf c;

	(void)state;
	assert_int_equal(
	    conf_parse("t.conf",
		LIT("persistence_location /var\nlistener 8883\n" MTLS
		    "keyfile_password_file pass\nlistener 8884\n" MTLS
		    "keyfile_password_file ./pass\n"),
		&src, NULL, &c, &report),
	    NJ_OK);
	assert_string_equal(c.persistence_location, "/data");
	assert_string_equal(
	    c.listeners[0].keyfile_password_file, "/run/cred/pass");
	assert_string_equal(c.listeners[1].keyfile_password_file, "./pass");
	conf_report_free(&report);
	conf_free(&c);
}

static void
test_auto_id_prefix(void **state)
{
	struct conf_report report = { 0 };
	struct conf c;

	(void)state;
	assert_int_equal(memory_parse("auto_id_prefix x-\n"
				      "allow_anonymous true\nlistener 1\n"
				      "listener 2\nlistener_auto_id_prefix y-",
			     NULL, &c, &report),
	    NJ_OK);
	assert_string_equal(c.listeners[0].auto_id_prefix, "x-");
	assert_string_equal(c.listeners[1].auto_id_prefix, "y-");
	conf_report_free(&report);
	conf_free(&c);
}

static void
test_many_listeners(void **state)
{
	static char text[(CONF_LISTENERS_MAX + 1) * 16];
	struct conf_report report = { 0 };
	struct conf c;
	size_t n = 0;

	(void)state;
	for (int i = 1; i <= CONF_LISTENERS_MAX + 1; i++)
		n += (size_t)snprintf(
		    text + n, sizeof text - n, "listener %d\n", i);
	assert_int_equal(memory_parse(text, NULL, &c, &report), NJ_INVALID);
	assert_int_equal(c.nlisteners, CONF_LISTENERS_MAX);
	assert_int_equal(report.faults, 1);
	conf_report_free(&report);
	conf_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_port_of_command_line),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_auto_id_prefix),
		cmocka_unit_test(test_many_listeners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
