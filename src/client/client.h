/* SPDX-License-Identifier: Apache-2.0
 * client - one MQTT client, driven by its caller: pub, sub, rr, the self test
 *          of `up`, a bridge.
 *
 * Owns:    the connection, what is unsent, and every QoS 1 and 2 message until
 *          the broker has answered for it.  struct client_opts is copied, but for
 *          its events.
 * Threads: one owner.  Nothing runs between calls: keep alive and answers
 *          happen inside client_step and client_connect.
 * Bounds:  CLIENT_UNSENT_MAX bytes unsent, CLIENT_REQUESTS_MAX subscribe and
 *          unsubscribe requests unanswered, max_inflight and the broker's
 *          receive maximum in flight (NJ_FULL: step, then try again); max_packet
 *          bytes a received packet; topic_alias_max topics remembered.
 * Trust:   the broker is not trusted: what breaks the protocol ends the
 *          connection with NJ_MALFORMED, NJ_PROTOCOL or NJ_TOOBIG and a why.
 * Spec:    MQTT 5.0, 3.1.1, 3.1, the client's part; enhanced authentication
 *          (4.12) by SCRAM-SHA-256.
 */
#ifndef NJ_CLIENT_CLIENT_H
#define NJ_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "net/socks.h"
#include "net/tls.h"
#include "wire/packet.h"

#define CLIENT_UNSENT_MAX   (1024 * 1024)
#define CLIENT_REQUESTS_MAX 64
#define CLIENT_INFLIGHT	    20		       /* when max_inflight is 0 */
#define CLIENT_PACKET_MAX   (64 * 1024 * 1024) /* when max_packet is 0 */

struct client;

/*
 * What happened; any may be NULL.  Called from client_step and client_connect
 * only.  They may call client_publish, client_subscribe, client_unsubscribe,
 * client_hold and client_disconnect, but not client_step, client_connect or
 * client_free.  Slices live until the function returns.
 */
struct client_events {
	/* A message; its topic is filled in when it came as an alias.  It is
	 * acknowledged when this returns.  QoS 2 comes once. */
	void (*on_message)(void *arg, const struct publish *p);
	/* The end of a QoS 1 or 2 publish; code >= 0x80: refused. */
	void (*on_published)(
	    void *arg, uint16_t id, uint8_t code, const struct props *props);
	/* As many codes as filters were asked for; none of an MQTT 3 broker's
	 * answer to unsubscribe. */
	void (*on_subscribed)(void *arg, uint16_t id, struct slice codes,
	    const struct props *props);
	void (*on_unsubscribed)(void *arg, uint16_t id, struct slice codes,
	    const struct props *props);
	void (*on_connected)(void *arg, const struct connack *c);
	/* One line about each packet (for -d), without its end of line. */
	void (*on_trace)(void *arg, const char *line);
};

struct client_opts {
	/* NULL: localhost; 0: 1883, with TLS 8883. */
	const char *host;
	uint16_t port;
	/* Instead of host and port. */
	const char *unix_path;
	const char *bind_address;
	/* SRV records of the host (NULL: of this machine's domain) say where to
	 * connect; port is not looked at. */
	bool srv;
	/* NULL: connect directly. */
	const struct socks_opts *proxy;
	bool websocket;
	/* NULL: plain. */
	const struct tls_client_opts *tls;
	/* 0: MQTT311. */
	enum mqtt_ver version;
	/* NULL or "": the broker chooses. */
	const char *client_id;
	const char *username;
	const struct secret *password;
	/* "SCRAM-SHA-256", with 5.0: the password is not sent, and the broker
	 * must show that it knows it.  NULL: none. */
	const char *auth_method;
	/* Authenticates again each so many seconds; 0: never. */
	uint32_t reauth_s;
	/* Seconds; 0: none. */
	uint16_t keep_alive;
	/* Not a clean session (3.x), no clean start (5.0). */
	bool persistent;
	/* Copied. */
	const struct will *will;
	/* Properties of CONNECT (5.0), copied: receive_max, max_packet_size
	 * and topic_alias_max are honoured here too. */
	const struct props *props;
	uint32_t max_packet;
	uint16_t max_inflight;
	/* Borrowed; NULL: none. */
	const struct client_events *events;
	void *arg;
};

/* NJ_INVALID with why when the options cannot be used (a certificate file
 * that is not there, a client id that the version does not allow, ...). */
NJ_MUST enum nj_err client_new(
    const struct client_opts *o, struct client **out, struct nj_why *why);
/* Closes without DISCONNECT when that was not sent. */
void client_free(struct client *c);

/*
 * Connects, handshakes, sends CONNECT and waits for the answer; timeout_ms is
 * for all of it.  NJ_DENIED: the broker said no, client_code has its code.
 * May be called again after the connection was lost: publishes in flight are
 * then sent again; unanswered requests are forgotten.
 */
NJ_MUST enum nj_err
client_connect(struct client *c, int timeout_ms, struct nj_why *why);
/* The same over a connected socket, which is taken over whatever happens. */
NJ_MUST enum nj_err
client_connect_fd(struct client *c, int fd, int timeout_ms, struct nj_why *why);
/*
 * Sends what waits to be sent, waits up to timeout_ms (-1: for ever) until
 * something arrives or all is sent, and handles what is there.  NJ_OK also when nothing
 * came or a signal interrupted.  On any other result the connection is gone
 * and *why says why; NJ_EOF after client_disconnect.
 */
NJ_MUST enum nj_err
client_step(struct client *c, int timeout_ms, struct nj_why *why);
/* The same, and returns as soon as other_fd is readable too (*readable). */
NJ_MUST enum nj_err client_step_beside(struct client *c, int timeout_ms,
    int other_fd, bool *readable, struct nj_why *why);

/*
 * Takes qos, retain, topic, payload and props of *p; *id (may be NULL) is what
 * on_published will name, 0 at QoS 0.  NJ_FULL: step first.  NJ_TOOBIG: more
 * than the broker takes.  NJ_UNSUPPORTED: the broker has no such QoS, topic
 * alias, or no retained messages.  NJ_INVALID: no topic name.  NJ_EOF: not
 * connected.
 */
NJ_MUST enum nj_err
client_publish(struct client *c, const struct publish *p, uint16_t *id);
/* NJ_INVALID: a filter that none can use.  NJ_UNSUPPORTED: the broker has said
 * that it has no wildcards, shared subscriptions or subscription identifiers. */
NJ_MUST enum nj_err
client_subscribe(struct client *c, const struct subscription *subs, size_t n,
    const struct props *props, uint16_t *id);
NJ_MUST enum nj_err
client_unsubscribe(struct client *c, const struct slice *filters, size_t n,
    const struct props *props, uint16_t *id);
/* From now on messages that arrive are neither delivered nor acknowledged;
 * those delivered already are brought to their end. */
void client_hold(struct client *c);
/* DISCONNECT, after everything unsent; the next steps send it and end with
 * NJ_EOF.  props may be NULL. */
NJ_MUST enum nj_err
client_disconnect(struct client *c, uint8_t code, const struct props *props);

bool client_connected(const struct client *c);
/* Publishes without their end, requests without an answer, and deliveries of
 * QoS 2 whose end is missing. */
size_t client_unanswered(const struct client *c);
/* Bytes not taken by the socket yet. */
size_t client_unsent(const struct client *c);
/* The id the broker gave, or ours; "" when there is none. */
const char *client_id(const struct client *c);
/* Reason code of the last CONNACK or DISCONNECT received. */
uint8_t client_code(const struct client *c);
bool client_session_present(const struct client *c);
/* NULL on a plain connection. */
const struct tls_peer *client_tls(const struct client *c);
int client_fd(const struct client *c); /* -1 when not connected */

/* A reason code in words; never NULL. */
const char *client_reason(enum mqtt_type type, enum mqtt_ver v, uint8_t code);

#endif
