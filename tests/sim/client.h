/* SPDX-License-Identifier: Apache-2.0
 * client - a client of the simulation: it keeps the client's half of MQTT's
 *          promises, whatever becomes of its connections.
 *
 * What a session needs (publishes not acknowledged, QoS 2 identifiers
 * received) outlives connections; the model tells when the broker began a new
 * session, so that a CONNACK lost on its way does not leave the two apart.
 *
 * Threads: one.
 */
#ifndef NJ_TESTS_SIM_CLIENT_H
#define NJ_TESTS_SIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/frame.h"
#include "wire/packet.h"

#define CLIENT_OUT     64 /* publishes under way */
#define CLIENT_IN2     256
#define CLIENT_ACKS    512
#define CLIENT_ALIASES 8

enum role {
	ROLE_BOTH,     /* publishes and subscribes, comes and goes */
	ROLE_OBSERVER, /* a lasting session that subscribes once */
	ROLE_WORKER,   /* a member of a shared subscription */
	ROLE_AUDITOR   /* asks for what is retained at the end */
};

enum client_state { AWAY, CALLING, HERE };

/* A publish that is not finished. */
struct going {
	uint32_t uid;
	uint16_t pid;
	uint8_t qos;
	bool released; /* PUBREC came: PUBREL is what is sent again */
};

struct ack_due {
	uint64_t at;
	uint8_t type;
	uint8_t code;
	uint16_t pid;
};

struct client {
	unsigned n;
	char id[16];
	enum role role;
	enum mqtt_ver version;
	/* drawn once */
	bool lasting; /* asks for its session back */
	bool login;   /* has a user name, so that its login takes time */
	bool hurries; /* says more before CONNACK came */
	bool forgets; /* its pings */
	uint32_t expiry_s;
	uint16_t keep_alive;
	uint16_t receive_max; /* 0: not said */
	uint16_t alias_max;   /* it takes */
	uint32_t max_packet;  /* 0: not said */
	uint32_t ack_ms;      /* it thinks this long at most */
	unsigned publishes;   /* of 1000, an act */
	const char *filter;   /* of an observer or a worker */
	uint8_t filter_qos;
	bool subscribed; /* to that */
	bool hurried;
	/* the connection */
	enum client_state state;
	struct nconn *conn;
	struct buf in, out;
	uint64_t called_at, here_at, last_tx, last_rx, stalled_until;
	bool goodbye;
	uint16_t server_receive_max, server_aliases;
	char alias_in[CLIENT_ALIASES + 1][64];
	uint16_t alias_out[CLIENT_ALIASES + 1]; /* topic + 1 */
	struct ack_due acks[CLIENT_ACKS];
	unsigned acks_at, acks_n;
	/* the session */
	struct going going[CLIENT_OUT];
	unsigned n_going, resent;
	uint16_t in2[CLIENT_IN2];
	unsigned n_in2;
	uint16_t last_pid;
	uint16_t asked; /* SUBSCRIBEs and UNSUBSCRIBEs without an answer */
	/* the plan */
	uint64_t next_act, next_call;
	uint32_t seen_retained;
};

void client_init(struct client *c, unsigned n);
void client_fini(struct client *c);
void client_step(struct client *c);
/* The broker has begun a new session for it, or ended the old one. */
void client_forget(struct client *c);
/* Goes without a word, or after DISCONNECT. */
void client_leave(struct client *c, bool orderly);
/* Forgets its connection. */
void client_lose(struct client *c);
/* Nothing of it is under way. */
bool client_idle(const struct client *c);
void client_describe(const struct client *c, char *dst, size_t size);

void client_call(struct client *c, bool clean, uint32_t expiry_s);
void client_publish(struct client *c, unsigned topic, uint8_t qos, bool retain);
/* An empty retained message. */
void client_clear(struct client *c, const char *topic);
void client_subscribe(
    struct client *c, const struct subscription *s, size_t n, uint32_t id);
void client_unsubscribe(struct client *c, const char *filter);
void client_disconnect(struct client *c, uint8_t code, bool expire);
void client_ping(struct client *c);

/* act.c: what it does of its own accord. */
void act_draw(struct client *c);
void act(struct client *c);

/* payload.c: what messages look like. */
#define TOPICS 14
/* The first of those in which messages may be retained, and how many they are; and of
 * those in which only wills are. */
#define RETAINED   8
#define N_RETAINED 3
#define LAST_WORDS 12
extern const char *const topics[TOPICS];
/* The number of the message in a payload that is whole and unharmed; 0. */
uint32_t payload_uid(struct slice p);
NJ_MUST enum nj_err payload_put(struct buf *b, uint32_t uid, uint32_t len);

#endif
