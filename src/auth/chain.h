/* SPDX-License-Identifier: Apache-2.0
 * chain - who is this? asked of one authenticator after another.
 *
 * Each link answers AUTH_ALLOW, AUTH_DENY or AUTH_NOT_MINE, at once or, after
 * AUTH_LATER, by auth_answer.  The first that is not NOT_MINE counts; when no
 * link is left, the answer is AUTH_DENY.
 *
 * Owns:    a chain its links; a request copies of all it was given, the
 *          password as a secret that is wiped as soon as it is answered.
 * Threads: a chain is immutable once built and shared by references.  A
 *          request belongs to one thread at a time: the one that started it,
 *          and after AUTH_LATER the one that answers, until done is called.
 * Bounds:  AUTH_LINKS_MAX links; what waits is bounded by the workers' queue.
 */
#ifndef NJ_AUTH_CHAIN_H
#define NJ_AUTH_CHAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/principal.h"
#include "auth/result.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/slice.h"
#include "base/workers.h"

#define AUTH_LINKS_MAX 8

struct auth_chain;
struct auth_request;

/* What is known of a client when it asks; borrowed. */
struct auth_ask {
	bool has_username, has_password, bridge;
	struct slice username, password, client_id;
	struct slice address;	/* in text */
	struct slice listener;
	/* Of the verified client certificate; cert_name is what the listener
	 * takes as identity (common name or subject), empty when it takes
	 * none. */
	struct slice cert_name, cert_subject, cert_cn;
};

struct auth_request {
	/* Set by the caller after auth_request_new.  done is called exactly
	 * once, and only after auth_chain_start said AUTH_LATER; it may come
	 * before that call has returned, and on another thread. */
	void (*done)(struct auth_request *r);
	void *arg;

	/* The answer. */
	enum auth_result result;
	enum auth_reason reason;
	const char *link;	/* the name of the link that answered */
	struct principal *principal;	/* on AUTH_ALLOW; taken by setting it
					 * to NULL, else freed with r */

	/* What is asked, in copies. */
	struct auth_ask ask;	/* ask.password is empty: see password */
	struct secret *password;	/* NULL: none */

	/* For the chain and the link that said AUTH_LATER. */
	struct auth_chain *chain;
	size_t next;
	struct job job;
	void *link_arg;
};

NJ_MUST enum nj_err auth_request_new(const struct auth_ask *ask,
    struct auth_request **out);
/* Not before done was called, when it will be. */
void auth_request_free(struct auth_request *r);

struct authenticator {
	const char *name;	/* for the log */
	enum auth_result (*start)(struct authenticator *a,
	    struct auth_request *r);
	void (*free)(struct authenticator *a);
};

/* For links: makes the principal; AUTH_ALLOW, or AUTH_DENY without memory. */
enum auth_result auth_allow(struct auth_request *r, enum principal_by by,
    struct slice name);
/* For links: AUTH_DENY for that reason. */
enum auth_result auth_deny(struct auth_request *r, enum auth_reason why);
/* For links that said AUTH_LATER: the answer, from any thread, once.  r may be
 * gone when it returns. */
void auth_answer(struct auth_request *r, enum auth_result result);

NJ_MUST enum nj_err auth_chain_new(struct auth_chain **out);
struct auth_chain *auth_chain_ref(struct auth_chain *c);
/* Requests under way hold a reference of their own. */
void auth_chain_unref(struct auth_chain *c);
/* Before the chain is shared.  Takes *a, also when it fails. */
NJ_MUST enum nj_err auth_chain_add(struct auth_chain *c,
    struct authenticator **a);
/* AUTH_ALLOW or AUTH_DENY with r filled in; or AUTH_LATER, and r is not the
 * caller's until done. */
enum auth_result auth_chain_start(struct auth_chain *c,
    struct auth_request *r);

#endif
