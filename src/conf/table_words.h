/* SPDX-License-Identifier: Apache-2.0
 * table_words - the words that options take, for table.c alone.
 *
 * Threads: constant data.
 */
#ifndef NJ_CONF_TABLE_WORDS_H
#define NJ_CONF_TABLE_WORDS_H

#include "base/log.h"
#include "conf/conf.h"

static const struct conf_word protocols[] = {
	{ "mqtt", CONF_MQTT, CONF_WORKS, NULL, NULL },
	{ "websockets", CONF_WEBSOCKETS, CONF_WORKS, NULL, NULL },
	{ "mqtt+websockets", CONF_MQTT_WEBSOCKETS, CONF_WORKS, NULL, NULL },
	{ "est", CONF_EST, CONF_WORKS, NULL, NULL },
	{ "http_api", CONF_HTTP_API, CONF_LATER_STOPS,
	    "the HTTP API is not served yet",
	    "take this listener out; the figures are also under "
	    "$SYS/broker/" },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word domains[] = {
	{ "ipv4", CONF_IPV4, CONF_WORKS, NULL, NULL },
	{ "ipv6", CONF_IPV6, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

#define OLD_TLS \
	"was retired in 2021 (RFC 8996); TLS 1.2 is the least that is served"

static const struct conf_word tls_versions[] = {
	{ "tlsv1.3", CONF_TLS_13, CONF_WORKS, NULL, NULL },
	{ "tlsv1.2", CONF_TLS_12, CONF_WORKS, NULL, NULL },
	{ "tlsv1.1", CONF_TLS_12, CONF_IGNORED, "TLS 1.1 " OLD_TLS,
	    "delete this line" },
	{ "tlsv1", CONF_TLS_12, CONF_IGNORED, "TLS 1.0 " OLD_TLS,
	    "delete this line" },
	{ "tlsv1.0", CONF_TLS_12, CONF_IGNORED, "TLS 1.0 " OLD_TLS,
	    "delete this line" },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word versions[] = {
	{ "3", CONF_V31, CONF_WORKS, NULL, NULL },
	{ "4", CONF_V311, CONF_WORKS, NULL, NULL },
	{ "5", CONF_V5, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word exposed[] = {
	{ "true", CONF_EXPOSED_RULES, CONF_WORKS, NULL, NULL },
	{ "false", CONF_EXPOSED_TAKEN, CONF_WORKS, NULL, NULL },
	{ "secrets", CONF_EXPOSED_SECRETS, CONF_WORKS, NULL, NULL },
	{ "all", CONF_EXPOSED_KEYS, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word cert_ids[] = {
	{ "auto", CONF_CERT_ID_AUTO, CONF_WORKS, NULL, NULL },
	{ "own", CONF_CERT_ID_OWN, CONF_WORKS, NULL, NULL },
	{ "same", CONF_CERT_ID_SAME, CONF_WORKS, NULL, NULL },
	{ "any", CONF_CERT_ID_ANY, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word peer_checks[] = {
	{ "none", CONF_PEER_ANY, CONF_WORKS, NULL, NULL },
	{ "cn_ip", CONF_PEER_CN_IP, CONF_WORKS, NULL, NULL },
	{ "san_ip", CONF_PEER_SAN_IP, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word auth_methods[] = {
	{ "password", CONF_AUTH_PASSWORD, CONF_WORKS, NULL, NULL },
	{ "SCRAM-SHA-256", CONF_AUTH_SCRAM, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word log_types[] = {
	{ "error", LOG_T_ERROR, CONF_WORKS, NULL, NULL },
	{ "warning", LOG_T_WARNING, CONF_WORKS, NULL, NULL },
	{ "notice", LOG_T_NOTICE, CONF_WORKS, NULL, NULL },
	{ "information", LOG_T_INFORMATION, CONF_WORKS, NULL, NULL },
	{ "debug", LOG_T_DEBUG, CONF_WORKS, NULL, NULL },
	{ "subscribe", LOG_T_SUBSCRIBE, CONF_WORKS, NULL, NULL },
	{ "unsubscribe", LOG_T_UNSUBSCRIBE, CONF_WORKS, NULL, NULL },
	{ "websockets", LOG_T_WEBSOCKETS, CONF_WORKS, NULL, NULL },
	{ "internal", LOG_T_INTERNAL, CONF_WORKS, NULL, NULL },
	{ "all", LOG_T_ALL, CONF_WORKS, NULL, NULL },
	{ "none", 0, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word log_dests[] = {
	{ "stderr", LOG_D_STDERR, CONF_WORKS, NULL, NULL },
	{ "stdout", LOG_D_STDOUT, CONF_WORKS, NULL, NULL },
	{ "syslog", LOG_D_SYSLOG, CONF_WORKS, NULL, NULL },
	{ "file", LOG_D_FILE, CONF_WORKS, NULL, NULL },
	{ "topic", LOG_D_TOPIC, CONF_WORKS, NULL, NULL },
	{ "none", 0, CONF_WORKS, NULL, NULL },
	{ "dlt", 0, CONF_IGNORED, "there is no DLT daemon to log to here",
	    "delete this line, or use 'log_dest syslog'" },
	{ "android", 0, CONF_IGNORED, "this is not Android",
	    "delete this line, or use 'log_dest syslog'" },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word on_damage[] = {
	{ "stop", CONF_STOP, CONF_WORKS, NULL, NULL },
	{ "start_empty", CONF_START_EMPTY, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word queue_full[] = {
	{ "newest", CONF_DROP_NEWEST, CONF_WORKS, NULL, NULL },
	{ "oldest", CONF_DROP_OLDEST, CONF_WORKS, NULL, NULL },
	{ "refuse", CONF_DROP_REFUSE, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word start_types[] = {
	{ "automatic", 0, CONF_WORKS, NULL, NULL },
	{ "lazy", 1, CONF_WORKS, NULL, NULL },
	{ "once", 2, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word bridge_versions[] = {
	{ "mqttv31", 3, CONF_WORKS, NULL, NULL },
	{ "mqttv311", 4, CONF_WORKS, NULL, NULL },
	{ "mqttv50", 5, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word reload_types[] = {
	{ "lazy", 0, CONF_WORKS, NULL, NULL },
	{ "immediate", 1, CONF_WORKS, NULL, NULL },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

static const struct conf_word keyforms[] = {
	{ "pem", 0, CONF_WORKS, NULL, NULL },
	{ "engine", 1, CONF_REFUSED,
	    "OpenSSL 3 has put an end to engines, and they are not loaded here",
	    "use a key file in PEM form" },
	{ NULL, 0, CONF_WORKS, NULL, NULL },
};

#endif
