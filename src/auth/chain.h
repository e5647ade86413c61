/* SPDX-License-Identifier: Apache-2.0
 * chain - an ordered row of authenticators; each answers allow, deny, or not
 *         mine, at once or later.  A link may own a method of enhanced
 *         authentication: then it goes on asking until it knows.
 *
 * Owns:    its links; reference counted, so a reload can swap it while logins
 *          are under way.
 * Threads: immutable once shared; auth_start on any thread, a later answer
 *          comes on a worker's.
 * Bounds:  AUTH_LINKS_MAX links; what waits is bounded by the workers' queue.
 *          An exchange: AUTH_DATA_MAX bytes a step, AUTH_ROUNDS_MAX steps;
 *          its time is its owner's to bound.
 * Spec:    MQTT 5.0 4.12, 3.1.3.5, 3.1.3.6.
 */
#ifndef NJ_AUTH_CHAIN_H
#define NJ_AUTH_CHAIN_H

#include <stdatomic.h>
#include <stdbool.h>

#include "auth/principal.h"
#include "auth/result.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/slice.h"
#include "base/workers.h"

#define AUTH_LINKS_MAX	8
#define AUTH_DATA_MAX	16384
#define AUTH_ROUNDS_MAX 16

struct auth_chain;
struct auth_method;
struct authenticator;
struct password_file;

/* Who keeps count of names that are guessed at. */
struct auth_watch {
	/* No tries for this name now. */
	bool (*pressed)(void *arg, struct slice name);
	void (*failed)(void *arg, struct slice name);
};

/*
 * One login.  Made by auth_request_new from borrowed values, which it copies;
 * the password is wiped as soon as there is an answer.  Its owner is whoever
 * waits for the answer; while AUTH_LATER is pending it must not be freed.
 */
struct auth_request {
	struct job job;		  /* for links that work on a worker thread */
	struct auth_chain *chain; /* one reference */
	unsigned link;		  /* the link that is at work */
	void *link_arg;		  /* that link's own */
	bool has_username, has_password, bridge;
	struct slice username, client_id, address, listener;
	struct secret *password; /* NULL: none, or answered */
	struct slice cert_name;	 /* identity a verified certificate gives, by
				 * the listener's rule; empty: none */
	struct slice cert_subject;
	bool pressed; /* somebody guesses at this name: no new tries now */
	bool at_home; /* but the name came in from this address before */
	/* the same of the name in an exchange; NULL: nobody watches.  Asked and
	 * told on the thread that takes the step. */
	const struct auth_watch *watch;
	void *watch_arg;
	bool has_cert;	      /* one that was found good */
	struct slice device;  /* the ID its own CA gave it; empty: none */
	struct slice groups;  /* of that; each ended by '\n' */
	enum enrolling right; /* what it came for */
	/* an exchange; method NULL: a name and a password, or nothing */
	const struct auth_method *method;
	struct secret *data; /* what the client said last; NULL: nothing */
	unsigned rounds;
	void *state;	/* the method's own; wiped by its end */
	struct buf out; /* with AUTH_CONTINUE and AUTH_ALLOW: to the client */
	atomic_bool unwanted; /* nobody waits for the answer: spare the work */
	/* the answer */
	enum auth_result result;
	enum auth_reason reason;     /* with AUTH_DENY; see result.h */
	struct principal *principal; /* with AUTH_ALLOW; one reference, which
					 * is taken by setting it to NULL */
	uint64_t proof; /* with AUTH_ALLOW by users of roles: roles_proof of
			 * what it was checked against; 0: not by them */
	char why[256];	/* with AUTH_DENY: what was wrong, on what evidence,
			 * and the mend; for the log, not for the peer */
	/* called once, on a worker thread, after AUTH_LATER; perhaps before
	 * auth_start has returned */
	void (*done)(struct auth_request *r);
	void *arg;
	uint8_t text[];
};

struct auth_request_in {
	bool has_username, has_password;
	bool bridge; /* bit 7 of CONNECT's version */
	struct slice username, password, client_id, address, listener;
	struct slice cert_name, cert_subject;
	bool has_cert; /* with or without a name for it */
	struct slice device, groups;
	bool pressed, at_home; /* as in struct auth_request */
	const struct auth_watch *watch;
	void *watch_arg;
	enum enrolling right;
	bool has_data; /* of an exchange */
	struct slice data;
};

NJ_MUST enum nj_err
auth_request_new(const struct auth_request_in *in, struct auth_request **out);
void auth_request_free(struct auth_request *r);

/* Builds a chain: links are asked in the order they were added.  Where
 * passwords are checked, a user name without one is refused. */
NJ_MUST enum nj_err auth_chain_new(struct auth_chain **out);
struct auth_chain *auth_chain_ref(struct auth_chain *c);
void auth_chain_unref(struct auth_chain *c);
/* A certificate's name is who the client is; a user name or password it sends
 * besides is ignored (as Mosquitto does).  A client without one is refused, or
 * with if_any left to the links behind. */
NJ_MUST enum nj_err auth_add_certificate(struct auth_chain *c, bool if_any);
/* Takes a reference on pf.  Hashing runs on w. */
NJ_MUST enum nj_err auth_add_password_file(
    struct auth_chain *c, struct password_file *pf, struct workers *w);
/* Whoever gives no user name (with_name false), or anyone at all where no
 * other link is configured (with_name true): then the name is a claim, and the
 * principal's own name stays empty. */
NJ_MUST enum nj_err auth_add_anonymous(struct auth_chain *c, bool with_name);

/* Users of pf prove by SCRAM-SHA-256 that they know their password.  only:
 * plain passwords are refused, with that as the reason. */
NJ_MUST enum nj_err
auth_add_scram(struct auth_chain *c, struct password_file *pf, bool only);
/* The method of that name, or NULL. */
const struct auth_method *
auth_chain_method(const struct auth_chain *c, struct slice name);
/* The nth method there is, or NULL. */
const struct auth_method *
auth_chain_nth_method(const struct auth_chain *c, unsigned n);

/* AUTH_ALLOW or AUTH_DENY with the answer in *r, or AUTH_LATER: then done is
 * called.  When every link says not mine the answer is deny.  A full worker
 * queue is a deny that says so. */
enum auth_result auth_start(struct auth_chain *c, struct auth_request *r);
/*
 * The first step of an exchange by a method of the chain's, and the next ones.
 * AUTH_CONTINUE (at once, or in r->result when done is called): r->out goes to
 * the client, whose answer auth_continue takes.  With AUTH_ALLOW, r->out is
 * the method's last word; empty where it has none.
 */
enum auth_result auth_start_method(
    struct auth_chain *c, const struct auth_method *m, struct auth_request *r);
enum auth_result
auth_continue(struct auth_request *r, bool has_data, struct slice data);
/* Why who was let in by `was` would not be by `now`, as far as that can be
 * told without asking him again; NULL: he would.  Static. */
const char *auth_chain_objection(const struct auth_chain *was,
    const struct auth_chain *now, const struct principal *who);

/* What follows is for links. */

struct auth_method {
	const char *name; /* static; as clients write it */
	/* r->data is what the client said, r->out is empty.  Any auth_result
	 * but AUTH_NOT_MINE; after AUTH_LATER, r is whoever calls
	 * auth_answer's. */
	enum auth_result (*step)(
	    struct authenticator *a, struct auth_request *r);
	/* Wipes and frees r->state, which is not NULL. */
	void (*end)(struct auth_request *r);
};

struct authenticator {
	const char *name; /* static */
	/* Any auth_result; after AUTH_LATER, r is whoever calls
	 * auth_answer's. */
	enum auth_result (*start)(
	    struct authenticator *a, struct auth_request *r);
	void (*free)(struct authenticator *a);
	const struct auth_method *method; /* static; NULL: none */
	/* auth_chain_objection's answer where was, a link of the same name,
	 * let him in; NULL: none, ever. */
	const char *(*objection)(const struct authenticator *a,
	    const struct authenticator *was, const struct principal *who);
};

/* Takes *a, also when it fails. */
NJ_MUST enum nj_err
auth_chain_add(struct auth_chain *c, struct authenticator **a);
/* Makes the principal: AUTH_ALLOW, or AUTH_DENY without memory. */
enum auth_result auth_allow(struct auth_request *r, struct slice name);
/* The same with what else is known of a client. */
struct auth_grant {
	struct slice name, groups, topics; /* as struct principal has them */
	bool has_topics;
	int64_t expires;	    /* Unix seconds; 0: it does not */
	struct slice enrols, token; /* of who came to enrol */
};
enum auth_result
auth_allow_grant(struct auth_request *r, const struct auth_grant *g);
/* The same for one whose certificate says the name: with its groups. */
enum auth_result
auth_allow_certified(struct auth_request *r, struct slice name);
/* Notes why, for the case that no later link answers; fmt (or NULL) is the
 * mend.  Returns AUTH_DENY. */
enum auth_result auth_deny(struct auth_request *r, enum auth_reason reason,
    const char *fmt, ...) NJ_PRINTF(3, 4);
/* The answer after AUTH_LATER, once, from any thread; r may be gone when it
 * returns. */
void auth_answer(struct auth_request *r, enum auth_result result);

#endif
