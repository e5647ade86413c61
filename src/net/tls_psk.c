/* SPDX-License-Identifier: Apache-2.0
 * tls_psk - clients that share a key with us instead of having a certificate.
 *
 * Who names an identity that is nobody's is asked for the key all the same,
 * and fails as with a wrong one: neither the answer nor its time tells which
 * identities there are.
 *
 * Such a session gets no ticket: the key may be gone when it comes back.
 *
 * Spec: RFC 4279, RFC 5489 (TLS 1.2); RFC 8446 4.2.11, with SHA-256 (TLS 1.3).
 */
#include <openssl/err.h>
#include <stdlib.h>

#include "base/rand.h"
#include "base/text.h"
#include "net/tls_impl.h"
#include "wire/topic.h"

/* TLS_AES_128_GCM_SHA256: of a key that comes from elsewhere the digest is
 * what counts, and that is SHA-256 unless agreed otherwise. */
static const unsigned char suite[2] = { 0x13, 0x01 };

/* Tickets come by the same way in TLS 1.3, and are no text. */
static bool
is_identity(struct slice s)
{
	if (s.n == 0 || s.n > TLS_PSK_IDENTITY_MAX || !utf8_ok(s))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

/* Notes who it says it is, and looks up the key; 0 without memory. */
static size_t
key_of(struct tls_stream *s, struct slice identity, uint8_t key[TLS_PSK_MAX])
{
	const struct tls_psk *psk = &s->server->psk;
	bool known = false;
	size_t n;

	free(s->psk);
	if (!(s->psk = strndup((const char *)identity.p, identity.n)))
		return 0;
	n = psk->key_of(psk->arg, identity, key, &known);
	s->psk_known = known;
	s->psk_held =
	    s->psk_watch && !s->psk_watch->may(s->psk_watch_arg, identity);
	/* one that nobody has, after the same work */
	if (s->psk_held)
		rand_bytes(key, n);
	return n;
}

void
tls_psk_watch(struct stream *stream, const struct tls_psk_watch *w, void *arg)
{
	struct tls_stream *s = (struct tls_stream *)(void *)stream;

	s->psk_watch = w;
	s->psk_watch_arg = arg;
}

static unsigned
on_psk_12(SSL *ssl, const char *identity, unsigned char *psk, unsigned max)
{
	struct tls_stream *s = tls_stream_of(ssl);
	uint8_t key[TLS_PSK_MAX];
	size_t n;

	/* For TLS 1.3 the library asks here too when on_psk_13 gave nothing, with
	 * the identity as far as its first NUL. */
	if (SSL_version(ssl) >= TLS1_3_VERSION || !identity ||
	    !is_identity(slice_str(identity)))
		return 0;
	n = key_of(s, slice_str(identity), key);
	if (n > max)
		n = 0;
	memcpy(psk, key, n);
	secret_wipe(key, sizeof key);
	return (unsigned)n;
}

/* Whose key it is made of, it says itself. */
static SSL_SESSION *
session_of(SSL *ssl, struct slice identity, const uint8_t *key, size_t n)
{
	const SSL_CIPHER *c = SSL_CIPHER_find(ssl, suite);
	SSL_SESSION *sess = SSL_SESSION_new();

	if (sess && c && SSL_SESSION_set1_master_key(sess, key, n) &&
	    SSL_SESSION_set_cipher(sess, c) &&
	    SSL_SESSION_set_protocol_version(sess, TLS1_3_VERSION) &&
	    SSL_SESSION_set1_ticket_appdata(sess, identity.p, identity.n) &&
	    tls_came_set(sess, TLS_CAME_BY_KEY))
		return sess;
	SSL_SESSION_free(sess);
	return NULL;
}

static int
on_psk_13(
    SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **out)
{
	struct tls_stream *s = tls_stream_of(ssl);
	struct slice id = slice_of(identity, len);
	uint8_t key[TLS_PSK_MAX];
	size_t n;

	*out = NULL;
	if (!is_identity(id)) {
		/* what is wrong from here on is not the last one's fault */
		free(s->psk);
		s->psk = NULL;
		return 1;
	}
	if ((n = key_of(s, id, key)) > 0)
		*out = session_of(ssl, id, key, n);
	secret_wipe(key, sizeof key);
	return *out && SSL_set_num_tickets(ssl, 0);
}

enum nj_err
tls_psk_use(SSL_CTX *ctx, const struct tls_psk *psk)
{
	if (!SSL_CTX_use_psk_identity_hint(ctx, psk->hint))
		return NJ_CRYPTO;
	SSL_CTX_set_psk_server_callback(ctx, on_psk_12);
	SSL_CTX_set_psk_find_session_callback(ctx, on_psk_13);
	return NJ_OK;
}

/* An identity that was offered need not be the one that was used: TLS 1.3
 * may have passed on to a ticket or a certificate.  So the session is asked. */
struct slice
tls_psk_name(const struct tls_stream *s)
{
	const char *name;
	void *p = NULL;
	size_t n = 0;

	if (!s->server || !s->server->psk.key_of)
		return SLICE_NONE;
	if (SSL_version(s->ssl) >= TLS1_3_VERSION) {
		if (tls_came(s->ssl) != TLS_CAME_BY_KEY ||
		    !SSL_SESSION_get0_ticket_appdata(
			SSL_get_session(s->ssl), &p, &n))
			return SLICE_NONE;
		return slice_of(p, n);
	}
	/* a ticket would bring it along */
	name = SSL_session_reused(s->ssl) ? NULL : SSL_get_psk_identity(s->ssl);
	return name ? slice_str(name) : SLICE_NONE;
}

/* Whether the handshake failed because of the key that was offered last, given that
 * it failed as with a wrong one.  With TLS 1.3 the key shows in the binder and nowhere
 * else: what was passed over is not looked at, and what was used is right.  With TLS 1.2
 * it is not asked for before it is used. */
static bool
is_to_blame(const struct tls_stream *s, bool binder)
{
	if (s->phase == TLS_OPEN)
		return false;
	if (s->client)
		return s->client->psk && !SSL_get0_peer_certificate(s->ssl);
	return s->psk && (binder || SSL_version(s->ssl) < TLS1_3_VERSION);
}

bool
tls_psk_explain(struct tls_stream *s, bool binder)
{
	struct nj_why *w;
	char esc[TEXT_ESC];

	if (!is_to_blame(s, binder))
		return false;
	w = stream_why_new(&s->base);
	if (s->client) {
		why_set(w,
		    "the broker knows no such PSK: it has another key for "
		    "this identity, or none");
		why_mend(w,
		    "compare --psk and --psk-identity with the broker's "
		    "psk_file");
		return true;
	}
	(void)text_esc(esc, sizeof esc, slice_str(s->psk));
	if (s->psk_watch)
		s->psk_watch->failed(s->psk_watch_arg, slice_str(s->psk));
	if (s->psk_held) {
		why_set(w,
		    "the pre-shared key of the identity '%s' was not looked "
		    "at: too many wrong ones came from this address "
		    "(failed_logins_per_minute) or for this identity "
		    "(failed_logins_per_user)",
		    esc);
	} else if (s->psk_known) {
		why_set(w,
		    "the client's pre-shared key is not that of the identity "
		    "'%s'",
		    esc);
		why_mend(w, "compare it with psk_file");
	} else {
		why_set(w, "nobody has the pre-shared key identity '%s'", esc);
		why_mend(w, "add it to psk_file, then reload");
	}
	return true;
}
