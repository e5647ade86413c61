/* SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/slice.h"
#include "base/text.h"
#include "pki/cert.h"
#include "pki/explain.h"

#define FAULTS 400 /* leaves room for the name in a struct nj_why */

/* A list of faults or names for one line, "a; b"; cut when it is full. */
struct list {
	char *dst;
	size_t size, len;
	const char *separator;
	unsigned count, left_out;
};

static void list_add(struct list *l, const char *fmt, ...) NJ_PRINTF(2, 3);

/* Who hears of each fault of a certificate. */
struct judge {
	X509 *x;
	enum pki_use use;
	pki_fault_fn *fn;
	void *arg;
};

static void judge_add(const struct judge *j, const char *code, const char *fmt,
    ...) NJ_PRINTF(3, 4);

static void
list_add(struct list *l, const char *fmt, ...)
{
	char item[320];
	va_list ap;
	int n;

	va_start(ap, fmt);
	(void)vsnprintf(item, sizeof(item), fmt, ap);
	va_end(ap);
	l->count++;
	if (l->left_out > 0 || l->size - l->len < strlen(item) + 24) {
		l->left_out++;
		return;
	}
	n = snprintf(l->dst + l->len, l->size - l->len, "%s%s",
	    l->len ? l->separator : "", item);
	l->len += (size_t)n;
}

/* The room kept free in list_add is for this. */
static void
list_end(struct list *l)
{
	if (l->left_out > 0 && l->size - l->len > 1)
		(void)snprintf(l->dst + l->len, l->size - l->len, "%s%u more",
		    l->len ? l->separator : "", l->left_out);
}

/*
 * What a certificate says of itself.
 */

void
pki_subject(X509 *x, char *dst, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long n;

	if (size == 0)
		return;
	dst[0] = '\0';
	if (!bio)
		return;
	if (X509_NAME_print_ex(
		bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0) {
		n = BIO_get_mem_data(bio, &text);
		text_esc(dst, size, slice_of(text, n > 0 ? (size_t)n : 0));
	}
	BIO_free(bio);
}

void
pki_serial(X509 *x, char *dst, size_t size)
{
	BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = bn ? BN_bn2hex(bn) : NULL;

	(void)snprintf(dst, size, "%s", hex ? hex : "?");
	OPENSSL_free(hex);
	BN_free(bn);
}

void
pki_fingerprint(X509 *x, char dst[96])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	dst[0] = '\0';
	if (X509_digest(x, EVP_sha256(), md, &n) != 1)
		return;
	for (unsigned i = 0; i < n && i < 32; i++)
		(void)snprintf(dst + (size_t)i * 3, 4, "%02X%s", md[i],
		    i + 1 < n ? ":" : "");
}

/* The most specific common name. */
bool
pki_common_name(const X509_NAME *name, char *dst, size_t size)
{
	const ASN1_STRING *s;
	unsigned char *utf8 = NULL;
	int i = -1, at, n;

	for (at = -1;
	     (i = X509_NAME_get_index_by_NID(name, NID_commonName, i)) >= 0;)
		at = i;
	if (at < 0)
		return false;
	s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	if ((n = ASN1_STRING_to_UTF8(&utf8, s)) < 0)
		return false;
	text_esc(dst, size, slice_of(utf8, (size_t)n));
	OPENSSL_free(utf8);
	return n > 0;
}

static bool
general_name(const GENERAL_NAME *g, char *dst, size_t size)
{
	int kind;
	const ASN1_STRING *s = GENERAL_NAME_get0_value(g, &kind);
	const unsigned char *p;
	int n;

	if (kind != GEN_DNS && kind != GEN_URI && kind != GEN_EMAIL &&
	    kind != GEN_IPADD)
		return false;
	p = ASN1_STRING_get0_data(s);
	n = ASN1_STRING_length(s);
	if (kind == GEN_IPADD)
		return (n == 4 || n == 16) &&
		    inet_ntop(n == 4 ? AF_INET : AF_INET6, p, dst,
			(socklen_t)size) != NULL;
	text_esc(dst, size, slice_of(p, (size_t)n));
	return true;
}

void
pki_names_text(X509 *x, char *dst, size_t size)
{
	struct list l = { .dst = dst, .size = size, .separator = ", " };
	GENERAL_NAMES *names;
	char one[TEXT_ESC];

	if (size == 0)
		return;
	dst[0] = '\0';
	names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		if (general_name(
			sk_GENERAL_NAME_value(names, i), one, sizeof(one)))
			list_add(&l, "%s", one);
	}
	if (l.count == 0 &&
	    pki_common_name(X509_get_subject_name(x), one, sizeof(one)))
		list_add(&l, "%s", one);
	list_end(&l);
	GENERAL_NAMES_free(names);
}

void
pki_short_name(X509 *x, char *dst, size_t size)
{
	GENERAL_NAMES *names = NULL;
	bool found;

	found = pki_common_name(X509_get_subject_name(x), dst, size);
	if (!found)
		names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++)
		found =
		    general_name(sk_GENERAL_NAME_value(names, i), dst, size);
	GENERAL_NAMES_free(names);
	if (!found)
		pki_subject(x, dst, size);
}

void
pki_issuer_name(X509 *x, char *dst, size_t size)
{
	if (!x || !pki_common_name(X509_get_issuer_name(x), dst, size))
		(void)snprintf(dst, size, "an unnamed issuer");
}

void
pki_day_text(const ASN1_TIME *t, char *dst, size_t size)
{
	struct tm tm;

	if (!t || ASN1_TIME_to_tm(t, &tm) != 1 ||
	    strftime(dst, size, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		(void)snprintf(dst, size, "an unreadable date");
}

/*
 * Judging.
 */

/* Brainpool, secp256k1 and the like: OpenSSL has them, clients have not. */
static bool
is_odd_curve(EVP_PKEY *key)
{
	static const char *const good[] = { "prime256v1", "secp384r1",
		"secp521r1" };
	char name[64];
	size_t n = 0;

	if (EVP_PKEY_get_utf8_string_param(
		key, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof name, &n) != 1)
		return true;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (strcmp(name, good[i]) == 0)
			return false;
	return true;
}

/* RFC 5480 2.1.1: not to be used.  Verifiers refuse it, whatever the curve. */
static bool
is_explicit(EVP_PKEY *key)
{
	int yes = 0;

	return EVP_PKEY_get_int_param(key,
		   OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
		   &yes) == 1 &&
	    yes == 1;
}

static void
judge_key(X509 *x, const struct judge *j)
{
	EVP_PKEY *key = X509_get0_pubkey(x);
	int bits;

	if (!key) {
		judge_add(
		    j, "key-unknown", "its public key is of an unknown kind");
		return;
	}
	bits = EVP_PKEY_get_bits(key);
	if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")) {
		if (bits < 2048)
			judge_add(j, "weak-key",
			    "it is RSA-%d, which can be broken (at "
			    "least 2048 bits)",
			    bits);
	} else if (EVP_PKEY_is_a(key, "EC")) {
		if (bits < 224)
			judge_add(j, "weak-key",
			    "its elliptic curve has %d bits (at least "
			    "224)",
			    bits);
		else if (is_explicit(key))
			judge_add(j, "explicit-curve",
			    "its key spells its curve out (explicit "
			    "parameters) in place of naming it, and no client "
			    "or broker takes that: the key was made with "
			    "'ec_param_enc:explicit'");
		else if (j->use != PKI_USE_CA && is_odd_curve(key))
			judge_add(j, "odd-curve",
			    "its key is on a curve that is not used in TLS "
			    "(P-256 and P-384 are): who has it sends no "
			    "certificate at all");
	} else if (EVP_PKEY_is_a(key, "DSA")) {
		judge_add(
		    j, "dsa-key", "its key is DSA, which TLS no longer uses");
	}
}

static bool
is_weak_digest(int md)
{
	return md == NID_sha1 || md == NID_md5 || md == NID_md4 ||
	    md == NID_md2 || md == NID_md5_sha1;
}

/* What digest signed it, when that is a broken one. */
const char *
pki_weak_digest(X509 *x)
{
	int md = NID_undef;

	if (X509_get_signature_info(x, &md, NULL, NULL, NULL) != 1 &&
	    md == NID_undef)
		return NULL;
	return is_weak_digest(md) ? OBJ_nid2ln(md) : NULL;
}

static bool
is_self_signed(X509 *x)
{
	return (X509_get_extension_flags(x) & EXFLAG_SS) != 0;
}

static void
judge_signature(X509 *x, const struct judge *j)
{
	const char *md = pki_weak_digest(x);

	if (!md || (j->use == PKI_USE_CA && is_self_signed(x)))
		return;
	judge_add(j, "weak-signature",
	    "it is signed with %s, which can be forged",
	    md == OBJ_nid2ln(NID_sha1) ? "SHA-1" : "MD5");
}

/* Nobody uses one for so long after its end. */
#define LONG_AGO_S ((int64_t)3 * 365 * 86400)

static void
judge_dates(X509 *x, const struct judge *j)
{
	char day[40];

	if (X509_cmp_current_time(X509_get0_notAfter(x)) <= 0) {
		int64_t from, to, now = (int64_t)time(NULL);

		pki_day_text(X509_get0_notAfter(x), day, sizeof(day));
		judge_add(j, "expired", "it expired on %s%s", day,
		    !pki_cert_dates(x, &from, &to) || now - to <= LONG_AGO_S
			? ""
			: to < 0
			? " (it was written with two digits of the year, which "
			  "are good to 2049 alone)"
			: " (is this machine's clock right?)");
	}
	if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0) {
		pki_day_text(X509_get0_notBefore(x), day, sizeof(day));
		judge_add(j, "not-yet-valid",
		    "it is valid only from %s on (is this machine's "
		    "clock right?)",
		    day);
	}
}

/* What nobody understands, everybody has to refuse [RFC 5280 4.2]. */
static void
judge_critical(X509 *x, const struct judge *j)
{
	char name[80], oid[80];

	for (int i = 0; i < X509_get_ext_count(x); i++) {
		X509_EXTENSION *ext = X509_get_ext(x, i);
		const ASN1_OBJECT *obj = X509_EXTENSION_get_object(ext);

		if (!X509_EXTENSION_get_critical(ext) ||
		    X509_supported_extension(ext))
			continue;
		(void)OBJ_obj2txt(oid, sizeof oid, obj, 1);
		(void)OBJ_obj2txt(name, sizeof name, obj, 0);
		judge_add(j, "critical",
		    "it has the extension %s%s%s%s marked as critical, which "
		    "nobody who does not understand it may accept",
		    oid, strcmp(oid, name) ? " (" : "",
		    strcmp(oid, name) ? name : "",
		    strcmp(oid, name) ? ")" : "");
	}
}

/* What the broker's library, and most clients', ask of a client's; of a
 * server's some ask less. */
static void
judge_leaf_usage(X509 *x, const struct judge *j)
{
	uint32_t flags = X509_get_extension_flags(x);
	enum pki_use use = j->use;
	uint32_t want = use == PKI_USE_SERVER ? XKU_SSL_SERVER : XKU_SSL_CLIENT;
	uint32_t eku = X509_get_extended_key_usage(x);
	uint32_t ku = X509_get_key_usage(x);
	uint32_t good = KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT |
	    (use == PKI_USE_SERVER ? KU_KEY_ENCIPHERMENT : 0U);

	if ((flags & EXFLAG_XKUSAGE) && !(eku & (want | XKU_ANYEKU)))
		judge_add(j, "wrong-use",
		    "its extended key usage does not allow use as %s",
		    use == PKI_USE_SERVER ? "a server (serverAuth)"
					  : "a client (clientAuth)");
	else if ((flags & EXFLAG_XKUSAGE) && use == PKI_USE_CLIENT &&
	    !(eku & want))
		judge_add(j, "wrong-use",
		    "its extended key usage is 'any', which OpenSSL does not "
		    "take for use as a client (clientAuth)");
	if ((flags & EXFLAG_KUSAGE) && !(ku & good))
		judge_add(j, "key-usage",
		    "its key usage does not allow TLS "
		    "(digitalSignature)");
}

static void
judge_ca_usage(X509 *x, const struct judge *j)
{
	uint32_t flags = X509_get_extension_flags(x);

	if (X509_get_version(x) == X509_VERSION_1)
		judge_add(j, "version-1",
		    "it is a version 1 certificate, which cannot be a "
		    "CA: it was signed without its extensions");
	else if (!(flags & EXFLAG_CA))
		judge_add(
		    j, "not-a-ca", "it is not a CA certificate (no CA:TRUE)");
	if ((flags & EXFLAG_KUSAGE) &&
	    !(X509_get_key_usage(x) & KU_KEY_CERT_SIGN))
		judge_add(j, "key-usage",
		    "its key usage does not allow signing certificates "
		    "(keyCertSign)");
}

void
pki_mend_for(enum pki_use use, struct nj_why *why)
{
	switch (use) {
	case PKI_USE_SERVER:
		why_mend(why, "make a better one with: nightjar ca server");
		break;
	case PKI_USE_CLIENT:
		why_mend(why, "make a better one with: nightjar ca device ID");
		break;
	case PKI_USE_CA:
		why_mend(why,
		    "make a new CA with: nightjar ca init; devices "
		    "then need its ca.crt");
		break;
	}
}

/* CAs between a root and a leaf that are in order but for their time are the
 * root's to renew. */
void
pki_mend_time_of(X509 *x, enum pki_use use, struct nj_why *why)
{
	char issuer[TEXT_ESC];

	if (use != PKI_USE_CA ||
	    X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) ==
		0) {
		pki_mend_for(use, why);
		if (use == PKI_USE_CA)
			why_mend(why,
			    "if it was renewed, put its new certificate here; "
			    "if not, make a new CA with: nightjar ca init "
			    "(nightjar ca roll, where it is Nightjar's); "
			    "devices then need its ca.crt");
		return;
	}
	pki_issuer_name(x, issuer, sizeof issuer);
	why_mend(why,
	    "have its issuer '%s' make it anew for the same key, and put that "
	    "in its place wherever it is sent along; what it signed stays good",
	    issuer);
}

/* What makes the certificate anew does not mend a clock. */
static void
mend_clock(struct nj_why *why)
{
	why_mend(why,
	    "set the clock of this machine (timedatectl set-ntp true); or "
	    "wait until then");
}

static void
judge_add(const struct judge *j, const char *code, const char *fmt, ...)
{
	struct nj_why why = { 0 };
	char text[320];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	why_set(&why, "%s", text);
	if (strcmp(code, "expired") == 0)
		pki_mend_time_of(j->x, j->use, &why);
	else
		pki_mend_for(j->use, &why);
	if (strcmp(code, "not-yet-valid") == 0)
		mend_clock(&why);
	j->fn(j->arg, code, &why);
}

void
pki_faults(X509 *x, enum pki_use use, pki_fault_fn *fn, void *arg)
{
	const struct judge j = { .x = x, .use = use, .fn = fn, .arg = arg };

	/* Called for its effect: it reads the extensions into the flags. */
	if (X509_check_purpose(x, -1, 0) != 1)
		judge_add(&j, "extensions", "its extensions cannot be read");
	judge_key(x, &j);
	judge_signature(x, &j);
	judge_dates(x, &j);
	judge_critical(x, &j);
	if (use == PKI_USE_CA)
		judge_ca_usage(x, &j);
	else
		judge_leaf_usage(x, &j);
	ERR_clear_error();
}

static void
add_fault(void *arg, const char *code, const struct nj_why *why)
{
	(void)code;
	list_add(arg, "%s", why->what);
}

enum nj_err
pki_judge(X509 *x, enum pki_use use, const char *name, struct nj_why *why)
{
	char faults[FAULTS] = "";
	struct list l = {
		.dst = faults, .size = sizeof(faults), .separator = "; "
	};

	pki_faults(x, use, add_fault, &l);
	if (l.count == 0)
		return NJ_OK;
	list_end(&l);
	why_set(why, "%s is refused: %s", name, faults);
	if (l.count == 1 && X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
		mend_clock(why);
	else if (l.count == 1 &&
	    X509_cmp_current_time(X509_get0_notAfter(x)) <= 0)
		pki_mend_time_of(x, use, why);
	else
		pki_mend_for(use, why);
	return NJ_INVALID;
}
