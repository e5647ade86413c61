/* SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/text.h"
#include "net/tls_impl.h"
#include "net/tls_probe.h"
#include "pki/explain.h"
#include "pki/key.h"
#include "pki/ocsp.h"

/* How long a refusal that TLS 1.3 sends after the handshake may take. */
#define AFTERTHOUGHT_MS 700

/* Old versions need the old digests. */
#define EVERYTHING "ALL:@SECLEVEL=0"

struct probing {
	const struct tls_probe_opts *o;
	struct tls_probe *out;
	STACK_OF(X509) * own;
	uint64_t deadline;
	int fd;
	bool looked; /* at the first bytes */
};

static int
on_cert(SSL *ssl, void *arg)
{
	struct probing *p = arg;
	const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(ssl);
	size_t at = 0;

	p->out->asked = true;
	p->out->cas = names ? (unsigned)sk_X509_NAME_num(names) : 0;
	for (int i = 0; names && i < sk_X509_NAME_num(names); i++) {
		const X509_NAME *name = sk_X509_NAME_value(names, i);
		char text[128], esc[TEXT_ESC];
		int n = X509_NAME_get_text_by_NID((X509_NAME *)(uintptr_t)name,
		    NID_commonName, text, sizeof text);

		for (int k = 0; k < sk_X509_num(p->own); k++)
			p->out->ours_fits |=
			    X509_NAME_cmp(name,
				X509_get_issuer_name(
				    sk_X509_value(p->own, k))) == 0;
		if (n <= 0 || at + 1 >= sizeof p->out->ca_names)
			continue;
		n = snprintf(p->out->ca_names + at,
		    sizeof p->out->ca_names - at, "%s%s", at ? ", " : "",
		    text_esc(esc, sizeof esc, slice_of(text, (size_t)n)));
		at += n > 0 ? (size_t)n : 0;
	}
	return 1;
}

static void
on_info(const SSL *ssl, int where, int ret)
{
	struct probing *p = SSL_get_app_data(ssl);

	if ((where & SSL_CB_ALERT) && (where & SSL_CB_READ) &&
	    (ret & 0xff) != SSL3_AD_CLOSE_NOTIFY) {
		p->out->alert = ret & 0xff;
		p->out->alert_name = SSL_alert_desc_string_long(ret);
	}
}

/* What the server's first bytes are, before the library reads them. */
static void
look_first(struct probing *p)
{
	ssize_t n;

	if (p->looked)
		return;
	n = recv(p->fd, p->out->first, sizeof p->out->first, MSG_PEEK);
	if (n > 0) {
		p->looked = true;
		p->out->nfirst = (size_t)n;
	}
}

/* Until the socket has what the library wants; false: too late. */
static bool
await(struct probing *p, const SSL *ssl, uint64_t deadline)
{
	struct pollfd pfd = { .fd = p->fd, .events = POLLIN };
	uint64_t now = clock_mono(&clock_system);

	if (SSL_want_write(ssl))
		pfd.events = POLLOUT;
	if (now >= deadline || poll(&pfd, 1, (int)(deadline - now)) <= 0)
		return false;
	if (pfd.events & POLLIN)
		look_first(p);
	return true;
}

static bool
is_tls(const struct tls_probe *out)
{
	return out->nfirst == 0 ||
	    (out->first[0] >= 20 && out->first[0] <= 24 &&
		(out->nfirst < 2 || out->first[1] == 3));
}

static enum tls_probe_end
end_of(struct probing *p, int err)
{
	unsigned long e = ERR_peek_error();
	const char *reason = ERR_reason_error_string(e);

	if (!is_tls(p->out))
		return TLS_PROBE_NOT_TLS;
	if (p->out->alert >= 0)
		return TLS_PROBE_ALERT;
	if (err == SSL_ERROR_SYSCALL || err == SSL_ERROR_ZERO_RETURN ||
	    ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return TLS_PROBE_CLOSED;
	why_set(&p->out->why, "the TLS handshake failed on our side: %s",
	    reason ? reason : "no reason was given");
	return TLS_PROBE_FAILED;
}

static enum tls_probe_end
shake(struct probing *p, SSL *ssl)
{
	for (;;) {
		int r = SSL_do_handshake(ssl), err;

		if (r == 1)
			return TLS_PROBE_DONE;
		err = SSL_get_error(ssl, r);
		if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE)
			return end_of(p, err);
		if (!await(p, ssl, p->deadline))
			return TLS_PROBE_SILENT;
	}
}

/* TLS 1.3 judges a client's certificate after the client is done. */
static enum tls_probe_end
afterthought(struct probing *p, SSL *ssl)
{
	uint64_t until = clock_mono(&clock_system) + AFTERTHOUGHT_MS;
	char byte;

	if (SSL_version(ssl) < TLS1_3_VERSION || !p->out->asked)
		return TLS_PROBE_DONE;
	for (;;) {
		int r = SSL_read(ssl, &byte, 1), err;

		if (r > 0)
			return TLS_PROBE_DONE;
		err = SSL_get_error(ssl, r);
		if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE)
			return end_of(p, err);
		if (!await(p, ssl, until))
			return TLS_PROBE_DONE;
	}
}

static void
take_results(struct probing *p, SSL *ssl)
{
	struct tls_probe *out = p->out;
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
	const unsigned char *alpn = NULL, *staple = NULL;
	unsigned n = 0;
	long len;

	if (chain)
		out->chain = X509_chain_up_ref(chain);
	/* without memory there is none */
	if ((len = SSL_get_tlsext_status_ocsp_resp(ssl, &staple)) > 0)
		(void)!buf_put(&out->staple, staple, (size_t)len);
	if (out->end == TLS_PROBE_DONE || chain)
		out->version = SSL_get_version(ssl);
	(void)snprintf(
	    out->cipher, sizeof out->cipher, "%s", SSL_get_cipher_name(ssl));
	SSL_get0_alpn_selected(ssl, &alpn, &n);
	if (n > 0)
		(void)text_esc(out->alpn, sizeof out->alpn, slice_of(alpn, n));
}

static enum nj_err
show_own(struct probing *p, SSL_CTX *ctx)
{
	const struct tls_probe_opts *o = p->o;
	EVP_PKEY *key = NULL;
	enum nj_err e;

	if (!(p->own = sk_X509_new_null()))
		return NJ_NOMEM;
	if (!o->certfile || !o->keyfile)
		return NJ_OK;
	if ((e = tls_load_certs(o->certfile, p->own, &p->out->why)) ||
	    (e = pki_key_load(
		 o->keyfile, o->passphrase, false, &key, &p->out->why)))
		return e;
	if (SSL_CTX_use_certificate(ctx, sk_X509_value(p->own, 0)) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1) {
		tls_library_why(&p->out->why, o->certfile);
		e = NJ_INVALID;
	}
	for (int i = 1; i < sk_X509_num(p->own) && !e; i++)
		if (!SSL_CTX_add1_chain_cert(ctx, sk_X509_value(p->own, i)))
			e = NJ_NOMEM;
	EVP_PKEY_free(key);
	return e;
}

static bool
set_up(struct probing *p, SSL_CTX *ctx, SSL *ssl)
{
	const struct tls_probe_opts *o = p->o;
	unsigned char wire[256];
	size_t n = o->alpn ? strlen(o->alpn) : 0;

	SSL_set_app_data(ssl, p);
	SSL_set_info_callback(ssl, on_info);
	SSL_set_cert_cb(ssl, on_cert, p);
	SSL_set_connect_state(ssl);
	if (n > 0 && n < sizeof wire) {
		wire[0] = (unsigned char)n;
		memcpy(wire + 1, o->alpn, n);
		if (SSL_set_alpn_protos(ssl, wire, (unsigned)n + 1) != 0)
			return false;
	}
	if (o->sni &&
	    !SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
		TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)o->sni))
		return false;
	(void)SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
	return SSL_set_cipher_list(ssl, EVERYTHING) == 1 &&
	    SSL_set_min_proto_version(ssl, o->min ? o->min : TLS_V12) == 1 &&
	    SSL_set_max_proto_version(ssl, o->max) == 1 &&
	    SSL_set_fd(ssl, p->fd) == 1 && ctx != NULL;
}

enum nj_err
tls_probe(int fd, const struct tls_probe_opts *o, struct tls_probe *out)
{
	struct probing p = { .o = o, .out = out, .fd = fd };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int flags = fcntl(fd, F_GETFL);
	enum nj_err e = NJ_NOMEM;
	SSL *ssl = NULL;

	memset(out, 0, sizeof *out);
	out->alert = -1;
	out->alert_name = "";
	p.deadline = clock_mono(&clock_system) + (uint64_t)o->timeout_ms;
	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	ERR_clear_error();
	if (!ctx)
		goto out;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_security_level(ctx, 0);
	if ((e = show_own(&p, ctx)))
		goto out;
	e = NJ_NOMEM;
	if (!(ssl = SSL_new(ctx)) || !set_up(&p, ctx, ssl))
		goto out;
	e = NJ_OK;
	if (o->before.n > 0 &&
	    send(fd, o->before.p, o->before.n, MSG_NOSIGNAL) < 0)
		out->end = TLS_PROBE_CLOSED;
	else
		out->end = shake(&p, ssl);
	if (out->end == TLS_PROBE_DONE)
		out->end = afterthought(&p, ssl);
	take_results(&p, ssl);
	(void)SSL_shutdown(ssl);
out:
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	sk_X509_pop_free(p.own, X509_free);
	ERR_clear_error();
	return e;
}

void
tls_probe_fini(struct tls_probe *p)
{
	sk_X509_pop_free(p->chain, X509_free);
	p->chain = NULL;
	buf_fini(&p->staple);
}

/* The server's issuer: from what it sends, or the system's. */
static X509 *
issuer_of(const struct tls_probe *p, X509 *leaf)
{
	X509 *x = pki_ocsp_issuer(leaf, p->chain);

	return x && X509_up_ref(x) == 1 ? x : tls_issuer_of_system(leaf);
}

static enum tls_probe_word
nothing_shown(X509 *leaf, struct nj_why *why)
{
	if (!pki_ocsp_must_staple(leaf))
		return TLS_WORD_NONE;
	why_set(why,
	    "clients refuse this certificate unless the server shows what the "
	    "CA says of it (must-staple), and it shows nothing");
	why_mend(why,
	    "the server's log says why its CA's responder gave no answer; or "
	    "have a certificate without must-staple");
	return TLS_WORD_BAD;
}

static void
day_of(int64_t t, char dst[16])
{
	time_t at = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&at, &tm) || strftime(dst, 16, "%Y-%m-%d", &tm) == 0)
		(void)snprintf(dst, 16, "?");
}

enum tls_probe_word
tls_probe_word(const struct tls_probe *p, struct nj_why *why)
{
	enum tls_probe_word word = TLS_WORD_BAD;
	X509 *leaf = sk_X509_value(p->chain, 0), *issuer;
	struct pki_ocsp says;
	char day[16];

	if (!leaf)
		return TLS_WORD_NONE;
	if (buf_len(&p->staple) == 0)
		return nothing_shown(leaf, why);
	if (!(issuer = issuer_of(p, leaf)))
		return TLS_WORD_NONE; /* nobody to judge it by */
	if (pki_ocsp_check(buf_slice(&p->staple), leaf, issuer,
		clock_wall(&clock_system) / 1000, &says, why)) {
		why_prefix(why, "what the server shows of its CA (OCSP)");
	} else if (says.status == PKI_OCSP_REVOKED) {
		day_of(says.revoked_at, day);
		why_set(why,
		    "its CA has revoked the server's certificate on %s%s%s",
		    day, says.reason[0] ? ": " : "", says.reason);
		why_mend(why,
		    "whoever runs the server needs a new certificate with a "
		    "new key");
		word = TLS_WORD_REVOKED;
	} else if (says.status == PKI_OCSP_GOOD) {
		day_of(says.until, day);
		why_set(why,
		    "the CA says that the server's certificate is good (OCSP, "
		    "until %s)",
		    day);
		word = TLS_WORD_GOOD;
	} else {
		why_set(why,
		    "the CA's responder does not know the server's "
		    "certificate");
	}
	X509_free(issuer);
	return word;
}
