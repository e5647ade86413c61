/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/chain.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct auth_chain {
	atomic_uint refs;
	size_t n;
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
auth_request_new(const struct auth_ask *ask, struct auth_request **out)
{
	size_t total = ask->username.n + ask->client_id.n + ask->address.n +
	    ask->listener.n + ask->cert_name.n + ask->cert_subject.n +
	    ask->cert_cn.n;
	struct auth_request *r = calloc(1, sizeof *r + total);
	uint8_t *at;
	enum nj_err e;

	if (!r)
		return NJ_NOMEM;
	if (ask->has_password &&
	    (e = secret_new(ask->password, &r->password))) {
		free(r);
		return e;
	}
	at = (uint8_t *)(r + 1);
	r->ask = *ask;
	r->ask.password = SLICE_NONE;
	r->ask.username = copy_bytes(&at, ask->username);
	r->ask.client_id = copy_bytes(&at, ask->client_id);
	r->ask.address = copy_bytes(&at, ask->address);
	r->ask.listener = copy_bytes(&at, ask->listener);
	r->ask.cert_name = copy_bytes(&at, ask->cert_name);
	r->ask.cert_subject = copy_bytes(&at, ask->cert_subject);
	r->ask.cert_cn = copy_bytes(&at, ask->cert_cn);
	r->result = AUTH_DENY;
	*out = r;
	return NJ_OK;
}

void
auth_request_free(struct auth_request *r)
{
	if (!r)
		return;
	secret_free(r->password);
	principal_unref(r->principal);
	auth_chain_unref(r->chain);
	free(r);
}

enum auth_result
auth_allow(struct auth_request *r, enum principal_by by, struct slice name)
{
	struct principal who = {
		.by = by,
		.bridge = r->ask.bridge,
		.name = name,
		.claimed = r->ask.username,
		.client_id = r->ask.client_id,
		.address = r->ask.address,
		.listener = r->ask.listener,
		.cert_subject = r->ask.cert_subject,
		.cert_cn = r->ask.cert_cn,
	};

	if (principal_new(&who, &r->principal))
		return auth_deny(r, AUTH_R_FAILED);
	r->reason = AUTH_R_NONE;
	return AUTH_ALLOW;
}

enum auth_result
auth_deny(struct auth_request *r, enum auth_reason why)
{
	r->reason = why;
	return AUTH_DENY;
}

static enum auth_result
finish(struct auth_request *r, enum auth_result result)
{
	assert((result == AUTH_ALLOW) == (r->principal != NULL));
	r->result = result;
	secret_free(r->password);
	r->password = NULL;
	return result;
}

/* Asks the links that are left.  After AUTH_LATER r may be gone already. */
static enum auth_result
ask_next(struct auth_chain *c, struct auth_request *r)
{
	while (r->next < c->n) {
		struct authenticator *a = c->links[r->next++];
		enum auth_result result;

		r->link = a->name;
		result = a->start(a, r);
		if (result == AUTH_LATER)
			return AUTH_LATER;
		if (result != AUTH_NOT_MINE)
			return finish(r, result);
	}
	if (r->reason == AUTH_R_NONE)
		r->reason = AUTH_R_NO_LOGIN;
	return finish(r, AUTH_DENY);
}

enum auth_result
auth_chain_start(struct auth_chain *c, struct auth_request *r)
{
	assert(!r->chain);
	r->chain = auth_chain_ref(c);
	return ask_next(c, r);
}

void
auth_answer(struct auth_request *r, enum auth_result result)
{
	assert(result != AUTH_LATER);
	if (result != AUTH_NOT_MINE)
		(void)finish(r, result);
	else if (ask_next(r->chain, r) == AUTH_LATER)
		return;
	r->done(r);
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
	for (size_t i = 0; i < c->n; i++)
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
