/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/table.h"

#include "memory.h"

/* Every name of Mosquitto's configuration files, from 1.x to 2.1. */
static const char *const mosquitto_names[] = { "listener", "port",
	"bind_address", "protocol", "bind_interface", "socket_domain",
	"max_connections", "mount_point", "use_username_as_clientid", "max_qos",
	"maximum_qos", "max_topic_alias", "max_topic_alias_broker",
	"accept_protocol_versions", "enable_proxy_protocol",
	"proxy_protocol_v2_require_tls", "packet_buffer_size",
	"websockets_headers_size", "cafile", "capath", "certfile", "keyfile",
	"require_certificate", "use_identity_as_username",
	"use_subject_as_username", "crlfile", "tls_version", "ciphers",
	"ciphers_tls1.3", "psk_hint", "psk_file",
	"disable_client_cert_date_checks", "dhparamfile", "tls_engine",
	"tls_engine_kpass_sha1", "tls_keyform", "allow_anonymous",
	"listener_allow_anonymous", "password_file", "acl_file",
	"per_listener_settings", "allow_zero_length_clientid", "auto_id_prefix",
	"listener_auto_id_prefix", "clientid_prefixes", "check_retain_source",
	"max_inflight_messages", "max_inflight_bytes", "max_queued_messages",
	"max_queued_bytes", "max_packet_size", "message_size_limit",
	"max_keepalive", "queue_qos0_messages", "retain_available",
	"upgrade_outgoing_qos", "set_tcp_nodelay",
	"persistent_client_expiration", "memory_limit", "global_max_clients",
	"global_max_connections", "retain_expiry_interval",
	"allow_duplicate_messages", "retry_interval", "persistence",
	"retained_persistence", "persistence_location", "persistence_file",
	"autosave_interval", "autosave_on_changes", "user", "pid_file",
	"include_dir", "sys_interval", "log_dest", "log_type", "log_timestamp",
	"log_timestamp_format", "log_facility", "connection_messages",
	"websockets_origin", "http_dir", "websockets_log_level", "plugin",
	"auth_plugin", "plugin_opt_x", "auth_opt_x", "global_plugin",
	"plugin_load", "plugin_use", "auth_plugin_deny_special_chars",
	"enable_control_api", "connection", "address", "addresses", "topic",
	"remote_clientid", "clientid", "remote_username", "username",
	"remote_password", "password", "local_clientid", "local_username",
	"local_password", "cleansession", "local_cleansession",
	"keepalive_interval", "start_type", "restart_timeout", "idle_timeout",
	"threshold", "round_robin", "try_private", "notifications",
	"notifications_local_only", "notification_topic",
	"bridge_protocol_version", "bridge_cafile", "bridge_capath",
	"bridge_certfile", "bridge_keyfile", "bridge_insecure",
	"bridge_tls_version", "bridge_alpn", "bridge_identity", "bridge_psk",
	"bridge_attempt_unsubscribe", "bridge_outgoing_retain",
	"bridge_max_packet_size", "bridge_bind_address", "bridge_require_ocsp",
	"bridge_tls_use_os_certs", "bridge_ciphers", "bridge_ciphers_tls1.3",
	"bridge_receive_maximum", "bridge_session_expiry_interval",
	"bridge_max_topic_alias", "bridge_reload_type", "bridge_tcp_keepalive",
	"bridge_tcp_user_timeout", "store_clean_interval", "max_log_entries",
	"trace_level", "trace_output", "ffdc_output" };

static void
test_every_name(void **state)
{
	size_t theirs = 0;

	(void)state;
	for (size_t i = 0; i < ROWS(mosquitto_names); i++) {
		const struct conf_opt *o =
		    conf_opt_find(slice_str(mosquitto_names[i]));

		if (!o)
			fail_msg("%s has no row", mosquitto_names[i]);
		assert_non_null(conf_opt_real(o)->help);
	}
	for (size_t i = 0; i < conf_table_n; i++)
		theirs += !(conf_table[i].flags & CONF_OURS);
	assert_int_equal(theirs, ROWS(mosquitto_names));
}

static void
test_rows_are_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_table_n; i++) {
		const struct conf_opt *o = &conf_table[i];
		bool bad = false;

		assert_ptr_equal(conf_opt_find(slice_str(o->name)), o);
		if (o->same_as) {
			assert_non_null(conf_opt_real(o));
			continue;
		}
		if (!o->help)
			fail_msg("%s has no help", o->name);
		/* What cannot be served says why and what to do. */
		if (o->standing != CONF_WORKS && !(o->flags & CONF_QUIET) &&
		    o->scope != CONF_PLUGIN)
			bad = !o->note || !o->mend;
		if (bad)
			fail_msg("%s does not say why, or what to do", o->name);
		if (o->type == CONF_T_ENUM || o->type == CONF_T_SET)
			assert_non_null(o->words);
		if (o->type == CONF_T_FORM)
			assert_non_null(o->args);
		for (const struct conf_word *w = o->words; w && w->name; w++)
			if (w->standing != CONF_WORKS && !w->note)
				fail_msg(
				    "%s %s says nothing", o->name, w->name);
	}
}

/* What restricts is served, or it refuses the start; it is never passed over
 * with a warning. */
static void
test_restrictions_are_kept(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_table_n; i++) {
		const struct conf_opt *o = &conf_table[i];

		if ((o->flags & CONF_RESTRICTS) &&
		    (o->standing == CONF_LATER || o->standing == CONF_IGNORED))
			fail_msg("%s restricts and is ignored", o->name);
	}
}

static void
test_nearest(void **state)
{
	static const struct {
		const char *word, *want;
	} rows[] = {
		{ "listner", "listener" },
		{ "LISTENER", "listener" },
		{ "Allow_Anonymous", "allow_anonymous" },
		{ "allow-anonymous", "allow_anonymous" },
		{ "alow_anonymus", "allow_anonymous" },
		{ "passwd_file", "password_file" },
		{ "max_queued_message", "max_queued_messages" },
		{ "ca_file", "cafile" },
		{ "prot", "port" },
		{ "xyzzy", NULL },
		{ "q", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		const char *got = conf_opt_nearest(slice_str(rows[i].word));

		if (!got != !rows[i].want ||
		    (got && strcmp(got, rows[i].want) != 0))
			fail_msg("%s: %s, not %s", rows[i].word,
			    got ? got : "-", rows[i].want ? rows[i].want : "-");
	}
}

static void
test_prefix_rows(void **state)
{
	(void)state;
	assert_null(conf_opt_find(LIT("plugin_opt_")));
	assert_non_null(conf_opt_find(LIT("plugin_opt_a")));
	assert_non_null(conf_opt_find(LIT("auth_opt_db")));
	assert_null(conf_opt_find(LIT("plugin_op")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_name),
		cmocka_unit_test(test_rows_are_whole),
		cmocka_unit_test(test_restrictions_are_kept),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_prefix_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
