/* SPDX-License-Identifier: Apache-2.0
 * tls_context - what both sides agree to speak: TLS 1.2 and 1.3, key exchange
 *               that keeps the past secret, and authenticated encryption.
 *
 * Spec: RFC 9325 section 4; Mozilla's "intermediate" without finite-field DH.
 */
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "net/tls_impl.h"

#define CIPHERS_12 TLS_CIPHERS_12
#define CIPHERS_13                                       \
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:" \
	"TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

void
tls_library_why(struct nj_why *why, const char *doing)
{
	unsigned long err = ERR_peek_error();
	const char *reason = ERR_reason_error_string(err);

	why_set(why, "%s: %s", doing,
	    reason ? reason : "the TLS library gave no reason");
	ERR_clear_error();
}

static bool
allowed(const SSL_CIPHER *c)
{
	int kx = SSL_CIPHER_get_kx_nid(c);

	if (strcmp(SSL_CIPHER_get_version(c), "TLSv1.3") == 0)
		return false; /* those have a list of their own */
	return SSL_CIPHER_is_aead(c) &&
	    SSL_CIPHER_get_auth_nid(c) != NID_auth_null &&
	    (kx == NID_kx_ecdhe || kx == NID_kx_ecdhe_psk || kx == NID_kx_psk);
}

/* The operator's list without what RFC 9325 retires. */
static enum nj_err
set_filtered(
    SSL_CTX *ctx, const char *ciphers, struct nj_why *why, struct nj_why *doubt)
{
	char kept[4096], esc[TEXT_ESC];
	STACK_OF(SSL_CIPHER) * all;
	size_t at = 0;
	int dropped = 0;

	(void)text_esc(esc, sizeof esc, slice_str(ciphers));
	if (!SSL_CTX_set_cipher_list(ctx, ciphers)) {
		ERR_clear_error();
		why_set(why, "ciphers \"%s\": no cipher of that name is known",
		    esc);
		why_mend(why,
		    "delete the line: the default list suits every "
		    "client that knows TLS 1.2");
		return NJ_INVALID;
	}
	all = SSL_CTX_get_ciphers(ctx);
	for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
		const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
		const char *name = SSL_CIPHER_get_name(c);

		if (!allowed(c)) {
			dropped +=
			    strcmp(SSL_CIPHER_get_version(c), "TLSv1.3") != 0;
			continue;
		}
		if (at + strlen(name) + 2 > sizeof kept)
			break;
		at += (size_t)snprintf(
		    kept + at, sizeof kept - at, "%s%s", at ? ":" : "", name);
	}
	if (at == 0 || !SSL_CTX_set_cipher_list(ctx, kept)) {
		ERR_clear_error();
		why_set(why,
		    "ciphers \"%s\" leaves no cipher with ECDHE and AES-GCM or "
		    "ChaCha20 (RFC 9325)",
		    esc);
		why_mend(why, "delete the line");
		return NJ_INVALID;
	}
	if (dropped && doubt) {
		why_set(doubt,
		    "ciphers \"%s\": %d of them (CBC, static RSA, DHE or "
		    "anonymous) are not served",
		    esc, dropped);
		why_mend(doubt, "delete the line to use the default list");
	}
	return NJ_OK;
}

static enum nj_err
set_groups(SSL_CTX *ctx, struct nj_why *why)
{
	/* Hybrid post-quantum key exchange where the library has it. */
	if (SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768:" GROUPS))
		return NJ_OK;
	ERR_clear_error();
	if (SSL_CTX_set1_groups_list(ctx, GROUPS))
		return NJ_OK;
	tls_library_why(why, "choosing key exchange groups");
	return NJ_CRYPTO;
}

static int
version_of(int v)
{
	return v == 0 ? 0 : v >= TLS_MIN_13 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

enum nj_err
tls_context_set(SSL_CTX *ctx, int min, int max, const char *ciphers,
    const char *ciphersuites, struct nj_why *why, struct nj_why *doubt)
{
	char esc[TEXT_ESC];
	enum nj_err e;

	(void)SSL_CTX_set_options(ctx,
	    SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_verify_depth(ctx, TLS_DEPTH_MAX);
	SSL_CTX_set_max_cert_list(ctx, TLS_CHAIN_MAX);
	SSL_CTX_set_msg_callback(ctx, tls_on_message);
	if (!SSL_CTX_set_min_proto_version(
		ctx, min ? version_of(min) : TLS1_2_VERSION) ||
	    !SSL_CTX_set_max_proto_version(ctx, version_of(max))) {
		tls_library_why(why, "choosing TLS versions");
		return NJ_CRYPTO;
	}
	if (ciphers) {
		if ((e = set_filtered(ctx, ciphers, why, doubt)))
			return e;
	} else if (!SSL_CTX_set_cipher_list(ctx, CIPHERS_12)) {
		tls_library_why(why, "choosing ciphers");
		return NJ_CRYPTO;
	}
	if (!SSL_CTX_set_ciphersuites(
		ctx, ciphersuites ? ciphersuites : CIPHERS_13)) {
		ERR_clear_error();
		why_set(why, "ciphers_tls1.3 \"%s\": no such cipher suite",
		    text_esc(esc, sizeof esc,
			slice_str(ciphersuites ? ciphersuites : "")));
		why_mend(why, "the suites are %s; delete the line to have all",
		    CIPHERS_13);
		return NJ_INVALID;
	}
	return set_groups(ctx, why);
}
