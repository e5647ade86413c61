/* SPDX-License-Identifier: Apache-2.0
 * chain - an ordered row of authenticators; each answers allow, deny, or not
 *         mine, at once or later.
 *
 * Owns:    its links; reference counted, so a reload can swap it while logins
 *          are under way.
 * Threads: immutable; auth_start on any thread, a later answer comes on a
 *          worker's.
 * Spec:    MQTT 5.0 4.12 (basic), 3.1.3.5, 3.1.3.6.
 */
#ifndef NJ_AUTH_CHAIN_H
#define NJ_AUTH_CHAIN_H

#include <stdbool.h>

#include "auth/principal.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/slice.h"
#include "base/workers.h"

struct auth_chain;
struct password_file;

enum auth_result { AUTH_ALLOW, AUTH_DENY, AUTH_NOT_MINE, AUTH_LATER };

/*
 * One login.  Made by auth_request_new from borrowed values, which it copies;
 * the password is wiped when it is freed.  Its owner is whoever waits for the
 * answer; while AUTH_LATER is pending it must not be freed.
 */
struct auth_request {
	struct job job;	/* for links that work on a worker thread */
	struct auth_chain *chain;	/* one reference */
	unsigned link;	/* the link that is at work */
	bool has_username, has_password;
	struct slice username, client_id, address, listener;
	struct secret *password;
	struct slice cert_name;	/* identity a verified certificate gives, by
				 * the listener's rule; empty: none */
	struct slice cert_subject;
	/* the answer */
	enum auth_result result;
	struct principal *principal;	/* with AUTH_ALLOW; one reference */
	char why[256];	/* with AUTH_DENY: what was wrong and on what
			 * evidence; for the log, not for the peer */
	/* called once, on a worker thread, after AUTH_LATER */
	void (*done)(struct auth_request *r);
	void *arg;
	uint8_t text[];
};

struct auth_request_in {
	bool has_username, has_password;
	struct slice username, password, client_id, address, listener;
	struct slice cert_name, cert_subject;
};

NJ_MUST enum nj_err auth_request_new(const struct auth_request_in *in,
    struct auth_request **out);
void auth_request_free(struct auth_request *r);

/* Builds a chain: links are asked in the order they were added. */
NJ_MUST enum nj_err auth_chain_new(struct auth_chain **out);
struct auth_chain *auth_chain_ref(struct auth_chain *c);
void auth_chain_unref(struct auth_chain *c);
/* A certificate's name is who the client is; a user name or password it sends
 * besides is ignored (as Mosquitto does). */
NJ_MUST enum nj_err auth_add_certificate(struct auth_chain *c);
/* Takes a reference on pf.  Hashing runs on w. */
NJ_MUST enum nj_err auth_add_password_file(struct auth_chain *c,
    struct password_file *pf, struct workers *w);
/* Whoever gives no user name (with_name false), or anyone at all where no
 * other link is configured (with_name true). */
NJ_MUST enum nj_err auth_add_anonymous(struct auth_chain *c, bool with_name);

/* AUTH_ALLOW or AUTH_DENY with the answer in *r, or AUTH_LATER: then done is
 * called.  When every link says not mine the answer is deny.  A full worker
 * queue is a deny that says so. */
enum auth_result auth_start(struct auth_chain *c, struct auth_request *r);

#endif
