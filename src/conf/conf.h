/* SPDX-License-Identifier: Apache-2.0
 * conf - a mosquitto.conf read into typed values, with every fault named.
 *
 * Owns:    all strings and listeners of a struct conf (conf_free).
 * Threads: one owner while it is read; read-only afterwards.
 * Bounds:  CONF_FILE_MAX bytes a file, CONF_LISTENERS_MAX listeners,
 *          CONF_REPORT_MAX findings (the rest is counted).
 * Note:    src/conf/table.c has one row an option; parser, defaults, reload
 *          diff, --help-options and nightjar.conf(5) all derive from it.
 *          A module is handed its own small option struct, never this one.
 */
#ifndef NJ_CONF_CONF_H
#define NJ_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "conf/report.h"
#include "conf/table.h"

#define CONF_FILE_MAX	   (4u << 20)
#define CONF_LINE_MAX	   (64u << 10)
#define CONF_INCLUDES_MAX  1024
#define CONF_LISTENERS_MAX 256
#define CONF_LIST_MAX	   1024
#define CONF_PORTS_MAX	   10 /* -p on the command line */

/* Where a value was given; line 0: it was not, the default holds. */
struct conf_at {
	uint32_t line;
	uint16_t file; /* index into conf.files */
	uint16_t col;
};

struct conf_list {
	char **v;
	uint32_t n;
};

enum conf_protocol {
	CONF_MQTT,
	CONF_WEBSOCKETS,
	CONF_MQTT_WEBSOCKETS, /* the client's first bytes decide */
	CONF_HTTP_API,
	CONF_EST /* certificates for devices; no MQTT */
};
enum conf_tls_min { CONF_TLS_12 = 12, CONF_TLS_13 = 13 };
enum conf_on_damage { CONF_STOP, CONF_START_EMPTY };
enum conf_queue_full { CONF_DROP_NEWEST, CONF_DROP_OLDEST, CONF_DROP_REFUSE };
enum conf_domain { CONF_ANY, CONF_IPV4, CONF_IPV6 };
/* Bits of accept_protocol_versions. */
enum conf_versions {
	CONF_V31 = 1 << 3,
	CONF_V311 = 1 << 4,
	CONF_V5 = 1 << 5,
	CONF_V_ALL = CONF_V31 | CONF_V311 | CONF_V5
};

/* refuse_exposed_files: what every user of the machine may not read; each with
 * those above it. */
enum conf_exposed {
	CONF_EXPOSED_TAKEN,
	CONF_EXPOSED_SECRETS, /* hashes of passwords */
	CONF_EXPOSED_RULES,   /* what is allowed to whom */
	CONF_EXPOSED_KEYS     /* private keys of TLS */
};

/* certificate_clientid */
enum conf_cert_id {
	CONF_CERT_ID_AUTO,
	CONF_CERT_ID_OWN,
	CONF_CERT_ID_SAME,
	CONF_CERT_ID_ANY
};
enum conf_peer_check { CONF_PEER_ANY, CONF_PEER_CN_IP, CONF_PEER_SAN_IP };

/* Bits of auth_methods. */
enum conf_auth { CONF_AUTH_PASSWORD = 1, CONF_AUTH_SCRAM = 2 };

/* What is per listener with per_listener_settings and common without. */
struct conf_security {
	int allow_anonymous; /* -1: not said */
	bool allow_zero_length_clientid;
	char *auto_id_prefix;
	char *password_file;
	char *acl_file;
	char *dynamic_security_file;
	char *dynamic_security_password_file;
	char *psk_file;
	char *jwt_key_file; /* paths, one a line; NULL: no tokens */
	char *jwt_issuer, *jwt_audience;
	char *jwt_username_claim, *jwt_clientid_claim;
	char *jwt_groups_claim, *jwt_topics_claim;
	uint32_t jwt_leeway; /* seconds */
	struct conf_at at[CONF_OPTS_MAX];
};

struct conf_listener {
	/* address */
	uint16_t port; /* 0: Unix socket */
	char *host;    /* NULL: every address */
	char *unix_path;
	char *bind_interface;
	char *unix_socket_mode;	 /* octal digits; NULL: the default */
	char *unix_socket_owner; /* USER[:GROUP]; NULL: who serves */
	int socket_domain;	 /* enum conf_domain */
	int protocol; /* enum conf_protocol; CONF_HTTP_API does not get
			 * past conf_load for now */
	char *response_information; /* topic prefix; NULL: none */
	uint32_t proxy_protocol;    /* 0: none is expected */
	bool proxy_require_tls;
	char *proxy_from;	 /* base/cidr.h; NULL: this machine */
	char *websockets_origin; /* one a line; NULL: any */
	/* TLS: on when certfile and keyfile are set, or psk_hint (l->tls) */
	char *cafile, *capath, *certfile, *keyfile, *crlfile;
	char *keyfile_password_file;  /* resolved, also from
					 * $CREDENTIALS_DIRECTORY */
	char *ciphers, *ciphersuites; /* NULL: ours */
	int tls_min;		      /* enum conf_tls_min */
	bool require_certificate;
	bool use_identity_as_username; /* CN */
	bool use_subject_as_username;  /* DN */
	char *further_certificate;     /* "CERT KEY" a line; NULL: none */
	char *certificate_rule;	       /* auth/cert_rules.h; NULL: none */
	int certificate_clientid;      /* enum conf_cert_id */
	int peer_check;		       /* enum conf_peer_check */
	bool certificate_or_password;
	bool enroll; /* devices may ask for certificates over MQTT */
	bool ocsp_stapling;
	char *psk_hint;
	/* what it lets in */
	uint32_t max_connections; /* 0: no limit */
	uint32_t max_qos;
	uint32_t max_topic_alias; /* client to broker */
	uint32_t max_topic_alias_broker;
	unsigned accept_protocol_versions; /* enum conf_versions */
	unsigned auth_methods;		   /* enum conf_auth */
	bool use_username_as_clientid;
	char *mount_point;
	int own_allow_anonymous;  /* listener_allow_anonymous; -1 */
	char *own_auto_id_prefix; /* listener_auto_id_prefix; NULL */
	char *plugin_use;	  /* names of plugin_load, one a line; NULL */
	struct conf_security own; /* with per_listener_settings */
	/* What its plug-ins bring; borrowed, as what follows. */
	const char *plugin_password_file, *plugin_acl_file;
	const char *plugin_dynamic_security_file;
	const char *plugin_dynamic_security_password_file;
	/* What holds for this listener, after all of the rules; use these.
	 * The strings are borrowed from this struct conf. */
	bool tls;
	unsigned socket_mode; /* 0: the default */
	bool cert_names;      /* certificates say who clients are */
	bool allow_anonymous;
	bool allow_zero_length_clientid;
	const char *auto_id_prefix;		    /* "" when there is none */
	const char *password_file;		    /* NULL: none */
	const char *acl_file;			    /* NULL: none */
	const char *psk_file;			    /* NULL: none */
	const char *dynamic_security_file;	    /* NULL: none */
	const char *dynamic_security_password_file; /* NULL: none */
	bool tokens;				    /* jwt_key_file is given */
	struct conf_at where; /* its listener or port line */
	struct conf_at at[CONF_OPTS_MAX];
};

/* What plugin_load named, of those that are built in here. */
struct conf_plugin {
	char *name;
	char *file;	    /* its option's; NULL: none, which is told */
	char *password;	    /* password_init_file; NULL: none */
	const char *option; /* what it is here; NULL: refused, which is told */
	struct conf_at at;
	bool used;
};

struct conf {
	/* Never empty after conf_load: without any in the file, 127.0.0.1 and
	 * ::1 on port 1883 (or -p), and local_only is set. */
	struct conf_listener *listeners;
	uint32_t nlisteners;
	bool local_only;

	/* security */
	bool per_listener_settings;
	char *clientid_prefixes; /* NULL: any client id */
	bool check_retain_source;
	bool allow_linked_files;
	int refuse_exposed_files; /* enum conf_exposed */

	/* limits: of one client.  Numbers of 0 mean no limit unless told. */
	uint32_t max_inflight_messages; /* never 0: 65535 at most */
	uint64_t max_inflight_bytes;
	uint32_t max_queued_messages;
	uint64_t max_queued_bytes;
	uint64_t max_packet_size;    /* whole packet; at most 268435461 */
	uint64_t message_size_limit; /* payload */
	bool acl_deny_subscribe;
	bool acl_deny_disconnect;
	uint32_t max_keepalive; /* seconds; 0: clients may ask for none */
	bool queue_qos0_messages;
	bool upgrade_outgoing_qos;
	uint32_t max_subscriptions_per_client;
	uint64_t max_output_bytes;    /* unsent to one client: above it QoS 0
					 * is dropped for this client */
	uint32_t slow_reader_timeout; /* seconds with no byte taken while
					 * output waits: disconnected */
	/* limits: of the whole broker */
	uint64_t memory_limit;
	uint32_t global_max_clients; /* sessions, connected or not */
	bool evict_offline_sessions; /* when it is reached */
	uint32_t max_offline_sessions_per_user;
	uint32_t max_wills_per_minute; /* of one client */
	uint32_t max_match_work;       /* of one message */
	uint32_t global_max_connections;
	uint32_t max_pending_connections; /* before CONNECT is done */
	uint32_t connections_per_second;  /* from one address */
	uint32_t failed_logins_per_minute;
	uint32_t failed_logins_per_user;
	uint32_t handshake_timeout;	  /* seconds, TLS and WebSocket */
	uint32_t websockets_headers_size; /* 0: ours */
	uint32_t connect_timeout;	  /* seconds from then to CONNECT */
	uint32_t handshakes_per_turn;	  /* TLS handshake steps one loop turn
					 * of a shard gives */
	uint32_t tls_tickets;		  /* 0: no resumption */
	bool retain_available;
	uint32_t max_retained_messages;
	uint64_t max_retained_bytes;
	uint32_t max_retained_messages_per_user;
	uint32_t retain_expiry_interval;       /* minutes between sweeps; 0:
						 * ours */
	uint64_t persistent_client_expiration; /* seconds; 0: never */
	bool set_tcp_nodelay;
	uint32_t threads; /* shards; 0: one for each CPU we may use */

	bool persistence;
	int persistence_on_damage;  /* enum conf_on_damage */
	int queue_full_policy;	    /* enum conf_queue_full */
	char *persistence_location; /* also $MOSQUITTO_PERSISTENCE_LOCATION */
	char *persistence_file;
	uint32_t autosave_interval; /* seconds */
	bool autosave_on_changes;

	/* our own CA */
	char *ca_dir;		  /* NULL: where a cafile is DIR/pki/ca.crt */
	char *ca_passphrase_file; /* NULL: where home_unlock looks */

	/* process */
	char *user; /* NULL: nightjar, else mosquitto, else nobody */
	char *pid_file;
	char *admin_socket;	  /* NULL: none */
	bool admin_socket_usual;  /* not given: where it fits, if it can */
	char *admin_socket_mode;  /* octal digits; NULL: the default */
	char *admin_socket_group; /* NULL: none */
	uint32_t sys_interval;	  /* seconds; 0: no $SYS */
	bool control_api;

	/* log, in the terms of base/log.h */
	unsigned log_dests;   /* enum log_dest */
	bool log_dests_given; /* otherwise stderr, or syslog with -d */
	char *log_file;
	unsigned log_types; /* enum log_type; all with -v */
	bool log_timestamp;
	char *log_timestamp_format; /* NULL: Unix seconds */
	int log_facility;	    /* 0-7 for LOG_LOCALn; -1: LOG_DAEMON */
	bool connection_messages;

	/* how it came to be */
	struct conf_security security;
	struct conf_listener base; /* what stands before any listener */
	struct conf_list files;	   /* all that were read, in order */
	struct conf_plugin *plugins;
	uint32_t nplugins;
	struct conf_at at[CONF_OPTS_MAX];
};

/* Only this machine reaches it, by what its line says. */
bool conf_is_local(const struct conf_listener *l);
/* The dynamic_security_password_file of that dynamic_security_file; NULL. */
const char *conf_first_password(const struct conf *c, const char *path);

/* What the command line says. */
struct conf_args {
	uint16_t ports[CONF_PORTS_MAX]; /* -p: on loopback, and only when the
					 * file opens no listener */
	uint32_t nports;
	bool verbose; /* -v: log_type all */
};

/* How files and the environment are seen; conf_files is the real world. */
struct conf_source {
	/* Appends the file to *out. */
	enum nj_err (*read)(
	    void *arg, const char *path, struct buf *out, struct nj_why *why);
	/* Names of entries of a folder, in any order, through conf_list_add. */
	enum nj_err (*list)(void *arg, const char *path, struct conf_list *out,
	    struct nj_why *why);
	const char *(*env)(void *arg, const char *name); /* or NULL */
	void *arg;
};
extern const struct conf_source conf_files;

/*
 * Reads path (NULL: no file, the defaults) and what it includes.  NJ_INVALID
 * when the report has a fault; *out is then filled as far as it goes, so that
 * conf_check can go on and find the rest.  Except on NJ_NOMEM, call conf_free
 * in either case.
 */
NJ_MUST enum nj_err conf_load(const char *path, const struct conf_args *args,
    struct conf *out, struct conf_report *report);
/* The same from memory; name is what the report calls it. */
NJ_MUST enum nj_err
conf_parse(const char *name, struct slice text, const struct conf_source *src,
    const struct conf_args *args, struct conf *out, struct conf_report *report);
void conf_free(struct conf *c);
NJ_MUST enum nj_err conf_list_add(struct conf_list *l, const char *s);
void conf_list_free(struct conf_list *l);
const char *conf_file_name(const struct conf *c, struct conf_at at);

/*
 * What a reload from old to new changes, one call a difference.  listener is
 * NULL for what is common to all, otherwise the new one (or the old one when
 * it is gone); restart: only the next start brings it.
 */
typedef void conf_diff_fn(void *arg, const struct conf_opt *o,
    const struct conf_listener *listener, bool restart);
void conf_diff(const struct conf *old, const struct conf *new, conf_diff_fn *fn,
    void *arg);

#endif
