/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/chain.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct auth_chain {
	atomic_uint refs;
	unsigned n;
	struct authenticator *links[AUTH_LINKS_MAX];
};

static struct slice
copy_bytes(uint8_t **at, struct slice s)
{
	struct slice copy = { *at, s.n };

	if (s.n > 0)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

enum nj_err
auth_request_new(const struct auth_request_in *in, struct auth_request **out)
{
	size_t n = in->username.n + in->client_id.n + in->address.n +
	    in->listener.n + in->cert_name.n + in->cert_subject.n +
	    in->device.n + in->groups.n;
	struct auth_request *r = calloc(1, sizeof *r + n);
	uint8_t *at;
	enum nj_err e;

	if (!r)
		return NJ_NOMEM;
	if (in->has_password && (e = secret_new(in->password, &r->password))) {
		free(r);
		return e;
	}
	if (in->has_data && (e = secret_new(in->data, &r->data))) {
		secret_free(r->password);
		free(r);
		return e;
	}
	at = r->text;
	r->has_username = in->has_username;
	r->has_password = in->has_password;
	r->bridge = in->bridge;
	r->has_cert = in->has_cert;
	r->pressed = in->pressed;
	r->at_home = in->at_home;
	r->watch = in->watch;
	r->watch_arg = in->watch_arg;
	r->right = in->right;
	r->username = copy_bytes(&at, in->username);
	r->client_id = copy_bytes(&at, in->client_id);
	r->address = copy_bytes(&at, in->address);
	r->listener = copy_bytes(&at, in->listener);
	r->cert_name = copy_bytes(&at, in->cert_name);
	r->cert_subject = copy_bytes(&at, in->cert_subject);
	r->device = copy_bytes(&at, in->device);
	r->groups = copy_bytes(&at, in->groups);
	r->result = AUTH_DENY;
	*out = r;
	return NJ_OK;
}

/* What an exchange has gathered. */
static void
end_exchange(struct auth_request *r)
{
	if (r->state)
		r->method->end(r);
	r->state = NULL;
}

static void
forget_secrets(struct auth_request *r)
{
	secret_free(r->password);
	secret_free(r->data);
	r->password = r->data = NULL;
}

void
auth_request_free(struct auth_request *r)
{
	if (!r)
		return;
	end_exchange(r);
	forget_secrets(r);
	buf_wipe(&r->out);
	principal_unref(r->principal);
	auth_chain_unref(r->chain);
	free(r);
}

static enum auth_result
allow(struct auth_request *r, const struct auth_grant *g, bool certified)
{
	struct principal who = {
		.bridge = r->bridge,
		.certified = certified,
		.name = g->name,
		.groups = g->groups,
		.topics = g->topics,
		.has_topics = g->has_topics,
		.expires = g->expires,
		.claimed = r->username,
		.client_id = r->client_id,
		.address = r->address,
		.listener = r->listener,
		.subject = r->cert_subject,
		.by = r->chain->links[r->link]->name,
	};

	if (r->right != ENROLLING_NOT) {
		who.right = r->right;
		who.enrols = g->enrols;
		who.token = g->token;
	} else if (r->device.n > 0) {
		who.right = ENROLLING_BESIDES;
		who.enrols = r->device;
	}
	if (certified) {
		who.device = r->device;
		who.groups = r->groups;
	}
	if (principal_new(&who, &r->principal))
		return auth_deny(r, AUTH_R_FAILED, NULL);
	r->reason = AUTH_R_NONE;
	r->why[0] = '\0';
	return AUTH_ALLOW;
}

enum auth_result
auth_allow(struct auth_request *r, struct slice name)
{
	const struct auth_grant g = { .name = name };

	return allow(r, &g, false);
}

enum auth_result
auth_allow_grant(struct auth_request *r, const struct auth_grant *g)
{
	return allow(r, g, false);
}

enum auth_result
auth_allow_certified(struct auth_request *r, struct slice name)
{
	const struct auth_grant g = { .name = name };

	return allow(r, &g, true);
}

enum auth_result
auth_deny(struct auth_request *r, enum auth_reason reason, const char *fmt, ...)
{
	int n = snprintf(r->why, sizeof r->why, "%s%s",
	    auth_reason_what(reason), fmt ? "; " : "");
	va_list ap;

	r->reason = reason;
	if (fmt && n >= 0 && (size_t)n < sizeof r->why) {
		va_start(ap, fmt);
		(void)vsnprintf(r->why + n, sizeof r->why - (size_t)n, fmt, ap);
		va_end(ap);
	}
	return AUTH_DENY;
}

static enum auth_result
finish(struct auth_request *r, enum auth_result result)
{
	assert((result == AUTH_ALLOW) == (r->principal != NULL));
	r->result = result;
	forget_secrets(r);
	if (result != AUTH_CONTINUE)
		end_exchange(r);
	if (result == AUTH_DENY)
		buf_wipe(&r->out);
	return result;
}

static bool
has_link(const struct auth_chain *c, const char *name)
{
	for (unsigned i = 0; i < c->n; i++)
		if (strcmp(c->links[i]->name, name) == 0)
			return true;
	return false;
}

/* No link found anything to judge: that may be the listener's fault. */
static void
nobody_asked(const struct auth_chain *c, struct auth_request *r)
{
	if (r->has_cert && !has_link(c, "certificate"))
		(void)auth_deny(r, AUTH_R_CERT_UNUSED,
		    "set 'use_identity_as_username true' below the listener");
	else if (r->has_username)
		(void)auth_deny(r, AUTH_R_UNCHECKED,
		    "give the listener a password_file (nightjar passwd -c "
		    "FILE USER), or set: allow_anonymous true");
	else
		(void)auth_deny(r, AUTH_R_NO_LOGIN,
		    "give the client a user name and a password (nightjar "
		    "passwd FILE USER), or set: allow_anonymous true");
}

/* Asks the links from r->link on.  After AUTH_LATER r may be gone already. */
static enum auth_result
ask(struct auth_chain *c, struct auth_request *r)
{
	for (; r->link < c->n; r->link++) {
		struct authenticator *a = c->links[r->link];
		enum auth_result result = a->start(a, r);

		if (result == AUTH_LATER)
			return AUTH_LATER;
		if (result != AUTH_NOT_MINE)
			return finish(r, result);
	}
	if (r->reason == AUTH_R_NONE)
		nobody_asked(c, r);
	return finish(r, AUTH_DENY);
}

enum auth_result
auth_start(struct auth_chain *c, struct auth_request *r)
{
	assert(!r->chain);
	r->chain = auth_chain_ref(c);
	r->link = 0;
	return ask(c, r);
}

void
auth_answer(struct auth_request *r, enum auth_result result)
{
	assert(result != AUTH_LATER);
	assert(!r->method || result != AUTH_NOT_MINE);
	if (result == AUTH_NOT_MINE) {
		r->link++;
		if (ask(r->chain, r) == AUTH_LATER)
			return;
	} else {
		(void)finish(r, result);
	}
	r->done(r);
}

const struct auth_method *
auth_chain_method(const struct auth_chain *c, struct slice name)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->links[i]->method &&
		    slice_is(name, c->links[i]->method->name))
			return c->links[i]->method;
	return NULL;
}

const struct auth_method *
auth_chain_nth_method(const struct auth_chain *c, unsigned n)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->links[i]->method && n-- == 0)
			return c->links[i]->method;
	return NULL;
}

/* One step of the link at work. */
static enum auth_result
step(struct auth_request *r)
{
	struct authenticator *a = r->chain->links[r->link];
	enum auth_result result;

	buf_wipe(&r->out);
	if (++r->rounds > AUTH_ROUNDS_MAX)
		return finish(r,
		    auth_deny(
			r, AUTH_R_BAD_DATA, "it does not come to an end"));
	if (r->data && secret_bytes(r->data).n > AUTH_DATA_MAX)
		return finish(r,
		    auth_deny(r, AUTH_R_BAD_DATA, "it is longer than %d bytes",
			AUTH_DATA_MAX));
	/* after AUTH_LATER r may be gone */
	result = r->method->step(a, r);
	assert(result != AUTH_NOT_MINE);
	return result == AUTH_LATER ? AUTH_LATER : finish(r, result);
}

enum auth_result
auth_start_method(
    struct auth_chain *c, const struct auth_method *m, struct auth_request *r)
{
	assert(!r->chain);
	r->chain = auth_chain_ref(c);
	r->method = m;
	r->link = 0;
	while (c->links[r->link]->method != m)
		r->link++;
	return step(r);
}

enum auth_result
auth_continue(struct auth_request *r, bool has_data, struct slice data)
{
	assert(r->method && r->result == AUTH_CONTINUE && !r->data);
	r->result = AUTH_DENY;
	if (has_data && secret_new(data, &r->data))
		return finish(r, auth_deny(r, AUTH_R_FAILED, NULL));
	return step(r);
}

static const struct authenticator *
link_called(const struct auth_chain *c, const char *name)
{
	for (unsigned i = 0; i < c->n; i++)
		if (strcmp(c->links[i]->name, name) == 0)
			return c->links[i];
	return NULL;
}

const char *
auth_chain_objection(const struct auth_chain *was, const struct auth_chain *now,
    const struct principal *who)
{
	const struct authenticator *before = link_called(was, who->by);
	const struct authenticator *a =
	    before ? link_called(now, who->by) : NULL;

	if (!before) /* it was none of these */
		return NULL;
	if (!a)
		return who->name.n > 0
		    ? "the way in which it logged in is not offered there any "
		      "more"
		    : "anonymous clients are not served there any more "
		      "(allow_anonymous)";
	return a->objection ? a->objection(a, before, who) : NULL;
}

enum nj_err
auth_chain_new(struct auth_chain **out)
{
	struct auth_chain *c = calloc(1, sizeof *c);

	if (!c)
		return NJ_NOMEM;
	atomic_init(&c->refs, 1);
	*out = c;
	return NJ_OK;
}

struct auth_chain *
auth_chain_ref(struct auth_chain *c)
{
	(void)atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void
auth_chain_unref(struct auth_chain *c)
{
	if (!c ||
	    atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < c->n; i++)
		c->links[i]->free(c->links[i]);
	free(c);
}

enum nj_err
auth_chain_add(struct auth_chain *c, struct authenticator **a)
{
	struct authenticator *taken = *a;

	*a = NULL;
	if (c->n == AUTH_LINKS_MAX) {
		taken->free(taken);
		return NJ_FULL;
	}
	c->links[c->n++] = taken;
	return NJ_OK;
}
