/* SPDX-License-Identifier: Apache-2.0
 *
 * Configurations out of tutorials, written for the Mosquitto of their day,
 * load as they are; what time has overtaken is warned about.
 */
#include <stdio.h>

#include "base/log.h"
#include "memory.h"

static void
load(const char *text, const struct memory_file *files, struct conf *c,
    struct conf_report *report)
{
	const struct memory m = { files, NULL };
	struct conf_source src = memory_source(&m);

	if (conf_parse("/etc/mosquitto/mosquitto.conf", slice_str(text), &src,
		NULL, c, report)) {
		memory_tell(report);
		fail();
	}
}

static void
expect_warning(const struct conf_report *r, uint32_t i, const char *text)
{
	char line[2048];

	assert_true(i < r->n);
	conf_finding_text(&r->v[i], line, sizeof line);
	if (!strstr(line, text))
		fail_msg("%s: without '%s'", line, text);
}

/* A CA of one's own, and clients that show certificates from it. */
static void
test_own_ca(void **state)
{
	struct conf_report report = { 0 };
	struct conf c;

	(void)state;
	load("listener 8883\n"
	     "cafile root.crt\n"
	     "certfile server.crt\n"
	     "keyfile server.key\n"
	     "require_certificate true\n"
	     "use_identity_as_username true\n",
	    NULL, &c, &report);
	assert_int_equal(report.n, 0);
	assert_int_equal(c.nlisteners, 1);
	assert_true(c.listeners[0].tls);
	assert_true(c.listeners[0].require_certificate);
	assert_false(c.listeners[0].allow_anonymous);
	conf_report_free(&report);
	conf_free(&c);
}

/* A gateway on a Raspberry Pi; its server key has a passphrase. */
static void
test_gateway(void **state)
{
	struct conf_report report = { 0 };
	struct conf c;
	const struct conf_listener *l;

	(void)state;
	load("listener 8883\n"
	     "cafile /etc/mosquitto/ca_certificates/ca.crt\n"
	     "certfile /etc/mosquitto/certs/server.crt\n"
	     "keyfile /etc/mosquitto/certs/server.key\n"
	     "tls_version tlsv1\n",
	    NULL, &c, &report);
	assert_int_equal(report.n, 2);
	expect_warning(&report, 0,
	    ":5:13: warning: tls_version tlsv1: TLS 1.0 was retired in 2021 "
	    "(RFC 8996); TLS 1.2 is the least that is served. Mend: delete "
	    "this line");
	expect_warning(&report, 1, ":1:1: warning: nobody can log in");
	l = &c.listeners[0];
	assert_int_equal(l->port, 8883);
	assert_null(l->host);
	assert_true(l->tls);
	assert_int_equal(l->tls_min, CONF_TLS_12);
	assert_string_equal(l->cafile, "/etc/mosquitto/ca_certificates/ca.crt");
	assert_string_equal(l->certfile, "/etc/mosquitto/certs/server.crt");
	assert_string_equal(l->keyfile, "/etc/mosquitto/certs/server.key");
	assert_false(l->require_certificate);
	conf_report_free(&report);
	conf_free(&c);
}

/* A broker at home: Debian's main file, and one for TLS below conf.d. */
static void
test_home(void **state)
{
	static const struct memory_file files[] = {
		{ "/etc/mosquitto/conf.d/tls.conf",
		    "listener 8883\n"
		    "tls_version tlsv1\n"
		    "cafile /etc/mosquitto/certs/MiCA.crt\n"
		    "certfile /etc/mosquitto/certs/MiMosquitto.crt\n"
		    "keyfile /etc/mosquitto/certs/MiMosquitto.key\n"
		    "require_certificate false\n" },
		{ "/etc/mosquitto/conf.d/README", "Any files placed here\n" },
		{ NULL, NULL },
	};
	struct conf_report report = { 0 };
	struct conf c;

	(void)state;
	load("# Place your local configuration in /etc/mosquitto/conf.d/\n"
	     "#\n"
	     "# A full description of the configuration file is at\n"
	     "# /usr/share/doc/mosquitto/examples/mosquitto.conf.example\n"
	     "\n"
	     "pid_file /run/mosquitto/mosquitto.pid\n"
	     "\n"
	     "persistence true\n"
	     "persistence_location /var/lib/mosquitto/\n"
	     "\n"
	     "log_dest file /var/log/mosquitto/mosquitto.log\n"
	     "\n"
	     "include_dir /etc/mosquitto/conf.d\n",
	    files, &c, &report);
	assert_int_equal(report.n, 2);
	expect_warning(
	    &report, 0, "conf.d/tls.conf:2:13: warning: tls_version tlsv1");
	expect_warning(
	    &report, 1, "conf.d/tls.conf:1:1: warning: nobody can log in");
	assert_string_equal(c.pid_file, "/run/mosquitto/mosquitto.pid");
	assert_string_equal(c.persistence_location, "/var/lib/mosquitto/");
	assert_int_equal(c.log_dests, LOG_D_FILE);
	assert_string_equal(c.log_file, "/var/log/mosquitto/mosquitto.log");
	assert_int_equal(c.nlisteners, 1);
	assert_true(c.listeners[0].tls);
	assert_string_equal(
	    c.listeners[0].keyfile, "/etc/mosquitto/certs/MiMosquitto.key");
	conf_report_free(&report);
	conf_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_ca),
		cmocka_unit_test(test_gateway),
		cmocka_unit_test(test_home),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
