/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/enroll_link.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pki/signer.h"
#include "pki/token.h"

/* No user of a password file can be called so. */
#define NAME_HEAD "enroll:"

struct link {
	struct authenticator a; /* first */
	struct signer *signer;
	struct workers *workers;
};

static struct link *
link_of(struct authenticator *a)
{
	return (struct link *)(void *)a;
}

static enum auth_result
let_in(struct auth_request *r, struct slice id, const char *token, int stay_s)
{
	char name[sizeof NAME_HEAD + PKI_ID_MAX];
	int n = snprintf(name, sizeof name, NAME_HEAD "%.*s", (int)id.n,
	    id.n ? (const char *)id.p : "");
	struct auth_grant g = {
		.name = slice_str(name),
		.enrols = id,
		.token = slice_str(token),
		.expires = (int64_t)time(NULL) + stay_s,
	};

	if (n < 0 || (size_t)n >= sizeof name)
		return auth_deny(r, AUTH_R_BAD_TOKEN,
		    "the name in its certificate is too long");
	return auth_allow_grant(r, &g);
}

/* On a worker. */
static void
look_at_token(struct job *j)
{
	struct auth_request *r =
	    (void *)((char *)j - offsetof(struct auth_request, job));
	const struct link *l = r->link_arg;
	struct signer_answer a = { .result = ENROL_FAILED };
	struct pki_token_text text = { 0 };
	char hash[PKI_TOKEN_HASH + 1] = "";
	enum auth_result result;

	if (pki_token_parse(secret_bytes(r->password), &text) == NJ_OK &&
	    pki_token_hash(slice_str(text.secret), hash)) {
		signer_look(l->signer, slice_str(hash), r->username, &a);
	} else {
		a.result = ENROL_DENIED;
		why_set(&a.why, "the password given is none");
		why_mend(&a.why, "copy it whole, from nj1. to its end");
	}
	secret_wipe(&text, sizeof text);
	if (a.result == ENROL_OK)
		result = let_in(r, slice_str(a.id), hash, ENROLLING_STAY_S);
	else if (a.result == ENROL_DENIED)
		result = auth_deny(
		    r, AUTH_R_BAD_TOKEN, "%s; %s", a.why.what, a.why.mend);
	else
		result = auth_deny(
		    r, AUTH_R_SIGNER, "%s; %s", a.why.what, a.why.mend);
	buf_fini(&a.certs);
	auth_answer(r, result);
}

static enum auth_result
start(struct authenticator *a, struct auth_request *r)
{
	struct link *l = link_of(a);

	switch (r->right) {
	case ENROLLING_LOOK:
		return let_in(r, SLICE_NONE, "", ENROLLING_LOOK_S);
	case ENROLLING_LATE:
		return let_in(r, r->device, "", ENROLLING_STAY_S);
	case ENROLLING_NEW:
		break;
	case ENROLLING_NOT:
	case ENROLLING_BESIDES:
		return AUTH_NOT_MINE;
	}
	if (!r->password)
		return AUTH_NOT_MINE;
	if (!l->signer)
		return auth_deny(r, AUTH_R_SIGNER,
		    "the signer of the CA was not started; restart the broker");
	r->link_arg = l;
	r->job.run = look_at_token;
	/* Once it is queued, r is the worker's. */
	if (workers_submit(l->workers, &r->job))
		return auth_deny(r, AUTH_R_BUSY, NULL);
	return AUTH_LATER;
}

static void
link_free(struct authenticator *a)
{
	free(link_of(a));
}

enum nj_err
auth_add_enrolment(struct auth_chain *c, struct signer *s, struct workers *w)
{
	struct link *l = calloc(1, sizeof *l);
	struct authenticator *a = (struct authenticator *)(void *)l;

	if (!l)
		return NJ_NOMEM;
	l->a = (struct authenticator){
		.name = "enrolment", .start = start, .free = link_free
	};
	l->signer = s;
	l->workers = w;
	return auth_chain_add(c, &a);
}
