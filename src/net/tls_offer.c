/* SPDX-License-Identifier: Apache-2.0
 * tls_offer - why no cipher was shared: what of the client's offer does not
 *             fit ours, in TLS 1.2.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "net/tls_impl.h"

#define SHOWN 3 /* ciphers that are named */

struct offer {
	int n;
	bool good;  /* ECDHE with AEAD */
	bool fits;  /* and for a key that we have */
	bool rsa;   /* good, for an RSA key */
	bool ecdhe; /* also without AEAD */
	bool other; /* ECDHE with AEAD that this listener does not have */
	bool not_psk, not_rsa_kx;
	char names[160];
};

/* Which keys our certificates have. */
static void
own_keys(SSL *ssl, bool *ec, bool *rsa)
{
	*ec = *rsa = false;
	for (long more = SSL_set_current_cert(ssl, SSL_CERT_SET_FIRST); more;
	     more = SSL_set_current_cert(ssl, SSL_CERT_SET_NEXT)) {
		EVP_PKEY *key = SSL_get_privatekey(ssl);

		if (key && EVP_PKEY_is_a(key, "RSA"))
			*rsa = true;
		else if (key)
			*ec = true;
	}
}

static void
name_it(struct offer *o, const char *name)
{
	size_t at = strlen(o->names);

	if (o->n <= SHOWN)
		(void)snprintf(o->names + at, sizeof o->names - at, "%s%s",
		    at ? ", " : "", name);
}

static bool
is_ours(SSL *ssl, const SSL_CIPHER *c)
{
	STACK_OF(SSL_CIPHER) *v = SSL_get_ciphers(ssl);

	for (int i = 0; i < sk_SSL_CIPHER_num(v); i++)
		if (SSL_CIPHER_get_id(sk_SSL_CIPHER_value(v, i)) ==
		    SSL_CIPHER_get_id(c))
			return true;
	return false;
}

static struct offer
offer_of(SSL *ssl)
{
	STACK_OF(SSL_CIPHER) *v = SSL_get_client_ciphers(ssl);
	struct offer o = { 0 };
	bool ec, rsa;

	own_keys(ssl, &ec, &rsa);
	for (int i = 0; i < sk_SSL_CIPHER_num(v); i++) {
		const SSL_CIPHER *c = sk_SSL_CIPHER_value(v, i);
		int kx = SSL_CIPHER_get_kx_nid(c);
		int auth = SSL_CIPHER_get_auth_nid(c);
		bool modern = kx == NID_kx_ecdhe && SSL_CIPHER_is_aead(c) == 1;
		bool good = modern && is_ours(ssl, c);

		if (kx == NID_kx_any) /* of TLS 1.3 */
			continue;
		o.n++;
		name_it(&o, SSL_CIPHER_get_name(c));
		o.good |= good;
		o.other |= modern && !good;
		o.rsa |= good && auth == NID_auth_rsa;
		o.fits |= good &&
		    ((auth == NID_auth_rsa && rsa) ||
			(auth == NID_auth_ecdsa && ec));
		o.ecdhe |= kx == NID_kx_ecdhe;
		o.not_psk |= auth != NID_auth_psk;
		o.not_rsa_kx |= kx != NID_kx_rsa && auth != NID_auth_psk;
	}
	return o;
}

bool
tls_offer_explain(struct tls_stream *s, struct nj_why *w)
{
	struct offer o = offer_of(s->ssl);
	char more[32] = "";

	if (o.n == 0 || SSL_version(s->ssl) == TLS1_3_VERSION ||
	    (o.other && !o.good))
		return false; /* "ciphers" is to be looked at */
	if (o.n > SHOWN)
		(void)snprintf(more, sizeof more, ", %d more", o.n - SHOWN);
	if (o.fits) {
		why_set(w,
		    "no shared cipher: the client has ciphers of ours, and no "
		    "curve for them (P-256, P-384, X25519)");
		why_mend(w,
		    "let the client have P-256; and if its certificate has "
		    "another curve, give the listener one with P-256");
	} else if (o.good) {
		why_set(w,
		    "no shared cipher: the client takes certificates with an "
		    "%s key alone (%s%s), and this listener has none",
		    o.rsa ? "RSA" : "EC", o.names, more);
		why_mend(w,
		    "give it one more: %s, and 'further_certificate CERTFILE "
		    "KEYFILE' below the listener",
		    o.rsa ? "nightjar ca server --rsa" : "nightjar ca server");
	} else if (!o.not_psk && s->server->psk.key_of) {
		why_set(w,
		    "no shared cipher: of the client's with a shared key "
		    "(%s%s) this listener has none",
		    o.names, more);
		why_mend(w,
		    "let it have ECDHE-PSK-CHACHA20-POLY1305 or "
		    "PSK-AES128-GCM-SHA256, and look at \"ciphers\" of the "
		    "listener");
	} else if (!o.not_psk) {
		why_set(w,
		    "no shared cipher: the client offers a shared key (PSK) "
		    "alone, and this listener takes none");
		why_mend(w,
		    "set psk_hint and psk_file below the listener, or use the "
		    "port of one that has them");
	} else {
		why_set(w,
		    "no shared cipher: the client offers %s alone (%s%s), and "
		    "that was retired",
		    o.ecdhe	       ? "CBC ciphers"
			: o.not_rsa_kx ? "ciphers without ECDHE"
				       : "ciphers with RSA key exchange",
		    o.names, more);
		why_mend(w,
		    "update the client, or let it have ECDHE with AES-GCM or "
		    "ChaCha20: every TLS library since 2015 knows them");
	}
	return true;
}
