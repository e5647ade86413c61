/* SPDX-License-Identifier: Apache-2.0
 */
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rand.h"
#include "pki/form.h"
#include "pki/key.h"
#include "pki/pkcs11.h"

#define KEY_FILE_MAX 65536

/* scrypt at the cost that OWASP advises; more memory than N = 2^14 takes
 * would pass the limit with which other OpenSSL programs open such a file. */
#define SCRYPT_N    16384
#define SCRYPT_R    8
#define SCRYPT_P    5
#define SCRYPT_SALT 16

#define PBKDF2_ROUNDS 600000 /* what OWASP advises for SHA-256 */

enum nj_err
pki_key_new_p256(EVP_PKEY **out)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	if (!key)
		return NJ_CRYPTO;
	*out = key;
	return NJ_OK;
}

enum nj_err
pki_key_new_rsa(unsigned bits, EVP_PKEY **out)
{
	EVP_PKEY *key = EVP_RSA_gen(bits);

	if (!key)
		return NJ_CRYPTO;
	*out = key;
	return NJ_OK;
}

static bool
holds(struct slice text, const char *word)
{
	return text.p && text.n > 0 &&
	    memmem(text.p, text.n, word, strlen(word)) != NULL;
}

static bool
is_encrypted(struct slice text)
{
	return holds(text, "-----BEGIN ENCRYPTED PRIVATE KEY-----") ||
	    holds(text, "Proc-Type: 4,ENCRYPTED");
}

bool
pki_key_is_encrypted(const char *path)
{
	struct buf text = { 0 };
	bool yes = false;

	if (file_read(path, KEY_FILE_MAX, &text, NULL) == NJ_OK)
		yes = is_encrypted(buf_slice(&text));
	buf_wipe(&text);
	return yes;
}

struct asked {
	const struct secret *pass;
	bool asked;
};

/* OpenSSL wants the passphrase; without one it must not ask at the terminal,
 * as its own default would. */
static int
give_pass(char *dst, int size, int writing, void *arg)
{
	struct asked *a = arg;
	struct slice pass;

	(void)writing;
	a->asked = true;
	if (!a->pass)
		return -1;
	pass = secret_bytes(a->pass);
	if (size < 0 || pass.n > (size_t)size)
		return -1;
	if (pass.n > 0)
		memcpy(dst, pass.p, pass.n);
	return (int)pass.n;
}

/* A file without a usable key: what is in it instead. */
static enum nj_err
explain_no_key(const char *path, struct slice text, struct nj_why *why)
{
	const char *has = NULL;

	if (holds(text, "-----BEGIN CERTIFICATE-----"))
		has = "a certificate";
	else if (holds(text, "-----BEGIN PUBLIC KEY-----"))
		has = "a public key";
	else if (holds(text, "CERTIFICATE REQUEST-----"))
		has = "a certificate request";
	else if (pki_form_explain(path, text, why))
		return NJ_INVALID;
	else if (holds(text, "PRIVATE KEY-----"))
		has = "a private key that is damaged or of an unknown kind";
	if (has)
		why_set(why, "'%s' holds %s, not a private key", path, has);
	else
		why_set(why, "'%s' holds no private key in PEM form%s", path,
		    text.n == 0 ? ": it is empty" : "");
	if (holds(text, "-----BEGIN CERTIFICATE-----"))
		why_mend(why,
		    "give the .key file that was made together with "
		    "the certificate; certfile and keyfile may be exchanged");
	else
		why_mend(why,
		    "give the .key file that was made together with "
		    "the certificate, or make both anew with: nightjar ca");
	return NJ_INVALID;
}

/* Single DES, RC2 and RC4, which OpenSSL 3 opens with its legacy provider
 * alone: no passphrase helps. */
static bool
is_sealed_oldly(struct slice text)
{
	static const char *const old[] = { "DEK-Info: DES-CBC,",
		"DEK-Info: DES-ECB", "DEK-Info: RC2", "DEK-Info: RC4",
		"DEK-Info: BF-", "DEK-Info: IDEA", "DEK-Info: CAST",
		"DEK-Info: SEED" };
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
	X509_SIG *sealed = NULL;
	const X509_ALGOR *pbe = NULL;
	const ASN1_OBJECT *obj = NULL;
	bool yes = false;

	for (size_t i = 0; i < sizeof old / sizeof *old; i++)
		yes |= holds(text, old[i]);
	if (!yes && bio &&
	    (sealed = PEM_read_bio_PKCS8(bio, NULL, NULL, NULL))) {
		X509_SIG_get0(sealed, &pbe, NULL);
		X509_ALGOR_get0(&obj, NULL, NULL, pbe);
		switch (OBJ_obj2nid(obj)) {
		case NID_pbeWithMD2AndDES_CBC:
		case NID_pbeWithMD5AndDES_CBC:
		case NID_pbeWithSHA1AndDES_CBC:
		case NID_pbeWithMD2AndRC2_CBC:
		case NID_pbeWithMD5AndRC2_CBC:
		case NID_pbeWithSHA1AndRC2_CBC:
		case NID_pbe_WithSHA1And128BitRC4:
		case NID_pbe_WithSHA1And40BitRC4:
		case NID_pbe_WithSHA1And128BitRC2_CBC:
		case NID_pbe_WithSHA1And40BitRC2_CBC:
			yes = true;
			break;
		default:
			break;
		}
	}
	X509_SIG_free(sealed);
	BIO_free(bio);
	ERR_clear_error();
	return yes;
}

static enum nj_err
parse_key(const char *path, struct slice text, const struct secret *pass,
    EVP_PKEY **out, struct nj_why *why)
{
	struct asked a = { .pass = pass };
	EVP_PKEY *key = NULL;
	BIO *bio = NULL;

	bio = BIO_new_mem_buf(text.n ? (const void *)text.p : "", (int)text.n);
	if (!bio)
		return NJ_NOMEM;
	key = PEM_read_bio_PrivateKey(bio, NULL, give_pass, &a);
	BIO_free(bio);
	ERR_clear_error();
	if (key) {
		*out = key;
		return NJ_OK;
	}
	if (!a.asked && !is_encrypted(text))
		return explain_no_key(path, text, why);
	if (is_sealed_oldly(text)) {
		why_set(why,
		    "the key '%s' is encrypted in an old way (DES, RC2 or "
		    "RC4), which OpenSSL 3 no longer opens",
		    path);
		why_mend(why,
		    "store it anew: openssl pkey -provider legacy -provider "
		    "default -in '%s' -aes256 -out NEW.key (without -aes256: "
		    "not encrypted)",
		    path);
	} else if (pass) {
		why_set(why, "the passphrase does not open the key '%s'", path);
		why_mend(why,
		    "check the passphrase; only its file's first "
		    "line counts");
	} else {
		why_set(why,
		    "the key '%s' is encrypted and there is no "
		    "passphrase for it",
		    path);
		why_mend(why,
		    "give its passphrase, or store it without: "
		    "openssl pkey -in '%s' -out NEW.key",
		    path);
	}
	return NJ_DENIED;
}

enum nj_err
pki_key_load(const char *path, const struct secret *pass, bool private_only,
    EVP_PKEY **out, struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e;

	if (private_only && (e = file_check_private(path, why)))
		return e;
	e = file_read(path, KEY_FILE_MAX, &text, why);
	if (e == NJ_OK)
		e = text.p && pkcs11_is_uri(buf_slice(&text))
		    ? pkcs11_load(buf_slice(&text), pass, out, why)
		    : parse_key(path, buf_slice(&text), pass, out, why);
	buf_wipe(&text);
	return e;
}

static X509_ALGOR *
pbes2(enum pki_kdf kdf)
{
	unsigned char salt[SCRYPT_SALT];

	rand_bytes(salt, sizeof(salt));
	if (kdf == PKI_KEY_SCRYPT)
		return PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt,
		    sizeof(salt), NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
	return PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), PBKDF2_ROUNDS, salt,
	    sizeof(salt), NULL, NID_hmacWithSHA256);
}

/* PKCS#8 under PBES2 with scrypt, which PEM_write_bio_PKCS8PrivateKey does
 * not offer. */
static enum nj_err
put_encrypted(BIO *bio, EVP_PKEY *key, struct slice pass, enum pki_kdf kdf)
{
	PKCS8_PRIV_KEY_INFO *p8 = NULL;
	X509_ALGOR *pbe = NULL;
	X509_SIG *sealed = NULL;
	enum nj_err e = NJ_CRYPTO;

	if (!(p8 = EVP_PKEY2PKCS8(key)) || !(pbe = pbes2(kdf)))
		goto out;
	sealed = PKCS8_set0_pbe((const char *)pass.p, (int)pass.n, p8, pbe);
	if (!sealed)
		goto out;
	pbe = NULL; /* moved into sealed */
	if (PEM_write_bio_PKCS8(bio, sealed) == 1)
		e = NJ_OK;
out:
	X509_SIG_free(sealed);
	X509_ALGOR_free(pbe);
	PKCS8_PRIV_KEY_INFO_free(p8);
	return e;
}

enum nj_err
pki_key_pem(
    EVP_PKEY *key, const struct secret *pass, enum pki_kdf kdf, struct buf *out)
{
	enum nj_err e = NJ_CRYPTO;
	BIO *bio = NULL;
	char *text = NULL;
	long n;

	if (!(bio = BIO_new(BIO_s_mem())))
		return NJ_NOMEM;
	if (pass)
		e = put_encrypted(bio, key, secret_bytes(pass), kdf);
	else if (PEM_write_bio_PKCS8PrivateKey(
		     bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		e = NJ_OK;
	ERR_clear_error();
	if (!e) {
		n = BIO_get_mem_data(bio, &text);
		e = buf_put(out, text, (size_t)n);
	}
	BIO_free(bio); /* wipes its memory */
	return e;
}

enum nj_err
pki_key_store(const char *path, EVP_PKEY *key, const struct secret *pass,
    struct nj_why *why)
{
	struct buf text = { 0 };
	struct slice uri = pkcs11_uri_of(key);
	enum nj_err e;

	if (uri.n > 0) /* it does not leave its place */
		e = buf_printf(
		    &text, "%.*s\n", (int)uri.n, (const char *)uri.p);
	else
		e = pki_key_pem(key, pass, PKI_KEY_SCRYPT, &text);

	if (e)
		why_set(why, "the key for '%s' could not be encoded%s", path,
		    pass ? " and encrypted" : "");
	else
		e = file_write(path, buf_slice(&text), 0600, why);
	buf_wipe(&text);
	return e;
}

enum nj_err
pki_key_spki_sha256(EVP_PKEY *key, uint8_t out[32])
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der);
	enum nj_err e = NJ_CRYPTO;

	if (n > 0 &&
	    EVP_Digest(der, (size_t)n, out, NULL, EVP_sha256(), NULL) == 1)
		e = NJ_OK;
	OPENSSL_free(der);
	return e;
}
