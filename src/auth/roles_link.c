/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/roles_link.h"

#include <stdlib.h>

#include "auth/password.h"
#include "auth/recall.h"
#include "base/text.h"

/* Of users that come and go there may be any number. */
#define RECALLED 100000

struct roles_link {
	struct authenticator a;
	struct rolebase *rb;
	struct recall *recall;
	struct workers *workers;
	bool last;
};

static struct roles_link *
link_of(struct authenticator *a)
{
	return (struct roles_link *)(void *)a;
}

static void
link_free(struct authenticator *a)
{
	rolebase_unref(link_of(a)->rb);
	recall_free(link_of(a)->recall);
	free(link_of(a));
}

/* What costs as much as checking a password here does. */
static void
spend(const struct roles *r, struct slice password)
{
	struct password_cost cost = roles_common_cost(r);
	char text[PASSWORD_TEXT_MAX];

	(void)!password_make(&cost, password, text);
}

static enum auth_result
wrong(struct auth_request *r, enum auth_reason why)
{
	char user[TEXT_ESC];

	return auth_deny(r, why,
	    "mosquitto_ctrl dynsec setClientPassword %s, or createClient",
	    text_word(user, sizeof user, r->username, "USER"));
}

static enum auth_result
check_hash(struct auth_request *r, const char *text)
{
	struct password_hash h;
	size_t at;

	if (password_parse(slice_str(text), &h, &at, NULL))
		return auth_deny(r, AUTH_R_FAILED, NULL);
	switch (password_verify(&h, secret_bytes(r->password))) {
	case NJ_OK:
		return AUTH_ALLOW;
	case NJ_DENIED:
		return wrong(r, AUTH_R_WRONG_PASSWORD);
	default:
		return auth_deny(r, AUTH_R_FAILED, NULL);
	}
}

/* Of one whose password is right. */
static enum auth_result
let_in(struct auth_request *r, const struct roles *now, enum roles_login may)
{
	if (may == ROLES_DISABLED)
		return auth_deny(
		    r, AUTH_R_DISABLED, "mosquitto_ctrl dynsec enableClient");
	if (may == ROLES_OTHER_ID)
		return auth_deny(
		    r, AUTH_R_BOUND_ID, "mosquitto_ctrl dynsec setClientId");
	r->proof = roles_proof(now, r->username);
	return auth_allow(r, r->username);
}

static enum roles_login
ask_now(
    const struct roles *now, const struct auth_request *r, const char **hash)
{
	struct roles_asker who = { .user = r->username,
		.client_id = r->client_id };

	return roles_login(now, &who, hash);
}

/* Whoever may not come in learns nothing from how long it takes. */
static enum auth_result
decide_login(const struct roles_link *l, struct auth_request *r)
{
	struct roles *now = rolebase_now(l->rb);
	const char *text = NULL;
	enum roles_login may = ask_now(now, r, &text);
	enum auth_result result = AUTH_NOT_MINE;

	if (text) {
		result = check_hash(r, text);
		if (result == AUTH_ALLOW)
			recall_note(l->recall, r->username, slice_str(text),
			    secret_bytes(r->password));
	} else if (l->last) {
		spend(now, secret_bytes(r->password));
		result = wrong(r, AUTH_R_UNKNOWN_USER);
	}
	if (result == AUTH_ALLOW)
		result = let_in(r, now, may);
	roles_unref(now);
	return result;
}

/* At once: whose password was right the last time; the derivation is spared.
 * AUTH_NOT_MINE: it has to be made. */
static enum auth_result
recalled(const struct roles_link *l, struct auth_request *r)
{
	struct roles *now = rolebase_now(l->rb);
	const char *text = NULL;
	enum roles_login may = ask_now(now, r, &text);
	enum auth_result result = AUTH_NOT_MINE;

	if (recall_knows(l->recall, r->username,
		text ? slice_str(text) : SLICE_NONE,
		secret_bytes(r->password)) &&
	    text && (!r->pressed || r->at_home))
		result = let_in(r, now, may);
	roles_unref(now);
	return result;
}

/* On a worker. */
static void
check_password(struct job *j)
{
	struct auth_request *r =
	    (void *)((char *)j - offsetof(struct auth_request, job));

	/* who has gone does not keep others waiting */
	auth_answer(r,
	    atomic_load(&r->unwanted) ? auth_deny(r, AUTH_R_BUSY, NULL)
				      : decide_login(r->link_arg, r));
}

static enum auth_result
roles_start(struct authenticator *a, struct auth_request *r)
{
	struct roles_link *l = link_of(a);
	enum auth_result result;

	if (!r->has_username)
		return AUTH_NOT_MINE;
	if (!r->password)
		return auth_deny(
		    r, AUTH_R_NO_PASSWORD, "give the client its password (-P)");
	/* an empty name would be nobody's, and so anonymous */
	if (r->username.n == 0 || secret_bytes(r->password).n == 0)
		return wrong(r, AUTH_R_EMPTY_PASSWORD);
	if ((result = recalled(l, r)) != AUTH_NOT_MINE)
		return result;
	if (r->pressed)
		return auth_deny(r, AUTH_R_PRESSED, NULL);
	r->link_arg = l;
	r->job.run = check_password;
	if (workers_submit(l->workers, &r->job))
		return auth_deny(r, AUTH_R_BUSY, NULL);
	return AUTH_LATER;
}

static const char *
roles_objection(const struct authenticator *a, const struct authenticator *was,
    const struct principal *who)
{
	const struct roles_link *l = (const struct roles_link *)(const void *)a;
	const struct roles_link *b =
	    (const struct roles_link *)(const void *)was;
	struct roles *now, *before;
	bool same;

	/* changes in the same one are heard of otherwise */
	if (l->rb == b->rb)
		return NULL;
	now = rolebase_now(l->rb);
	before = rolebase_now(b->rb);
	same = roles_proof(now, who->name) == roles_proof(before, who->name) &&
	    !roles_must_end(before, now, who->name);
	roles_unref(before);
	roles_unref(now);
	return same ? NULL
		    : "its user is another one, or none, in the other file of "
		      "dynamic security";
}

enum nj_err
auth_add_roles(
    struct auth_chain *c, struct rolebase *rb, struct workers *w, bool last)
{
	struct roles_link *l = malloc(sizeof *l);
	struct authenticator *a = (struct authenticator *)(void *)l;
	struct recall *recall = NULL;

	if (!l || recall_new(RECALLED, &recall)) {
		free(l);
		return NJ_NOMEM;
	}
	*l = (struct roles_link){
		.a = { .name = "dynamic security",
		    .start = roles_start,
		    .free = link_free,
		    .objection = roles_objection },
		.rb = rolebase_ref(rb),
		.recall = recall,
		.workers = w,
		.last = last,
	};
	return auth_chain_add(c, &a);
}
