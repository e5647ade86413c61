/* SPDX-License-Identifier: Apache-2.0
 * model - what each session must get, may get and must not get.
 *
 * Written apart from src/core: lists, and filters matched level by level.  The
 * model sees every packet at the moment at which the broker takes or gives it
 * (edge.c), and orders them by sim->seq.  What happens between a request and
 * its answer may have happened at any time between the two, and what is asked
 * of the broker allows for that: a message must reach a session that had
 * subscribed before the message came and still was when it was acknowledged;
 * it may reach one of which that can be true.
 *
 * Owns:    messages, sessions that were, their subscriptions.
 * Threads: one.
 */
#ifndef NJ_TESTS_SIM_MODEL_H
#define NJ_TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"

#define MODEL_MSGS   16384
#define MODEL_SESSNS 4096
#define MODEL_ROUTED 256
#define FILTER_MAX   48
#define SIM_CLIENTS  24
#define SIM_LAST     (SIM_CLIENTS * TOPICS * 9)

/* How far a message has come. */
enum taken {
	M_NEW,	   /* not known to be with the broker */
	M_SEEN,	   /* read by it */
	M_TAKEN,   /* acknowledged, or at QoS 0 surely handled */
	M_REFUSED, /* by its reason code: may have reached some */
	M_MAYBE,   /* nobody can know */
	M_NEVER	   /* a will that was forgotten */
};

struct mmsg {
	unsigned client;
	const char *topic;
	uint8_t qos;
	bool retain, will;
	uint32_t len, expiry_s; /* MQTT_EXPIRY_NEVER */
	enum taken state;
	unsigned times;	     /* the broker read it */
	uint64_t from, upto; /* seq: it was routed between these */
	uint64_t late;	     /* seq: or once more until then */
	struct msession *by; /* whose it is, for No Local */
	bool held;	     /* came before CONNACK */
	bool clear;	     /* an empty retained message */
	uint64_t at_ms;
	uint64_t sent_ms;    /* a will: when it was sent, or forgotten */
	uint64_t not_before; /* ms; a will's delay */
	/* of a will whose client came when nothing could be written: when */
	uint64_t came_ms;
};

struct msub {
	char filter[FILTER_MAX]; /* as written, $share and all */
	const char *inner;
	bool shared;
	uint8_t qos, handling;
	bool no_local, rap;
	uint32_t id;
	uint16_t pid, undo_pid; /* of SUBSCRIBE and UNSUBSCRIBE */
	unsigned conn, undo_conn;
	uint64_t asked, granted; /* seq; NEVER */
	uint64_t undone, gone;	 /* asked to be, surely */
};

enum flight_state { F_SENT, F_RELEASED };

/* A packet identifier of the broker's. */
struct flight {
	uint16_t pid;
	uint8_t qos;
	uint32_t uid;
	unsigned conn; /* the last it was sent on */
	enum flight_state state;
	bool maybe_on; /* an answer may have been heard */
	bool pubrel;   /* was sent */
};

struct got {
	uint8_t times, times0, times2; /* by the application; at QoS 0, 2 */
	uint8_t fresh;		       /* sent without DUP */
	uint8_t retained;	       /* as a retained message */
};

#define FLIGHTS 512

struct msession {
	struct client *client;
	struct edge *edge; /* of the connection it is on */
	uint64_t born, ended;
	uint32_t expiry_lo, expiry_hi; /* s */
	uint64_t off_lo, off_hi;       /* ms; when it was left */
	/* its client came when nothing could be written; before that it was */
	bool unwritten;
	bool unnoted; /* since when it is away no start could write */
	bool undead;  /* it may have ended, and that not be on disk */
	uint64_t was_off;
	uint32_t was_lo, was_hi;
	bool lost, sure; /* its clock runs from when the power is back */
	bool kept;	 /* may be on disk */
	bool told;	 /* that it has ended: by a CONNACK */
	uint64_t ended_ms;
	bool vague;	/* a CONNECT without an answer may have replaced it */
	bool blurred;	/* what was in flight is not known */
	unsigned conns; /* it has had */
	struct msub *subs;
	unsigned n_subs, cap_subs;
	struct flight flight[FLIGHTS];
	unsigned n_flight;
	struct got *got; /* by uid */
	uint32_t n_got;
	uint32_t last[SIM_LAST]; /* order: by publisher, topic, QoS */
};

/* A will that waits for its delay. */
struct mwill {
	uint32_t uid;	 /* 0: none */
	uint64_t lo, hi; /* ms */
	bool early;	 /* seen before that */
	uint32_t delay;	 /* s */
	uint64_t left_ms;
	bool lost;  /* with the power: it is sent when that is back */
	bool again; /* it may have been sent already */
};

struct model {
	struct mmsg msgs[MODEL_MSGS];
	uint32_t n_msgs; /* 0 is none */
	struct msession *sessions[MODEL_SESSNS];
	unsigned n_sessions;
	struct msession *now[SIM_CLIENTS]; /* by client */
	struct mwill wills[SIM_CLIENTS];
	bool unsure[SIM_CLIENTS],
	    unsure_clean[SIM_CLIENTS]; /* a CONNECT was not answered */
	/* ms; when that was settled by one who came when nothing could be
	 * written */
	uint64_t unsure_ms[SIM_CLIENTS];
	uint32_t routed[MODEL_ROUTED]; /* wills, in this turn */
	unsigned n_routed;
	/* sessions whose end may have been forgotten with the power */
	struct msession *ghosts[SIM_CLIENTS];
	uint64_t n_must, n_got, n_lost;
};

struct edge;

/* What a message may and must mean to a session. */
struct due {
	bool sure, maybe;
	uint8_t lo, hi; /* QoS */
	unsigned n_sure, n_maybe;
};

/* A new message of a client's; its number, 0 when there are too many. */
uint32_t model_message(struct client *c, const char *topic, uint8_t qos,
    bool retain, bool will, uint32_t len, uint32_t expiry_s);
bool model_matches(const char *filter, const char *topic);
struct due model_due(const struct msession *s, const struct mmsg *m);
/* Of shared subscriptions only. */
struct due model_shared(
    const struct msession *s, const struct mmsg *m, const char *filter);
bool model_is_own(
    const struct msession *s, const struct msub *u, const struct mmsg *m);
bool model_maybe(const struct msub *u, const struct mmsg *m);
bool model_sure(const struct msub *u, const struct mmsg *m);

/* sessions.c: a client's CONNECT was answered. */
/* It is there, whatever was not answered. */
bool model_lives(const struct msession *s);
void model_begin(struct edge *e, bool present);
/* Its connection is over, or was never more than a CONNECT. */
void model_left(struct edge *e);
/* Wills whose time has come. */
void model_tick(void);
/* A turn has ended: what was seen early has its reason by now. */
void model_turn(void);
/* All that was not acknowledged may be forgotten; connections are lost.  stopped:
 * the broker was there to see it. */
void model_power_lost(bool stopped);
/* A start was refused: clocks may run from now. */
void model_power_tried(void);
/* They run from now for who was here. */
void model_power_back(void);
void model_fini(void);
struct got *model_got(struct msession *s, uint32_t uid);

/* An application receives a message. */
void
model_received(struct client *c, const char *topic, const struct publish *p);

#endif
