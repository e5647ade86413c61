/* SPDX-License-Identifier: Apache-2.0 */
#include "net/https.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/text.h"
#include "net/listener.h"
#include "net/tls_impl.h"
#include "pki/explain.h"
#include "wire/httpreq.h"

struct call {
	const struct https_opts *o;
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

static bool
is_address(const char *host)
{
	unsigned char a[16];

	return inet_pton(AF_INET, host, a) == 1 ||
	    inet_pton(AF_INET6, host, a) == 1;
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
		tls_library_why(why, "TLS with the server");
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

/* Sockets of dial_tcp do not block; here everything is waited for. */
static bool
make_blocking(int fd, int timeout_ms)
{
	const struct timeval tv = { .tv_sec = timeout_ms / 1000,
		.tv_usec = timeout_ms % 1000 * 1000 };
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) == 0;
}

static enum nj_err
connect_to(struct call *c, struct nj_why *why)
{
	const struct https_opts *o = c->o;
	enum nj_err e;

	if ((e = dial_tcp(o->host, o->port, NULL, o->timeout_ms, &c->fd, why)))
		return e;
	if (!make_blocking(c->fd, o->timeout_ms)) {
		why_set(
		    why, "the connection cannot be used: %s", strerror(errno));
		return NJ_IO;
	}
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
	return SSL_connect(c->ssl) == 1 ? NJ_OK : explain(c, why);
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
	if (!e)
		e = buf_put_slice(&b, body);
	if (!e &&
	    SSL_write_ex(c->ssl, buf_slice(&b).p, buf_len(&b), &sent) != 1) {
		tls_library_why(why, "sending the request");
		e = NJ_IO;
	}
	buf_wipe(&b);
	return e;
}

/* All of the answer, to the end of the connection or of its length. */
static enum nj_err
hear(struct call *c, struct https_result *out, struct nj_why *why)
{
	struct http_response r = { 0 };
	struct buf in = { 0 };
	struct slice body = SLICE_NONE;
	enum nj_err e = NJ_AGAIN;

	while (e == NJ_AGAIN || (r.has_length && body.n < r.length)) {
		uint8_t *at;
		size_t n = 0;

		if (buf_len(&in) > HTTPS_HEAD_MAX + HTTPS_BODY_MAX ||
		    buf_reserve(&in, 4096, &at)) {
			e = NJ_TOOBIG;
			break;
		}
		if (SSL_read_ex(c->ssl, at, 4096, &n) != 1)
			break;
		buf_commit(&in, n);
		body = buf_slice(&in);
		if ((e = http_take_response(&body, HTTPS_HEAD_MAX, &r)) &&
		    e != NJ_AGAIN)
			break;
		/* with no length it ends with the connection */
		if (!e && !r.has_length)
			r.length = HTTPS_BODY_MAX, r.has_length = true;
	}
	if (!e && body.n > 0)
		e = buf_put_slice(&out->body, body);
	if (e)
		explain(c, why);
	if (e && (!why->what[0] || SSL_get_verify_result(c->ssl) == X509_V_OK))
		why_set(why,
		    "the server's answer is not HTTP, or it ended the "
		    "connection");
	buf_fini(&in);
	out->status = r.status;
	out->retry_after = r.retry_after;
	return e == NJ_AGAIN ? NJ_EOF : e;
}

enum nj_err
https_do(const struct https_opts *o, const char *method, const char *path,
    const char *more, struct slice body, struct https_result *out,
    struct nj_why *why)
{
	struct call c = { .o = o, .fd = -1 };
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
