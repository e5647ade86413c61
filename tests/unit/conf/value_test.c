/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/log.h"
#include "memory.h"

/* The value of an option, printed by its row's type. */
static void
show(const struct conf *c, const char *name, char *dst, size_t size)
{
	const struct conf_opt *o =
	    conf_opt_real(conf_opt_find(slice_str(name)));
	const char *at = o->scope == CONF_GLOBAL ? (const char *)c
	    : o->scope == CONF_SECURITY		 ? (const char *)&c->security
					: (const char *)&c->listeners[0];

	assert_true(o->off != CONF_NOWHERE);
	at += o->off;
	switch (o->type) {
	case CONF_T_BOOL:
		(void)snprintf(
		    dst, size, "%s", *(const bool *)at ? "true" : "false");
		break;
	case CONF_T_TRI:
	case CONF_T_ENUM:
		(void)snprintf(dst, size, "%d", *(const int *)at);
		break;
	case CONF_T_U32:
	case CONF_T_LIMIT:
	case CONF_T_SET:
		(void)snprintf(dst, size, "%u", *(const uint32_t *)at);
		break;
	case CONF_T_SIZE:
	case CONF_T_DURATION:
		(void)snprintf(dst, size, "%llu",
		    (unsigned long long)*(const uint64_t *)at);
		break;
	case CONF_T_STRING:
	case CONF_T_PATH:
		(void)snprintf(dst, size, "%s",
		    *(char *const *)at ? *(char *const *)at : "-");
		break;
	case CONF_T_FORM:
		fail();
	}
}

/* The same value as Mosquitto reads, with and without a warning. */
static void
test_values(void **state)
{
	static const struct {
		const char *lines, *option, *want;
		unsigned warnings;
	} rows[] = {
		/* bool: true, false, 1, 0 and nothing else */
		{ "retain_available false", "retain_available", "false", 0 },
		{ "retain_available 0", "retain_available", "false", 0 },
		{ "queue_qos0_messages true", "queue_qos0_messages", "true",
		    0 },
		{ "queue_qos0_messages 1", "queue_qos0_messages", "true", 0 },
		{ "queue_qos0_messages true # yes", "queue_qos0_messages",
		    "true", 0 },
		{ "queue_qos0_messages true yes", "queue_qos0_messages", "true",
		    1 },
		/* tri */
		{ "", "allow_anonymous", "-1", 0 },
		{ "allow_anonymous false", "allow_anonymous", "0", 0 },
		{ "allow_anonymous true", "allow_anonymous", "1", 0 },
		/* numbers */
		{ "", "max_inflight_messages", "20", 0 },
		{ "max_inflight_messages 5", "max_inflight_messages", "5", 0 },
		{ "max_inflight_messages 0", "max_inflight_messages", "65535",
		    0 },
		{ "max_inflight_messages -1", "max_inflight_messages", "65535",
		    0 },
		{ "max_queued_messages 0x10", "max_queued_messages", "16", 0 },
		{ "max_queued_messages 010", "max_queued_messages", "8", 1 },
		{ "max_queued_messages -5", "max_queued_messages", "0", 0 },
		{ "max_queued_messages   7   # x", "max_queued_messages", "7",
		    0 },
		{ "max_keepalive 65535", "max_keepalive", "65535", 0 },
		{ "sys_interval 0", "sys_interval", "0", 0 },
		{ "threads 4", "threads", "4", 0 },
		{ "log_facility 5", "log_facility", "5", 0 },
		/* limits */
		{ "", "global_max_connections", "0", 0 },
		{ "global_max_connections -1", "global_max_connections", "0",
		    0 },
		{ "global_max_connections 500", "global_max_connections", "500",
		    0 },
		/* sizes */
		{ "", "max_packet_size", "2000000", 0 },
		{ "max_packet_size 20", "max_packet_size", "20", 0 },
		{ "memory_limit 512M", "memory_limit", "536870912", 0 },
		{ "memory_limit 3k", "memory_limit", "3072", 0 },
		{ "max_queued_bytes 2G", "max_queued_bytes", "2147483648", 0 },
		{ "max_queued_bytes -1", "max_queued_bytes", "0", 0 },
		{ "message_size_limit 268435455", "message_size_limit",
		    "268435455", 0 },
		/* durations */
		{ "persistent_client_expiration 90s",
		    "persistent_client_expiration", "90", 0 },
		{ "persistent_client_expiration 2h",
		    "persistent_client_expiration", "7200", 0 },
		{ "persistent_client_expiration 1d",
		    "persistent_client_expiration", "86400", 0 },
		{ "persistent_client_expiration 2w",
		    "persistent_client_expiration", "1209600", 0 },
		{ "persistent_client_expiration 1m",
		    "persistent_client_expiration", "2592000", 0 },
		{ "persistent_client_expiration 1y",
		    "persistent_client_expiration", "31536000", 0 },
		{ "", "persistent_client_expiration", "0", 0 },
		/* enumerations */
		{ "listener 1\nallow_anonymous true\nsocket_domain ipv6",
		    "socket_domain", "2", 0 },
		{ "listener 1\nallow_anonymous true\nprotocol mqtt", "protocol",
		    "0", 0 },
		{ "listener 1\nallow_anonymous true\ncertfile a\nkeyfile b\n"
		  "tls_version tlsv1.3",
		    "tls_version", "13", 0 },
		{ "listener 1\nallow_anonymous true\ncertfile a\nkeyfile b\n"
		  "tls_version tlsv1.2",
		    "tls_version", "12", 0 },
		{ "listener 1\nallow_anonymous true\ncertfile a\nkeyfile b\n"
		  "tls_version tlsv1",
		    "tls_version", "12", 1 },
		{ "listener 1\nallow_anonymous true\ncertfile a\nkeyfile b\n"
		  "tls_version tlsv1.1",
		    "tls_version", "12", 1 },
		/* sets */
		{ "", "log_type", "15", 0 },
		{ "log_type error", "log_type", "1", 0 },
		{ "log_type error\nlog_type debug", "log_type", "17", 0 },
		{ "log_type error warning", "log_type", "1", 1 },
		{ "log_type all", "log_type", "511", 0 },
		{ "log_type all\nlog_type none", "log_type", "0", 0 },
		{ "log_type none\nlog_type error", "log_type", "1", 0 },
		{ "listener 1\nallow_anonymous true\n"
		  "accept_protocol_versions 4, 5",
		    "accept_protocol_versions", "48", 0 },
		{ "listener 1\nallow_anonymous true\n"
		  "accept_protocol_versions 3",
		    "accept_protocol_versions", "8", 0 },
		{ "listener 1\nallow_anonymous true\n"
		  "accept_protocol_versions 5\t# only 5",
		    "accept_protocol_versions", "32", 0 },
		/* text: all of the line */
		{ "user alice", "user", "alice", 0 },
		{ "log_timestamp_format %H:%M  %S  ", "log_timestamp_format",
		    "%H:%M  %S", 0 },
		{ "pid_file /run/my broker.pid", "pid_file",
		    "/run/my broker.pid", 0 },
		{ "pid_file /run/x # the pid", "pid_file", "/run/x # the pid",
		    1 },
		{ "pid_file /run/x#1", "pid_file", "/run/x#1", 0 },
		{ "user J\xc3\xbcrgen", "user", "J\xc3\xbcrgen", 0 },
		{ "password_file a\npassword_file b\n", "password_file", "b",
		    1 },
		/* grammar that Mosquitto does not take */
		{ "\tthreads\t2", "threads", "2", 0 },
		{ "\xef\xbb\xbfthreads 2", "threads", "2", 0 },
		{ "  # x\nthreads 2\r\n", "threads", "2", 0 },
		/* other names */
		{ "listener 1\nallow_anonymous true\nmaximum_qos 1", "max_qos",
		    "1", 0 },
		{ "retained_persistence false", "persistence", "false", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct conf_report report = { 0 };
		struct conf c;
		char got[256];

		if (memory_parse(rows[i].lines, NULL, &c, &report) ||
		    report.warnings != rows[i].warnings) {
			memory_tell(&report);
			fail_msg("%s: %u errors, %u warnings", rows[i].lines,
			    report.faults, report.warnings);
		}
		show(&c, rows[i].option, got, sizeof got);
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %s is %s, not %s", rows[i].lines,
			    rows[i].option, got, rows[i].want);
		conf_report_free(&report);
		conf_free(&c);
	}
}

/* What holds when nothing is said, as Mosquitto has it. */
static void
test_defaults(void **state)
{
	struct conf_report report = { 0 };
	struct conf c;
	const struct conf_listener *l;

	(void)state;
	assert_int_equal(memory_parse("", NULL, &c, &report), NJ_OK);
	l = &c.listeners[0];
	assert_int_equal(report.warnings, 0);
	assert_int_equal(c.max_queued_messages, 1000);
	assert_int_equal(c.max_inflight_bytes, 0);
	assert_int_equal(c.message_size_limit, 0);
	assert_int_equal(c.max_keepalive, 0);
	assert_true(c.retain_available);
	assert_false(c.upgrade_outgoing_qos);
	assert_false(c.queue_qos0_messages);
	assert_int_equal(c.sys_interval, 10);
	assert_int_equal(c.log_dests, LOG_D_STDERR);
	assert_false(c.log_dests_given);
	assert_int_equal(c.log_types, LOG_T_DEFAULT);
	assert_true(c.log_timestamp);
	assert_null(c.log_timestamp_format);
	assert_int_equal(c.log_facility, -1);
	assert_true(c.connection_messages);
	assert_int_equal(c.autosave_interval, 1800);
	assert_string_equal(c.persistence_file, "nightjar.db");
	assert_null(c.user);
	assert_int_equal(l->max_connections, 0);
	assert_int_equal(l->max_qos, 2);
	assert_int_equal(l->max_topic_alias, 10);
	assert_int_equal(l->max_topic_alias_broker, 10);
	assert_int_equal(l->accept_protocol_versions, CONF_V_ALL);
	assert_int_equal(l->tls_min, CONF_TLS_12);
	assert_int_equal(l->socket_domain, CONF_ANY);
	assert_string_equal(l->auto_id_prefix, "auto-");
	assert_true(l->allow_zero_length_clientid);
	conf_report_free(&report);
	conf_free(&c);
}

static void
test_log_dest(void **state)
{
	static const struct {
		const char *lines;
		unsigned dests;
		const char *file;
		unsigned warnings;
	} rows[] = {
		{ "log_dest stdout", LOG_D_STDOUT, NULL, 0 },
		{ "log_dest stdout\nlog_dest syslog",
		    LOG_D_STDOUT | LOG_D_SYSLOG, NULL, 0 },
		{ "log_dest file /var/log/my log", LOG_D_FILE,
		    "/var/log/my log", 0 },
		{ "log_dest file   /l  \nlog_dest topic",
		    LOG_D_FILE | LOG_D_TOPIC, "/l", 0 },
		{ "log_dest none", 0, NULL, 0 },
		{ "log_dest stdout\nlog_dest none", 0, NULL, 0 },
		{ "log_dest stderr # here", LOG_D_STDERR, NULL, 0 },
		{ "log_dest dlt", LOG_D_STDERR, NULL, 1 },
		{ "log_dest stdout\nlog_dest android", LOG_D_STDOUT, NULL, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct conf_report report = { 0 };
		struct conf c;

		assert_int_equal(
		    memory_parse(rows[i].lines, NULL, &c, &report), NJ_OK);
		assert_int_equal(report.warnings, rows[i].warnings);
		assert_int_equal(c.log_dests, rows[i].dests);
		if (rows[i].file)
			assert_string_equal(c.log_file, rows[i].file);
		else
			assert_null(c.log_file);
		conf_report_free(&report);
		conf_free(&c);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_log_dest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
