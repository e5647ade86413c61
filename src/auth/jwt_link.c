/* SPDX-License-Identifier: Apache-2.0
 * The link that takes JSON Web Tokens: in place of a password, or by the
 * method "JWT", with which a client brings the next one before the last has
 * ended.  Signatures are checked on a worker.
 */
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "auth/chain.h"
#include "auth/jwt.h"
#include "auth/jwt_link.h"
#include "base/text.h"

struct link {
	struct authenticator a; /* first */
	struct jwt_rules rules; /* owns its strings, a reference on the keys */
	struct workers *workers;
};

static struct link *
link_of(struct authenticator *a)
{
	return (struct link *)(void *)a;
}

static enum auth_result
refuse(struct auth_request *r, enum nj_err e, const struct nj_why *why)
{
	enum auth_reason reason = e == NJ_TIMEOUT ? AUTH_R_STALE_TOKEN
	    : e == NJ_DENIED || e == NJ_MALFORMED ? AUTH_R_BAD_TOKEN
						  : AUTH_R_FAILED;

	if (reason == AUTH_R_FAILED)
		return auth_deny(r, reason, NULL);
	return auth_deny(r, reason, "%s%s%s", why->what,
	    why->mend[0] ? "; " : "", why->mend);
}

/* The token is good; is it this client's? */
static enum auth_result
grant(struct auth_request *r, const struct link *l, struct jwt *t)
{
	struct auth_grant g = {
		.name = buf_slice(&t->name),
		.groups = buf_slice(&t->groups),
		.topics = buf_slice(&t->topics),
		.has_topics = t->has_topics,
		.expires = t->expires,
	};
	struct slice id = buf_slice(&t->client_id);
	char name[TEXT_ESC];

	if (!g.name.p)
		return auth_deny(r, AUTH_R_FAILED, NULL);
	(void)text_esc(name, sizeof name, g.name);
	if (r->username.n > 0 && !slice_eq(r->username, g.name))
		return auth_deny(
		    r, AUTH_R_OTHER_NAME, "its token is for '%s'", name);
	if (l->rules.client_id && (!id.p || !slice_eq(r->client_id, id)))
		return auth_deny(r, AUTH_R_OTHER_ID, "its token is for '%s'",
		    text_esc(name, sizeof name, id));
	return auth_allow_grant(r, &g);
}

/* On a worker. */
static void
check_token(struct job *j)
{
	struct auth_request *r =
	    (void *)((char *)j - offsetof(struct auth_request, job));
	const struct link *l = r->link_arg;
	struct slice token = secret_bytes(r->method ? r->data : r->password);
	struct nj_why why = { .what = "" };
	struct jwt t = { 0 };
	enum auth_result result;
	enum nj_err e = NJ_NOMEM;

	if (!atomic_load(&r->unwanted))
		e = jwt_check(token, &l->rules, (int64_t)time(NULL), &t, &why);
	result = e ? refuse(r, e, &why) : grant(r, l, &t);
	jwt_fini(&t);
	auth_answer(r, result);
}

static enum auth_result
submit(struct link *l, struct auth_request *r)
{
	r->link_arg = l;
	r->job.run = check_token;
	/* Once it is queued, r is the worker's. */
	if (workers_submit(l->workers, &r->job))
		return auth_deny(r, AUTH_R_BUSY, NULL);
	return AUTH_LATER;
}

/* What is no token is somebody else's to judge. */
static enum auth_result
jwt_start(struct authenticator *a, struct auth_request *r)
{
	if (!r->password)
		return AUTH_NOT_MINE;
	if (!jwt_looks_like_one(secret_bytes(r->password))) {
		(void)auth_deny(
		    r, AUTH_R_BAD_TOKEN, "the password given is none");
		return AUTH_NOT_MINE;
	}
	return submit(link_of(a), r);
}

static enum auth_result
jwt_step(struct authenticator *a, struct auth_request *r)
{
	/* A client may leave its token for the second step: RFC 4422 5.1 */
	if (!r->data)
		return r->rounds > 1
		    ? auth_deny(r, AUTH_R_BAD_DATA, "there is no token")
		    : AUTH_CONTINUE;
	return submit(link_of(a), r);
}

static void
jwt_end(struct auth_request *r)
{
	(void)r; /* nothing is kept between steps */
}

static void
jwt_free(struct authenticator *a)
{
	struct link *l = link_of(a);

	jwk_set_unref((struct jwk_set *)(uintptr_t)l->rules.keys);
	free((char *)(uintptr_t)l->rules.issuer);
	free((char *)(uintptr_t)l->rules.audience);
	free((char *)(uintptr_t)l->rules.username);
	free((char *)(uintptr_t)l->rules.client_id);
	free((char *)(uintptr_t)l->rules.groups);
	free((char *)(uintptr_t)l->rules.topics);
	free(l);
}

static const struct auth_method jwt_method = {
	.name = JWT_METHOD,
	.step = jwt_step,
	.end = jwt_end,
};

static bool
copy(const char *from, const char **to)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

enum nj_err
auth_add_jwt(
    struct auth_chain *c, const struct jwt_rules *rules, struct workers *w)
{
	struct link *l = calloc(1, sizeof *l);
	struct authenticator *a = (struct authenticator *)(void *)l;

	if (!l)
		return NJ_NOMEM;
	l->a = (struct authenticator){ .name = "token",
		.start = jwt_start,
		.free = jwt_free,
		.method = &jwt_method };
	l->workers = w;
	l->rules.skew_s = rules->skew_s;
	l->rules.keys = jwk_set_ref((struct jwk_set *)(uintptr_t)rules->keys);
	if (!copy(rules->issuer, &l->rules.issuer) ||
	    !copy(rules->audience, &l->rules.audience) ||
	    !copy(rules->username, &l->rules.username) ||
	    !copy(rules->client_id, &l->rules.client_id) ||
	    !copy(rules->groups, &l->rules.groups) ||
	    !copy(rules->topics, &l->rules.topics)) {
		jwt_free(a);
		return NJ_NOMEM;
	}
	return auth_chain_add(c, &a);
}
