/* SPDX-License-Identifier: Apache-2.0
 * sessions - a session's life on its shard: taken up, left, ended, its will.
 *
 * Threads: the session's home shard.
 * Spec:    MQTT 5.0 3.1.2.4, 3.1.2.5, 3.1.3.2.2, 3.14.4, 4.1.
 */
#ifndef NJ_BROKER_SESSIONS_H
#define NJ_BROKER_SESSIONS_H

#include "auth/decided.h"
#include "auth/rolebase.h"
#include "broker/conn.h"
#include "broker/groups.h"
#include "broker/shard.h"

/* principal.by of a session from another broker's file: nobody proved to be
 * its user, and its client may have none here. */
#define SESSION_IMPORTED "import"

/* What a session was before a client came that is not let in yet. */
struct session_before {
	bool present;
	uint8_t version;
	uint32_t expiry_s;
	uint64_t offline_since;
	struct session_will *will; /* delayed, of its last connection */
};
void session_before_fini(struct session_before *was);

/* Whether sessions_take would resume it for c. */
bool sessions_goes_on(const struct conn *c, const struct session *s);
/*
 * The session of this client identifier for this connection: a client that is
 * still connected is taken over from (0x8E), an old session is resumed or
 * ended as clean_start says.  NJ_FULL: the limit of sessions is reached.
 */
NJ_MUST enum nj_err sessions_take(struct conn *c, struct slice id,
    bool clean_start, struct session **out, struct session_before *was);
/* The client is not let in after all: its session is as it was, with the will that is
 * delayed still; a new one has never been.  c->session becomes NULL. */
void sessions_refuse(struct conn *c, struct session_before *was);
/* Whose rules a session has, for decide(); of one that came by a listener that
 * is no more, sessions_may knows. */
static inline struct asker
sessions_asker(const struct session *s)
{
	return (struct asker){ s->who, session_id(s), s->acl,
		s->roles ? rolebase_seen(s->roles, s->home->shard) : NULL };
}
/* decide() for one whose client may be away, remembered while it is not. */
bool sessions_may(const struct session *s, enum action what, struct slice topic,
    struct decision *why);
/* The rules of the listener that the client came by. */
void sessions_set_rules(struct session *s, const struct conn *c);
/* The same of one that was restored: of all listeners if that is gone. */
void sessions_restore_rules(struct shard *sh, struct session *s);
/* A reload brings others: from now on each message is asked about. */
void sessions_new_rules(struct session *s, const struct port_set *set);
/* Its roles have changed, or who it is: where it comes from, its groups, its
 * token. */
void sessions_recheck_reads(struct session *s);
/* home.may_read */
bool sessions_may_read(const struct session *s, const struct msg *m);
/* That its client has left, and when, or that it has ended, if that is so still. */
NJ_MUST enum nj_err sessions_keep_state(struct shard *sh, uint64_t number);
/* The connection is gone; c->session becomes NULL.  The will is sent, kept
 * for its delay, or forgotten (c->clean_disconnect). */
void sessions_leave(struct conn *c);
/* Everything about it, its will sent. */
void sessions_end(struct shard *sh, struct session *s);
/* The same of its memory only: what is stored stays so. */
void sessions_drop(struct shard *sh, struct session *s);
/* It has ended, and its name is free; it stays for what it leaves behind
 * (handover.h). */
void sessions_leave_name(struct shard *sh, struct session *s);
/* What outlives its connection gets a place in the store, and what is new about
 * it goes there.  Of who needs none but for its will, not while the store is not
 * written: such clients may come and go any number of times.  False: no memory. */
bool sessions_keep(struct shard *sh, struct session *s, bool writes);
/* Once a turn, when it is written again: those wills that are still there, some. */
void sessions_keep_wills(struct shard *sh);
/* The same of who it is, which is not waited for. */
void sessions_keep_who(struct shard *sh, const struct session *s);
/* One that was loaded waits for its client from now on; true: it has ended. */
bool sessions_restored(struct shard *sh, struct session *s);
/* All of a shard's, when it stops. */
void sessions_end_all(struct shard *sh);

/* Shared subscriptions of a session. */
/* number: which it is to have; 0: any. */
NJ_MUST enum nj_err sessions_join(struct shard *sh, struct session *s,
    struct slice whole, struct slice group, struct slice filter,
    uint32_t id_opts, uint8_t number, bool *existed);
/* As the session numbers it; 0: not at all. */
uint8_t sessions_share(const struct session *s, struct slice whole);
/* NULL: it has none of that. */
const struct shared_sub *
sessions_joined(const struct session *s, struct slice whole);
NJ_MUST enum nj_err
sessions_unjoin(struct shard *sh, struct session *s, struct slice whole);
/* The homes of all its groups are told. */
void
sessions_tell_groups(struct shard *sh, struct session *s, enum group_op op);
/* All of them, at its end. */
void sessions_leave_groups(struct shard *sh, struct session *s);

#endif
