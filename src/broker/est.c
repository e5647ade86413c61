/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/est.h"

#include <stdlib.h>
#include <string.h>

#include "auth/base64.h"
#include "base/log.h"
#include "base/secret.h"
#include "broker/guard.h"
#include "net/tls.h"
#include "pki/csr.h"
#include "pki/pkcs7.h"
#include "wire/httpreq.h"

/* -- a question's life ------------------------------------------------------ */

static void
est_free(struct est *q)
{
	question_fini(&q->q);
	free(q);
}

void
est_abandon(struct conn *c)
{
	struct est *q = c->est;

	if (!q)
		return;
	c->est = NULL;
	if (q->asked)
		q->conn = NULL; /* freed when its letter comes */
	else
		est_free(q);
}

void
est_answered(struct shard *sh, struct letter *l)
{
	struct est *q = LIST_OWNER(l, struct est, q.letter);
	struct conn *c = q->conn;

	/* what came of it counts, though its client may have gone */
	if (q->q.op == QUESTION_ENROLL || q->q.op == QUESTION_REENROLL)
		question_log(&q->q, q->q.from, "");
	if (!c &&
	    (q->q.answer.result == ENROL_DENIED ||
		q->q.answer.result == ENROL_REFUSED) &&
	    guard_may_log(sh, &sh->rejections, GUARD_LINES))
		nj_log(LOG_T_NOTICE,
		    "Enrolment for %s, which has gone, refused (%u): %s",
		    q->q.from, question_status(&q->q), q->q.answer.why.what);
	if (c) {
		c->est = NULL;
		est_say_answer(c, &q->q);
	}
	est_free(q);
}

static void
ask(struct conn *c, struct est *q)
{
	if (question_ask(&q->q, LETTER_EST)) {
		est_free(q);
		est_refuse(c, 503, "Retry-After: 5\r\n", "too many ask at once",
		    "try again in some seconds");
		return;
	}
	q->asked = true;
	c->est = q;
	conn_set_state(c, CONN_SIGNER);
	conn_update_wants(c);
}

static struct est *
est_new(struct conn *c, enum question_op op)
{
	struct est *q = calloc(1, sizeof *q);

	if (!q) {
		conn_drop(c, "out of memory");
		return NULL;
	}
	q->conn = c;
	q->q.shard = c->shard;
	q->q.op = op;
	q->q.opts = conn_port(c)->est;
	memcpy(q->q.from, c->peer, sizeof q->q.from);
	return q;
}

/* -- who asks --------------------------------------------------------------- */

/* "user:password", the password a token or its secret. */
static bool
take_basic(struct question *q, struct slice authorization)
{
	struct slice text = SLICE_NONE, pass;
	struct pki_token_text token;
	uint8_t plain[PKI_TOKEN_MAX + PKI_ID_MAX + 16];
	const uint8_t *colon;
	size_t n = 0, user;
	bool good = false;

	if (!http_credentials(authorization, "Basic", &text) ||
	    base64_decode(text, true, plain, sizeof plain, &n) ||
	    !(colon = memchr(plain, ':', n)))
		return false;
	user = (size_t)(colon - plain);
	pass = slice_of(colon + 1, n - user - 1);
	if (user <= PKI_ID_MAX && !memchr(plain, '\0', user)) {
		memcpy(q->name, plain, user);
		q->name[user] = '\0';
	}
	if (pass.n == PKI_TOKEN_SECRET) {
		good = pki_token_hash(pass, q->token);
	} else if (pki_token_parse(pass, &token) == NJ_OK) {
		good = pki_token_hash(slice_str(token.secret), q->token);
		secret_wipe(&token, sizeof token);
	}
	secret_wipe(plain, sizeof plain);
	return good;
}

static void
ask_who(struct conn *c)
{
	est_refuse(c, 401, "WWW-Authenticate: Basic realm=\"nightjar\"\r\n",
	    "a token is needed, as the password of HTTP Basic",
	    "nightjar ca token ID makes one");
}

static bool
prove(struct conn *c, struct question *q, const struct http_request *r)
{
	if (q->op == QUESTION_ENROLL) {
		if (take_basic(q, r->authorization))
			return true;
		if (r->authorization.p)
			guard_login_failed(c);
		ask_who(c);
		return false;
	}
	if (question_take_cert(q, c))
		return true;
	est_refuse(c, 403, "", "renewing takes the certificate that is renewed",
	    "connect with it as the client's certificate of TLS, or use "
	    "simpleenroll with a token");
	return false;
}

/* -- requests --------------------------------------------------------------- */

static void
enroll(struct conn *c, const struct http_request *r, struct slice body,
    enum question_op op)
{
	uint64_t wait = guard_login_wait(c);
	struct est *q;
	enum nj_err e;

	if (wait > 0) {
		est_refuse(c, 429, "Retry-After: 60\r\n",
		    "too many failed attempts from this address",
		    "wait a minute");
		return;
	}
	if (!(q = est_new(c, op)))
		return;
	if (!prove(c, &q->q, r)) {
		est_free(q);
		return;
	}
	if ((e = pki_base64_take(body, PKI_CSR_MAX, &q->q.csr))) {
		est_free(q);
		est_refuse(c, e == NJ_TOOBIG ? 413 : 400, "",
		    "the body is no base64 of a certificate request",
		    "send the request (PKCS#10, DER) in base64");
		return;
	}
	ask(c, q);
}

static const struct route {
	const char *path;
	bool post, tls;
	enum question_op op;
} routes[] = {
	{ "/.well-known/est/cacerts", false, true, QUESTION_CACERTS },
	{ "/.well-known/est/simpleenroll", true, true, QUESTION_ENROLL },
	{ "/.well-known/est/simplereenroll", true, true, QUESTION_REENROLL },
	{ "/ca.crt", false, false, QUESTION_CA_FILE },
	{ "/ca.crl", false, false, QUESTION_CRL_FILE },
};

static void
say_attributes(struct conn *c)
{
	struct buf text = { 0 };

	if (pki_base64_put(&text, question_attributes()))
		conn_drop(c, "out of memory");
	else
		est_say(c, 200, "Content-Transfer-Encoding: base64\r\n",
		    "application/csrattrs", buf_slice(&text));
	buf_fini(&text);
}

static const struct route *
route_of(const struct conn *c, struct slice target)
{
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
		if (slice_is(target, routes[i].path) &&
		    (!routes[i].tls || stream_tls(c->stream)))
			return &routes[i];
	return NULL;
}

static void
answer(struct conn *c, const struct http_request *r, struct slice body)
{
	const struct route *to = route_of(c, r->target);
	bool attrs = slice_is(r->target, "/.well-known/est/csrattrs");
	bool post = to && to->post;
	struct est *q;

	if (!to && !(attrs && stream_tls(c->stream))) {
		est_refuse(c, 404, "", "there is nothing under this path", "");
	} else if (!slice_is(r->method, post ? "POST" : "GET")) {
		est_refuse(c, 405, post ? "Allow: POST\r\n" : "Allow: GET\r\n",
		    "the method does not fit the path", "");
	} else if (attrs) {
		say_attributes(c);
	} else if (post) {
		enroll(c, r, body, to->op);
	} else if ((q = est_new(c, to->op))) {
		ask(c, q);
	}
}

/* Whether the body may come; answers if not. */
static bool
check_head(struct conn *c, const struct http_request *r)
{
	if (slice_is(r->method, "POST") && !r->has_length)
		est_refuse(c, 411, "", "the request has no Content-Length", "");
	else if (r->length > EST_BODY_MAX)
		est_refuse(c, 413, "", "the body is too long", "");
	else
		return true;
	return false;
}

/* Who wants to hear first whether the body is welcome: said once, as the head
 * is taken. */
static bool
say_continue(struct conn *c)
{
	link_kick(&c->link);
	return buf_put_slice(
		   &c->link.out, LIT("HTTP/1.1 100 Continue\r\n\r\n")) == NJ_OK;
}

bool
est_handle(struct conn *c, struct slice in)
{
	struct slice rest = in, head = in;
	struct http_request r;
	enum nj_err e = http_take_request(&rest, EST_HEAD_MAX, &r);

	if (e == NJ_AGAIN)
		return true;
	if (e && r.status == 0) {
		conn_drop(c,
		    stream_looks_like_tls(head)
			? "TLS to a plain HTTP port"
			: "no HTTP request on a listener for enrolment");
		return false;
	}
	if (e) {
		est_refuse(c, r.status, "", r.why, "");
		return c->state != CONN_DEAD;
	}
	if (!check_head(c, &r))
		return c->state != CONN_DEAD;
	if (rest.n < r.length) {
		/* the head came just now when nothing is kept yet */
		if (r.expects && !c->told_continue && !say_continue(c)) {
			conn_drop(c, "out of memory");
			return false;
		}
		c->told_continue |= r.expects;
		return true;
	}
	answer(c, &r, slice_of(rest.p, r.length));
	return c->state != CONN_DEAD;
}
