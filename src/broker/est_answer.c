/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "broker/est.h"
#include "broker/guard.h"
#include "pki/pkcs7.h"
#include "wire/http.h"

#define CERTS	  "application/pkcs7-mime"
#define CERTS_ONE "application/pkcs7-mime; smime-type=certs-only"
/* RFC 7030 4.1.3, though RFC 8951 has nobody rely on it. */
#define IN_BASE64 "Content-Transfer-Encoding: base64\r\n"

void
est_say(struct conn *c, unsigned status, const char *more, const char *type,
    struct slice body)
{
	struct buf *out;
	enum nj_err e;

	if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
		return;
	link_kick(&c->link);
	out = &c->link.out;
	e = buf_printf(out,
	    "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
	    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
	    "%sConnection: close\r\n\r\n",
	    status, http_phrase(status), type, body.n, more);
	if (!e)
		e = buf_put_slice(out, body);
	if (e)
		conn_drop(c, "out of memory");
	else
		conn_close_gently(c);
}

void
est_refuse(struct conn *c, unsigned status, const char *more, const char *what,
    const char *mend)
{
	char text[sizeof(struct nj_why) + 32];
	int n = snprintf(text, sizeof text, "%s%s%s\n", what,
	    mend[0] ? "\nTo mend it: " : "", mend);

	conn_failed(c, FAILURE_ENROLMENT, false, what, mend);
	if (guard_may_log(c->shard, &c->shard->rejections, GUARD_LINES))
		nj_log(LOG_T_NOTICE, "Enrolment for %s refused (%u): %s",
		    c->peer, status, what);
	est_say(c, status, more, "text/plain; charset=utf-8",
	    slice_of(text, n > 0 ? (size_t)n : 0));
}

static void
say_certs(struct conn *c, const struct question *q, bool one)
{
	struct buf body = { 0 };

	if (pkcs7_of(buf_slice(&q->answer.certs), one, &body))
		est_refuse(c, 503, "", "the answer could not be made", "");
	else
		est_say(c, 200, IN_BASE64, one ? CERTS_ONE : CERTS,
		    buf_slice(&body));
	buf_fini(&body);
}

static void
say_new(struct conn *c, const struct question *q)
{
	char more[64];

	switch (q->answer.result) {
	case ENROL_OK:
		say_certs(c, q, true);
		break;
	case ENROL_WAIT:
		(void)snprintf(
		    more, sizeof more, "Retry-After: %d\r\n", ENROL_RETRY_S);
		est_say(c, 202, more, "text/plain; charset=utf-8",
		    LIT("The request waits for approval.\n"));
		break;
	case ENROL_DENIED:
		guard_login_failed(c);
		est_refuse(c, question_status(q),
		    q->op == QUESTION_ENROLL
			? "WWW-Authenticate: Basic realm=\"nightjar\"\r\n"
			: "",
		    q->answer.why.what, q->answer.why.mend);
		break;
	case ENROL_REFUSED:
		est_refuse(c, 400, "", q->answer.why.what, q->answer.why.mend);
		break;
	case ENROL_FAILED:
		/* why it failed is the operator's to know */
		est_refuse(c, 503, "Retry-After: 60\r\n",
		    "no certificate can be issued now; the broker's log says "
		    "why",
		    "");
		break;
	}
}

void
est_say_answer(struct conn *c, const struct question *q)
{
	if (q->op == QUESTION_ENROLL || q->op == QUESTION_REENROLL)
		say_new(c, q);
	else if (q->answer.result != ENROL_OK)
		est_refuse(c, q->op == QUESTION_CRL_FILE ? 404 : 503, "",
		    q->answer.why.what, "");
	else if (q->op == QUESTION_CACERTS)
		say_certs(c, q, false);
	else
		est_say(c, 200, "",
		    q->op == QUESTION_CRL_FILE ? "application/pkix-crl"
					       : "application/x-pem-file",
		    buf_slice(&q->body));
}
