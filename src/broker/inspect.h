/* SPDX-License-Identifier: Apache-2.0
 * inspect - what a person asks of a running broker: who is here, how much
 *           there is of what; and sending a client away.
 *
 * Owns:    what is returned belongs to the caller.
 * Threads: any but a shard's; shards answer by call.h.
 * Bounds:  client_filter.limit clients a shard; timeout_ms of patience.
 * Note:    shards answer one after the other and in portions: who comes or
 *          goes meanwhile may be seen or not.
 */
#ifndef NJ_BROKER_INSPECT_H
#define NJ_BROKER_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct broker;
struct call;

/* Whom is meant; what is empty does not count, what is given must all hold. */
struct client_filter {
	struct slice id, user, address; /* address: without its port */
	struct slice serial;		/* of its certificate, hexadecimal */
	struct slice print;		/* SHA-256 of it, 32 bytes */
	bool online;			/* not those who are away */
	uint32_t limit;			/* 0: none */
};

enum { CLIENT_TEXTS = 11 };

/* One client, or a session that waits for one. */
struct client_info {
	bool online, has_cert, resumed, bridge, will, restricted;
	bool proved;	     /* user is not only claimed */
	uint8_t version;     /* of MQTT: 3, 4, 5 */
	uint16_t port;	     /* of the listener; 0: a Unix socket */
	uint16_t keep_alive; /* seconds */
	uint32_t expiry_s;
	uint64_t since_ms;    /* how long it is here, or away */
	uint64_t silent_ms;   /* since it said something */
	int64_t cert_expires; /* Unix seconds */
	uint64_t subscriptions, queued, queued_bytes, inflight;
	uint8_t cert_sha256[32], spki_sha256[32];
	union {
		struct {
			/* user: proved, else claimed as by says */
			struct slice id, user, by, address, listener, subject;
			struct slice tls, cipher, alpn, sni, serial;
		};
		struct slice text[CLIENT_TEXTS];
	};
};

/* Clients in the order of shards. */
struct client_list {
	struct call *call;
	unsigned shard;
	struct slice rest;
	bool more; /* a shard had more than the limit */
};

NJ_MUST enum nj_err
inspect_clients(struct broker *b, const struct client_filter *f,
    unsigned timeout_ms, struct client_list *out);
/* Borrows from the list; false at its end. */
bool client_list_next(struct client_list *l, struct client_info *out);
void client_list_free(struct client_list *l);
/* Of a printed address, what is in front of the port. */
struct slice inspect_host(struct slice address);

/* A client's subscriptions: its filters as it wrote them, and their options;
 * NJ_NOTFOUND when there is no such client. */
struct client_subs {
	struct call *call;
	struct slice rest;
};
struct client_sub {
	struct slice filter;
	uint32_t id; /* 0: none */
	uint8_t qos;
	bool no_local, retain_as_published;
};
NJ_MUST enum nj_err inspect_subscriptions(struct broker *b, struct slice id,
    unsigned timeout_ms, struct client_subs *out);
bool client_subs_next(struct client_subs *l, struct client_sub *out);
void client_subs_free(struct client_subs *l);

/*
 * Ends the connections of all that match (0x98, Administrative action); forget:
 * their sessions, too, also of those who are away.  Something must be asked
 * for: NJ_INVALID with an empty filter.  *n: how many.
 */
NJ_MUST enum nj_err
inspect_disconnect(struct broker *b, const struct client_filter *f, bool forget,
    unsigned timeout_ms, uint64_t *n);

/* The users, groups and roles of a listener (a port or path, as it is printed;
 * empty: the first that has any): the caller's reference.  NJ_NOTFOUND: it has
 * none. */
struct rolebase;
NJ_MUST enum nj_err inspect_rolebase(struct broker *b, struct slice listener,
    unsigned timeout_ms, struct rolebase **out);

struct broker_totals {
	unsigned shards;
	uint64_t uptime_s, connected, sessions, subscriptions;
	uint64_t retained, retained_bytes, queued, queued_bytes;
	uint64_t received, sent, dropped, refused, logins_failed;
	uint64_t bytes_in, bytes_out, sockets, heap;
	uint64_t expired;
	bool stores; /* there is a store */
	unsigned store;
	const char *store_name; /* of that state */
	int64_t store_since_ms; /* wall clock; 0: since the start */
	uint64_t store_refused; /* PUBLISH, as it cannot be written */
};
void inspect_totals(struct broker *b, struct broker_totals *out);

#endif
