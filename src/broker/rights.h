/* SPDX-License-Identifier: Apache-2.0
 * rights - users, groups and roles change while their clients are connected.
 *
 * Each shard is told with a letter of its own that needs no memory; what holds
 * then it reads itself.  Who is gone, disabled, or has another password or
 * client identifier, is disconnected; subscriptions that are not allowed any
 * more end; of everything else the next question gets the new answer.
 *
 * Threads: rights_watch the main thread; rights_take the shard's.
 */
#ifndef NJ_BROKER_RIGHTS_H
#define NJ_BROKER_RIGHTS_H

#include "auth/chain.h"
#include "auth/decide.h"
#include "broker/conn.h"

/* Every rolebase among the ports, if it is not watched yet. */
NJ_MUST enum nj_err
rights_watch(struct broker *b, const struct port_opts *v, size_t n);
void rights_fini(struct broker *b);
/* Whose rules somebody has who is about to come in. */
struct asker rights_asker(
    const struct conn *c, const struct principal *who, struct slice id);
/* LETTER_ROLES */
void rights_take(struct shard *sh, struct letter *l);
/* A user of roles may not come in, however it proved who it is; why not, or
 * NULL.  proof: auth_request's. */
const char *rights_refusal(const struct conn *c, struct slice user,
    struct slice client_id, uint64_t proof);
/* The same of who is in. */
const char *rights_user_objection(
    const struct conn *c, struct slice user, struct slice client_id);
/* The same of a reload that came while it logged in. */
const char *rights_outdated(const struct conn *c, const struct auth_request *r);
/* A reload: who came in by what is not so any more is disconnected. */
void rights_reload(
    struct conn *c, const struct port_set *was, const struct port_set *now);

/* What a session that a walk has met may is other than it was: it is asked about
 * again, and subscriptions that it may not have any more end; of many some a turn,
 * before the walk goes on.  Not while a packet is handled. */
void rights_changed(struct shard *sh, struct walk *w, struct session *s);

#endif
