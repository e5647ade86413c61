/* SPDX-License-Identifier: Apache-2.0
 * items_p12 - PKCS#12: its password, its algorithms, its bags.
 *
 * The MAC tells whether the password is right before anything is decrypted:
 * so a wrong password and an encryption that this machine does not know, which
 * most programs report with the same words, are told apart.
 */
#include <openssl/err.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pki/items.h"

#define ATTEMPTS 16
/* What Java asks of a certificate that is to be trusted. */
#define JAVA_TRUST "2.16.840.1.113894.746875.1.1"

struct p12 {
	struct pki_reader *r;
	const char *pass; /* NULL: none, which is not the same as "" */
	int pass_len;
	unsigned shut; /* bags that could not be decrypted */
};

static void
add_cipher(struct pki_source *src, const X509_ALGOR *alg)
{
	const ASN1_OBJECT *oid = NULL;
	const void *param = NULL;
	char name[64];
	size_t n = strlen(src->p12_ciphers);
	int type = 0;

	X509_ALGOR_get0(&oid, &type, &param, alg);
	if (OBJ_obj2nid(oid) == NID_pbes2 && type == V_ASN1_SEQUENCE) {
		PBE2PARAM *p =
		    ASN1_item_unpack(param, ASN1_ITEM_rptr(PBE2PARAM));

		if (p) {
			const ASN1_OBJECT *enc = NULL;

			X509_ALGOR_get0(&enc, NULL, NULL, p->encryption);
			OBJ_obj2txt(name, sizeof name, enc, 0);
			PBE2PARAM_free(p);
		} else {
			(void)snprintf(name, sizeof name, "PBES2");
		}
	} else {
		OBJ_obj2txt(name, sizeof name, oid, 0);
	}
	if (!strstr(src->p12_ciphers, name))
		(void)snprintf(src->p12_ciphers + n,
		    sizeof src->p12_ciphers - n, "%s%s", n ? ", " : "", name);
}

static void
note_mac(struct pki_source *src, PKCS12 *p12)
{
	const X509_ALGOR *alg = NULL;
	const ASN1_OBJECT *oid = NULL;

	PKCS12_get0_mac(NULL, &alg, NULL, NULL, p12);
	if (!alg)
		return;
	X509_ALGOR_get0(&oid, NULL, NULL, alg);
	OBJ_obj2txt(src->p12_mac, sizeof src->p12_mac, oid, 0);
}

static bool
opens(PKCS12 *p12, const char *pass, int len)
{
	bool yes = PKCS12_verify_mac(p12, pass, len) == 1;

	ERR_clear_error();
	return yes;
}

/* None, then an empty one, then those that are asked for.  *keep is what the
 * password lives in. */
static bool
find_password(struct p12 *x, PKCS12 *p12, char **keep)
{
	struct pki_reader *r = x->r;
	char what[TEXT_ESC + 24];

	if (opens(p12, NULL, 0))
		return true;
	if (opens(p12, "", 0)) {
		x->pass = "";
		return true;
	}
	(void)snprintf(what, sizeof what, "the file %s", r->src->name);
	for (unsigned i = 0; r->o->pass && i < ATTEMPTS; i++) {
		struct secret *pass = NULL;
		struct slice s;

		if (r->o->pass(r->o->arg, what, i, &pass))
			return false;
		s = secret_bytes(pass);
		*keep = strndup((const char *)s.p, s.n);
		secret_free(pass);
		if (*keep && opens(p12, *keep, (int)strlen(*keep))) {
			x->pass = *keep;
			x->pass_len = (int)strlen(*keep);
			return true;
		}
		if (*keep)
			OPENSSL_cleanse(*keep, strlen(*keep));
		free(*keep);
		*keep = NULL;
	}
	return false;
}

static void
take_label(const PKCS12_SAFEBAG *bag, struct pki_item *it)
{
	const STACK_OF(X509_ATTRIBUTE) *attrs = PKCS12_SAFEBAG_get0_attrs(bag);
	char *name = PKCS12_get_friendlyname((PKCS12_SAFEBAG *)(uintptr_t)bag);
	char oid[80];

	if (name)
		(void)text_esc(it->label, sizeof it->label, slice_str(name));
	OPENSSL_free(name);
	for (int i = 0; i < sk_X509_ATTRIBUTE_num(attrs); i++) {
		X509_ATTRIBUTE *a = sk_X509_ATTRIBUTE_value(attrs, i);

		OBJ_obj2txt(oid, sizeof oid, X509_ATTRIBUTE_get0_object(a), 1);
		it->java_trusted |= strcmp(oid, JAVA_TRUST) == 0;
	}
}

static EVP_PKEY *
open_key(struct p12 *x, const PKCS12_SAFEBAG *bag)
{
	PKCS8_PRIV_KEY_INFO *p8;
	EVP_PKEY *key = NULL;

	if (PKCS12_SAFEBAG_get_nid(bag) == NID_keyBag)
		return EVP_PKCS82PKEY(PKCS12_SAFEBAG_get0_p8inf(bag));
	p8 = PKCS12_decrypt_skey(bag, x->pass, x->pass_len);
	if (p8)
		key = EVP_PKCS82PKEY(p8);
	PKCS8_PRIV_KEY_INFO_free(p8);
	return key;
}

static enum nj_err
add_bag(struct p12 *x, const PKCS12_SAFEBAG *bag)
{
	struct pki_item it = { 0 };
	const X509_ALGOR *alg = NULL;

	switch (PKCS12_SAFEBAG_get_nid(bag)) {
	case NID_certBag:
		it.kind = PKI_ITEM_CERT;
		if (!(it.cert = PKCS12_SAFEBAG_get1_cert(bag)))
			return NJ_OK;
		break;
	case NID_crlBag:
		it.kind = PKI_ITEM_CRL;
		if (!(it.crl = PKCS12_SAFEBAG_get1_crl(bag)))
			return NJ_OK;
		break;
	case NID_pkcs8ShroudedKeyBag:
		X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &alg, NULL);
		add_cipher(x->r->src, alg);
		__attribute__((fallthrough));
	case NID_keyBag:
		it.kind = PKI_ITEM_KEY;
		it.encrypted = alg != NULL;
		if (!(it.key = open_key(x, bag)))
			x->shut++;
		break;
	default:
		return NJ_OK;
	}
	take_label(bag, &it);
	return pki_items_add(x->r, &it);
}

static enum nj_err
add_safe(struct p12 *x, PKCS7 *safe)
{
	STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
	enum nj_err e = NJ_OK;

	if (PKCS7_type_is_data(safe)) {
		bags = PKCS12_unpack_p7data(safe);
	} else if (PKCS7_type_is_encrypted(safe)) {
		add_cipher(x->r->src, safe->d.encrypted->enc_data->algorithm);
		bags = PKCS12_unpack_p7encdata(safe, x->pass, x->pass_len);
	}
	if (!bags)
		x->shut++;
	for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags) && !e; i++)
		e = add_bag(x, sk_PKCS12_SAFEBAG_value(bags, i));
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	ERR_clear_error();
	return e;
}

enum nj_err
pki_items_p12(struct pki_reader *r, PKCS12 *p12)
{
	/* RC2 and the like, in which Windows and old programs encrypt: only
	 * to look into such a file. */
	OSSL_PROVIDER *legacy = OSSL_PROVIDER_try_load(NULL, "legacy", 1);
	STACK_OF(PKCS7) *safes = NULL;
	struct p12 x = { .r = r };
	char *keep = NULL;
	enum nj_err e = NJ_OK;

	r->src->container = PKI_IN_PKCS12;
	note_mac(r->src, p12);
	r->src->p12_no_mac = PKCS12_mac_present(p12) != 1;
	if (!r->src->p12_no_mac && !find_password(&x, p12, &keep)) {
		r->src->p12_wrong_password = true;
		goto out;
	}
	safes = PKCS12_unpack_authsafes(p12);
	for (int i = 0; i < sk_PKCS7_num(safes) && !e; i++)
		e = add_safe(&x, sk_PKCS7_value(safes, i));
	r->src->p12_unreadable = x.shut > 0 || !safes;
out:
	if (keep)
		OPENSSL_cleanse(keep, strlen(keep));
	free(keep);
	sk_PKCS7_pop_free(safes, PKCS7_free);
	if (legacy)
		OSSL_PROVIDER_unload(legacy);
	ERR_clear_error();
	return e;
}
