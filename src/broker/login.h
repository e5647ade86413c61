/* SPDX-License-Identifier: Apache-2.0
 * login - one question to the authenticators, from CONNECT or from a
 *         re-authentication, until it is answered.
 *
 * Owns:    the request and CONNECT's body.  It outlives its connection when an
 *          authenticator is at work as that goes away.
 * Threads: the connection's shard; while asked is set, the request is the
 *          authenticator's, whose answer comes as LETTER_LOGIN.
 * Spec:    MQTT 5.0 4.12.
 */
#ifndef NJ_BROKER_LOGIN_H
#define NJ_BROKER_LOGIN_H

#include "auth/chain.h"
#include "broker/conn.h"

struct login {
	struct letter letter;
	struct shard *shard;
	struct conn *conn; /* NULL: gone */
	struct auth_request *req;
	struct buf packet; /* CONNECT's body, decoded again afterwards */
	uint64_t since;	   /* mono ms */
	bool asked;	   /* an authenticator is at work */
	bool again;	   /* the client is in already */
};

/* It was answered, and it is the connection's turn; frees l. */
void login_go_on(struct login *l);

/* What is known of c besides what *ask has: address, listener, certificate. */
NJ_MUST enum nj_err
login_new(struct conn *c, struct auth_request_in *ask, struct login **out);
void login_free(struct login *l);
/* From now on c is let in as who, for as long as that lasts. */
void login_holds(struct conn *c, const struct principal *who);
/* Which identifier the client's session goes by, before it is proved whose it
 * is; empty: it may be given one. */
struct slice login_client_id(const struct conn *c, const struct connect *k);

/*
 * Enhanced authentication; on_auth.c.  c->login is l.  login_start_method
 * begins it; login_answered goes on with what an authenticator said, which for
 * CONNECT ends in login_decided.
 */
void login_start_method(struct conn *c, struct login *l);
void login_answered(struct conn *c, struct login *l, enum auth_result result);
/* CONNECT's login has ended, one way or the other; frees l. */
void login_decided(struct conn *c, struct login *l);
/* Not in time. */
void login_late(struct conn *c);

#endif
