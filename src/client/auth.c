/* SPDX-License-Identifier: Apache-2.0
 * Enhanced authentication, the client's part: SCRAM-SHA-256 (MQTT 5.0 4.12).
 * The broker has to show that it knows the password, too; one that only lets
 * the client in is not believed.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "auth/scram.h"
#include "base/text.h"
#include "client/impl.h"
#include "wire/decode.h"
#include "wire/encode.h"

struct client_auth {
	char *user;
	struct secret *password;
	struct scram_client scram;
	struct buf first; /* client-first */
	char nonce[SCRAM_NONCE + 1];
	char in_connect[SCRAM_NONCE]; /* stands in c->connect once */
	uint32_t every_s;
	uint64_t last; /* ms: when it ended well */
	bool again;    /* a re-authentication is under way */
};

static enum nj_err
check_options(const struct client_opts *o, struct nj_why *why)
{
	char esc[TEXT_ESC];

	if (strcmp(o->auth_method, SCRAM_METHOD) != 0) {
		why_set(why, "the authentication method '%s' is not known",
		    text_esc(esc, sizeof esc, slice_str(o->auth_method)));
		why_mend(why, "it is " SCRAM_METHOD);
	} else if (o->version != MQTT5) {
		why_set(why, "an authentication method needs MQTT 5");
		why_mend(why, "add -V mqttv5");
	} else if (!o->username || !o->username[0] || !o->password) {
		why_set(why, SCRAM_METHOD " needs a user name and a password");
		why_mend(why, "add -u NAME -P PASSWORD");
	} else if (scram_prepared(slice_str(o->username)) ||
	    scram_prepared(secret_bytes(o->password))) {
		why_set(why,
		    "the user name or the password has characters that "
		    "SCRAM would need rewritten (SASLprep), which is not done");
	} else if (o->props && props_has(o->props, PROP_AUTH_METHOD)) {
		why_set(why, "there is an authentication method already");
		why_mend(why, "leave out the property authentication-method");
	} else {
		return NJ_OK;
	}
	return NJ_INVALID;
}

/* A new exchange; its first message is in a->first. */
static enum nj_err
begin(struct client_auth *a)
{
	scram_client_fini(&a->scram);
	buf_wipe(&a->first);
	scram_nonce(a->nonce);
	return scram_client_first(
	    &a->scram, slice_str(a->user), slice_str(a->nonce), &a->first);
}

enum nj_err
client_auth_new(
    struct client *c, const struct client_opts *o, struct nj_why *why)
{
	struct client_auth *a;
	enum nj_err e;

	if (!o->auth_method)
		return NJ_OK;
	if ((e = check_options(o, why)))
		return e;
	if (!(a = c->auth = calloc(1, sizeof *a)) ||
	    !(a->user = strdup(o->username)) ||
	    secret_new(secret_bytes(o->password), &a->password) || begin(a)) {
		why_set(why, "out of memory");
		return NJ_NOMEM;
	}
	a->every_s = o->reauth_s;
	return NJ_OK;
}

void
client_auth_free(struct client *c)
{
	struct client_auth *a = c->auth;

	if (!a)
		return;
	free(a->user);
	secret_free(a->password);
	scram_client_fini(&a->scram);
	buf_wipe(&a->first);
	free(a);
	c->auth = NULL;
}

/* The password stays here. */
void
client_auth_connect(const struct client *c, struct connect *k)
{
	memcpy(c->auth->in_connect, c->auth->nonce, SCRAM_NONCE);
	k->has_password = false;
	k->password = SLICE_NONE;
	k->props.seen |= PROP_BIT(PROP_AUTH_METHOD) | PROP_BIT(PROP_AUTH_DATA);
	k->props.auth_method = LIT(SCRAM_METHOD);
	k->props.auth_data = buf_slice(&c->auth->first);
}

/* The packet is kept as it is made; only the nonce must be new each time. */
enum nj_err
client_auth_renew(struct client *c)
{
	struct slice k = buf_slice(&c->connect);
	struct client_auth *a = c->auth;
	uint8_t *at = k.p ? memmem(k.p, k.n, a->in_connect, SCRAM_NONCE) : NULL;
	enum nj_err e;

	assert(at);
	if ((e = begin(a)))
		return e;
	memcpy(at, a->nonce, SCRAM_NONCE);
	memcpy(a->in_connect, a->nonce, SCRAM_NONCE);
	a->again = false;
	return NJ_OK;
}

static enum nj_err
send_auth(struct client *c, enum mqtt_rc code, struct slice data)
{
	struct disconnect d = {
		.code = (uint8_t)code,
		.props = { .seen = PROP_BIT(PROP_AUTH_METHOD) |
			PROP_BIT(PROP_AUTH_DATA),
		    .auth_method = LIT(SCRAM_METHOD),
		    .auth_data = data },
	};

	client_trace(c, "sending AUTH (%u)", (unsigned)code);
	return encode_auth(&c->out, &d);
}

/* The broker, as it seems, is another one than it says. */
static enum nj_err
distrust(struct client *c, const struct nj_why *why)
{
	why_set(&c->why,
	    "the broker at %s could not show that it knows the password: %s",
	    c->where, why->what);
	why_mend(&c->why, "make sure that this is the right broker");
	return NJ_DENIED;
}

static enum nj_err
verify(struct client *c, const struct props *p)
{
	struct nj_why why = { .what = "" };
	enum nj_err e;

	if (!props_has(p, PROP_AUTH_METHOD) ||
	    !slice_is(p->auth_method, SCRAM_METHOD)) /* [MQTT-4.12.0-5] */
		return client_blame(
		    c, NJ_PROTOCOL, "an answer without " SCRAM_METHOD);
	e = scram_client_verify(&c->auth->scram,
	    props_has(p, PROP_AUTH_DATA) ? p->auth_data : SLICE_NONE, &why);
	if (e)
		return distrust(c, &why);
	scram_client_fini(&c->auth->scram);
	c->auth->last = client_now();
	c->auth->again = false;
	return NJ_OK;
}

enum nj_err
client_auth_accepted(struct client *c, const struct props *p)
{
	if (c->auth)
		return verify(c, p);
	if (props_has(p, PROP_AUTH_METHOD) && !c->own_method)
		return client_blame(c, NJ_PROTOCOL,
		    "an authentication method that was not asked for");
	return NJ_OK; /* [MQTT-4.12.0-6] */
}

static enum nj_err
answer(struct client *c, struct slice challenge)
{
	struct client_auth *a = c->auth;
	struct nj_why why = { .what = "" };
	struct buf out = { 0 };
	enum nj_err e = scram_client_final(
	    &a->scram, challenge, secret_bytes(a->password), &out, &why);

	if (!e)
		e = send_auth(c, RC_CONTINUE_AUTH, buf_slice(&out));
	else if (e == NJ_DENIED)
		e = distrust(c, &why);
	else if (why.what[0])
		e = client_blame(c, e, "%s", why.what);
	buf_wipe(&out);
	return e;
}

enum nj_err
client_auth_receive(struct client *c, const struct frame *f)
{
	struct disconnect d;
	enum nj_err e;

	if (!c->auth && !c->own_method) /* [MQTT-4.12.0-6] */
		return client_blame(
		    c, NJ_PROTOCOL, "AUTH, which was not asked for");
	if (!c->auth) {
		why_set(&c->why,
		    "the broker at %s asks for enhanced authentication, "
		    "which was not asked for",
		    c->where);
		why_mend(&c->why,
		    "use --auth-method " SCRAM_METHOD
		    " in place of the property authentication-method");
		return NJ_UNSUPPORTED;
	}
	if ((e = decode_auth(f->body, &d)))
		return client_blame(c, e, "malformed AUTH");
	client_trace(c, "received AUTH (%u)", d.code);
	if (!props_has(&d.props, PROP_AUTH_METHOD) ||
	    !slice_is(d.props.auth_method, SCRAM_METHOD))
		return client_blame(c, NJ_PROTOCOL, "AUTH with another method");
	if (c->state != LINK_OPENING && !c->auth->again)
		return client_blame(
		    c, NJ_PROTOCOL, "AUTH, which nothing asked for");
	if (d.code == RC_SUCCESS && c->auth->again)
		return verify(c, &d.props);
	if (d.code != RC_CONTINUE_AUTH)
		return client_blame(
		    c, NJ_PROTOCOL, "AUTH with code %u", d.code);
	return answer(c,
	    props_has(&d.props, PROP_AUTH_DATA) ? d.props.auth_data
						: SLICE_NONE);
}

/* Milliseconds until the next re-authentication; -1: never. */
int64_t
client_auth_wait(const struct client *c)
{
	const struct client_auth *a = c->auth;
	uint64_t due, now;

	if (!a || !a->every_s || a->again || c->state != LINK_UP)
		return -1;
	due = a->last + a->every_s * UINT64_C(1000);
	now = client_now();
	return due > now ? (int64_t)(due - now) : 0;
}

enum nj_err
client_auth_again(struct client *c)
{
	enum nj_err e;

	if (client_auth_wait(c) != 0)
		return NJ_OK;
	if ((e = begin(c->auth)))
		return e;
	c->auth->again = true;
	return send_auth(c, RC_REAUTHENTICATE, buf_slice(&c->auth->first));
}
