/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/csr.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "pki/key.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192 /* a signature of more holds the signer up */

static enum nj_err
refuse(struct nj_why *why, const char *what, const char *mend)
{
	why_set(why, "%s", what);
	why_mend(why, "%s", mend);
	ERR_clear_error();
	return NJ_INVALID;
}

static bool
curve_is_good(EVP_PKEY *key)
{
	static const char *const good[] = { "prime256v1", "secp384r1",
		"secp521r1" };
	char name[64];
	size_t n = 0;
	int explicit = 0;

	/* parameters of the sender's own, whatever they look like */
	if (EVP_PKEY_get_int_param(key,
		OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
		&explicit) == 1 &&
	    explicit)
		return false;
	if (EVP_PKEY_get_utf8_string_param(
		key, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof name, &n) != 1)
		return false;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (strcmp(name, good[i]) == 0)
			return true;
	return false;
}

static enum nj_err
check_key(EVP_PKEY *key, struct nj_why *why)
{
	int bits = EVP_PKEY_get_bits(key);

	if (EVP_PKEY_is_a(key, "EC"))
		return curve_is_good(key)
		    ? NJ_OK
		    : refuse(why,
			  "the key's curve is none of P-256, P-384, "
			  "P-521",
			  "make the key with: openssl genpkey -algorithm EC "
			  "-pkeyopt ec_paramgen_curve:P-256");
	if (EVP_PKEY_is_a(key, "ED25519"))
		return NJ_OK;
	if (!EVP_PKEY_is_a(key, "RSA"))
		return refuse(why, "the key is neither EC nor RSA nor Ed25519",
		    "make an EC key on P-256");
	if (bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX)
		return NJ_OK;
	why_set(why, "the RSA key has %d bits; %d to %d are taken", bits,
	    RSA_BITS_MIN, RSA_BITS_MAX);
	why_mend(why, "make an EC key on P-256, or RSA with 3072 bits");
	return NJ_INVALID;
}

static enum nj_err
check_signature(X509_REQ *req, EVP_PKEY *key, struct nj_why *why)
{
	int md = NID_undef, pk = NID_undef;

	if (OBJ_find_sigid_algs(X509_REQ_get_signature_nid(req), &md, &pk) &&
	    (md == NID_md5 || md == NID_sha1 || md == NID_md4 || md == NID_md2))
		return refuse(why, "the request is signed with SHA-1 or MD5",
		    "sign it with SHA-256");
	if (X509_REQ_verify(req, key) != 1)
		return refuse(why,
		    "the request is not signed by the key that is in it",
		    "make the request anew with its own key");
	ERR_clear_error();
	return NJ_OK;
}

/* The first common name, which must be the only one. */
static enum nj_err
take_name(const X509_REQ *req, char dst[PKI_ID_MAX + 1], struct nj_why *why)
{
	X509_NAME *name = X509_REQ_get_subject_name(req);
	int i = X509_NAME_get_index_by_NID(name, NID_commonName, -1), n;
	unsigned char *text = NULL;
	bool ok;

	dst[0] = '\0';
	if (i < 0)
		return NJ_OK;
	if (X509_NAME_get_index_by_NID(name, NID_commonName, i) >= 0)
		return refuse(why, "the request has two common names",
		    "give it one, the device's");
	n = ASN1_STRING_to_UTF8(
	    &text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
	ok = n >= 0 && n <= PKI_ID_MAX && !memchr(text, '\0', (size_t)n);
	if (ok) {
		memcpy(dst, text, (size_t)n);
		dst[n] = '\0';
	}
	OPENSSL_free(text);
	if (!ok)
		return refuse(why,
		    "the common name of the request is too long or has NUL in "
		    "it",
		    "give it the device's name");
	return dst[0] ? pki_check_id(dst, why) : NJ_OK;
}

/* Nothing of this is taken over in any case; who asks for it has made a mistake
 * or is up to something. */
static enum nj_err
check_rights(STACK_OF(X509_EXTENSION) * exts, struct nj_why *why)
{
	BASIC_CONSTRAINTS *bc =
	    X509V3_get_d2i(exts, NID_basic_constraints, NULL, NULL);
	ASN1_BIT_STRING *ku = X509V3_get_d2i(exts, NID_key_usage, NULL, NULL);
	bool ca = bc && bc->ca;
	/* bits 5 and 6, keyCertSign and cRLSign */
	bool signs = ku &&
	    (ASN1_BIT_STRING_get_bit(ku, 5) || ASN1_BIT_STRING_get_bit(ku, 6));

	BASIC_CONSTRAINTS_free(bc);
	ASN1_BIT_STRING_free(ku);
	if (ca || signs)
		return refuse(why, "the request asks to be a CA",
		    "make it without CA:TRUE, keyCertSign and cRLSign");
	return NJ_OK;
}

enum nj_err
pki_csr_open(struct slice der, struct pki_csr *out, struct nj_why *why)
{
	const unsigned char *p = der.p;
	STACK_OF(X509_EXTENSION) *exts = NULL;
	struct pki_csr c = { 0 };
	uint8_t spki[32];
	enum nj_err e;

	if (der.n == 0 || der.n > PKI_CSR_MAX ||
	    !(c.req = d2i_X509_REQ(NULL, &p, (long)der.n)) ||
	    p != der.p + der.n || !(c.key = X509_REQ_get0_pubkey(c.req))) {
		e = refuse(why, "this is no certificate request (PKCS#10)",
		    "make one with: openssl req -new -key KEY -subj "
		    "/CN=DEVICE -outform DER");
		goto out;
	}
	exts = X509_REQ_get_extensions(c.req);
	if ((e = check_key(c.key, why)) ||
	    (e = check_signature(c.req, c.key, why)) ||
	    (e = take_name(c.req, c.cn, why)) ||
	    (e = check_rights(exts, why)) ||
	    (e = pki_key_spki_sha256(c.key, spki)))
		goto out;
	for (size_t i = 0; i < sizeof spki; i++)
		(void)snprintf(c.spki + 2 * i, 3, "%02x", spki[i]);
	*out = c;
	c.req = NULL; /* moved */
out:
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	X509_REQ_free(c.req);
	return e;
}

static bool
is_own_name(const GENERAL_NAME *g, const char *id, const char *uri)
{
	const ASN1_STRING *a = g->type == GEN_DNS ? g->d.dNSName
	    : g->type == GEN_URI ? g->d.uniformResourceIdentifier
				 : NULL;
	struct slice s;

	if (!a)
		return false;
	s = slice_of(ASN1_STRING_get0_data(a), (size_t)ASN1_STRING_length(a));
	return slice_is(s, id) || slice_is(s, uri);
}

enum nj_err
pki_csr_check_names(const struct pki_csr *c, const char *id, const char *uri,
    struct nj_why *why)
{
	STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(c->req);
	GENERAL_NAMES *san =
	    X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);
	enum nj_err e = NJ_OK;

	if (c->cn[0] && strcmp(c->cn, id) != 0) {
		why_set(why,
		    "the request is for '%s', and may only be for '%s'", c->cn,
		    id);
		why_mend(why, "make the request with -subj /CN=%s", id);
		e = NJ_INVALID;
	}
	for (int i = 0; !e && i < sk_GENERAL_NAME_num(san); i++)
		if (!is_own_name(sk_GENERAL_NAME_value(san, i), id, uri))
			e = refuse(why,
			    "the request asks for further names "
			    "(subjectAltName)",
			    "leave them out; the operator gives them with: "
			    "nightjar ca device ID --ip ADDRESS");
	GENERAL_NAMES_free(san);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	ERR_clear_error();
	return e;
}

void
pki_csr_fini(struct pki_csr *c)
{
	X509_REQ_free(c->req);
	*c = (struct pki_csr){ 0 };
}
