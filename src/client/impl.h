/* SPDX-License-Identifier: Apache-2.0
 * impl - what the files of the client share among themselves.
 *
 * Owns:    see struct client.
 * Threads: the client's one owner.
 */
#ifndef NJ_CLIENT_IMPL_H
#define NJ_CLIENT_IMPL_H

#include "base/buf.h"
#include "client/client.h"
#include "wire/frame.h"

#define CLIENT_IDS	  65536u
#define CLIENT_READ_CHUNK (64u * 1024u)
/* Reads of one step, so that a broker that never pauses cannot hold it. */
#define CLIENT_READS_STEP 16

/* What a QoS 1 or 2 publish waits for. */
enum flight_state { AWAIT_PUBACK, AWAIT_PUBREC, AWAIT_PUBCOMP };

struct flight {
	struct flight *next;
	enum flight_state state;
	uint16_t id;
	bool sent; /* on this connection */
	uint32_t len;
	uint8_t packet[]; /* the PUBLISH, to be sent again */
};

struct request {
	enum mqtt_type type; /* of the request */
	uint16_t id;
	size_t n; /* filters asked for */
};

enum link_state {
	LINK_DOWN,
	LINK_OPENING, /* CONNECT sent */
	LINK_UP,
	LINK_CLOSING /* sends what is unsent, then bye */
};

struct client {
	/* what was asked for */
	char *host, *unix_path, *bind_address;
	char where[288]; /* for messages: "host:port" */
	char *id;
	uint16_t port, keep_alive;
	bool srv, websocket, persistent;
	bool no_problem_info;	 /* we asked for none */
	struct socks_opts proxy; /* host NULL: none */
	char *proxy_host, *proxy_user;
	struct secret *proxy_password;
	enum mqtt_ver ver;
	struct buf connect;	  /* the packet; holds the password */
	struct client_auth *auth; /* NULL: none */
	bool own_method;	  /* the caller's own, among the properties */
	struct tls_client *tls;
	uint32_t max_packet;
	uint16_t max_inflight, receive_max, alias_max;
	const struct client_events *on;
	void *arg;

	/* the connection */
	enum link_state state;
	struct stream *stream;
	struct stream_scratch *scratch;
	struct buf in, out;
	struct buf bye; /* DISCONNECT, until it goes behind the rest */
	bool spoken;	/* the broker has sent something */
	uint8_t fault;	/* RC_* to tell a broker that broke the protocol; 0: by
			 * the kind of error */
	bool hold;
	uint64_t last_sent, ping_sent; /* ms; ping_sent 0: none */
	uint16_t ping_after;	       /* seconds; 0: never */
	struct buf *aliases; /* alias_max of them, made at the first */
	struct request requests[CLIENT_REQUESTS_MAX];
	size_t n_requests;

	/* what the broker said in CONNACK */
	uint8_t code, server_max_qos;
	bool session_present, server_retain;
	bool server_wildcards, server_sub_ids, server_shared;
	uint16_t server_receive_max, server_alias_max;
	uint32_t server_max_packet;

	/* the session */
	struct flight *flights, **last; /* oldest first; where the next goes */
	size_t n_flights, n_sent;
	uint16_t next_id;
	uint64_t *received; /* ids of QoS 2 deliveries without PUBREL;
			     * made at the first */
	size_t n_received;

	struct nj_why why;
};

/* client.c */
void client_trace(struct client *c, const char *fmt, ...) NJ_PRINTF(2, 3);

/* auth.c; client_auth_new does nothing without o->auth_method, the others
 * without c->auth. */
NJ_MUST enum nj_err client_auth_new(
    struct client *c, const struct client_opts *o, struct nj_why *why);
void client_auth_free(struct client *c);
/* What CONNECT says of it, once; and a new nonce before it is sent. */
void client_auth_connect(const struct client *c, struct connect *k);
NJ_MUST enum nj_err client_auth_renew(struct client *c);
/* An AUTH; the properties of a CONNACK that says yes. */
NJ_MUST enum nj_err
client_auth_receive(struct client *c, const struct frame *f);
NJ_MUST enum nj_err
client_auth_accepted(struct client *c, const struct props *p);
/* Milliseconds until the next re-authentication, -1: none; which begins
 * here if it is time. */
int64_t client_auth_wait(const struct client *c);
NJ_MUST enum nj_err client_auth_again(struct client *c);

/* flight.c */
NJ_MUST enum nj_err client_take_id(struct client *c, uint16_t *id);
/* Where the pointer to it stands; NULL when there is none. */
struct flight **client_flight(struct client *c, uint16_t id);
void
client_flight_end(struct client *c, struct flight **at, const struct ack *ack);
/* After CONNACK: sends what is in flight again. */
NJ_MUST enum nj_err client_resume(struct client *c);
/* Appends one of the four to the unsent bytes. */
NJ_MUST enum nj_err client_put_ack(
    struct client *c, enum mqtt_type type, uint16_t id, uint8_t code);

/* receive.c: one packet of the broker's. */
NJ_MUST enum nj_err client_receive(struct client *c, const struct frame *f);
void client_aliases_free(struct client *c);
/* A malformed or forbidden packet, in c->why; returns e. */
enum nj_err client_blame(struct client *c, enum nj_err e, const char *fmt, ...)
    NJ_PRINTF(3, 4);
/* The same of a protocol error that has a code of its own (4.13). */
enum nj_err client_blame_as(
    struct client *c, enum mqtt_rc code, const char *fmt, ...) NJ_PRINTF(3, 4);

/* dial.c */
/* A connected descriptor; c->where says to whom. */
NJ_MUST enum nj_err client_dial(struct client *c, uint64_t deadline, int *fd);
/* Where it is meant to go, for messages. */
void client_set_where(struct client *c, const char *host, uint16_t port);

/* link.c */
/* fd -1: dial. */
NJ_MUST enum nj_err client_open(struct client *c, int fd, uint64_t deadline);
/* Drops the connection, but not the session. */
void client_close(struct client *c);
/* One turn of client_step_beside; other_fd -1: none. */
NJ_MUST enum nj_err
client_turn(struct client *c, int timeout_ms, int other_fd, bool *readable);
uint64_t client_now(void);
/* Milliseconds to a deadline, at least 0. */
int client_left(uint64_t deadline);

/* reason.c: what to do about it; "" when there is no advice. */
const char *client_reason_mend(enum mqtt_ver v, uint8_t code);

#endif
