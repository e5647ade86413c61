/* SPDX-License-Identifier: Apache-2.0
 * tls_explain - a failed handshake in one line that a person can act on.
 *
 * A table for each side: the library's reason, what it means, what mends it.
 * Texts are templates, so that a row stays a row:
 *   {names} {subject} {issuer} {until}  of our own certificate
 *   {host}    the name the client asked for (server), or the one we connected
 *             to (client)
 *   {offer}   the highest version the client offered
 *   {serve}   the versions we speak
 */
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "net/tls_impl.h"
#include "pki/explain.h"

struct row {
	int reason;
	const char *what;
	const char *mend;
};

#define MEND_OUR_CA                                                    \
	"give the client the CA certificate of this broker (--cafile " \
	"ca.crt): {issuer} issued ours"
#define MEND_NAMES                                                           \
	"connect by one of these names, or run \"nightjar ca server NAME\" " \
	"on this machine for a certificate with the other name in it"
#define MEND_TLS12 "use a client that knows {need}"
#define MEND_DEVICE                                                            \
	"make one with \"nightjar ca device NAME\" and give it to the client " \
	"(--cert, --key)"

static const struct row server_rows[] = {
	/* what the client lacks */
	{ SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,
	    "the client sent no certificate, and this listener requires one",
	    MEND_DEVICE },
	{ SSL_R_UNSUPPORTED_PROTOCOL,
	    "no shared TLS version: the client offers at most {offer}, this "
	    "listener serves {serve}",
	    MEND_TLS12 },
	{ SSL_R_VERSION_TOO_LOW,
	    "no shared TLS version: the client offers at most {offer}, this "
	    "listener serves {serve}",
	    MEND_TLS12 },
	{ SSL_R_WRONG_VERSION_NUMBER, "a record of an unknown TLS version came",
	    MEND_TLS12 },
	{ SSL_R_NO_SHARED_CIPHER,
	    "no shared cipher: the client offers none with ECDHE and AES-GCM "
	    "or ChaCha20 that fits our certificate, or no curve for it "
	    "(P-256, P-384, X25519)",
	    "update the client or let it have P-256, look at \"ciphers\" of "
	    "the listener, or add a certificate with a key of another kind "
	    "(further_certificate)" },
	{ SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS,
	    "no shared signature algorithm: the client cannot check a "
	    "certificate of our kind",
	    "update the client, or add a certificate with an RSA key" },
	{ SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM,
	    "no shared signature algorithm: the client cannot check a "
	    "certificate of our kind",
	    "update the client, or add a certificate with an RSA key" },
	{ SSL_R_NO_SHARED_GROUPS,
	    "no shared key exchange group: we serve X25519, P-256 and P-384",
	    "enable one of them in the client" },
	{ SSL_R_NO_SUITABLE_GROUPS,
	    "no shared key exchange group: we serve X25519, P-256 and P-384",
	    "enable one of them in the client" },
	{ SSL_R_NO_SUITABLE_KEY_SHARE,
	    "no shared key exchange group: we serve X25519, P-256 and P-384",
	    "enable one of them in the client" },
	{ SSL_R_UNSUPPORTED_ELLIPTIC_CURVE,
	    "the client certificate's elliptic curve is not supported",
	    "use P-256: \"nightjar ca device NAME\" does" },
	{ SSL_R_WRONG_CURVE,
	    "the client uses an elliptic curve that we do not serve",
	    "use P-256 in the client" },
	{ SSL_R_NO_APPLICATION_PROTOCOL,
	    "no shared application protocol (ALPN): we speak \"mqtt\" and "
	    "\"http/1.1\"",
	    "set the client's ALPN to \"mqtt\" (--tls-alpn mqtt), or leave it "
	    "out" },
	{ SSL_R_EE_KEY_TOO_SMALL, "the client certificate's key is too small",
	    MEND_DEVICE },
	{ SSL_R_CA_KEY_TOO_SMALL,
	    "the key of a CA in the client's chain is too small",
	    "run \"nightjar ca init\" for a better CA" },
	{ SSL_R_CA_MD_TOO_WEAK,
	    "a CA in the client's chain is signed with a broken digest",
	    "run \"nightjar ca init\" for a better CA" },
	{ SSL_R_BAD_SIGNATURE,
	    "the client could not prove that it holds its certificate's key",
	    "give the client the key that belongs to its certificate" },
	{ SSL_R_WRONG_SIGNATURE_TYPE,
	    "the client signed with an algorithm that we did not offer",
	    "update the client" },
	{ SSL_R_EXCESSIVE_MESSAGE_SIZE,
	    "the client's chain of certificates is too long to be read",
	    "send the client's certificate and its intermediate CAs only" },
	{ SSL_R_TLSV1_ALERT_INAPPROPRIATE_FALLBACK,
	    "the client retried with an older TLS version than it knows",
	    NULL },
	{ SSL_R_INAPPROPRIATE_FALLBACK,
	    "the client retried with an older TLS version than it knows",
	    NULL },
	{ SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED,
	    "the client asked for an unsafe renegotiation", MEND_TLS12 },
	/* alerts: what the client says of us */
	{ SSL_R_TLSV1_ALERT_UNKNOWN_CA,
	    "the client does not trust the CA of our certificate (alert "
	    "unknown_ca): {subject}, issued by {issuer}",
	    MEND_OUR_CA },
	{ SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
	    "the client refused our certificate (alert bad_certificate): it "
	    "looked for another name than {names} (it asked for {host}), or "
	    "its clock is wrong (ours is good until {until})",
	    MEND_NAMES "; set the client's clock" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN,
	    "the client refused our certificate (alert certificate_unknown): "
	    "it does not trust {issuer}, or it looked for another name than "
	    "{names}; it asked for {host}",
	    "give the client our CA certificate (ca.crt), and connect by one "
	    "of "
	    "the names" },
	{ SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
	    "the client cannot use a certificate of our kind (alert "
	    "unsupported_certificate)",
	    "look at its extended key usage: serverAuth is needed" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED,
	    "the client says that our certificate was revoked",
	    "run \"nightjar ca server\" for a new one" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
	    "the client says that our certificate has expired; it ends on "
	    "{until}",
	    "if that day is to come, set the client's clock, or renew the CA "
	    "if that has ended (nightjar inspect ca.crt); if not, run "
	    "\"nightjar ca server\"" },
	{ SSL_R_TLSV1_ALERT_DECRYPT_ERROR,
	    "the client could not check our signature (alert decrypt_error): "
	    "our certificate's CA differs from the one of the same name that "
	    "it trusts",
	    MEND_OUR_CA },
	{ SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
	    "the client found nothing in common with us (alert "
	    "handshake_failure)",
	    MEND_TLS12 },
	{ SSL_R_TLSV1_ALERT_PROTOCOL_VERSION,
	    "the client does not speak {serve} (alert protocol_version)",
	    MEND_TLS12 },
	{ SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY,
	    "the client asks for stronger algorithms than we have", NULL },
	{ SSL_R_TLSV1_ALERT_INTERNAL_ERROR, "the client had an internal error",
	    NULL },
	{ SSL_R_TLSV1_ALERT_ACCESS_DENIED,
	    "the client refused our certificate (alert access_denied)",
	    MEND_OUR_CA },
	{ SSL_R_TLSV1_ALERT_USER_CANCELLED, "the client gave up", NULL },
	{ SSL_R_UNEXPECTED_MESSAGE, "a message came that does not belong there",
	    NULL },
	{ 0, NULL, NULL },
};

#define MEND_NEED_CERT                                                       \
	"give a client certificate that the broker's CA issued (--cert, "    \
	"--key): \"nightjar ca device NAME\" on the broker's machine makes " \
	"one"

static const struct row client_rows[] = {
	{ SSL_R_WRONG_VERSION_NUMBER, "{host} does not speak TLS on this port",
	    "use the port of a TLS listener (8883 as a rule), or leave the TLS "
	    "options out" },
	{ SSL_R_UNKNOWN_PROTOCOL, "{host} does not speak TLS on this port",
	    "use the port of a TLS listener (8883 as a rule), or leave the TLS "
	    "options out" },
	{ SSL_R_HTTP_REQUEST, "{host} speaks HTTP on this port", NULL },
	{ SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED,
	    "the broker requires a client certificate, and none was given",
	    MEND_NEED_CERT },
	{ SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
	    "the broker found nothing in common with us, or requires a client "
	    "certificate (alert handshake_failure)",
	    MEND_NEED_CERT },
	{ SSL_R_TLSV1_ALERT_UNKNOWN_CA,
	    "the broker does not trust the CA of our certificate (alert "
	    "unknown_ca)",
	    MEND_NEED_CERT },
	{ SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
	    "the broker refused our certificate (alert bad_certificate)",
	    MEND_NEED_CERT },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN,
	    "the broker refused our certificate (alert certificate_unknown)",
	    MEND_NEED_CERT },
	{ SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
	    "the broker cannot use our certificate: it is not made for clients "
	    "(extended key usage clientAuth)",
	    MEND_NEED_CERT },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED,
	    "the broker says that our certificate was revoked",
	    MEND_NEED_CERT },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
	    "the broker says that our certificate has expired",
	    MEND_NEED_CERT },
	{ SSL_R_TLSV1_ALERT_PROTOCOL_VERSION,
	    "no shared TLS version: the broker does not speak {serve}",
	    "look at --tls-version here and tls_version of the broker" },
	{ SSL_R_UNSUPPORTED_PROTOCOL,
	    "no shared TLS version: the broker does not speak {serve}",
	    "look at --tls-version here and tls_version of the broker" },
	{ SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL,
	    "the broker does not speak the application protocol that was asked "
	    "for (ALPN)",
	    "use --tls-alpn mqtt, or leave it out" },
	{ SSL_R_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY,
	    "the broker does not know this PSK identity",
	    "look at --psk-identity here and psk_file of the broker" },
	{ SSL_R_TLSV1_ALERT_DECRYPT_ERROR,
	    "the broker could not check our signature or key (alert "
	    "decrypt_error)",
	    "the key or PSK here is not the one the broker knows" },
	{ SSL_R_SSLV3_ALERT_BAD_RECORD_MAC,
	    "the broker could not read our first message: the PSK differs",
	    "compare --psk with the broker's psk_file" },
	{ SSL_R_TLSV1_UNRECOGNIZED_NAME,
	    "the broker has no certificate for {host}", NULL },
	{ SSL_R_DH_KEY_TOO_SMALL, "the broker's key exchange is too weak",
	    NULL },
	{ SSL_R_EE_KEY_TOO_SMALL, "the broker's certificate has a weak key",
	    "run \"nightjar ca server\" on the broker's machine" },
	{ 0, NULL, NULL },
};

static const char *
version_text(unsigned v)
{
	switch (v) {
	case 0x0300:
		return "SSL 3.0";
	case 0x0301:
		return "TLS 1.0";
	case 0x0302:
		return "TLS 1.1";
	case 0x0303:
		return "TLS 1.2";
	case 0x0304:
		return "TLS 1.3";
	default:
		return "an unknown version";
	}
}

static const char *
served(const SSL *ssl)
{
	long min = ssl ? SSL_get_min_proto_version((SSL *)(uintptr_t)ssl) : 0;
	long max = ssl ? SSL_get_max_proto_version((SSL *)(uintptr_t)ssl) : 0;

	if (min >= TLS1_3_VERSION)
		return "TLS 1.3 only";
	return max == TLS1_2_VERSION ? "TLS 1.2 only" : "TLS 1.2 and 1.3";
}

/* What a client of this listener has to know. */
static const char *
needed(const SSL *ssl)
{
	return ssl &&
		SSL_get_min_proto_version((SSL *)(uintptr_t)ssl) >=
		    TLS1_3_VERSION
	    ? "TLS 1.3, or set 'tls_version tlsv1.2' on the listener"
	    : "TLS 1.2 or 1.3";
}

static const char *
value_of(const struct tls_stream *s, const char *key, char *esc, size_t size)
{
	const struct tls_face *f = s->server ? &s->server->face : NULL;

	if (strcmp(key, "host") == 0)
		return s->name ? text_esc(esc, size, slice_str(s->name))
			       : "no name";
	if (strcmp(key, "offer") == 0)
		return version_text(s->hello_version);
	if (strcmp(key, "serve") == 0)
		return served(s->ssl);
	if (strcmp(key, "need") == 0)
		return needed(s->ssl);
	if (!f)
		return "?";
	return strcmp(key, "names") == 0  ? f->names
	    : strcmp(key, "subject") == 0 ? f->subject
	    : strcmp(key, "issuer") == 0  ? f->issuer
					  : f->until;
}

static void
expand(const struct tls_stream *s, const char *text, char *dst, size_t size)
{
	char key[16], esc[TEXT_ESC];
	size_t at = 0;

	while (*text && at + 1 < size) {
		const char *end = *text == '{' ? strchr(text, '}') : NULL;
		size_t n = end ? (size_t)(end - text) - 1 : 0;

		if (!end || n >= sizeof key) {
			dst[at++] = *text++;
			continue;
		}
		memcpy(key, text + 1, n);
		key[n] = '\0';
		n = (size_t)snprintf(dst + at, size - at, "%s",
		    value_of(s, key, esc, sizeof esc));
		at = n < size - at ? at + n : size - 1;
		text = end + 1;
	}
	dst[at] = '\0';
}

/* The oldest error of the TLS library itself; those below it only say where
 * it noticed. */
static unsigned long
tls_error(void)
{
	unsigned long err, first = 0, found = 0;

	while ((err = ERR_get_error())) {
		if (!first)
			first = err;
		if (!found && ERR_GET_LIB(err) == ERR_LIB_SSL)
			found = err;
	}
	return found ? found : first;
}

static void
explain_row(struct tls_stream *s, const struct row *r)
{
	struct nj_why *w = stream_why_new(&s->base);
	char text[sizeof w->what];

	expand(s, r->what, text, sizeof text);
	why_set(w, "%s", text);
	if (r->mend) {
		expand(s, r->mend, text, sizeof w->mend);
		why_mend(w, "%s", text);
	}
}

/* Whether there was nothing but shared keys to go by. */
static bool
only_psk(const struct tls_stream *s, int code)
{
	return s->server && s->server->psk.key_of && s->server->expires == 0 &&
	    (code == SSL_R_NO_SHARED_CIPHER ||
		code == SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS ||
		code == SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM);
}

/* What a wrong key looks like. */
static bool
is_of_key(int code)
{
	return code == SSL_R_BINDER_DOES_NOT_VERIFY ||
	    code == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC ||
	    code == SSL_R_PSK_IDENTITY_NOT_FOUND ||
	    code == SSL_R_TLSV1_ALERT_DECRYPT_ERROR ||
	    code == SSL_R_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY ||
	    code == SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER ||
	    code == SSL_R_SSLV3_ALERT_BAD_RECORD_MAC;
}

void
tls_explain(struct tls_stream *s)
{
	unsigned long err = tls_error();
	const char *reason = ERR_reason_error_string(err);
	int code = ERR_GET_REASON(err);
	bool ssl = ERR_GET_LIB(err) == ERR_LIB_SSL;
	const struct row *r = s->server ? server_rows : client_rows;
	static const struct row no_psk = { 0,
		"the client offered no shared key (PSK) that this listener "
		"could use, and the listener has no certificate",
		"give the client --psk and --psk-identity (with ciphers of "
		"ECDHE-PSK or TLS 1.3), or use the port of a listener with "
		"certfile and keyfile" };

	if (ssl && only_psk(s, code)) {
		explain_row(s, &no_psk);
		return;
	}
	if (ssl && is_of_key(code) &&
	    tls_psk_explain(s, code == SSL_R_BINDER_DOES_NOT_VERIFY))
		return;
	if (ssl && s->server && code == SSL_R_NO_SHARED_CIPHER &&
	    tls_offer_explain(s, stream_why_new(&s->base)))
		return;
	while (ssl && r->reason && r->reason != code)
		r++;
	if (ssl && r->reason)
		explain_row(s, r);
	else
		why_set(stream_why_new(&s->base), "the TLS %s failed: %s",
		    s->peer ? "connection" : "handshake",
		    reason ? reason : "no reason was given");
	/* An alert: the other side's word. */
	if (s->base.why)
		s->base.why->by_peer = ssl && code > SSL_AD_REASON_OFFSET;
}

/* The peer closed before the end; where it stopped tells most. */
void
tls_explain_eof(struct tls_stream *s)
{
	static const struct row hello = { 0,
		"the client closed the connection before it had said a whole "
		"ClientHello",
		NULL };
	static const struct row after = { 0,
		"the client closed the connection during the handshake, after "
		"it saw our certificate (valid for {names}; it asked for "
		"{host}): most likely it does not trust it",
		MEND_OUR_CA };
	static const struct row broker = { 0,
		"{host} closed the connection during the TLS handshake: the "
		"port may be one without TLS",
		"use the port of a TLS listener (8883 as a rule); the broker's "
		"log says more" };

	explain_row(s,
	    s->client			? &broker
		: s->phase == TLS_HELLO ? &hello
					: &after);
	if (s->base.why)
		s->base.why->by_peer = true;
}

void
tls_explain_broker_cert(struct tls_stream *s, X509_STORE_CTX *ctx)
{
	struct nj_why *w = stream_why_new(&s->base);
	int err = pki_verify_cause(ctx);
	X509 *x = X509_STORE_CTX_get_current_cert(ctx);
	const char *file = s->client->cafile;
	char esc[TEXT_ESC];

	switch (err) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		pki_explain_host(X509_STORE_CTX_get0_cert(ctx), s->name, w);
		return;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		pki_explain_verify(
		    err, x, X509_STORE_CTX_get_error_depth(ctx), w);
		why_prefix(w, "the broker's certificate is not trusted");
		why_mend(w,
		    "copy the ca.crt of this broker here and name it with "
		    "--cafile%s%s",
		    file ? "; it is not in " : "",
		    file ? text_esc(esc, sizeof esc, slice_str(file)) : "");
		return;
	default:
		pki_explain_verify(
		    err, x, X509_STORE_CTX_get_error_depth(ctx), w);
		why_prefix(w, "the broker's certificate");
	}
}
