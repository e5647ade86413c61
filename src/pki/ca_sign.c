/* SPDX-License-Identifier: Apache-2.0
 * What a CA signs: certificates and lists of those that it takes back.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pki/ca_impl.h"
#include "pki/explain.h"

static bool
has_dns_name(X509 *x)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool has = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		has |= sk_GENERAL_NAME_value(names, i)->type == GEN_DNS;
	GENERAL_NAMES_free(names);
	return has;
}

/* A name that the CA may not vouch for would make a certificate that nobody
 * believes. */
static enum nj_err
check_constraints(X509 *issuer, X509 *x, struct nj_why *why)
{
	NAME_CONSTRAINTS *nc =
	    X509_get_ext_d2i(issuer, NID_name_constraints, NULL, NULL);
	char names[512];
	int r;

	if (!nc)
		return NJ_OK;
	/* The library looks at what this call makes it read. */
	(void)X509_check_purpose(x, -1, -1);
	ERR_clear_error();
	r = NAME_CONSTRAINTS_check(x, nc);
	/* Without a DNS name the common name may be taken for one. */
	if (r == X509_V_OK && !has_dns_name(x))
		r = NAME_CONSTRAINTS_check_CN(x, nc);
	NAME_CONSTRAINTS_free(nc);
	if (r == X509_V_OK)
		return NJ_OK;
	if (!why)
		return NJ_DENIED;
	pki_names_text(x, names, sizeof(names));
	why_set(why,
	    "the CA's name constraints do not permit all of these names: %s",
	    names);
	why_mend(why,
	    "leave away what it may not vouch for; see: nightjar inspect "
	    "ca.crt");
	return NJ_DENIED;
}

enum nj_err
pki_ca_sign(struct pki_ca *ca, const struct pki_cert_spec *spec, const char *id,
    X509 **out, struct registry_entry *entry, struct nj_why *why)
{
	static const char *const kinds[] = { [PKI_ROOT] = "root",
		[PKI_ISSUING] = "issuing",
		[PKI_SERVER] = "server",
		[PKI_DEVICE] = "device" };
	struct pki_cert_spec full = *spec;
	X509 *x = NULL;
	enum nj_err e;

	if (!ca->key) {
		why_set(why, "the key of the CA is locked");
		return NJ_DENIED;
	}
	full.crl_url = ca->crl_url;
	if ((e = pki_cert_make(&full, ca->issuer, ca->key, &x, why)))
		return e;
	if ((e = check_constraints(ca->root, x, why)) ||
	    (e = check_constraints(ca->issuer, x, why)) ||
	    (e = ca_fill_entry(
		 x, kinds[spec->profile], id, spec->groups, entry))) {
		X509_free(x);
		return e;
	}
	*out = x;
	return NJ_OK;
}

bool
pki_ca_permits(const struct pki_ca *ca, const struct pki_name *name)
{
	struct pki_names one = { .n = 1 };
	struct pki_cert_spec spec = { .profile = PKI_SERVER,
		.key = X509_get0_pubkey(ca->root),
		.cn = "x",
		.names = &one,
		.days = 1 };
	X509 *x = NULL;
	bool ok;

	if (X509_get_ext_by_NID(ca->root, NID_name_constraints, -1) < 0 &&
	    X509_get_ext_by_NID(ca->issuer, NID_name_constraints, -1) < 0)
		return true;
	one.v[0] = *name;
	ok = pki_cert_draft(&spec, &x) &&
	    check_constraints(ca->root, x, NULL) == NJ_OK &&
	    check_constraints(ca->issuer, x, NULL) == NJ_OK;
	X509_free(x);
	return ok;
}

void
pki_ca_filter(const struct pki_ca *ca, struct pki_names *names)
{
	unsigned n = 0;

	for (unsigned i = 0; i < names->n; i++)
		if (pki_ca_permits(ca, &names->v[i]))
			names->v[n++] = names->v[i];
	names->n = n;
}

enum nj_err
pki_ca_issue(struct pki_ca *ca, const struct pki_cert_spec *spec,
    const char *id, X509 **out, struct nj_why *why)
{
	struct registry_entry entry;
	X509 *x = NULL;
	enum nj_err e;

	if ((e = pki_ca_sign(ca, spec, id, &x, &entry, why)))
		return e;
	if ((e = ca_append(ca->registry, false, &entry, why))) {
		X509_free(x);
		return e;
	}
	*out = x;
	return NJ_OK;
}

static bool
add_issuer(X509_CRL *crl, X509 *issuer)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
	ext = X509V3_EXT_conf_nid(
	    NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	ok = ext && X509_CRL_add_ext(crl, ext, -1) == 1 &&
	    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static enum nj_err
sign_crl(X509_CRL *crl, X509 *issuer, EVP_PKEY *key, struct nj_why *why)
{
	if (add_issuer(crl, issuer) &&
	    X509_CRL_sign(crl, key, EVP_sha256()) > 0)
		return NJ_OK;
	why_set(why, "the revocation list could not be signed");
	ERR_clear_error();
	return NJ_CRYPTO;
}

enum nj_err
pki_ca_sign_crl(struct pki_ca *ca, X509_CRL *crl, struct nj_why *why)
{
	if (!ca->key) {
		why_set(why, "the key of the CA is locked");
		return NJ_DENIED;
	}
	return sign_crl(crl, ca->issuer, ca->key, why);
}

enum nj_err
pki_ca_sign_old_crl(struct pki_ca *ca, X509_CRL *crl, struct nj_why *why)
{
	if (!ca->old || !ca->old_key)
		return NJ_NOTFOUND;
	return sign_crl(crl, ca->old, ca->old_key, why);
}

static bool
issued_by(X509 *ca, X509 *x)
{
	EVP_PKEY *key = ca ? X509_get0_pubkey(ca) : NULL;
	bool yes = key &&
	    X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(ca)) ==
		0 &&
	    X509_verify(x, key) == 1;

	ERR_clear_error();
	return yes;
}

bool
pki_ca_issued(const struct pki_ca *ca, X509 *x)
{
	return issued_by(ca->issuer, x) || issued_by(ca->old, x);
}

bool
pki_ca_issues_now(const struct pki_ca *ca, X509 *x)
{
	return issued_by(ca->issuer, x);
}

X509 *
pki_ca_issuer(const struct pki_ca *ca)
{
	return ca->issuer;
}
