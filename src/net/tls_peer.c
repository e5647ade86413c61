/* SPDX-License-Identifier: Apache-2.0
 * tls_peer - who is at the other end, in one small allocation.
 */
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "net/tls_impl.h"
#include "pki/explain.h"

#define FIELDS 9 /* strings of a struct tls_peer that are copied */

int64_t
tls_time(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

/* -- our own names, for explanations ------------------------------------- */

static void
print_name(const X509_NAME *n, char *dst, size_t size)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *p = NULL;
	long len;

	dst[0] = '\0';
	if (b && X509_NAME_print_ex(b, n, 0, XN_FLAG_RFC2253) >= 0 &&
	    (len = BIO_get_mem_data(b, &p)) > 0)
		text_esc(dst, size, slice_of(p, (size_t)len));
	BIO_free(b);
}

void
tls_face_of(X509 *x, struct tls_face *out)
{
	struct tm tm = { 0 };

	pki_subject(x, out->subject, sizeof out->subject);
	print_name(X509_get_issuer_name(x), out->issuer, sizeof out->issuer);
	pki_names_text(x, out->names, sizeof out->names);
	if (!out->names[0])
		(void)snprintf(out->names, sizeof out->names, "no name");
	if (ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm))
		(void)strftime(out->until, sizeof out->until, "%Y-%m-%d", &tm);
}

/* -- names that must not be believed ------------------------------------- */

/* [attack: a NUL, a line end or a wildcard in a name that becomes a user
 * name, a topic or a log line] */
static bool
name_ok(struct slice s)
{
	if (s.n == 1 && strchr("*+#", s.p[0]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

/* The string as UTF-8 whatever its ASN.1 type; *s borrows from *mem. */
static bool
utf8_of(const ASN1_STRING *a, unsigned char **mem, struct slice *s)
{
	int n = ASN1_STRING_to_UTF8(mem, a);

	if (n < 0)
		return false;
	*s = slice_of(*mem, (size_t)n);
	return true;
}

static enum nj_err
refuse_name(const char *kind, struct slice s, struct nj_why *why)
{
	char esc[TEXT_ESC];

	why_set(why,
	    "the client certificate's %s \"%s\" holds a control character or "
	    "is only a wildcard",
	    kind, text_esc(esc, sizeof esc, s));
	why_mend(why,
	    "issue the client a certificate with a plain name: "
	    "nightjar ca device NAME");
	return NJ_DENIED;
}

static enum nj_err
subject_ok(const X509_NAME *subject, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (int i = 0; i < X509_NAME_entry_count(subject) && !e; i++) {
		const X509_NAME_ENTRY *en = X509_NAME_get_entry(subject, i);
		unsigned char *mem = NULL;
		struct slice s = SLICE_NONE;

		if (!utf8_of(X509_NAME_ENTRY_get_data(en), &mem, &s) ||
		    !name_ok(s))
			e = refuse_name("subject", s, why);
		OPENSSL_free(mem);
	}
	return e;
}

static const ASN1_STRING *
general_string(const GENERAL_NAME *g)
{
	switch (g->type) {
	case GEN_DNS:
		return g->d.dNSName;
	case GEN_URI:
		return g->d.uniformResourceIdentifier;
	case GEN_EMAIL:
		return g->d.rfc822Name;
	default:
		return NULL;
	}
}

static struct slice
asn1_slice(const ASN1_STRING *a)
{
	return a
	    ? slice_of(ASN1_STRING_get0_data(a), (size_t)ASN1_STRING_length(a))
	    : SLICE_NONE;
}

enum nj_err
tls_peer_names_ok(X509 *leaf, struct nj_why *why)
{
	GENERAL_NAMES *names;
	enum nj_err e;

	if ((e = subject_ok(X509_get_subject_name(leaf), why)))
		return e;
	names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !e; i++) {
		struct slice s =
		    asn1_slice(general_string(sk_GENERAL_NAME_value(names, i)));

		if (!name_ok(s))
			e = refuse_name("alternative name", s, why);
	}
	GENERAL_NAMES_free(names);
	return e;
}

/* -- struct tls_peer ----------------------------------------------------- */

/* What goes into the copied strings, before there is a place for them. */
struct parts {
	struct slice alpn, sni, cn, subject, uri, dns, email, serial;
	struct slice psk, issuers, listed, ips;
	struct buf ips_mem;
	unsigned char *cn_mem;
	BIO *subject_mem;
	char *serial_mem;
	GENERAL_NAMES *names;
	char sni_esc[TEXT_ESC];
};

static void
parts_fini(struct parts *p)
{
	OPENSSL_free(p->cn_mem);
	BIO_free(p->subject_mem);
	OPENSSL_free(p->serial_mem);
	GENERAL_NAMES_free(p->names);
	buf_fini(&p->ips_mem);
}

static enum nj_err
put_ip(struct buf *b, const ASN1_OCTET_STRING *ip)
{
	struct slice s = asn1_slice(ip);
	enum nj_err e;

	if (s.n != 4 && s.n != 16)
		return NJ_OK; /* nobody has such an address */
	if ((e = buf_put_u8(b, (uint8_t)s.n)))
		return e;
	return buf_put_slice(b, s);
}

static enum nj_err
parts_san(struct parts *p)
{
	enum nj_err e;

	for (int i = 0; i < sk_GENERAL_NAME_num(p->names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(p->names, i);
		struct slice *to = g->type == GEN_URI ? &p->uri
		    : g->type == GEN_DNS	      ? &p->dns
		    : g->type == GEN_EMAIL	      ? &p->email
						      : NULL;

		if (to && !to->p)
			*to = asn1_slice(general_string(g));
		if (g->type == GEN_IPADD &&
		    buf_len(&p->ips_mem) < TLS_IPS_MAX &&
		    (e = put_ip(&p->ips_mem, g->d.iPAddress)))
			return e;
	}
	p->ips = buf_slice(&p->ips_mem);
	return NJ_OK;
}

static enum nj_err
parts_of_cert(struct parts *p, X509 *leaf)
{
	const X509_NAME *subject = X509_get_subject_name(leaf);
	int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	BIGNUM *bn;
	char *text = NULL;
	long n;

	if (i >= 0 &&
	    !utf8_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)),
		&p->cn_mem, &p->cn))
		return NJ_NOMEM;
	if (!(p->subject_mem = BIO_new(BIO_s_mem())) ||
	    X509_NAME_print_ex(p->subject_mem, subject, 0, XN_FLAG_RFC2253) < 0)
		return NJ_NOMEM;
	if ((n = BIO_get_mem_data(p->subject_mem, &text)) > 0)
		p->subject = slice_of(text, (size_t)n);
	bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), NULL);
	p->serial_mem = bn ? BN_bn2hex(bn) : NULL;
	BN_free(bn);
	if (!p->serial_mem)
		return NJ_NOMEM;
	p->serial = slice_str(p->serial_mem);
	p->names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	return parts_san(p);
}

enum nj_err
tls_spki_sha256(X509 *x, const EVP_MD *md, uint8_t out[32])
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	bool ok = n > 0 && EVP_Digest(der, (size_t)n, out, NULL, md, NULL);

	OPENSSL_free(der);
	return ok ? NJ_OK : NJ_CRYPTO;
}

static enum nj_err
digests(struct tls_peer *peer, X509 *leaf, const EVP_MD *md)
{
	enum nj_err e = tls_spki_sha256(leaf, md, peer->spki_sha256);

	if (e)
		return e;
	return X509_digest(leaf, md, peer->cert_sha256, NULL) ? NJ_OK
							      : NJ_CRYPTO;
}

static struct slice
put_bytes(char **at, struct slice s)
{
	struct slice copy = slice_of(*at, s.n);

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static enum nj_err
assemble(const SSL *ssl, X509 *leaf, const EVP_MD *md, const struct parts *p,
    struct tls_peer **out)
{
	const struct slice from[FIELDS] = { p->alpn, p->sni, p->cn, p->subject,
		p->uri, p->dns, p->email, p->serial, p->psk };
	const char **to[FIELDS];
	size_t size =
	    sizeof(struct tls_peer) + p->issuers.n + p->listed.n + p->ips.n;
	struct tls_peer *peer;
	enum nj_err e;
	char *at;

	for (int i = 0; i < FIELDS; i++)
		size += from[i].n + 1;
	if (!(peer = calloc(1, size)))
		return NJ_NOMEM;
	at = (char *)(peer + 1);
	to[0] = &peer->alpn, to[1] = &peer->sni, to[2] = &peer->cn;
	to[3] = &peer->subject, to[4] = &peer->san_uri, to[5] = &peer->san_dns;
	to[6] = &peer->san_email, to[7] = &peer->serial;
	to[8] = &peer->psk;
	for (int i = 0; i < FIELDS; i++) {
		if (from[i].n)
			memcpy(at, from[i].p, from[i].n);
		*to[i] = at;
		at += from[i].n + 1;
	}
	peer->issuers = put_bytes(&at, p->issuers);
	peer->listed = put_bytes(&at, p->listed);
	peer->ips = put_bytes(&at, p->ips);
	peer->has_cert = leaf != NULL;
	peer->resumed = SSL_session_reused(ssl);
	peer->version = SSL_get_version(ssl);
	peer->cipher = SSL_get_cipher_name(ssl);
	if (leaf) {
		peer->not_after = tls_time(X509_get0_notAfter(leaf));
		if ((e = digests(peer, leaf, md))) {
			free(peer);
			return e;
		}
	}
	*out = peer;
	return NJ_OK;
}

static void
parts_of_connection(struct parts *p, const SSL *ssl, struct slice sni)
{
	const unsigned char *alpn = NULL;
	unsigned alpn_len = 0;

	SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
	p->alpn = slice_of(alpn, alpn_len);
	if (sni.n)
		p->sni =
		    slice_str(text_esc(p->sni_esc, sizeof p->sni_esc, sni));
}

enum nj_err
tls_peer_new(const SSL *ssl, X509 *leaf, const EVP_MD *sha256,
    const struct tls_beside *b, struct tls_peer **out)
{
	struct parts p = {
		.issuers = b->issuers, .listed = b->listed, .psk = b->psk
	};
	enum nj_err e = NJ_OK;

	parts_of_connection(&p, ssl, b->sni);
	if (leaf)
		e = parts_of_cert(&p, leaf);
	if (!e)
		e = assemble(ssl, leaf, sha256, &p, out);
	parts_fini(&p);
	return e;
}

enum nj_err
tls_peer_of_ident(const SSL *ssl, const struct tls_ident *id,
    const struct tls_beside *b, struct tls_peer **out)
{
	struct parts p = { .cn = id->cn,
		.subject = id->subject,
		.uri = id->uri,
		.dns = id->dns,
		.email = id->email,
		.serial = id->serial,
		.issuers = id->issuers,
		.listed = b->listed,
		.ips = id->ips };
	enum nj_err e;

	parts_of_connection(&p, ssl, b->sni);
	if ((e = assemble(ssl, NULL, NULL, &p, out)))
		return e;
	(*out)->has_cert = true;
	(*out)->not_after = id->not_after;
	memcpy((*out)->spki_sha256, id->spki_sha256.p, 32);
	memcpy((*out)->cert_sha256, id->cert_sha256.p, 32);
	return NJ_OK;
}
