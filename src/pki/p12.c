/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/p12.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* What makes of a certificate a trustedCertEntry of Java's, with the purposes
 * it is trusted for; any. */
#define TRUSTED_KEY_USAGE "2.16.840.1.113894.746875.1.1"
#define ANY_PURPOSE	  "2.5.29.37.0"

struct form {
	const char *word;
	int pbe; /* a cipher of PBES2, or an algorithm of PKCS#12's own */
	const char *mac;
	int rounds;
};

#define ROUNDS_RANDOM 2048 /* what openssl itself takes */

static const struct form forms[] = {
	[P12_MODERN] = { "modern", NID_aes_256_cbc, "SHA256", 100000 },
	[P12_ANDROID] = { "android", NID_pbe_WithSHA1And3_Key_TripleDES_CBC,
	    "SHA1", 20000 },
	[P12_JAVA] = { "java", NID_aes_256_cbc, "SHA256", 100000 },
};

bool
p12_form_of(const char *word, enum p12_form *out)
{
	for (size_t i = P12_MODERN; i < sizeof(forms) / sizeof(*forms); i++) {
		if (strcmp(word, forms[i].word) == 0) {
			*out = (enum p12_form)i;
			return true;
		}
	}
	return false;
}

struct making {
	const struct p12_spec *spec;
	const struct form *form;
	int rounds;
	char pass[256];
	STACK_OF(PKCS7) * safes;
	STACK_OF(PKCS12_SAFEBAG) * bags;
	unsigned char key_id[EVP_MAX_MD_SIZE];
	unsigned key_id_n;
};

static bool
mark_trusted(PKCS12_SAFEBAG *bag)
{
	ASN1_OBJECT *any = OBJ_txt2obj(ANY_PURPOSE, 1);
	bool ok = any &&
	    PKCS12_add1_attr_by_txt(bag, TRUSTED_KEY_USAGE, V_ASN1_OBJECT,
		(const unsigned char *)any, -1) == 1;

	ASN1_OBJECT_free(any);
	return ok;
}

static bool
name_bag(PKCS12_SAFEBAG *bag, const char *name)
{
	return PKCS12_add_friendlyname_utf8(bag, name, -1) == 1;
}

/* "nightjar-ca", "nightjar-ca-2": aliases are told apart by Java. */
static bool
add_root(struct making *m, X509 *x, int nth)
{
	PKCS12_SAFEBAG *bag = PKCS12_add_cert(&m->bags, x);
	char name[32] = "nightjar-ca";

	if (nth > 0)
		(void)snprintf(name, sizeof(name), "nightjar-ca-%d", nth + 1);
	return bag && name_bag(bag, name) &&
	    (m->spec->form != P12_JAVA || mark_trusted(bag));
}

static bool
add_certs(struct making *m)
{
	const struct p12_spec *s = m->spec;
	PKCS12_SAFEBAG *bag;

	if (s->key) {
		bag = PKCS12_add_cert(&m->bags, s->leaf);
		if (!bag || !name_bag(bag, s->name) ||
		    PKCS12_add_localkeyid(bag, m->key_id, (int)m->key_id_n) !=
			1)
			return false;
	}
	for (int i = 0; s->chain && i < sk_X509_num(s->chain); i++) {
		/* Java builds the chain of a key from what has no mark. */
		bag = PKCS12_add_cert(&m->bags, sk_X509_value(s->chain, i));
		if (!bag)
			return false;
	}
	for (int i = 0; s->roots && i < sk_X509_num(s->roots); i++)
		if (!add_root(m, sk_X509_value(s->roots, i), i))
			return false;
	return PKCS12_add_safe(
		   &m->safes, m->bags, m->form->pbe, m->rounds, m->pass) == 1;
}

static void
drop_bags(struct making *m)
{
	sk_PKCS12_SAFEBAG_pop_free(m->bags, PKCS12_SAFEBAG_free);
	m->bags = NULL;
}

static bool
add_key(struct making *m)
{
	PKCS12_SAFEBAG *bag = PKCS12_add_key(
	    &m->bags, m->spec->key, 0, m->rounds, m->form->pbe, m->pass);

	return bag && name_bag(bag, m->spec->name) &&
	    PKCS12_add_localkeyid(bag, m->key_id, (int)m->key_id_n) == 1 &&
	    PKCS12_add_safe(&m->safes, m->bags, -1, 0, NULL) == 1;
}

static PKCS12 *
seal(struct making *m)
{
	PKCS12 *p = PKCS12_add_safes(m->safes, 0);
	EVP_MD *md = EVP_MD_fetch(NULL, m->form->mac, NULL);

	if (p && md &&
	    PKCS12_set_mac(p, m->pass, -1, NULL, 0, m->rounds, md) != 1) {
		PKCS12_free(p);
		p = NULL;
	}
	if (!md) {
		PKCS12_free(p);
		p = NULL;
	}
	EVP_MD_free(md);
	return p;
}

static enum nj_err
encode(PKCS12 *p, struct buf *out)
{
	unsigned char *der = NULL;
	int n = i2d_PKCS12(p, &der);
	enum nj_err e = n > 0 ? buf_put(out, der, (size_t)n) : NJ_CRYPTO;

	OPENSSL_free(der);
	return e;
}

/* OpenSSL takes UTF-8, the platforms differ on what is not ASCII. */
static enum nj_err
take_password(struct making *m, struct nj_why *why)
{
	struct slice pass = secret_bytes(m->spec->password);

	if (pass.n == 0 || pass.n >= sizeof(m->pass)) {
		why_set(why,
		    "a PKCS#12 file needs a password of 1 to %zu characters",
		    sizeof(m->pass) - 1);
		return NJ_INVALID;
	}
	for (size_t i = 0; i < pass.n; i++) {
		if (pass.p[i] >= 0x20 && pass.p[i] < 0x7f)
			continue;
		why_set(why,
		    "the password of a PKCS#12 file has to be of ASCII "
		    "characters: programs differ in how they read others");
		return NJ_INVALID;
	}
	memcpy(m->pass, pass.p, pass.n);
	m->pass[pass.n] = '\0';
	return NJ_OK;
}

enum nj_err
p12_make(const struct p12_spec *spec, struct buf *out, struct nj_why *why)
{
	struct making m = { .spec = spec, .form = &forms[spec->form] };
	PKCS12 *p = NULL;
	enum nj_err e;
	bool ok;

	if ((e = take_password(&m, why)))
		return e;
	m.rounds = spec->random ? ROUNDS_RANDOM : m.form->rounds;
	ok = !spec->key ||
	    X509_digest(spec->leaf, EVP_sha1(), m.key_id, &m.key_id_n) == 1;
	ok = ok && add_certs(&m);
	drop_bags(&m);
	ok = ok && (!spec->key || add_key(&m));
	drop_bags(&m);
	if (ok)
		p = seal(&m);
	e = p ? encode(p, out) : NJ_CRYPTO;
	if (e)
		why_set(why, "the PKCS#12 file could not be made: %s",
		    ERR_reason_error_string(ERR_peek_last_error())
			? ERR_reason_error_string(ERR_peek_last_error())
			: "the TLS library gives no reason");
	ERR_clear_error();
	PKCS12_free(p);
	sk_PKCS7_pop_free(m.safes, PKCS7_free);
	secret_wipe(m.pass, sizeof(m.pass));
	return e;
}
