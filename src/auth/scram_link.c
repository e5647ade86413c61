/* SPDX-License-Identifier: Apache-2.0
 * The link that owns SCRAM-SHA-256.  A step costs a few HMACs, so that it is
 * taken where it is asked for: the password's derivation is the client's work.
 */
#include <stdlib.h>

#include "auth/chain.h"
#include "auth/password_file.h"
#include "auth/scram.h"
#include "base/text.h"

struct link {
	struct authenticator a; /* first */
	struct password_file *pf;
	bool only;
};

struct exchange {
	struct scram_server s;
	bool known;	 /* the user has a verifier */
	bool challenged; /* the first step is done */
};

static struct link *
link_of(struct authenticator *a)
{
	return (struct link *)(void *)a;
}

static enum auth_result
refuse_data(struct auth_request *r, enum nj_err e, const struct nj_why *why)
{
	if (e == NJ_MALFORMED || e == NJ_UNSUPPORTED)
		return auth_deny(r, AUTH_R_BAD_DATA, "%s", why->what);
	return auth_deny(r, AUTH_R_FAILED, NULL);
}

/* Who is unknown gets a challenge too: one that is always the same for a
 * name, and that nothing answers. */
static enum auth_result
challenge(struct link *l, struct exchange *x, struct auth_request *r)
{
	char nonce[SCRAM_NONCE + 1];
	struct scram_verifier v = { .iterations = 0 };
	struct nj_why why = { .what = "" };
	struct slice name;
	enum nj_err e;

	if ((e = scram_server_begin(&x->s, secret_bytes(r->data), &why)))
		return refuse_data(r, e, &why);
	name = scram_server_name(&x->s);
	if (r->has_username && !slice_eq(name, r->username))
		return auth_deny(r, AUTH_R_OTHER_NAME, NULL);
	if (r->watch && r->watch->pressed(r->watch_arg, name))
		return auth_deny(r, AUTH_R_PRESSED, NULL);
	if ((e = password_file_scram(l->pf, name, &v, &x->known)))
		return auth_deny(r, AUTH_R_FAILED, NULL);
	scram_nonce(nonce);
	e = scram_server_challenge(&x->s, &v, slice_str(nonce), &r->out);
	secret_wipe(&v, sizeof v);
	if (e)
		return auth_deny(r, AUTH_R_FAILED, NULL);
	x->challenged = true;
	return AUTH_CONTINUE;
}

static enum auth_result
refuse_proof(
    const struct link *l, const struct exchange *x, struct auth_request *r)
{
	struct slice name = scram_server_name(&x->s);
	enum auth_reason why = x->known	     ? AUTH_R_WRONG_PASSWORD
	    : password_file_has(l->pf, name) ? AUTH_R_NO_VERIFIER
					     : AUTH_R_UNKNOWN_USER;
	char user[TEXT_ESC], word[TEXT_ESC];

	if (r->watch)
		r->watch->failed(r->watch_arg, name);
	return auth_deny(r, why,
	    "nightjar passwd -H scram-sha-256 %s %s, then reload; it is user "
	    "'%s'",
	    password_file_path(l->pf),
	    text_word(word, sizeof word, name, "USER"),
	    text_esc(user, sizeof user, name));
}

static enum auth_result
finish(struct link *l, struct exchange *x, struct auth_request *r)
{
	struct nj_why why = { .what = "" };
	enum nj_err e =
	    scram_server_finish(&x->s, secret_bytes(r->data), &r->out, &why);

	/* nobody knows what would match a made up verifier */
	if (e == NJ_OK && !x->known)
		e = NJ_DENIED;
	if (e == NJ_DENIED)
		return refuse_proof(l, x, r);
	return e ? refuse_data(r, e, &why)
		 : auth_allow(r, scram_server_name(&x->s));
}

static enum auth_result
scram_step(struct authenticator *a, struct auth_request *r)
{
	struct exchange *x = r->state;

	if (!x && !(r->state = x = calloc(1, sizeof *x)))
		return auth_deny(r, AUTH_R_FAILED, NULL);
	/* A client may leave its first message for later: RFC 4422 5.1 */
	if (!r->data)
		return x->challenged || r->rounds > 1
		    ? auth_deny(r, AUTH_R_BAD_DATA, "there is none")
		    : AUTH_CONTINUE;
	return x->challenged ? finish(link_of(a), x, r)
			     : challenge(link_of(a), x, r);
}

static void
scram_end(struct auth_request *r)
{
	struct exchange *x = r->state;

	scram_server_fini(&x->s);
	free(x);
}

/* A name with a password, where passwords are not taken like that. */
static enum auth_result
scram_start(struct authenticator *a, struct auth_request *r)
{
	if (link_of(a)->only && r->has_username)
		return auth_deny(r, AUTH_R_METHOD_ONLY,
		    "give the client --auth-method " SCRAM_METHOD);
	return AUTH_NOT_MINE;
}

static const char *
scram_objection(const struct authenticator *a, const struct authenticator *was,
    const struct principal *who)
{
	return password_file_objection(
	    ((const struct link *)(const void *)a)->pf,
	    ((const struct link *)(const void *)was)->pf, who->name);
}

static void
scram_free(struct authenticator *a)
{
	password_file_unref(link_of(a)->pf);
	free(link_of(a));
}

static const struct auth_method scram_method = {
	.name = SCRAM_METHOD,
	.step = scram_step,
	.end = scram_end,
};

enum nj_err
auth_add_scram(struct auth_chain *c, struct password_file *pf, bool only)
{
	struct link *l = malloc(sizeof *l);
	struct authenticator *a = (struct authenticator *)(void *)l;

	if (!l)
		return NJ_NOMEM;
	*l = (struct link){
		.a = { .name = SCRAM_METHOD,
		    .start = scram_start,
		    .free = scram_free,
		    .method = &scram_method,
		    .objection = scram_objection },
		.pf = password_file_ref(pf),
		.only = only,
	};
	return auth_chain_add(c, &a);
}
