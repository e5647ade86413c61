/* SPDX-License-Identifier: Apache-2.0
 * conn - one client's connection, from accept to close.
 *
 * Life: PROXY (its header) -> HANDSHAKE (TLS, WebSocket) -> GREETING (waits for
 * CONNECT) -> LOGIN (an authenticator is at work; with enhanced authentication
 * also AUTH, which waits for the client's next word) -> SAVING (its session is
 * on its way to the disk) -> LIVE -> CLOSING (last
 * words on their way) ->
 * DEAD (freed when the turn ends).  On a listener for enrolment: HTTP, SIGNER in
 * the place of what follows the handshakes.  Accepted on any shard; once CONNECT is
 * there it moves to the shard of its client identifier.
 *
 * Owns:    the stream, unfinished input, inbound topic aliases, its login.
 *          The session is borrowed from the shard.
 * Threads: its shard; in a LETTER_MOVE it belongs to the letter.
 * Bounds:  input: the largest packet allowed; output: link.h; time: a
 *          deadline in every state; work in a turn: TURN_WORK.
 * Spec:    MQTT 5.0 3.1, 3.14, 4.12, 4.13.
 */
#ifndef NJ_BROKER_CONN_H
#define NJ_BROKER_CONN_H

#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"
#include "broker/failures.h"
#include "broker/internal.h"
#include "broker/shard.h"
#include "core/link.h"
#include "wire/frame.h"
#include "wire/packet.h"

/* A CONNECT can hold a will, so it is bounded like a packet, but not by what
 * an authenticated client may send. */
#define CONNECT_MAX (256 * 1024)
/* An AUTH before CONNACK; its data and some properties. */
#define AUTH_MAX  (32 * 1024)
#define PEER_NAME 64
/* So much of a packet is a sign of life, as a whole one is: a large one may take
 * longer than the keep alive.  A byte now and then is none. */
#define ALIVE_BYTES 1000

enum conn_state {
	CONN_PROXY,
	CONN_HANDSHAKE,
	CONN_GREETING,
	CONN_LOGIN,
	CONN_AUTH,
	CONN_SAVING,
	CONN_LIVE,
	CONN_HTTP,   /* reads a request; est.h */
	CONN_SIGNER, /* waits for its answer */
	CONN_CLOSING,
	CONN_DEAD
};

struct admission;
struct control;
struct login;
struct subscribing;
struct est;
struct enroll;

/* What a proxy told of the client it speaks for. */
struct proxied {
	uint8_t addr[16];
	uint8_t addr_n;	 /* bytes of addr; 0: not an IP address */
	bool own;	 /* it named nobody: the proxy's address holds */
	bool local;	 /* it speaks for itself, to see whether we are here */
	bool cert;	 /* the client's certificate was found good */
	uint16_t cn_len; /* name in that certificate */
	uint8_t cn[];
};

struct conn {
	struct watch watch;
	struct link link;
	struct shard *shard; /* this and the next: link_prefetch() */
	struct list kicked;
	struct stream *stream;
	struct session *session;
	struct buf in; /* an unfinished packet */
	struct list all, work;
	struct list untaken;	/* in durable.untaken, or in durable.saving */
	uint64_t untaken_until; /* the gate behind what was taken before */
	struct timer timer;
	uint64_t last_rx;	/* mono ms of the last packet, or ALIVE_BYTES */
	uint64_t stalled_since; /* output was not taken; 0: it is */
	uint64_t since;		/* mono ms of entering the state */
	struct slice *aliases;	/* inbound topics, alias_max of them */
	struct admission *admission; /* while its session is being saved */
	struct login *login;	 /* of its CONNECT, or a re-authentication */
	const char *auth_method; /* of its CONNECT; static; NULL: none */
	uint64_t expires_at;	 /* mono ms its token ends at; 0 */
	uint64_t reauth_at;	 /* on_auth.c's pace, mono ms */
	struct proxied *via;	 /* NULL: it came by itself */
	struct subscribing *subscribing; /* or unsubscribing: under way */
	struct subscribing *parked; /* those that wait for room; the first */
	struct est *est;	    /* an enrolment under way */
	struct enroll *enroll;	    /* the same over MQTT */
	struct control *control;    /* a command to the broker */
	struct letter letter;	    /* LETTER_MOVE */
	const char *doomed;	    /* why; static */
	uint32_t rx_part;	    /* bytes since last_rx */
	uint32_t pubacks;	    /* promised; durable.h */
	int32_t open_qos2; /* taken on this connection, less its PUBRELs */
	uint16_t alias_max;
	uint16_t keep_alive;   /* seconds; 0: none */
	uint16_t port;	       /* index */
	uint16_t enroll_count; /* requests in that minute */
	uint32_t enroll_minute;
	uint8_t state; /* enum conn_state */
	uint8_t version;
	uint8_t proxy;	       /* version of the header that it begins with */
	bool clean_disconnect; /* the will must not be sent */
	bool problem_info;     /* reason strings are welcome */
	bool pending;	       /* counted in broker.pending */
	bool publishes;	       /* has sent a PUBLISH */
	bool ack_now;	       /* it may wait for TCP's acknowledgement */
	bool paused;	       /* waits in shard.paused */
	bool pause_disk;       /* for the disk, too */
	bool yields;	       /* has had its share of the turn */
	bool saving;	       /* goes on when something is on disk */
	bool buried;	       /* freed with its last promise */
	bool told_continue;    /* HTTP: the body may come */
	bool crowded;	       /* is in the crowd's loop; crowd.h */
	bool late;	       /* its deadline was moved once */
	bool begun;	       /* its handshake has had a step */
	bool went;	       /* and until then: its client has gone */
	bool waits;	       /* ... it waits for that since an earlier turn */
	bool leveled;	       /* conn_level() did */
	bool looked;	       /* is_plain_http() did */
	bool gone;	       /* nothing can be written to it any more */
	bool leaves;   /* conn_hear_rest(): nothing is promised any more */
	bool parting;  /* conn_part(): closes when it was told the rest */
	bool said_all; /* its end of the stream has come, or its reset */
	bool walked;   /* walk.h */
	bool little;   /* what was read of it last were few bytes */
	bool roomy;    /* in is msg_room()'s, for one packet */
	char peer[PEER_NAME];
};

void conn_accept(struct port *p, int fd, const char *peer);
/* What it waited for is on disk; durable.h. */
void conn_saved(struct conn *c);
/* What a port is called in the log. */
const char *port_name(const struct port_opts *po, char *dst, size_t size);
/* clientid_prefixes */
bool port_takes_id(const struct port_opts *po, struct slice id);
/* What the port speaks begins, once the PROXY header is behind it. */
void conn_begin(struct conn *c);
/* Whether the other end of fd may speak for others: NJ_DENIED, or NJ_EOF when
 * it is gone already. */
NJ_MUST enum nj_err conn_proxy_trust(const struct port_opts *po, int fd);
/* Reads what is there of the PROXY header. */
void conn_proxy(struct conn *c);
/* A moved connection arrives. */
void conn_arrive(struct shard *sh, struct letter *l);
/* It had to wait for others who came (crowd.h), and goes on. */
void conn_its_turn(struct conn *c);
/* Reads and handles what is there; for shard.c's lists. */
void conn_read(struct conn *c);
/* The same for a client that another connection is about to replace: what it
 * sent before that (its DISCONNECT, too) came first. */
void conn_hear_out(struct conn *c);
/* One step of the handshakes of TLS and WebSocket. */
void conn_handshake(struct conn *c);
/* Its client has gone before they began. */
void conn_handshake_gone(struct conn *c);
/* They took too long. */
void conn_handshake_late(struct conn *c);
/* Writes what is there. */
void conn_flush(struct conn *c);
/* The same before the turn ends. */
void conn_flush_now(struct conn *c);
/* Handles whole packets in c->in again after a login was decided. */
void conn_resume(struct conn *c);
/* What it was paused for is not over. */
bool conn_must_wait(const struct conn *c);
/* It goes, and said more before, which waits for the disk or for another shard:
 * acknowledgements, a DISCONNECT that forgets its will.  What would be answered
 * to that when it is on disk is not answered. */
void conn_hear_rest(struct conn *c);
/* Who does not take his answers may not ask for more. */
bool conn_may_ask(const struct conn *c);
/* Out of everything that belongs to its shard. */
void conn_unhook(struct conn *c);
void conn_set_state(struct conn *c, enum conn_state st);
/* The same, and what there was of a deadline goes on. */
void conn_set_state_within(struct conn *c, enum conn_state st);
/* Tells the loop what the connection waits for. */
void conn_update_wants(struct conn *c);
/* More is there than was read: the loop has to say so again. */
void conn_level(struct conn *c);
/* Frees; the shard calls it when the turn ends. */
void conn_bury(struct conn *c);

/* To its session's home; c is not this shard's any more. */
void conn_move(struct conn *c, unsigned to);

/*
 * Ends the connection because of rc: 5.0 clients are told (DISCONNECT, with
 * why as reason string), the log gets one line.  why is for both.
 */
void
conn_end(struct conn *c, enum mqtt_rc rc, const char *why, ...) NJ_PRINTF(3, 4);
/* The same, with its reason string whatever the code: nothing in it helps to
 * guess. */
void conn_end_openly(struct conn *c, enum mqtt_rc rc, const char *why);
/* The same when the connection itself has failed or there is nobody to tell. */
void conn_drop(struct conn *c, const char *why, ...) NJ_PRINTF(2, 3);
/* The same, at the turn's end: for where closing it would pull something from
 * under a caller.  why is static. */
void conn_doom(struct conn *c, const char *why);
/* For the record of those who did not get in (failures.h); mend may be "". */
void conn_failed(const struct conn *c, enum failure_stage stage, bool by_client,
    const char *what, const char *mend);
/* What a WebSocket's Close will say of rc. */
void conn_end_code(struct conn *c, enum mqtt_rc rc);
/* The client goes: its session is left now, and the connection ends when what
 * it is still to be told has left, or some time later.  why is static. */
void conn_part(struct conn *c, const char *why);
/* Nothing of that waits for the disk any more. */
void conn_parted(struct conn *c);
/* After last words were appended: writes them, then closes. */
void conn_close_gently(struct conn *c);
/* The client's identifier, or its address before CONNECT; escaped. */
const char *conn_name(const struct conn *c, char *dst, size_t size);

/* Re-arms the deadline for the state it is in. */
void conn_deadline(struct conn *c);

static inline struct port_opts *
conn_port(const struct conn *c)
{
	return &c->shard->set->v[c->port];
}

/* Where its events come from. */
static inline struct loop *
conn_loop(const struct conn *c)
{
	return c->crowded ? c->shard->crowd.loop : c->shard->loop;
}

/* Whether its packets are handled now. */
static inline bool
conn_hears(const struct conn *c)
{
	return c->state == CONN_GREETING || c->state == CONN_AUTH ||
	    (c->state == CONN_LIVE && !c->saving) || c->state == CONN_HTTP;
}

/* handlers; one file a packet or family */
NJ_MUST enum nj_err on_connect(struct conn *c, const struct frame *f);
NJ_MUST enum nj_err on_publish(struct conn *c, const struct frame *f);
/* Once a turn: those of durable.untaken are sent away when the store can be
 * written, or is damaged. */
void publish_turn(struct shard *sh);
NJ_MUST enum nj_err on_ack(struct conn *c, const struct frame *f);
/* The PUBACKs that in begins with, where nothing but their session has to know
 * of them: whether there were any. */
bool on_puback_row(struct conn *c, struct slice *in);
NJ_MUST enum nj_err on_subscribe(struct conn *c, const struct frame *f);
NJ_MUST enum nj_err on_unsubscribe(struct conn *c, const struct frame *f);
NJ_MUST enum nj_err on_pingreq(struct conn *c, const struct frame *f);
NJ_MUST enum nj_err on_disconnect(struct conn *c, const struct frame *f);
NJ_MUST enum nj_err on_auth(struct conn *c, const struct frame *f);
/* Goes on with a SUBSCRIBE or UNSUBSCRIBE that costs more than a turn's share,
 * until it is done (c->subscribing is NULL), or must wait again. */
NJ_MUST enum nj_err subscribe_go_on(struct conn *c);
void subscribe_abandon(struct conn *c);
/* Goes on with the retained messages for which the session's queue had no room.
 * True: there are more that have. */
NJ_MUST bool subscribe_unpark(struct conn *c);
/* It holds; what follows is what is retained. */
bool subscribe_is_done(const struct conn *c);
/* One of a session's, and what there is of it on disk. */
NJ_MUST enum nj_err subscription_end(
    struct shard *sh, struct session *s, struct slice whole, bool shared);
/* One packet to its handler. */
void dispatch(struct conn *c, const struct frame *f);
/* An authenticator has decided (LETTER_LOGIN). */
void on_login(struct shard *sh, struct letter *l);
/* The connection is going away: its login may end alone. */
void login_abandon(struct conn *c);
/* Its session is on disk: CONNACK, and what follows it. */
void connect_go_on(struct conn *c);
/* Once a turn: those of durable.saving come in, or are told, when the store cannot be
 * written. */
void connect_turn(struct shard *sh);
void admission_free(struct conn *c);

#endif
