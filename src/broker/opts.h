/* SPDX-License-Identifier: Apache-2.0
 * opts - what the broker is told; filled by cmd/serve.c from the configuration.
 *
 * Owns:    nothing; strings live as long as the broker, or until a reload has
 *          been taken by every shard.
 * Threads: read-only once handed over.
 */
#ifndef NJ_BROKER_OPTS_H
#define NJ_BROKER_OPTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/session.h"

struct acl;
struct rolebase;
struct workers;
struct auth_chain;
struct cert_rules;
struct device_groups;
struct listener;
struct tls_server;

/* Where a client's name comes from when its certificate was verified. */
enum cert_identity {
	CERT_IDENTITY_NONE,
	CERT_IDENTITY_CN,
	CERT_IDENTITY_SUBJECT
};

/* Which client identifiers a client may have that a certificate names. */
enum cert_id {
	CERT_ID_AUTO, /* own for rules and Nightjar's own devices, else any */
	CERT_ID_OWN,  /* its name, or that and ':' or '/' and more */
	CERT_ID_SAME, /* its name */
	CERT_ID_ANY
};

/* What a certificate must have of its client's address. */
enum peer_check { PEER_CHECK_NONE, PEER_CHECK_CN_IP, PEER_CHECK_SAN_IP };

struct signer;
struct workers;

/* What a listener for enrolment needs. */
struct est_opts {
	struct signer *signer;	 /* NULL: only what is public */
	struct workers *workers; /* in which it is asked */
	const char *crl;	 /* path of the CA's list, PEM */
};

/* One listener, all its addresses. */
struct port_opts {
	struct listener *listener; /* open */
	struct tls_server *tls;	   /* NULL: plain; one reference */
	struct auth_chain *chain;  /* one reference */
	struct acl *acl;	   /* topic rules; NULL: none; one reference */
	struct rolebase *roles;	   /* users, groups, roles; the same */
	enum cert_identity identity;
	struct cert_rules *cert_rules; /* NULL: none; one reference */
	struct device_groups *groups;  /* NULL: its CA is not ours; one
				       * reference */
	bool other_cas; /* clients may come from other CAs as well */
	enum cert_id cert_id;
	enum peer_check peer_check;
	bool require_cert; /* for who is connected when it is asked for */
	/* A browser shows its certificate for whatever page: where there is
	 * another way in, it is no login (stream_from_page). */
	bool cert_not_of_pages;
	bool use_username_as_clientid;
	bool allow_zero_length_clientid;
	const char *auto_id_prefix;	  /* never NULL */
	const char *clientid_prefixes;	  /* NULL: any */
	const char *response_information; /* prefix; NULL: none */
	bool websockets;		  /* MQTT in WebSocket frames */
	bool mqtt_too;		    /* with websockets: and without them */
	const char *ws_origins;	    /* one a line; NULL: any */
	const struct est_opts *est; /* NULL: MQTT; outlives the broker */
	/* Devices may enrol over MQTT here; NULL: not.  Those who come for that
	 * are judged by this chain, one reference; from the others a
	 * certificate is wanted, if enroll_else_cert. */
	const struct est_opts *enroll;
	struct auth_chain *enroll_chain;
	bool enroll_else_cert;
	const char *mount_point; /* before its clients' topics; NULL */
	uint8_t proxy; /* version of the PROXY header that comes first; 0 */
	/* what it must tell of the client's TLS, if there is none here */
	bool proxy_tls, proxy_cert;
	const char *proxy_from;	  /* base/cidr.h; NULL: this machine */
	uint32_t max_connections; /* 0: no limit */
	uint8_t max_qos;
	uint8_t versions;		 /* bit v set: version v is served */
	uint16_t max_topic_alias;	 /* inbound */
	uint16_t max_topic_alias_broker; /* outbound */
};

/* All of it can change at a reload. */
struct broker_limits {
	struct session_limits session;
	uint64_t memory;	     /* bytes of heap; 0 */
	uint32_t max_packet_size;    /* bytes; 0: the protocol's */
	uint32_t message_size_limit; /* payload bytes; 0: none */
	uint16_t max_keepalive;	     /* seconds; 0: none */
	uint16_t receive_max;	     /* QoS 2 a client may have open */
	bool retain_available;
	bool deny_subscribe; /* where nothing could be read */
	bool deny_ends;	     /* before MQTT 5, who publishes what he may not */
	bool check_source;   /* of retained messages */
	bool nodelay;
	bool log_connections;	       /* connection_messages */
	bool control_api;	       /* listing.h */
	uint32_t client_expiration_s;  /* MQTT_EXPIRY_NEVER */
	uint32_t max_connections;      /* 0: no limit; the process */
	uint32_t max_pending;	       /* before CONNECT is done; 0 */
	uint32_t max_sessions;	       /* 0 */
	uint32_t max_waiting_per_user; /* sessions whose client is away; 0 */
	bool evict_sessions;	       /* the oldest of them, when full */
	uint32_t max_wills_per_minute; /* of a client; 0 */
	uint32_t max_match_work;       /* index.h; 0 */
	uint32_t connect_timeout_ms;   /* accept to CONNECT, after TLS */
	uint32_t handshake_timeout_ms;
	uint32_t ws_head_max;	   /* bytes of a WebSocket request; 0: usual */
	uint32_t write_timeout_ms; /* a reader that takes nothing */
	uint32_t handshake_budget; /* handshake steps a loop turn */
	uint32_t out_soft;	   /* link.h */
	uint32_t sys_interval_s;   /* 0: no $SYS */
};

/* The ports as they are now; a reload makes a new set, and the last shard that
 * leaves the old one frees it. */
struct port_set {
	atomic_uint refs;
	size_t n;
	struct port_opts v[];
};

/* What one address may do; guard.h. */
struct guard_opts {
	uint32_t connects_per_s;      /* 0: no limit */
	uint32_t failures_per_minute; /* failed logins; 0: no limit */
	uint32_t failures_per_user;   /* the same of one user name */
};

struct broker_opts {
	unsigned shards; /* 0: one a usable processor */
	struct port_opts *ports;
	size_t n_ports;
	struct broker_limits limits;
	struct guard_opts guard;
	uint64_t max_retained, max_retained_bytes; /* 0: no limit */
	uint32_t max_retained_per_user;		   /* 0: no limit */
	const struct clock *clock;		   /* NULL: the system's */
	const char *store_path;			   /* NULL: nothing is kept */
	const char *store_vfs;			   /* NULL: SQLite's usual */
	bool store_no_thread;			   /* broker_turn writes */
	uint32_t store_data_min;		   /* as store_opts has it */
	uint64_t store_data_file;
	struct workers *control; /* runs commands; NULL: the shard does */
};

#endif
