/* SPDX-License-Identifier: Apache-2.0
 * doubts - what a certificate is not refused for, and some client trips over:
 *          names that nobody finds, keys that small devices do not know.
 */
#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "base/text.h"
#include "pki/explain.h"

#define DAY	     86400
#define SOON_DAYS    30
#define LONGEST_DAYS 825  /* what Apple's systems accept of a private CA */
#define RSA_LONG     4096 /* small devices have no room for more */
#define SERIAL_BYTES 20	  /* RFC 5280 4.1.2.2 */
#define DEPTH_MAX    16	  /* CAs that are looked at, one above the other */

struct doubts {
	X509 *x;
	enum pki_use use;
	const char *name;
	pki_remark_fn *fn;
	void *arg;
};

static void
tell(const struct doubts *d, enum pki_level level, const char *code,
    const struct nj_why *why)
{
	d->fn(d->arg, level, code, why);
}

/* With the mend of its use. */
static void
tell_use(const struct doubts *d, const char *code, struct nj_why *why)
{
	pki_mend_for(d->use, why);
	tell(d, PKI_DOUBT, code, why);
}

/* Whole days and seconds from a to b (NULL: now); 0 where unreadable. */
static long
seconds_between(const ASN1_TIME *a, const ASN1_TIME *b)
{
	int days = 0, secs = 0;

	if (ASN1_TIME_diff(&days, &secs, a, b) != 1)
		return 0;
	return (long)days * DAY + secs;
}

static void
doubt_dates(const struct doubts *d)
{
	const ASN1_TIME *end = X509_get0_notAfter(d->x);
	long left = seconds_between(NULL, end);
	long life = seconds_between(X509_get0_notBefore(d->x), end);
	struct nj_why why = { 0 };
	char day[40];

	if (left > 0 && left < (long)SOON_DAYS * DAY) {
		pki_day_text(end, day, sizeof(day));
		why_set(&why, "%s ends in %ld day%s, on %s", d->name,
		    left / DAY, left / DAY == 1 ? "" : "s", day);
		pki_mend_time_of(d->x, d->use, &why);
		tell(d, PKI_DOUBT, "ends-soon", &why);
	}
	if (d->use == PKI_USE_SERVER && life > (long)(LONGEST_DAYS + 1) * DAY) {
		why_set(&why,
		    "%s is made for %ld days; Apple's systems refuse "
		    "server certificates of more than %d",
		    d->name, life / DAY, LONGEST_DAYS);
		tell_use(d, "long", &why);
	}
}

/* -- names --------------------------------------------------------------- */

static bool
is_address(const char *s)
{
	unsigned char a[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, s, a) == 1 || inet_pton(AF_INET6, s, a) == 1;
}

static bool
is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

/* A name as people copy it from a URL: who connects there looks for what
 * stands in host. */
static bool
is_of_url(const char *name, char *host, size_t size)
{
	const char *p = strstr(name, "://"), *end;
	size_t n;

	p = p ? p + 3 : name;
	if (*p == '[' && (end = strchr(p, ']'))) {
		p++;
		n = (size_t)(end - p);
	} else
		n = strcspn(p, ":/");
	if (n == strlen(name) || n == 0 || n >= size)
		return false;
	memcpy(host, p, n);
	host[n] = '\0';
	return true;
}

static void
doubt_dns_name(const struct doubts *d, const char *name)
{
	struct nj_why w = { 0 };
	char host[TEXT_ESC], word[TEXT_ESC];
	int n = (int)strlen(name);

	if (is_address(name)) {
		if (X509_check_ip_asc(d->x, name, 0) == 1)
			return; /* for old clients beside the address */
		why_set(&w,
		    "%s has the address %s among its host names (DNS:%s); "
		    "clients that connect to %s look for an address (IP:%s)",
		    d->name, name, name, name, name);
		why_mend(&w, "nightjar ca server %s", name);
		tell(d, PKI_FAULT, "address-as-name", &w);
	} else if (strcmp(name, "*") == 0 || strcmp(name, "*.") == 0) {
		why_set(&w, "%s has the name '%s', which no client accepts",
		    d->name, name);
		why_mend(&w, "name the hosts: nightjar ca server NAME...");
		tell(d, PKI_FAULT, "wildcard", &w);
	} else if (n > 0 && name[n - 1] == '.') {
		why_set(&w,
		    "%s has the name '%s', with a dot at its end: who connects "
		    "to '%.*s' does not find that name in it",
		    d->name, name, n - 1, name);
		why_mend(&w, "nightjar ca server %s",
		    text_word(word, sizeof word,
			slice_of((const uint8_t *)name, (size_t)n - 1),
			"NAME"));
		tell(d, PKI_FAULT, "odd-name", &w);
	} else if (!is_ascii(name)) {
		why_set(&w,
		    "%s has the name '%s', which is not in ASCII: in "
		    "certificates and in DNS such a name is written as "
		    "xn--..., and clients look for that",
		    d->name, name);
		why_mend(&w,
		    "name it as DNS does (python3 -c \"print('NAME'.encode("
		    "'idna').decode())\" tells): nightjar ca server xn--...");
		tell(d, PKI_FAULT, "odd-name", &w);
	} else if (is_of_url(name, host, sizeof host)) {
		why_set(&w,
		    "%s has the name '%s', which is no host name: who connects "
		    "to '%s' does not find that in it (no scheme, port, path "
		    "or brackets belong there)",
		    d->name, name, host);
		why_mend(&w, "nightjar ca server %s",
		    text_word(word, sizeof word, slice_str(host), "NAME"));
		tell(d, PKI_FAULT, "odd-name", &w);
	} else if (strchr(name, '*') &&
	    (name[0] != '*' || name[1] != '.' || strchr(name + 1, '*') ||
		!strchr(name + 2, '.'))) {
		why_set(&w,
		    "%s has the name '%s': clients take a '*' only for the "
		    "whole first part of a name with two more behind it "
		    "(*.example.org)",
		    d->name, name);
		why_mend(&w, "name the hosts: nightjar ca server NAME...");
		tell(d, PKI_DOUBT, "wildcard", &w);
	} else if (strpbrk(name, " _@")) {
		why_set(&w,
		    "%s has the name '%s', which is no host name (letters, "
		    "digits, '-' and '.'): some clients refuse it",
		    d->name, name);
		why_mend(&w,
		    "give the host a name without that, and name it: nightjar "
		    "ca server NAME");
		tell(d, PKI_DOUBT, "odd-name", &w);
	}
}

static void
doubt_no_names(const struct doubts *d)
{
	struct nj_why why = { 0 };
	char cn[TEXT_ESC], names[256];

	pki_names_text(d->x, names, sizeof(names));
	if (X509_get_ext_by_NID(d->x, NID_subject_alt_name, -1) >= 0)
		why_set(&why,
		    "%s has no host name or address among its subject "
		    "alternative names (%s): clients look for 'DNS:' and "
		    "'IP:' there, and refuse it",
		    d->name, names);
	else if (pki_common_name(X509_get_subject_name(d->x), cn, sizeof(cn)))
		why_set(&why,
		    "%s has no subject alternative name, only the "
		    "common name '%s': many clients (Python, Go, Java, "
		    "browsers) no longer look at that and refuse it",
		    d->name, cn);
	else
		why_set(&why,
		    "%s carries no host name or address: clients "
		    "that check the name refuse it",
		    d->name);
	why_mend(&why,
	    "make one with all names of this machine: "
	    "nightjar ca server");
	tell(d, PKI_DOUBT, "no-names", &why);
}

static void
doubt_names(const struct doubts *d)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(d->x, NID_subject_alt_name, NULL, NULL);
	bool any = false;
	char text[TEXT_ESC];

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int kind;
		const ASN1_STRING *s = GENERAL_NAME_get0_value(
		    sk_GENERAL_NAME_value(names, i), &kind);

		any |= kind == GEN_DNS || kind == GEN_IPADD;
		if (kind != GEN_DNS)
			continue;
		(void)text_esc(text, sizeof text,
		    slice_of(ASN1_STRING_get0_data(s),
			(size_t)ASN1_STRING_length(s)));
		doubt_dns_name(d, text);
	}
	GENERAL_NAMES_free(names);
	if (!any)
		doubt_no_names(d);
}

/* -- keys ---------------------------------------------------------------- */

static void
doubt_key(const struct doubts *d)
{
	EVP_PKEY *key = X509_get0_pubkey(d->x);
	struct nj_why why = { 0 };

	if (!key)
		return;
	if (EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448")) {
		why_set(&why,
		    "%s has an %s key, which browsers and most small devices "
		    "do not know",
		    d->name, EVP_PKEY_get0_type_name(key));
		tell_use(d, "odd-key", &why);
	} else if (EVP_PKEY_is_a(key, "RSA-PSS")) {
		why_set(&why,
		    "%s has a key for RSA-PSS alone, which browsers, Go and "
		    "small devices do not know",
		    d->name);
		tell_use(d, "odd-key", &why);
	} else if (EVP_PKEY_is_a(key, "RSA") &&
	    EVP_PKEY_get_bits(key) > RSA_LONG) {
		why_set(&why,
		    "%s has an RSA key of %d bits: small devices have no room "
		    "for more than %d, and each login costs many times what "
		    "one with P-256 does",
		    d->name, EVP_PKEY_get_bits(key), RSA_LONG);
		tell_use(d, "long-key", &why);
	}
}

static void
doubt_usage(const struct doubts *d)
{
	uint32_t flags = X509_get_extension_flags(d->x);
	uint32_t eku = X509_get_extended_key_usage(d->x);
	uint32_t ku = X509_get_key_usage(d->x);
	struct nj_why why = { 0 };

	if (d->use == PKI_USE_CA)
		return;
	if ((flags & EXFLAG_KUSAGE) && !(ku & KU_DIGITAL_SIGNATURE) &&
	    (ku & (KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT))) {
		why_set(&why,
		    "%s has the key usage %s without "
		    "digitalSignature, which TLS 1.3 and ECDHE need: Java, "
		    "GnuTLS and mbedTLS refuse it",
		    d->name,
		    ku & KU_KEY_ENCIPHERMENT ? "keyEncipherment"
					     : "keyAgreement");
		tell_use(d, "key-usage", &why);
	}
	if (d->use == PKI_USE_SERVER && (flags & EXFLAG_XKUSAGE) &&
	    (eku & XKU_ANYEKU) && !(eku & XKU_SSL_SERVER)) {
		why_set(&why,
		    "%s has the extended key usage 'any' without serverAuth: "
		    "clients with OpenSSL (Mosquitto's, Python's, Node's) "
		    "refuse it",
		    d->name);
		tell_use(d, "wrong-use", &why);
	}
}

static void
doubt_serial(const struct doubts *d)
{
	const ASN1_INTEGER *s = X509_get0_serialNumber(d->x);
	BIGNUM *bn = ASN1_INTEGER_to_BN(s, NULL);
	struct nj_why why = { 0 };
	const char *what = NULL;

	if (!bn)
		return;
	if (BN_is_zero(bn) && d->use != PKI_USE_CA)
		what = "the serial number 0";
	else if (BN_is_negative(bn))
		what = "a serial number below 0";
	else if (BN_num_bits(bn) > SERIAL_BYTES * 8)
		what = "a serial number of more than 20 bytes";
	BN_free(bn);
	if (!what)
		return;
	why_set(&why,
	    "%s has %s, which RFC 5280 does not allow: some programs refuse "
	    "it (Go one below 0)",
	    d->name, what);
	tell_use(d, "serial", &why);
}

/* -- who issued it ------------------------------------------------------- */

static bool
is_self_signed(X509 *x)
{
	return (X509_get_extension_flags(x) & EXFLAG_SS) != 0;
}

/* Its issuer has the same name, and is another. */
static void
doubt_itself(const struct doubts *d)
{
	bool same = X509_NAME_cmp(X509_get_subject_name(d->x),
			X509_get_issuer_name(d->x)) == 0;
	bool own = same && X509_self_signed(d->x, 1) == 1;
	struct nj_why w = { 0 };

	if (d->use == PKI_USE_CA)
		return;
	if (same && !own) {
		why_set(&w,
		    "%s has the same subject as the CA that issued it: older "
		    "programs (OpenSSL 1, small devices) take it for signed by "
		    "itself and refuse it",
		    d->name);
		why_mend(&w,
		    "make it with another common name than the CA's; nightjar "
		    "ca server and nightjar ca device do");
		tell(d, PKI_DOUBT, "same-name", &w);
	} else if (own) {
		why_set(&w,
		    "%s is signed by itself: only those who have this very "
		    "file as their cafile believe it%s",
		    d->name,
		    d->use == PKI_USE_CLIENT ? ", and no broker does" : "");
		why_mend(&w, "%s",
		    d->use == PKI_USE_CLIENT
			? "nightjar ca device ID"
			: "nightjar ca init, then nightjar ca server");
		tell(d, PKI_DOUBT, "self-signed", &w);
	}
}

void
pki_remarks(
    X509 *x, enum pki_use use, const char *name, pki_remark_fn *fn, void *arg)
{
	const struct doubts d = {
		.x = x, .use = use, .name = name, .fn = fn, .arg = arg
	};
	struct nj_why why = { 0 };

	/* Called for its effect: it reads the extensions into the flags. */
	(void)X509_check_purpose(x, -1, 0);
	doubt_dates(&d);
	if (use == PKI_USE_SERVER)
		doubt_names(&d);
	doubt_key(&d);
	doubt_usage(&d);
	doubt_serial(&d);
	doubt_itself(&d);
	if (use != PKI_USE_CA && X509_get_version(x) == X509_VERSION_1) {
		why_set(&why,
		    "%s is a version 1 certificate: it was signed "
		    "without its extensions and says nothing of what it may "
		    "be used for; rustls refuses it",
		    name);
		tell_use(&d, "version-1", &why);
	}
	if (use == PKI_USE_CA && is_self_signed(x) && pki_weak_digest(x)) {
		why_set(&why,
		    "%s is signed by itself with SHA-1 or MD5: no "
		    "harm here, but some clients refuse it",
		    name);
		tell_use(&d, "weak-signature", &why);
	}
	ERR_clear_error();
}

struct plain {
	void (*fn)(void *arg, const struct nj_why *why);
	void *arg;
};

static void
tell_plain(
    void *arg, enum pki_level level, const char *code, const struct nj_why *why)
{
	const struct plain *p = arg;

	(void)level;
	(void)code;
	p->fn(p->arg, why);
}

void
pki_doubts(X509 *x, enum pki_use use, const char *name,
    void (*fn)(void *arg, const struct nj_why *why), void *arg)
{
	struct plain p = { fn, arg };

	pki_remarks(x, use, name, tell_plain, &p);
}

/* -- what its CAs may vouch for ------------------------------------------ */

static X509 *
issuer_in(STACK_OF(X509) * v, X509 *x)
{
	for (int i = 0; i < sk_X509_num(v); i++) {
		X509 *ca = sk_X509_value(v, i);

		if (ca != x && X509_check_issued(ca, x) == X509_V_OK)
			return ca;
	}
	return NULL;
}

static int
check_constraints(X509 *ca, X509 *leaf)
{
	NAME_CONSTRAINTS *nc =
	    X509_get_ext_d2i(ca, NID_name_constraints, NULL, NULL);
	int err = nc ? NAME_CONSTRAINTS_check(leaf, nc) : X509_V_OK;

	if (nc && err == X509_V_OK &&
	    X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1) < 0)
		err = NAME_CONSTRAINTS_check_CN(leaf, nc);
	NAME_CONSTRAINTS_free(nc);
	return err;
}

bool
pki_unpermitted(
    STACK_OF(X509) * chain, STACK_OF(X509) * cas, struct nj_why *why)
{
	X509 *leaf = sk_X509_value(chain, 0), *x = leaf, *ca;
	char names[256], name[TEXT_ESC];

	for (int depth = 0; x && depth < DEPTH_MAX; depth++, x = ca) {
		if (!(ca = issuer_in(chain, x)) && !(ca = issuer_in(cas, x)))
			break;
		if (check_constraints(ca, leaf) == X509_V_OK)
			continue;
		pki_names_text(leaf, names, sizeof names);
		pki_short_name(ca, name, sizeof name);
		why_set(why,
		    "it has a name (%s) that its CA '%s' may not give (name "
		    "constraints): every client refuses it",
		    names, name);
		why_mend(why,
		    "have it issued with the names alone that the CA is "
		    "allowed (nightjar inspect shows them), or by another CA");
		ERR_clear_error();
		return true;
	}
	ERR_clear_error();
	return false;
}
