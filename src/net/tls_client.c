/* SPDX-License-Identifier: Apache-2.0
 * tls_client - the side of nightjar pub, sub, bench and of bridges.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "net/tls_impl.h"
#include "pki/explain.h"
#include "pki/key.h"

#define PSK_MAX TLS_PSK_MAX

/* -- callbacks ----------------------------------------------------------- */

static struct tls_client *
client_of(const SSL *ssl)
{
	return tls_stream_of(ssl)->client;
}

static int
on_verify(X509_STORE_CTX *ctx, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(
	    ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_stream *s = tls_stream_of(ssl);
	int ok = X509_verify_cert(ctx);

	if (ok <= 0) {
		tls_explain_broker_cert(s, ctx);
		s->explained = true;
	}
	return ok;
}

/* There is nothing to check a certificate by, but a key was to prove it. */
static int
on_no_psk(X509_STORE_CTX *ctx, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(
	    ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_stream *s = tls_stream_of(ssl);
	struct nj_why *w = stream_why_new(&s->base);

	why_set(w,
	    "the broker answered with a certificate instead of the shared "
	    "key: this port does not take pre-shared keys, or not this one");
	why_mend(w,
	    "use the port of a listener with psk_hint, or --cafile in place of "
	    "--psk");
	s->explained = true;
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

static int
on_session(SSL *ssl, SSL_SESSION *sess)
{
	struct tls_stream *s = tls_stream_of(ssl);
	struct tls_client *c = s->client;
	char *host = strdup(s->name);

	if (!host)
		return 0;
	SSL_SESSION_free(c->session);
	free(c->session_host);
	c->session = sess; /* ours now */
	c->session_host = host;
	return 1;
}

/* A ticket renewed in TLS 1.2 comes without a call of on_session. */
void
tls_client_established(struct tls_stream *s)
{
	SSL_SESSION *sess;

	if (!SSL_session_reused(s->ssl) ||
	    SSL_version(s->ssl) >= TLS1_3_VERSION)
		return;
	sess = SSL_get1_session(s->ssl);
	if (sess && !on_session(s->ssl, sess))
		SSL_SESSION_free(sess);
}

static unsigned
on_psk(SSL *ssl, const char *hint, char *identity, unsigned identity_max,
    unsigned char *psk, unsigned psk_max)
{
	struct tls_client *c = client_of(ssl);
	struct slice key = secret_bytes(c->psk);
	size_t n = strlen(c->psk_identity);

	if (n + 1 > identity_max || key.n > psk_max)
		return 0;
	memcpy(identity, c->psk_identity, n + 1);
	memcpy(psk, key.p, key.n);
	return (unsigned)key.n;
}

/* The format of NSS, which Wireshark reads; one write a line, so that lines
 * of several processes do not mix. */
static void
on_keylog(const SSL *ssl, const char *line)
{
	char text[512];
	int n = snprintf(text, sizeof text, "%s\n", line);

	if (n > 0 && (size_t)n < sizeof text &&
	    write(client_of(ssl)->keylog_fd, text, (size_t)n) < 0)
		return; /* it is a help for debugging only */
}

/* -- set-up -------------------------------------------------------------- */

static enum nj_err
client_trust(
    struct tls_client *c, const struct tls_client_opts *o, struct nj_why *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c->ctx);
	STACK_OF(X509) *cas = NULL;
	enum nj_err e = NJ_OK;

	if (o->psk_hex && !o->cafile && !o->capath && !o->os_certs) {
		/* The key proves the broker, and nothing else does: no
		 * certificate is good instead. */
		SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
		SSL_CTX_set_cert_verify_callback(c->ctx, on_no_psk, NULL);
		return NJ_OK;
	}
	if (!o->cafile && !o->capath && !o->os_certs && o->unverified) {
		SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
		return NJ_OK;
	}
	if (!o->cafile && !o->capath && !o->os_certs) {
		why_set(why,
		    "nothing says which CA the broker's certificate "
		    "must come from");
		why_mend(why,
		    "add --cafile with the ca.crt of the broker, or "
		    "--tls-use-os-certs");
		return NJ_INVALID;
	}
	if (!(cas = sk_X509_new_null()))
		return NJ_NOMEM;
	if (o->cafile)
		e = tls_load_certs(o->cafile, cas, why);
	if (!e && o->capath)
		e = tls_load_capath(o->capath, cas, NULL, why);
	for (int i = 0; i < sk_X509_num(cas) && !e; i++)
		if (!X509_STORE_add_cert(store, sk_X509_value(cas, i)))
			e = NJ_CRYPTO;
	sk_X509_pop_free(cas, X509_free);
	if (!e && o->os_certs && !SSL_CTX_set_default_verify_paths(c->ctx))
		e = NJ_CRYPTO;
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(c->ctx, on_verify, NULL);
	return e;
}

/* The pair is good, and a CA stands before it. */
static bool
key_is_behind(
    STACK_OF(X509) * chain, EVP_PKEY *key, const char *cert, struct nj_why *why)
{
	bool found = false;

	for (int i = 1; i < sk_X509_num(chain) && !found; i++)
		found = X509_check_private_key(sk_X509_value(chain, i), key);
	ERR_clear_error();
	if (!found)
		return false;
	why_set(why,
	    "the certificates in %s are in the wrong order: the one of this "
	    "key comes first, then the CA that issued it",
	    cert);
	why_mend(why, "nightjar inspect --pem '%s' >NEW", cert);
	return true;
}

static enum nj_err
client_own(
    struct tls_client *c, const struct tls_client_opts *o, struct nj_why *why)
{
	STACK_OF(X509) *chain = NULL;
	EVP_PKEY *key = NULL;
	char cert[TEXT_ESC], file[TEXT_ESC];
	enum nj_err e = NJ_NOMEM;

	if (!o->certfile != !o->keyfile) {
		why_set(why,
		    "a client certificate needs both --cert and "
		    "--key");
		return NJ_INVALID;
	}
	if (!(chain = sk_X509_new_null()) ||
	    (e = tls_load_certs(o->certfile, chain, why)) ||
	    (e = pki_key_load(o->keyfile, o->passphrase, false, &key, why)))
		goto out;
	e = NJ_INVALID;
	(void)text_esc(cert, sizeof cert, slice_str(o->certfile));
	if (SSL_CTX_use_certificate(c->ctx, sk_X509_value(chain, 0)) != 1) {
		/* a weak one, as a rule */
		if (pki_judge(sk_X509_value(chain, 0), PKI_USE_CLIENT, cert,
			why) == NJ_OK)
			tls_library_why(why, cert);
		ERR_clear_error();
		goto out;
	}
	if (SSL_CTX_use_PrivateKey(c->ctx, key) != 1) {
		ERR_clear_error();
		if (key_is_behind(chain, key, cert, why))
			goto out;
		why_set(why, "%s is not the key of the certificate in %s",
		    text_esc(file, sizeof file, slice_str(o->keyfile)), cert);
		why_mend(why, "use the pair of files that was made together");
		goto out;
	}
	for (int i = 1; i < sk_X509_num(chain); i++)
		if (!SSL_CTX_add1_chain_cert(c->ctx, sk_X509_value(chain, i)))
			goto out;
	/* a file with the leaf alone is completed from the CAs */
	if (sk_X509_num(chain) > 1)
		(void)SSL_CTX_set_mode(c->ctx, SSL_MODE_NO_AUTO_CHAIN);
	e = NJ_OK;
out:
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(key);
	return e;
}

static void
explain_hex(const char *hex, struct nj_why *why)
{
	size_t n = strlen(hex);

	why_mend(why, "give the key as pairs of 0-9 and a-f");
	if (n >= 2 && hex[0] == '0' && (hex[1] == 'x' || hex[1] == 'X'))
		why_set(why, "the PSK begins with 0x, which is none of it");
	else if (strspn(hex, "0123456789abcdefABCDEF") != n)
		why_set(why,
		    "the PSK is not hexadecimal (a word, or base64, is not "
		    "one)");
	else if (n % 2)
		why_set(why, "the PSK has an odd number of digits");
	else
		why_set(
		    why, "the PSK is empty, or longer than %d bytes", PSK_MAX);
}

static enum nj_err
client_psk(
    struct tls_client *c, const struct tls_client_opts *o, struct nj_why *why)
{
	uint8_t key[PSK_MAX];
	size_t n = 0;
	enum nj_err e;

	if (!o->psk_identity) {
		why_set(why, "--psk needs --psk-identity");
		return NJ_INVALID;
	}
	if (OPENSSL_hexstr2buf_ex(key, sizeof key, &n, o->psk_hex, '\0') != 1 ||
	    n == 0) {
		ERR_clear_error();
		explain_hex(o->psk_hex, why);
		return NJ_INVALID;
	}
	e = secret_new(slice_of(key, n), &c->psk);
	secret_wipe(key, sizeof key);
	if (e)
		return e;
	if (!(c->psk_identity = strdup(o->psk_identity)))
		return NJ_NOMEM;
	SSL_CTX_set_psk_client_callback(c->ctx, on_psk);
	return NJ_OK;
}

static enum nj_err
client_keylog(struct tls_client *c, const char *path, struct nj_why *why)
{
	char esc[TEXT_ESC];

	c->keylog_fd = open(
	    path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->keylog_fd < 0) {
		why_set(why, "keylog %s: %s",
		    text_esc(esc, sizeof esc, slice_str(path)),
		    strerror(errno));
		return NJ_IO;
	}
	SSL_CTX_set_keylog_callback(c->ctx, on_keylog);
	return NJ_OK;
}

static enum nj_err
client_alpn(struct tls_client *c, const char *alpn, struct nj_why *why)
{
	uint8_t wire[256];
	size_t n = strlen(alpn);

	if (n == 0 || n > 255) {
		why_set(why, "an ALPN name has 1 to 255 bytes");
		return NJ_INVALID;
	}
	wire[0] = (uint8_t)n;
	memcpy(wire + 1, alpn, n);
	/* 0 is success here. */
	return SSL_CTX_set_alpn_protos(c->ctx, wire, (unsigned)n + 1) == 0
	    ? NJ_OK
	    : NJ_NOMEM;
}

static enum nj_err
client_fill(
    struct tls_client *c, const struct tls_client_opts *o, struct nj_why *why)
{
	const char *ciphers =
	    !o->ciphers && o->psk_hex ? TLS_CIPHERS_PSK : o->ciphers;
	enum nj_err e;

	if ((e = tls_context_set(c->ctx, o->min, o->max, ciphers,
		 o->ciphersuites, why, NULL)) ||
	    (e = client_trust(c, o, why)) ||
	    ((o->certfile || o->keyfile) && (e = client_own(c, o, why))) ||
	    (o->psk_hex && (e = client_psk(c, o, why))) ||
	    (o->keylog && (e = client_keylog(c, o->keylog, why))) ||
	    (o->alpn && (e = client_alpn(c, o->alpn, why))))
		return e;
	if (o->cafile && !(c->cafile = strdup(o->cafile)))
		return NJ_NOMEM;
	c->insecure = o->insecure || o->unverified;
	(void)SSL_CTX_set_session_cache_mode(
	    c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ctx, on_session);
	return NJ_OK;
}

enum nj_err
tls_client_new(const struct tls_client_opts *o, struct tls_client **out,
    struct nj_why *why)
{
	struct tls_client *c = calloc(1, sizeof *c);
	enum nj_err e;

	if (!c)
		return NJ_NOMEM;
	c->keylog_fd = -1;
	ERR_clear_error();
	c->ctx = SSL_CTX_new(TLS_client_method());
	c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	e = c->ctx && c->sha256 ? client_fill(c, o, why) : NJ_NOMEM;
	ERR_clear_error();
	if (e) {
		tls_client_free(c);
		return e;
	}
	*out = c;
	return NJ_OK;
}

void
tls_client_free(struct tls_client *c)
{
	if (!c)
		return;
	SSL_SESSION_free(c->session);
	free(c->session_host);
	SSL_CTX_free(c->ctx);
	EVP_MD_free(c->sha256);
	free(c->cafile);
	free(c->psk_identity);
	secret_free(c->psk);
	if (c->keylog_fd >= 0)
		(void)close(c->keylog_fd);
	free(c);
}

/* -- one connection ------------------------------------------------------ */

static bool
is_address(const char *host)
{
	struct in6_addr a;

	return inet_pton(AF_INET, host, &a) == 1 ||
	    inet_pton(AF_INET6, host, &a) == 1;
}

static enum nj_err
set_name(struct tls_stream *s, const char *host)
{
	X509_VERIFY_PARAM *p = SSL_get0_param(s->ssl);
	bool address = is_address(host);

	/* RFC 6066 3: addresses are not sent as names. */
	if (!address &&
	    !SSL_ctrl(s->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
		TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host))
		return NJ_INVALID;
	if (s->client->insecure)
		return NJ_OK;
	X509_VERIFY_PARAM_set_hostflags(
	    p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (address ? !X509_VERIFY_PARAM_set1_ip_asc(p, host)
		    : !X509_VERIFY_PARAM_set1_host(p, host, 0))
		return NJ_NOMEM;
	return NJ_OK;
}

enum nj_err
tls_connect(struct tls_client *c, int fd, const char *host, bool resume,
    struct stream_scratch *scratch, struct stream **out)
{
	struct tls_stream *s = NULL;
	enum nj_err e = tls_stream_new(fd, scratch, &s);

	if (e)
		return e;
	s->client = c;
	s->phase = TLS_HANDSHAKE;
	if (!(s->name = strdup(host)))
		e = NJ_NOMEM;
	else if (!(e = tls_stream_start(s, c->ctx)))
		e = set_name(s, host);
	if (!e && resume && c->session && strcmp(c->session_host, host) == 0 &&
	    !SSL_set_session(s->ssl, c->session))
		ERR_clear_error(); /* a full handshake then */
	if (e) {
		s->base.fd = -1; /* stays the caller's */
		stream_free(&s->base);
		return e;
	}
	*out = &s->base;
	return NJ_OK;
}
