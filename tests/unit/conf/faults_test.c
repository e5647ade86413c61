/* SPDX-License-Identifier: Apache-2.0
 *
 * Every wrong line is answered with its place, the word and the nearest right
 * name; nothing that is right is reported beside it.
 */
#include <stdio.h>

#include "memory.h"

#define TLS "certfile a\nkeyfile b\n"

static const struct {
	const char *text, *want; /* findings, "|" after each */
} rows[] = {
	/* names */
	{ "listner 8883\ncafile /x\n", "1:1 e 'listner' listener|" },
	{ "\n  Allow_anonymous true\n",
	    "2:3 e 'Allow_anonymous' allow_anonymous|" },
	{ "port=1883\n", "1:1 e 'port=1883' port|" },
	{ "xyzzy 1\n", "1:1 e 'xyzzy' -|" },
	{ "conection x\nkeepalive_interval 3\n",
	    "1:1 e 'conection' connection|" },
	{ "\x1b[2Jport 3\n", "1:1 e '\\x1b[2Jport' -|" },
	/* no value */
	{ "sys_interval\n", "1:1 e '-' -|" },
	{ "allow_anonymous   \n", "1:1 e '-' -|" },
	{ "pid_file\n", "1:1 e '-' -|" },
	{ "include_dir\n", "1:1 e '-' -|" },
	{ "log_dest\n", "1:1 e '-' -|" },
	{ "log_dest file\n", "1:1 e '-' -|" },
	{ "port\n", "1:1 e '-' -|" },
	/* booleans */
	{ "allow_anonymous yes\n", "1:17 e 'yes' true|" },
	{ "allow_anonymous True\n", "1:17 e 'True' true|" },
	{ "allow_anonymous  fales\n", "1:18 e 'fales' false|" },
	{ "allow_anonymous off\n", "1:17 e 'off' false|" },
	{ "allow_anonymous 2\n", "1:17 e '2' -|" },
	/* numbers */
	{ "memory_limit abc\n", "1:14 e 'abc' -|" },
	{ "memory_limit -1\n", "1:14 e '-1' -|" },
	{ "memory_limit 99999999999999999999\n",
	    "1:14 e '99999999999999999999' -|" },
	{ "memory_limit 9999999999999G\n", "1:14 e '9999999999999G' -|" },
	{ "max_queued_messages 10x\n", "1:21 e '10x' -|" },
	{ "max_inflight_messages 65536\n", "1:23 e '65536' -|" },
	{ "max_packet_size 19\n", "1:17 e '19' -|" },
	{ "max_keepalive -1\n", "1:15 e '-1' -|" },
	{ "log_facility 8\n", "1:14 e '8' -|" },
	{ "message_size_limit 268435456\n", "1:20 e '268435456' -|" },
	/* ports */
	{ "port 0\n", "1:6 e '0' -|" },
	{ "port 65536\n", "1:6 e '65536' -|" },
	{ "listener abc\n", "1:10 e 'abc' -|" },
	{ "listener 0\n", "1:1 e 'listener' -|" },
	/* durations */
	{ "persistent_client_expiration 10\n", "1:30 e '10' -|" },
	{ "persistent_client_expiration d\n", "1:30 e 'd' -|" },
	{ "persistent_client_expiration 0d\n", "1:30 e '0d' -|" },
	/* words */
	{ "log_type debg\n", "1:10 e 'debg' debug|" },
	{ "log_dest stdrr\n", "1:10 e 'stdrr' stderr|" },
	{ "listener 1\nallow_anonymous true\nprotocol mqttt\n",
	    "3:10 e 'mqttt' mqtt|" },
	{ "listener 1\nallow_anonymous true\nmax_qos 3\n", "3:9 e '3' -|" },
	{ "listener 1\nallow_anonymous true\naccept_protocol_versions 4,6\n",
	    "3:28 e '6' -|" },
	{ "listener 8883\nallow_anonymous true\n" TLS "tls_version tlsv12\n",
	    "5:13 e 'tlsv12' tlsv1.2|" },
	{ "listener 8883\nallow_anonymous true\n" TLS "tls_version sslv3\n",
	    "5:13 e 'sslv3' -|" },
	/* text */
	{ "user a\x01z\n", "1:7 e 'a\\x01z' -|" },
	{ "user \xff\n", "1:6 e '\\xff' -|" },
	/* given twice */
	{ "user a\nuser b\n", "2:1 e 'user' -|" },
	{ "persistence_file a\npersistence_file b\n",
	    "2:1 e 'persistence_file' -|" },
	{ "log_dest file a\nlog_dest file b\n", "2:10 e 'file' -|" },
	{ "sys_interval 1\nsys_interval 2\n", "2:1 w 'sys_interval' -|" },
	{ "bind_address 127.0.0.1\nallow_anonymous true\nbind_address ::1\n",
	    "3:1 e 'bind_address' -|" },
	/* follows, and is ignored or kept */
	{ "sys_interval 1 2\n", "1:16 w '2' -|" },
	{ "pid_file /x # y\n", "1:13 w '# y' -|" },
	/* where it stands */
	{ "keepalive_interval 5\n", "1:1 e 'keepalive_interval' -|" },
	{ "plugin_opt_x 5\n", "1:1 e 'plugin_opt_x' -|" },
	{ "allow_anonymous false\nper_listener_settings true\n",
	    "2:1 e 'per_listener_settings' -|" },
	/* not served: what restricts or would be missing stops */
	{ "acl_file /a\nacl_file /b\n", "2:1 e 'acl_file' -|" },
	{ "psk_file /a\n", "1:1 w '-' -|" },
	{ "connection b\naddress h\ntopic # both\n", "1:1 e 'connection' -|" },
	{ "connection b\nbridge_insecure maybe\n",
	    "1:1 e 'connection' -|2:17 e 'maybe' -|" },
	{ "connection b\nrestart_timeout 5 x\n",
	    "1:1 e 'connection' -|2:19 e 'x' -|" },
	{ "connection b\nbridge_tcp_keepalive 5 6\n",
	    "1:1 e 'connection' -|2:1 e '-' -|" },
	{ "plugin /x.so\nplugin_opt_a b\n", "1:1 e 'plugin' -|" },
	{ "auth_plugin /go-auth.so\nauth_opt_backends files\n",
	    "1:1 e 'auth_plugin' -|" },
	{ "plugin_load a\n", "1:1 e '-' -|" },
	{ "plugin_load a /lib/mosquitto_acl_file.so\n", "1:1 e '-' -|" },
	{ "plugin_load a /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /a\n",
	    "1:1 w '-' -|" },
	{ "plugin_load a /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /a\n"
	  "plugin_load a /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /b\n"
	  "listener 1\nallow_anonymous true\nplugin_use a\n",
	    "3:1 e 'plugin_load' -|" },
	{ "plugin_load a /lib/x.so\nlistener 1\nallow_anonymous true\n"
	  "plugin_use a\n",
	    "1:1 e 'plugin_load' -|" },
	{ "plugin_load a /lib/mosquitto_persist_sqlite.so\n",
	    "1:1 e 'plugin_load' -|" },
	{ "listener 1\nallow_anonymous true\nplugin_use a\n", "3:1 e '-' -|" },
	{ "plugin_use a\nlistener 1\nallow_anonymous true\n", "1:1 e '-' -|" },
	{ "plugin_load a /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /a\n"
	  "plugin_load b /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /b\n"
	  "listener 1\nallow_anonymous true\nplugin_use a\nplugin_use b\n",
	    "8:1 e '-' -|" },
	{ "plugin /x/not_mosquitto_acl_file.so\n", "1:1 e 'plugin' -|" },
	{ "plugin /lib/mosquitto_dynamic_security.so\nuser x\n"
	  "plugin /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /a\n",
	    "1:1 e '-' -|" },
	{ "plugin /lib/mosquitto_dynamic_security.so\n"
	  "plugin_opt_config_file /a\nplugin_opt_other b\n",
	    "3:1 e 'plugin_opt_other' -|" },
	{ "plugin mosquitto_dynamic_security.so\nplugin_opt_config_file /a\n"
	  "dynamic_security_file /b\n",
	    "3:1 e 'dynamic_security_file' -|" },
	{ "listener 9001\nallow_anonymous true\nprotocol http_api\n",
	    "3:10 e 'http_api' -|" },
	{ "listener 9001\nallow_anonymous true\nprotocol websockets\n"
	  "websockets_origin https://a\nwebsockets_origin https://b\n",
	    "" },
	{ "listener 9001\nallow_anonymous true\n"
	  "websockets_origin https://a\n",
	    "3:1 w '-' -|" },
	{ "listener 9001\nallow_anonymous true\nprotocol mqtt+websockets\n"
	  "websockets_origin null\nwebsockets_origin http://a:8080\n",
	    "" },
	{ "listener 9001\nallow_anonymous true\nprotocol websockets\n"
	  "websockets_origin https://a/\nwebsockets_origin *\n"
	  "websockets_origin a.example\nwebsockets_origin https://a:443\n"
	  "websockets_origin HTTP://a:80\nwebsockets_origin http://a:443\n",
	    "9:1 w '-' -|9:1 w '-' -|9:1 w '-' -|9:1 w '-' -|9:1 w '-' -|" },
	/* what certificates mean to browsers */
	{ "listener 9001\nprotocol websockets\n" TLS "cafile /ca\n"
	  "require_certificate true\nuse_identity_as_username true\n",
	    "1:1 w '-' -|" },
	{ "listener 9001\nprotocol websockets\n" TLS "cafile /ca\n"
	  "require_certificate true\nuse_identity_as_username true\n"
	  "websockets_origin https://a\n",
	    "" },
	{ "listener 9001\nprotocol websockets\n" TLS "cafile /ca\n"
	  "use_identity_as_username true\npassword_file /p\n"
	  "certificate_or_password true\n",
	    "" },
	{ "listener 9001\n" TLS "cafile /ca\nrequire_certificate true\n"
	  "certificate_or_password true\n",
	    "6:1 e '-' -|6:1 e '-' -|6:1 e '-' -|1:1 w '-' -|" },
	{ "listener 9001\nallow_anonymous true\n"
	  "certificate_or_password true\n",
	    "3:1 e '-' -|" },
	{ "websockets_origin https://a\nlistener 9001\n"
	  "allow_anonymous true\nprotocol websockets\n",
	    "1:1 e '-' -|" },
	{ "listener 1\nallow_anonymous true\nresponse_information a/+\n",
	    "3:1 e '-' -|" },
	{ "listener 0 /x\nallow_anonymous true\nunix_socket_mode 0660\n"
	  "unix_socket_owner a:b\n",
	    "" },
	{ "listener 0 /x\nallow_anonymous true\nunix_socket_mode 0999\n",
	    "3:1 e '-' -|" },
	{ "listener 0 /x\nallow_anonymous true\nunix_socket_mode 0400\n",
	    "3:1 w '-' -|" },
	{ "listener 0 /x\nallow_anonymous true\nbind_interface lo\n",
	    "3:1 e '-' -|" },
	{ "listener 0 /x\nallow_anonymous true\nsocket_domain ipv4\n",
	    "3:1 e '-' -|" },
	{ "listener 1\nallow_anonymous true\nunix_socket_mode 0660\n",
	    "3:1 e '-' -|" },
	{ "listener 1\nallow_anonymous true\nmount_point a/\n", "" },
	{ "listener 1\nallow_anonymous true\nmount_point a\n", "3:1 w '-' -|" },
	{ "listener 1\nallow_anonymous true\nmount_point a/+/\n",
	    "3:1 e '-' -|" },
	{ "listener 1\nallow_anonymous true\nenable_proxy_protocol 2\n",
	    "3:1 w '-' -|" },
	{ "listener 1 127.0.0.1\nallow_anonymous true\n"
	  "enable_proxy_protocol 2\n",
	    "" },
	{ "listener 1\nallow_anonymous true\nenable_proxy_protocol 1\n"
	  "proxy_protocol_from 10.0.0.1 ::1\nproxy_protocol_from fe80::/10\n",
	    "" },
	{ "listener 1\nallow_anonymous true\nenable_proxy_protocol 1\n"
	  "proxy_protocol_from 10.0.0.1/8\n",
	    "4:1 e '-' -|" },
	{ "listener 1\nallow_anonymous true\nproxy_protocol_from 10.0.0.1\n",
	    "3:1 e '-' -|" },
	{ "listener 1 ::1\nallow_anonymous true\nenable_proxy_protocol 1\n"
	  "proxy_protocol_v2_require_tls true\n",
	    "4:1 e '-' -|" },
	{ "listener 1 ::1\nenable_proxy_protocol 2\nrequire_certificate true\n"
	  "use_identity_as_username true\n",
	    "" },
	{ "listener 1 ::1\nallow_anonymous true\nenable_proxy_protocol 2\n"
	  "use_subject_as_username true\n",
	    "4:1 e '-' -|" },
	{ "listener 8883\nallow_anonymous true\n" TLS "tls_engine x\n",
	    "5:1 e 'tls_engine' -|" },
	{ "listener 8883\nallow_anonymous true\n" TLS "tls_keyform engine\n",
	    "5:13 e 'engine' -|" },
	/* what only tunes is warned about */
	{ "persistence true\n", "" },
	{ "persistence false\n", "" },
	{ "enable_control_api true\n", "" },
	{ "dhparamfile /x\n", "1:1 w 'dhparamfile' -|" },
	{ "trace_level 3\nffdc_output x\n",
	    "1:1 w 'trace_level' -|2:1 w 'ffdc_output' -|" },
	{ "websockets_headers_size 2048\n", "" },
	{ "packet_buffer_size 2048\n", "1:1 w 'packet_buffer_size' -|" },
	{ "allow_duplicate_messages true\n", "" },
	{ "retry_interval 20\n", "1:1 w 'retry_interval' -|" },
	{ "user root\n", "1:1 w '-' -|" },
	/* several at once, all told */
	{ "alow_anonymous true\nport 99999\nmax_qos x\nuser\n",
	    "1:1 e 'alow_anonymous' allow_anonymous|2:6 e '99999' -|"
	    "3:9 e 'x' -|4:1 e '-' -|" },
};

static void
all_findings(const struct conf_report *r, char *dst, size_t size)
{
	char one[512];
	size_t n = 0;

	dst[0] = '\0';
	for (uint32_t i = 0; i < r->n; i++) {
		int k = snprintf(dst + n, size - n, "%s|",
		    memory_finding(&r->v[i], one, sizeof one));

		assert_true(k > 0 && (size_t)k < size - n);
		n += (size_t)k;
	}
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct conf_report report = { 0 };
		struct conf c;
		char got[2048];
		enum nj_err e = memory_parse(rows[i].text, NULL, &c, &report);

		all_findings(&report, got, sizeof got);
		if (strcmp(got, rows[i].want) != 0) {
			memory_tell(&report);
			fail_msg("%s gives %s, not %s", rows[i].text, got,
			    rows[i].want);
		}
		assert_int_equal(e, report.faults ? NJ_INVALID : NJ_OK);
		conf_report_free(&report);
		conf_free(&c);
	}
}

/* Whole sentences, as a person reads them. */
static void
test_sentences(void **state)
{
	static const struct {
		const char *text, *want;
	} lines[] = {
		{ "listner 1883\n",
		    "t.conf:1:1: error: there is no option 'listner'; did you "
		    "mean 'listener'?" },
		{ "port=1883\n",
		    "t.conf:1:1: error: there is no option 'port=1883'; did "
		    "you mean 'port'? Mend: put a space between name and "
		    "value" },
		{ "max_inflight_messages 70000\n",
		    "t.conf:1:23: error: '70000' is no value for "
		    "max_inflight_messages: expected a number from 0 to "
		    "65535" },
		{ "allow_anonymous\n",
		    "t.conf:1:1: error: allow_anonymous needs a value: "
		    "expected true or false" },
		{ "plugin /usr/lib/mosquitto_password_file.so\n",
		    "t.conf:1:1: error: mosquitto_password_file.so has no "
		    "line 'plugin_opt_password_file PATH' below it. Mend: add "
		    "it: without its file it would keep nobody out" },
	};
	char got[1024];

	(void)state;
	for (size_t i = 0; i < ROWS(lines); i++) {
		struct conf_report report = { 0 };
		struct conf c;

		(void)!memory_parse(lines[i].text, NULL, &c, &report);
		assert_int_equal(report.n, 1);
		assert_string_equal(
		    conf_finding_text(&report.v[0], got, sizeof got),
		    lines[i].want);
		conf_report_free(&report);
		conf_free(&c);
	}
}

/* Findings are counted past the bound, and the text is cut to its room. */
static void
test_bounds(void **state)
{
	static char text[4 * (CONF_REPORT_MAX + 100) + 1];
	struct conf_report report = { 0 };
	struct conf c;
	char small[12];

	(void)state;
	for (size_t i = 0; i + 4 < sizeof text; i += 4)
		memcpy(text + i, "zzz\n", 4);
	assert_int_equal(memory_parse(text, NULL, &c, &report), NJ_INVALID);
	assert_int_equal(report.n, CONF_REPORT_MAX);
	assert_int_equal(report.faults, (sizeof text - 1) / 4);
	conf_finding_text(&report.v[0], small, sizeof small);
	assert_string_equal(small, "t.conf:1:1:");
	conf_report_free(&report);
	conf_free(&c);
}

static void
test_nul_and_long_lines(void **state)
{
	static const struct memory none = { NULL, NULL };
	static char line[CONF_LINE_MAX + 100];
	struct conf_source src = memory_source(&none);
	struct conf_report report = { 0 };
	struct conf c;

	(void)state;
	assert_int_equal(conf_parse("t.conf", LIT("user a\0b\nport 1\n"), &src,
			     NULL, &c, &report),
	    NJ_INVALID);
	assert_int_equal(report.faults, 1);
	assert_int_equal(report.v[0].line, 1);
	conf_report_free(&report);
	conf_free(&c);

	memset(line, 'x', sizeof line);
	assert_int_equal(conf_parse("t.conf", slice_of(line, sizeof line), &src,
			     NULL, &c, &report),
	    NJ_INVALID);
	assert_int_equal(report.faults, 1);
	conf_report_free(&report);
	conf_free(&c);

	assert_int_equal(conf_parse("t.conf", LIT("\xff\xfep\0o\0"), &src, NULL,
			     &c, &report),
	    NJ_INVALID);
	assert_int_equal(report.faults, 1);
	conf_report_free(&report);
	conf_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_sentences),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_nul_and_long_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
