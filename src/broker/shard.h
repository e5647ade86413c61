/* SPDX-License-Identifier: Apache-2.0
 * shard - one event loop with the connections and sessions that live on it.
 *
 * Owns:    its connections, sessions, timers and groups; the letters in its
 *          mailbox.
 * Threads: its own thread runs everything here but shard_post.
 * Bounds:  RX_SIZE bytes read at once; PARCEL_WORDS a letter; READ_TURNS
 *          reads a connection and turn, one of READ_PART where others say
 *          little; see also opts.h.
 */
#ifndef NJ_BROKER_SHARD_H
#define NJ_BROKER_SHARD_H

#include <pthread.h>

#include "base/clock.h"
#include "base/giveback.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "broker/crowd.h"
#include "broker/denied.h"
#include "broker/durable.h"
#include "broker/opts.h"
#include "broker/quota.h"
#include "broker/walk.h"
#include "core/fanout.h"
#include "core/retain.h"
#include "core/session.h"
#include "core/share.h"
#include "net/loop.h"
#include "net/stream.h"

#define RX_SIZE	       (256 * 1024)
#define SPARE_BUFS     64
#define SPARE_BUF_MAX  (512 * 1024)
#define SPARE_BYTES    (4 * 1024 * 1024)
#define LETTERS_A_TURN 4096
#define FENCES_A_TURN  2048 /* of those; each frees a block, some 2 ms */
#define TIMERS_A_TURN  128
#define FULL_TURNS_MAX 256 /* of LOOP_EVENTS; deadlines wait no longer */
#define UNSENT_MAX     256
#define ACCEPTS_A_TURN 16
/* Connections that end in a turn, some 2 ms; who is ready then waits for the
 * next.  See also CROWD_GONE. */
#define DEATHS_A_TURN 128
/* Connections that are written to in a turn, some 2 ms: of those that this turn
 * has something for, and of those that an earlier one left.  Who is one of few
 * does not wait for the thousands that one message goes to. */
#define FLUSHES_A_TURN 256 /* of each */
/* Who has said little is expected to speak again for so long. */
#define LITTLE_MS 100
/* Memory goes back when so many connections are fewer than there were. */
#define GIVEBACK_CONNS	  256
#define GIVEBACK_AFTER_MS 2000
#define GIVEBACK_STEP_MS  10
/* What a connection may cost before the others have their turn: packets, nodes
 * of trees looked at, deliveries, those of QoS 1 and 2 several times since they
 * may have to be queued, more where they go to disk, messages retained.  Three
 * milliseconds or so. */
#define TURN_WORK   60000
#define QUEUE_WORK  3
#define KEEP_WORK   128
#define RETAIN_WORK 80

struct broker;
struct conn;
struct parcel;

/* What this shard has done; written by it alone, read by $SYS. */
struct shard_counts {
	uint64_t bytes_in, bytes_out;
	uint64_t packets_in, packets_out;
	uint64_t publish_in, publish_in_bytes;
	uint64_t publish_refused, store_refused; /* the latter of the former */
	uint64_t sockets;			 /* now */
	uint64_t opened, connects;		 /* sockets; CONNECTs taken */
	uint64_t connected, sessions, expired_sessions, evicted_sessions;
	uint64_t handshakes, handshakes_failed, resumed;
	uint64_t logins_failed;
	uint64_t slow_dropped;
};

/* A port as one shard sees it. */
struct port {
	struct watch watch;
	struct shard *shard;
	unsigned index;	  /* of the port in the broker */
	struct list rest; /* while accepting is paused */
};

enum letter_kind {
	LETTER_PARCEL,
	LETTER_MOVE,  /* a connection comes home */
	LETTER_LOGIN, /* an authenticator has decided */
	LETTER_GROUP, /* shared subscriptions; groups.h */
	LETTER_RECALL,
	LETTER_MOVED,
	LETTER_STORED, /* a batch is on disk; durable.h */
	LETTER_PLEDGE,
	LETTER_PART,
	LETTER_PAGE,
	LETTER_FENCE, /* broker.c: memory may be freed */
	LETTER_RELOAD,
	LETTER_EST,	 /* the signer has answered; est.h */
	LETTER_ENROLL,	 /* the same; enroll.h */
	LETTER_ROLES,	 /* other rights hold; rights.c */
	LETTER_CONTROL,	 /* a command to the broker is answered; control.c */
	LETTER_RECHECK,	 /* certificates were revoked */
	LETTER_TROUBLE,	 /* of the store: to wake it */
	LETTER_GIVEBACK, /* many connections have gone */
	LETTER_LOG,	 /* a line for $SYS/broker/log/ */
	LETTER_CALL,	 /* call.h */
	LETTER_STOP
};

/* A word row of a parcel, without one; route.c. */
struct route_entry {
	uint64_t w[7];
};

struct shard {
	struct home home;
	struct broker *broker;
	const struct clock *clock;
	int64_t wall_ms; /* of this turn */
	struct broker_limits limits;
	struct loop *loop;
	struct crowd crowd;
	struct mailbox mail;
	struct watch mail_watch;
	struct stream_scratch *scratch;
	uint8_t *rx;
	struct match match;
	struct buf *packet;    /* msg_room()'s, being handled; or NULL */
	uint32_t work;	       /* done for the connection that is being read */
	struct targets **hits; /* of the message being routed */
	uint32_t n_hits, cap_hits;
	struct route_entry unsent[UNSENT_MAX]; /* for want of memory */
	unsigned n_unsent;
	struct fanout fan;
	struct groups groups;
	struct quota quota;
	struct durable durable;
	uint32_t n_ended;	 /* sessions that have; handover.h */
	struct parcel **parcels; /* one a shard, NULL when empty */
	struct list conns;	 /* all */
	struct list kicked;	 /* have output */
	struct list late;	 /* the same, since an earlier turn */
	struct list again;	 /* have input left */
	struct list handshakes;	 /* wait for their share of a turn */
	struct list begun;	 /* the same, and have had a step */
	struct list paused;	 /* wait for another shard */
	struct list doomed;	 /* failed where they cannot be closed */
	struct list grave;	 /* freed when the turn ends */
	uint64_t began_ms;	 /* the turn */
	uint32_t deaths;	 /* this turn */
	struct list calls;	 /* asked by other threads; call.h */
	struct list held;	 /* letters that groups_held() sends */
	uint32_t n_held;	 /* messages in those */
	struct list walks;	 /* walk.h; the first is under way */
	struct buf spare[SPARE_BUFS];
	unsigned n_spare;
	size_t spare_bytes;
	struct port_set *set; /* one reference */
	struct port *ports;   /* set->n of them, one for each socket */
	unsigned n_ports;
	unsigned full_turns; /* in a row, with more to come */
	bool accepts_paused;
	uint64_t accepts_held_until;   /* for a reload; 0: not held */
	unsigned accepts_held_for;     /* after so many */
	bool walking;		       /* the first of walks has begun */
	unsigned walk_turn, walk_left; /* WALK_TURN; of this turn */
	unsigned flush_turn;	       /* FLUSHES_A_TURN */
	uint64_t little_until;	       /* mono ms; shard_heard_little() */
	bool little_mail;	       /* the last parcel was small */
	bool begun_last; /* the last step was of one that had been begun */
	struct timer accept_timer;
	struct timer sys_timer;
	struct timer sweep_timer;
	struct giveback giveback;
	struct timer giveback_timer;
	unsigned giveback_conns; /* when it was asked for */
	struct shard_counts counts;
	/* lines in the log about refused packets; strangers who come, who
	 * are refused, who go */
	struct log_gate refusals, comings, rejections, goings;
	/* known clients that come and go; sessions that were dropped */
	struct log_gate known, evictions;
	struct denied denied;
	struct buf source; /* bytes that identify a client, being written */
	/* who has retained a message last; source.c's */
	struct {
		uint64_t session, who; /* number, epoch; 0: nobody */
		uint64_t id;	       /* guard_identity */
		struct buf text;
	} retainer;
	bool stopping, stopped;
	struct letter stop_letter;    /* stopping needs no memory */
	struct letter recheck_letter; /* nor does revoking; broker_recheck */
	atomic_bool recheck_posted;
	struct walk recheck;
	struct letter giveback_letter; /* nor does giving memory back */
	atomic_bool giveback_posted;
	struct letter trouble_letter; /* nor does a store in trouble */
	atomic_bool trouble_posted;
	pthread_t thread;
	bool has_thread;
	char tag[16]; /* for the log */
};

NJ_MUST enum nj_err
shard_init(struct shard *sh, struct broker *b, unsigned number);
void shard_fini(struct shard *sh);
/* One turn: wait, read, route, write.  The caller is an online RCU thread. */
void shard_turn(struct shard *sh, int max_wait_ms);
void *shard_main(void *arg);
/* After the last turn: takes what is still in the mailbox, and with last ends the
 * sessions; how much that was, 0: nothing is under way any more. */
size_t shard_drain(struct shard *sh, bool last);

/* From any thread. */
static inline void
shard_post(struct shard *sh, struct letter *l)
{
	mailbox_post(&sh->mail, l);
}

/* The shard a client identifier lives on. */
unsigned shard_of_id(const struct broker *b, struct slice client_id);

/* Output buffers are lent to connections for as long as they hold bytes. */
void shard_lend(struct shard *sh, struct buf *b);
void shard_give_back(struct shard *sh, struct buf *b);

/* Somebody says little, here or on another shard, and speaks again: for a while
 * who says much is read in parts. */
static inline void
shard_heard_little(struct shard *sh)
{
	sh->little_until = sh->home.now_ms + LITTLE_MS;
}

#endif
