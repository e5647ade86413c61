/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/cert.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rand.h"
#include "base/text.h"
#include "pki/form.h"
#include "pki/key.h"

#define MADE	     1767225600 /* 2026-01-01: no right clock says less */
#define HOUR	     3600
#define DAY	     86400
#define SERIAL_BYTES 16
#define CHAIN_MAX    (1024 * 1024)

enum nj_err
pki_check_id(const char *id, struct nj_why *why)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";
	size_t n = strlen(id);
	char safe[TEXT_ESC];

	if (n >= 1 && n <= PKI_ID_MAX && strspn(id, allowed) == n &&
	    isalnum((unsigned char)id[0]) && isalnum((unsigned char)id[n - 1]))
		return NJ_OK;
	text_esc(safe, sizeof(safe), slice_str(id));
	why_set(why, "'%s' cannot be a device's name", safe);
	why_mend(why,
	    "use 1 to %d of A-Z a-z 0-9 . _ - with a letter or "
	    "digit first and last",
	    PKI_ID_MAX);
	return NJ_INVALID;
}

enum nj_err
pki_spki_sha256(X509 *x, uint8_t out[32])
{
	EVP_PKEY *key = X509_get0_pubkey(x);

	return key ? pki_key_spki_sha256(key, out) : NJ_CRYPTO;
}

enum nj_err
pki_ca_id(X509 *ca, char dst[PKI_CA_ID + 1])
{
	uint8_t spki[32];
	enum nj_err e;

	if ((e = pki_spki_sha256(ca, spki)))
		return e;
	for (size_t i = 0; i < PKI_CA_ID / 2; i++)
		(void)snprintf(dst + 2 * i, 3, "%02x", spki[i]);
	return NJ_OK;
}

/* The top bit is clear: a serial is positive and at most 20 octets
 * [RFC 5280 4.1.2.2]. */
static bool
set_serial(X509 *x)
{
	unsigned char r[SERIAL_BYTES];
	BIGNUM *bn;
	bool ok;

	rand_bytes(r, sizeof(r));
	r[0] &= 0x7f;
	if (!(bn = BN_bin2bn(r, sizeof(r), NULL)))
		return false;
	ok = BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) != NULL;
	BN_free(bn);
	return ok;
}

/* A board without a battery begins in 1970, and what is made then is over when
 * its clock is right. */
static enum nj_err
check_clock(const struct pki_cert_spec *spec, struct nj_why *why)
{
	time_t now = time(NULL);
	struct tm tm;
	char day[24] = "?";

	if (spec->now || now >= MADE)
		return NJ_OK;
	if (gmtime_r(&now, &tm))
		(void)strftime(day, sizeof day, "%Y-%m-%d %H:%M", &tm);
	why_set(why,
	    "this machine's clock says %s UTC, which is before this program "
	    "was made: a certificate made now would be over from the start",
	    day);
	why_mend(why, "set the clock first: timedatectl set-ntp true");
	return NJ_INVALID;
}

static bool
set_dates(X509 *x, const struct pki_cert_spec *spec, X509 *issuer)
{
	time_t now = spec->now ? (time_t)spec->now : time(NULL);
	ASN1_TIME *end = X509_getm_notAfter(x);

	if (!X509_time_adj_ex(X509_getm_notBefore(x), 0, -HOUR, &now) ||
	    !X509_time_adj_ex(end, (int)spec->days, 0, &now))
		return false;
	if (issuer && ASN1_TIME_compare(end, X509_get0_notAfter(issuer)) > 0)
		return X509_set1_notAfter(x, X509_get0_notAfter(issuer)) == 1;
	return true;
}

static bool
set_subject(X509 *x, const struct pki_cert_spec *spec)
{
	const char *cn = spec->cn;
	size_t n;

	if (spec->subject)
		return X509_set_subject_name(x, spec->subject) == 1;
	n = strnlen(cn, PKI_ID_MAX); /* ub-common-name is 64 */

	return X509_NAME_add_entry_by_NID(X509_get_subject_name(x),
		   NID_commonName, MBSTRING_UTF8, (const unsigned char *)cn,
		   (int)n, -1, 0) == 1;
}

static bool
add_ext(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
	bool ok = ext && X509_add_ext(x, ext, -1) == 1;

	X509_EXTENSION_free(ext);
	return ok;
}

/* Takes the name over; a NULL one (no memory) is told as false. */
static bool
push_name(GENERAL_NAMES *san, GENERAL_NAME *g)
{
	if (g && sk_GENERAL_NAME_push(san, g) > 0)
		return true;
	GENERAL_NAME_free(g);
	return false;
}

static GENERAL_NAME *
text_name(int kind, const char *text)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();

	if (!g || !s || ASN1_STRING_set(s, text, -1) != 1) {
		ASN1_IA5STRING_free(s);
		GENERAL_NAME_free(g);
		return NULL;
	}
	GENERAL_NAME_set0_value(g, kind, s);
	return g;
}

static GENERAL_NAME *
address_name(const char *text)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text);

	if (!g || !ip) {
		ASN1_OCTET_STRING_free(ip);
		GENERAL_NAME_free(g);
		return NULL;
	}
	GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
	return g;
}

/* Built from parts, never from a configuration string, in which a name could
 * carry a comma and with it another name. */
static bool
add_san(X509 *x, const struct pki_cert_spec *spec)
{
	const struct pki_names *names = spec->names;
	GENERAL_NAMES *san;
	bool ok = true;

	if (!spec->uri && (!names || names->n == 0))
		return true;
	if (!(san = GENERAL_NAMES_new()))
		return false;
	if (spec->uri)
		ok = push_name(san, text_name(GEN_URI, spec->uri));
	for (unsigned i = 0; ok && names && i < names->n; i++) {
		const struct pki_name *v = &names->v[i];

		ok = push_name(san,
		    v->ip ? address_name(v->text)
			  : text_name(GEN_DNS, v->text));
	}
	ok = ok &&
	    X509_add1_ext_i2d(
		x, NID_subject_alt_name, san, 0, X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(san);
	return ok;
}

static const struct profile {
	const char *constraints, *usage, *extended;
} profiles[] = {
	[PKI_ROOT] = { "critical,CA:TRUE,pathlen:1",
	    "critical,keyCertSign,cRLSign", NULL },
	[PKI_ISSUING] = { "critical,CA:TRUE,pathlen:0",
	    "critical,keyCertSign,cRLSign", NULL },
	[PKI_SERVER] = { "critical,CA:FALSE", "critical,digitalSignature",
	    "serverAuth" },
	[PKI_DEVICE] = { "critical,CA:FALSE", "critical,digitalSignature",
	    "clientAuth" },
};

/* RSA server keys are for old clients, which may want the RSA key exchange
 * bit even though only ECDHE is served. */
static const char *
usage_for(const struct pki_cert_spec *spec, const struct profile *p)
{
	if (spec->profile == PKI_SERVER && EVP_PKEY_is_a(spec->key, "RSA"))
		return "critical,digitalSignature,keyEncipherment";
	return p->usage;
}

/* Critical, as RFC 5280 4.2.1.10 has it, although some libraries of small
 * devices then refuse the CA: ignored constraints are none. */
static bool
add_constraints(X509 *x, X509V3_CTX *ctx, const char *text)
{
	char *value = NULL;
	bool ok;

	if (!text)
		return true;
	if (asprintf(&value, "critical,%s", text) < 0)
		return false;
	ok = add_ext(x, ctx, NID_name_constraints, value);
	free(value);
	return ok;
}

/* RFC 5280 4.2.1.13; built from parts, as the SAN. */
static bool
add_crl_url(X509 *x, const char *url)
{
	CRL_DIST_POINTS *all = CRL_DIST_POINTS_new();
	DIST_POINT *point = DIST_POINT_new();
	bool ok = false;

	if (!all || !point || !(point->distpoint = DIST_POINT_NAME_new()) ||
	    !(point->distpoint->name.fullname = GENERAL_NAMES_new()))
		goto out;
	point->distpoint->type = 0;
	if (!push_name(
		point->distpoint->name.fullname, text_name(GEN_URI, url)) ||
	    sk_DIST_POINT_push(all, point) <= 0)
		goto out;
	point = NULL; /* moved */
	ok = X509_add1_ext_i2d(x, NID_crl_distribution_points, all, 0,
		 X509V3_ADD_DEFAULT) == 1;
out:
	DIST_POINT_free(point);
	CRL_DIST_POINTS_free(all);
	return ok;
}

/* What a forerunner could not vouch for its successor cannot either. */
static bool
copy_constraints(X509 *x, X509 *from)
{
	int at =
	    from ? X509_get_ext_by_NID(from, NID_name_constraints, -1) : -1;

	return at < 0 || X509_add_ext(x, X509_get_ext(from, at), -1) == 1;
}

static bool
add_extensions(X509 *x, const struct pki_cert_spec *spec, X509 *issuer)
{
	const struct profile *p = &profiles[spec->profile];
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
	return add_ext(x, &ctx, NID_basic_constraints, p->constraints) &&
	    add_ext(x, &ctx, NID_key_usage, usage_for(spec, p)) &&
	    (!p->extended ||
		add_ext(x, &ctx, NID_ext_key_usage, p->extended)) &&
	    add_ext(x, &ctx, NID_subject_key_identifier, "hash") &&
	    add_ext(x, &ctx, NID_authority_key_identifier, "keyid:always") &&
	    add_constraints(x, &ctx, spec->constraints) &&
	    copy_constraints(x, spec->constraints_of) && add_san(x, spec) &&
	    (!spec->crl_url || add_crl_url(x, spec->crl_url));
}

bool
pki_cert_draft(const struct pki_cert_spec *spec, X509 **out)
{
	X509 *x = X509_new();

	if (x && X509_set_version(x, X509_VERSION_3) == 1 &&
	    set_subject(x, spec) && add_san(x, spec)) {
		*out = x;
		return true;
	}
	X509_free(x);
	return false;
}

enum nj_err
pki_cert_make(const struct pki_cert_spec *spec, X509 *issuer,
    EVP_PKEY *issuer_key, X509 **out, struct nj_why *why)
{
	const X509_NAME *by;
	X509 *x = NULL;
	enum nj_err e;

	if ((e = check_clock(spec, why)))
		return e;
	if (spec->days == 0 || spec->days > PKI_DAYS_MAX) {
		why_set(why, "a certificate cannot be made for %u days",
		    spec->days);
		why_mend(why, "give 1 to %d days", PKI_DAYS_MAX);
		return NJ_INVALID;
	}
	if (issuer && X509_cmp_current_time(X509_get0_notAfter(issuer)) <= 0) {
		why_set(why, "the CA itself has expired: it can issue nothing");
		why_mend(why,
		    "make a new one in another folder: nightjar ca "
		    "init --dir DIR; devices then need its ca.crt");
		return NJ_INVALID;
	}
	if (!(x = X509_new()))
		return NJ_NOMEM;
	by = issuer ? X509_get_subject_name(issuer) : X509_get_subject_name(x);
	if (X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
	    set_dates(x, spec, issuer) && set_subject(x, spec) &&
	    X509_set_issuer_name(x, by) == 1 &&
	    X509_set_pubkey(x, spec->key) == 1 &&
	    add_extensions(x, spec, issuer) &&
	    X509_sign(x, issuer_key, EVP_sha256()) > 0) {
		*out = x;
		return NJ_OK;
	}
	X509_free(x);
	why_set(why, "the certificate could not be made: %s",
	    ERR_reason_error_string(ERR_peek_last_error())
		? ERR_reason_error_string(ERR_peek_last_error())
		: "the TLS library gives no reason");
	ERR_clear_error();
	return NJ_CRYPTO;
}

enum nj_err
pki_chain_pem(X509 *leaf, const STACK_OF(X509) * chain, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	enum nj_err e = NJ_NOMEM;
	bool ok;
	long n;

	if (!bio)
		return NJ_NOMEM;
	ok = !leaf || PEM_write_bio_X509(bio, leaf) == 1;
	for (int i = 0; ok && chain && i < sk_X509_num(chain); i++)
		ok = PEM_write_bio_X509(bio, sk_X509_value(chain, i)) == 1;
	if (ok) {
		n = BIO_get_mem_data(bio, &text);
		e = buf_put(out, text, (size_t)n);
	}
	BIO_free(bio);
	return e;
}

enum nj_err
pki_chain_store(const char *path, X509 *leaf, const STACK_OF(X509) * chain,
    mode_t mode, struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e = pki_chain_pem(leaf, chain, &text);

	if (!e)
		e = file_write(path, buf_slice(&text), mode, why);
	buf_fini(&text);
	return e;
}

static enum nj_err
parse_chain(const char *path, struct slice text, STACK_OF(X509) * *out,
    struct nj_why *why)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	BIO *bio =
	    BIO_new_mem_buf(text.n ? text.p : (const void *)"", (int)text.n);
	enum nj_err e = NJ_NOMEM;
	X509 *x = NULL;

	if (!chain || !bio)
		goto out;
	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		if (sk_X509_push(chain, x) <= 0)
			goto out;
	}
	e = NJ_INVALID;
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
		why_set(why, "a certificate in '%s' is damaged", path);
		why_mend(why,
		    "restore the file from a backup, or make it anew "
		    "with: nightjar ca");
	} else if (sk_X509_num(chain) == 0 &&
	    pki_form_explain(path, text, why)) {
		; /* why it looks as if there were none */
	} else if (sk_X509_num(chain) == 0) {
		why_set(why, "'%s' holds no certificate in PEM form", path);
		why_mend(why,
		    "give a file that has a line -----BEGIN "
		    "CERTIFICATE-----");
	} else {
		e = NJ_OK;
		*out = chain;
		chain = NULL;
	}
out:
	X509_free(x); /* the one that could not be pushed */
	ERR_clear_error();
	BIO_free(bio);
	sk_X509_pop_free(chain, X509_free);
	return e;
}

enum nj_err
pki_chain_load(const char *path, STACK_OF(X509) * *out, struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e;

	e = file_read(path, CHAIN_MAX, &text, why);
	if (!e)
		e = parse_chain(path, buf_slice(&text), out, why);
	buf_fini(&text);
	return e;
}

static bool
unix_time(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*out = (int64_t)timegm(&tm);
	return true;
}

bool
pki_cert_dates(X509 *x, int64_t *from, int64_t *to)
{
	return unix_time(X509_get0_notBefore(x), from) &&
	    unix_time(X509_get0_notAfter(x), to);
}
