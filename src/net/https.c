/* SPDX-License-Identifier: Apache-2.0 */
#include "net/https.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "net/httphear.h"
#include "net/listener.h"
#include "net/tls_impl.h"
#include "pki/explain.h"

struct call {
	const struct https_opts *o;
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
	uint64_t deadline;
};

static bool
is_address(const char *host)
{
	unsigned char a[16];

	return inet_pton(AF_INET, host, a) == 1 ||
	    inet_pton(AF_INET6, host, a) == 1;
}

/* What the server says by an alert, and what it is to a device. */
static const struct alert {
	int reason;
	const char *what, *mend;
} alerts[] = {
	{ SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED,
	    "requires a client certificate: that is a port for devices that "
	    "have theirs, not the one where they get it",
	    "use the port of the listener with 'protocol est' (8885, where "
	    "'nightjar up' made it): -h HOST:PORT" },
	{ SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
	    "found nothing in common with us, or requires a client certificate",
	    "look whether this is the port of the listener with 'protocol "
	    "est', and at the broker's log: nightjar doctor --last there" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED,
	    "says that the certificate of this device was revoked",
	    "it gets another with a token only: nightjar ca token ID, on the "
	    "CA's machine" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
	    "says that the certificate of this device ended too long ago to "
	    "be renewed",
	    "it gets another with a token: nightjar ca token ID, on the CA's "
	    "machine; if it has not ended, set the clocks" },
	{ SSL_R_TLSV1_ALERT_UNKNOWN_CA,
	    "does not know the CA of this device's certificate: it was made "
	    "anew, or this is another broker",
	    "it gets a certificate of that CA with a token: nightjar ca token "
	    "ID, on the CA's machine" },
	{ SSL_R_WRONG_VERSION_NUMBER, "does not speak TLS on this port",
	    "use the port of the listener with 'protocol est' (8885, where "
	    "'nightjar up' made it), which has certfile and keyfile" },
	{ SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL,
	    "does not speak HTTP on this port",
	    "use the port of the listener with 'protocol est'" },
};

static void
explain_library(const struct call *c, const char *doing, struct nj_why *why)
{
	unsigned long err = ERR_peek_error();
	char esc[TEXT_ESC];

	for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++) {
		if (ERR_GET_LIB(err) != ERR_LIB_SSL ||
		    ERR_GET_REASON(err) != alerts[i].reason)
			continue;
		why_set(why, "%s port %u %s",
		    text_esc(esc, sizeof esc, slice_str(c->o->host)),
		    (unsigned)c->o->port, alerts[i].what);
		why_mend(why, "%s", alerts[i].mend);
		ERR_clear_error();
		return;
	}
	tls_library_why(why, doing);
	why_mend(why,
	    "the broker's log says more: nightjar doctor --last "
	    "on its machine");
}

/* What went wrong in a handshake, for whoever stands before the device. */
static enum nj_err
explain(struct call *c, struct nj_why *why)
{
	long v = SSL_get_verify_result(c->ssl);
	X509 *x = SSL_get1_peer_certificate(c->ssl);

	if (c->o->trust &&
	    (v == X509_V_ERR_HOSTNAME_MISMATCH ||
		v == X509_V_ERR_IP_ADDRESS_MISMATCH) &&
	    x)
		pki_explain_host(x, c->o->host, why);
	else if (c->o->trust && v != X509_V_OK)
		pki_explain_verify((int)v, x, 0, why);
	else
		explain_library(c, "TLS with the server", why);
	X509_free(x);
	ERR_clear_error();
	return NJ_TLS;
}

static bool
set_trust(struct call *c)
{
	const char *host = c->o->host;
	X509_VERIFY_PARAM *p = SSL_get0_param(c->ssl);

	if (!c->o->trust) {
		SSL_set_verify(c->ssl, SSL_VERIFY_NONE, NULL);
		return true;
	}
	SSL_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
	for (int i = 0; i < sk_X509_num(c->o->trust); i++)
		if (X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ctx),
			sk_X509_value(c->o->trust, i)) != 1)
			return false;
	return is_address(host) ? X509_VERIFY_PARAM_set1_ip_asc(p, host) == 1
				: SSL_set1_host(c->ssl, host) == 1;
}

/* After a call of the library that did not succeed.  NJ_AGAIN: it may now;
 * NJ_EOF: the other side said that it has ended. */
static enum nj_err
wait_for(struct call *c, int ret, struct nj_why *why)
{
	int want = SSL_get_error(c->ssl, ret);
	struct pollfd p = { .fd = c->fd,
		.events = want == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN };

	if (want == SSL_ERROR_ZERO_RETURN)
		return NJ_EOF;
	if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
		return NJ_TLS;
	for (;;) {
		uint64_t now = clock_mono(&clock_system);
		int r = now < c->deadline
		    ? poll(&p, 1, (int)(c->deadline - now))
		    : 0;

		if (r > 0)
			return NJ_AGAIN;
		if (r == 0) {
			why_set(why, "the server does not answer in time");
			return NJ_TIMEOUT;
		}
		if (errno != EINTR) {
			why_set(why, "waiting: %s", strerror(errno));
			return NJ_IO;
		}
	}
}

static enum nj_err
shake_hands(struct call *c, struct nj_why *why)
{
	enum nj_err e = NJ_AGAIN;
	int r;

	while (e == NJ_AGAIN) {
		ERR_clear_error();
		if ((r = SSL_connect(c->ssl)) == 1)
			return NJ_OK;
		e = wait_for(c, r, why);
	}
	return e == NJ_TLS || e == NJ_EOF ? explain(c, why) : e;
}

static enum nj_err
connect_to(struct call *c, struct nj_why *why)
{
	const struct https_opts *o = c->o;
	enum nj_err e;

	if ((e = dial_tcp(o->host, o->port, NULL, o->timeout_ms, &c->fd, why)))
		return e;
	c->ctx = SSL_CTX_new(TLS_client_method());
	if (!c->ctx ||
	    (e = tls_context_set(c->ctx, 0, 0, NULL, NULL, why, NULL)))
		return NJ_NOMEM;
	SSL_CTX_set_msg_callback(c->ctx, NULL); /* that is of streams */
	if (o->cert && SSL_CTX_use_certificate(c->ctx, o->cert) != 1)
		return NJ_CRYPTO;
	/* it belongs to the certificate that was set last */
	for (int i = 0; i < sk_X509_num(o->chain); i++)
		if (SSL_CTX_add1_chain_cert(
			c->ctx, sk_X509_value(o->chain, i)) != 1)
			return NJ_NOMEM;
	if ((o->key && SSL_CTX_use_PrivateKey(c->ctx, o->key) != 1) ||
	    !(c->ssl = SSL_new(c->ctx)) || !set_trust(c) ||
	    (!is_address(o->host) &&
		SSL_set_tlsext_host_name(c->ssl, o->host) != 1) ||
	    SSL_set_fd(c->ssl, c->fd) != 1) {
		tls_library_why(why, "setting up TLS");
		return NJ_CRYPTO;
	}
	return shake_hands(c, why);
}

static enum nj_err
say(struct call *c, const char *method, const char *path, const char *more,
    struct slice body, struct nj_why *why)
{
	bool brackets = strchr(c->o->host, ':') != NULL;
	struct buf b = { 0 };
	size_t sent = 0;
	enum nj_err e;

	e = buf_printf(&b,
	    "%s %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: nightjar/%s\r\n"
	    "Connection: close\r\nContent-Length: %zu\r\n%s\r\n",
	    method, path, brackets ? "[" : "", c->o->host, brackets ? "]" : "",
	    (unsigned)c->o->port, NJ_VERSION, body.n, more);
	if (!e && !(e = buf_put_slice(&b, body)))
		e = NJ_AGAIN;
	while (e == NJ_AGAIN) {
		ERR_clear_error();
		/* all of it, or not yet */
		e = SSL_write_ex(c->ssl, buf_slice(&b).p, buf_len(&b), &sent) ==
			1
		    ? NJ_OK
		    : wait_for(c, 0, why);
	}
	if (e == NJ_TLS || e == NJ_EOF)
		explain_library(c, "sending the request", why);
	buf_wipe(&b);
	return e;
}

struct ear {
	struct call *c;
	struct nj_why *why;
};

static enum nj_err
hear_some(void *arg, uint8_t *at, size_t room, size_t *n)
{
	const struct ear *ear = arg;
	enum nj_err e = NJ_AGAIN;

	while (e == NJ_AGAIN) {
		ERR_clear_error();
		e = SSL_read_ex(ear->c->ssl, at, room, n) == 1
		    ? NJ_OK
		    : wait_for(ear->c, 0, ear->why);
	}
	return e;
}

static enum nj_err
hear(struct call *c, struct https_result *out, struct nj_why *why)
{
	struct ear ear = { c, why };
	struct http_response r = { 0 };
	enum nj_err e =
	    http_hear(hear_some, &ear, HTTPS_BODY_MAX, &r, &out->body);

	/* with TLS 1.3 it is here that a server refuses our certificate */
	if (e == NJ_TLS && ERR_peek_error())
		explain_library(c, "receiving the answer", why);
	else if (e && !why->what[0])
		why_set(why,
		    "the server's answer is not HTTP, or it ended the "
		    "connection");
	out->status = r.status;
	out->retry_after = r.retry_after;
	return e;
}

enum nj_err
https_do(const struct https_opts *o, const char *method, const char *path,
    const char *more, struct slice body, struct https_result *out,
    struct nj_why *why)
{
	struct call c = { .o = o,
		.fd = -1,
		.deadline =
		    clock_mono(&clock_system) + (uint64_t)o->timeout_ms };
	enum nj_err e;

	*out = (struct https_result){ 0 };
	ERR_clear_error();
	if (!(e = connect_to(&c, why)) &&
	    !(e = say(&c, method, path, more, body, why)))
		e = hear(&c, out, why);
	if (e)
		buf_fini(&out->body);
	SSL_free(c.ssl);
	SSL_CTX_free(c.ctx);
	if (c.fd >= 0)
		(void)close(c.fd);
	ERR_clear_error();
	return e;
}
