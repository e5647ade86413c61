/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/jwk.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "auth/base64url.h"
#include "auth/json_read.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define NUMBER_MAX   (RSA_BITS_MAX / 8)
#define P256_BYTES   32
#define ED_BYTES     32

struct jwk {
	enum jwk_alg alg;
	char *kid; /* NULL: none */
	EVP_PKEY *key;
};

struct jwk_set {
	atomic_uint refs;
	size_t n;
	struct jwk v[JWK_KEYS_MAX];
};

enum jwk_alg
jwk_alg_of(struct slice name)
{
	return slice_is(name, "RS256") ? JWK_RS256
	    : slice_is(name, "ES256")  ? JWK_ES256
	    : slice_is(name, "EdDSA")  ? JWK_EDDSA
				       : JWK_ALGS;
}

enum nj_err
jwk_set_new(struct jwk_set **out)
{
	struct jwk_set *s = calloc(1, sizeof *s);

	if (!s)
		return NJ_NOMEM;
	atomic_init(&s->refs, 1);
	*out = s;
	return NJ_OK;
}

struct jwk_set *
jwk_set_ref(struct jwk_set *s)
{
	(void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void
jwk_set_unref(struct jwk_set *s)
{
	if (!s ||
	    atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].kid);
		EVP_PKEY_free(s->v[i].key);
	}
	free(s);
}

size_t
jwk_set_count(const struct jwk_set *s)
{
	return s->n;
}

/* -- what a key is good for ---------------------------------------------- */

static enum nj_err
refuse(struct nj_why *why, const char *path, const char *what)
{
	char esc[TEXT_ESC];

	why_set(
	    why, "%s: %s", text_esc(esc, sizeof esc, slice_str(path)), what);
	why_mend(why,
	    "give public keys as PEM or as a JSON Web Key Set: RSA of 2048 "
	    "bits and more, EC P-256, or Ed25519");
	return NJ_INVALID;
}

/* An exponent of 1 would let everything pass. */
static bool
rsa_ok(EVP_PKEY *key)
{
	BIGNUM *e = NULL;
	bool ok = EVP_PKEY_get_bits(key) >= RSA_BITS_MIN &&
	    EVP_PKEY_get_bits(key) <= RSA_BITS_MAX &&
	    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) &&
	    BN_is_odd(e) && !BN_is_one(e);

	BN_free(e);
	return ok;
}

/* The one algorithm of a key, so that no token can choose another. */
static enum jwk_alg
alg_of_key(EVP_PKEY *key)
{
	char group[32] = "";
	size_t n = 0;

	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		return rsa_ok(key) ? JWK_RS256 : JWK_ALGS;
	case EVP_PKEY_EC:
		return EVP_PKEY_get_utf8_string_param(key,
			   OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
			   &n) &&
			strcmp(group, "prime256v1") == 0
		    ? JWK_ES256
		    : JWK_ALGS;
	case EVP_PKEY_ED25519:
		return JWK_EDDSA;
	default:
		return JWK_ALGS;
	}
}

/* Takes key and kid, also when it fails. */
static enum nj_err
add_key(struct jwk_set *s, EVP_PKEY *key, char *kid, const char *path,
    struct nj_why *why)
{
	enum jwk_alg alg = alg_of_key(key);
	enum nj_err e = NJ_OK;

	if (alg == JWK_ALGS)
		e = refuse(why, path,
		    "a key in it is neither RSA of 2048 to 8192 bits nor EC "
		    "P-256 nor Ed25519");
	else if (s->n == JWK_KEYS_MAX)
		e = refuse(why, path, "there are more than 64 keys");
	for (size_t i = 0; i < s->n && kid && !e; i++)
		if (s->v[i].kid && s->v[i].alg == alg &&
		    strcmp(s->v[i].kid, kid) == 0)
			e = refuse(why, path, "two keys have the same kid");
	if (e) {
		EVP_PKEY_free(key);
		free(kid);
		return e;
	}
	s->v[s->n++] = (struct jwk){ alg, kid, key };
	return NJ_OK;
}

/* -- PEM ----------------------------------------------------------------- */

static EVP_PKEY *
key_of_pem(const char *name, const unsigned char *der, long n)
{
	EVP_PKEY *key = NULL;
	X509 *x;

	if (strcmp(name, PEM_STRING_PUBLIC) == 0)
		return d2i_PUBKEY(NULL, &der, n);
	if (strcmp(name, PEM_STRING_X509) != 0 ||
	    !(x = d2i_X509(NULL, &der, n)))
		return NULL;
	key = X509_get_pubkey(x);
	X509_free(x);
	return key;
}

static enum nj_err
parse_pem(
    struct jwk_set *s, struct slice text, const char *path, struct nj_why *why)
{
	BIO *b = BIO_new_mem_buf(text.p, (int)text.n);
	char *name = NULL, *head = NULL;
	unsigned char *der = NULL;
	enum nj_err e = b ? NJ_OK : NJ_NOMEM;
	EVP_PKEY *key;
	long n = 0;
	int seen = 0;

	while (!e && PEM_read_bio(b, &name, &head, &der, &n) == 1) {
		seen++;
		if (strstr(name, "PRIVATE KEY"))
			e = refuse(why, path,
			    "it holds a private key, which has no business "
			    "here");
		else if (!(key = key_of_pem(name, der, n)))
			e = refuse(why, path, "a key in it cannot be read");
		else
			e = add_key(s, key, NULL, path, why);
		OPENSSL_free(name);
		OPENSSL_free(head);
		OPENSSL_free(der);
	}
	if (!e && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		e = refuse(why, path, "it is damaged");
	if (!e && seen == 0)
		e = refuse(why, path, "there is no key in it");
	ERR_clear_error();
	BIO_free(b);
	return e;
}

/* -- JSON ---------------------------------------------------------------- */

/* A member that has to be base64url; false when it is not. */
static bool
number_of(
    const json_t *jwk, const char *member, uint8_t *out, size_t room, size_t *n)
{
	const json_t *v = json_object_get(jwk, member);

	return json_is_string(v) &&
	    base64url_decode(
		slice_of(json_string_value(v), json_string_length(v)), out,
		room, n) == NJ_OK &&
	    *n > 0;
}

static EVP_PKEY *
key_of_params(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (!c || !params || EVP_PKEY_fromdata_init(c) != 1 ||
	    EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(c);
	return key;
}

static EVP_PKEY *
rsa_of(const json_t *jwk)
{
	uint8_t n[NUMBER_MAX], e[8];
	size_t nn = 0, en = 0;
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *bn = NULL, *be = NULL;
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	if (!bld || !number_of(jwk, "n", n, sizeof n, &nn) ||
	    !number_of(jwk, "e", e, sizeof e, &en))
		goto out;
	bn = BN_bin2bn(n, (int)nn, NULL);
	be = BN_bin2bn(e, (int)en, NULL);
	if (!bn || !be ||
	    !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) ||
	    !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be) ||
	    !(params = OSSL_PARAM_BLD_to_param(bld)))
		goto out;
	key = key_of_params("RSA", params);
out:
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	BN_free(bn);
	BN_free(be);
	return key;
}

static bool
member_is(const json_t *jwk, const char *member, const char *want)
{
	const char *s = json_string_value(json_object_get(jwk, member));

	return s && strcmp(s, want) == 0;
}

static EVP_PKEY *
ec_of(const json_t *jwk)
{
	uint8_t point[1 + 2 * P256_BYTES] = { POINT_CONVERSION_UNCOMPRESSED };
	char group[] = "prime256v1";
	OSSL_PARAM params[3];
	size_t x = 0, y = 0;

	if (!member_is(jwk, "crv", "P-256") ||
	    !number_of(jwk, "x", point + 1, P256_BYTES, &x) ||
	    !number_of(jwk, "y", point + 1 + P256_BYTES, P256_BYTES, &y) ||
	    x != P256_BYTES || y != P256_BYTES)
		return NULL;
	params[0] = OSSL_PARAM_construct_utf8_string(
	    OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
	params[1] = OSSL_PARAM_construct_octet_string(
	    OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point);
	params[2] = OSSL_PARAM_construct_end();
	return key_of_params("EC", params);
}

static EVP_PKEY *
okp_of(const json_t *jwk)
{
	uint8_t x[ED_BYTES];
	size_t n = 0;

	if (!member_is(jwk, "crv", "Ed25519") ||
	    !number_of(jwk, "x", x, sizeof x, &n) || n != ED_BYTES)
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, n);
}

/* "key_ops" lets it verify, or there is none. */
static bool
may_verify(const json_t *jwk)
{
	const json_t *ops = json_object_get(jwk, "key_ops");

	for (size_t i = 0; i < json_array_size(ops); i++) {
		const char *op = json_string_value(json_array_get(ops, i));

		if (op && strcmp(op, "verify") == 0)
			return true;
	}
	return !ops;
}

/* Of a kind and on a curve that we have [RFC 7517 5]. */
static bool
is_known(const json_t *jwk)
{
	const char *crv = json_string_value(json_object_get(jwk, "crv"));

	if (member_is(jwk, "kty", "EC"))
		return !crv || strcmp(crv, "P-256") == 0;
	if (member_is(jwk, "kty", "OKP"))
		return !crv || strcmp(crv, "Ed25519") == 0;
	return member_is(jwk, "kty", "RSA") ||
	    !json_is_string(json_object_get(jwk, "kty"));
}

/* Keys for something else are left out [RFC 7517 4.2 to 4.4], as are those of
 * a kind that no token here is signed with. */
static bool
is_for_signatures(const json_t *jwk)
{
	const json_t *use = json_object_get(jwk, "use");
	const json_t *alg = json_object_get(jwk, "alg");

	return is_known(jwk) && may_verify(jwk) &&
	    (!use || member_is(jwk, "use", "sig")) &&
	    (!alg ||
		(json_is_string(alg) &&
		    jwk_alg_of(slice_of(json_string_value(alg),
			json_string_length(alg))) != JWK_ALGS));
}

static enum nj_err
add_jwk(
    struct jwk_set *s, const json_t *jwk, const char *path, struct nj_why *why)
{
	const json_t *kid = json_object_get(jwk, "kid");
	EVP_PKEY *key = NULL;
	char *name = NULL;

	if (!json_is_object(jwk))
		return refuse(why, path,
		    "\"keys\" has something that is no "
		    "key in it");
	if (json_object_get(jwk, "d") || json_object_get(jwk, "k") ||
	    member_is(jwk, "kty", "oct"))
		return refuse(why, path,
		    "it holds a secret key, private or shared (oct): whoever "
		    "reads this file could make tokens");
	if (!is_for_signatures(jwk))
		return NJ_OK;
	if (kid &&
	    (!json_is_string(kid) || json_string_length(kid) > JWK_KID_MAX ||
		strlen(json_string_value(kid)) != json_string_length(kid)))
		return refuse(why, path, "a kid is no string, or too long");
	key = member_is(jwk, "kty", "RSA") ? rsa_of(jwk)
	    : member_is(jwk, "kty", "EC")  ? ec_of(jwk)
	    : member_is(jwk, "kty", "OKP") ? okp_of(jwk)
					   : NULL;
	ERR_clear_error();
	if (!key)
		return refuse(why, path, "a key in it cannot be used");
	/* one of no kind is told below */
	if (json_object_get(jwk, "alg") && alg_of_key(key) != JWK_ALGS &&
	    jwk_alg_of(slice_str(json_string_value(
		json_object_get(jwk, "alg")))) != alg_of_key(key)) {
		EVP_PKEY_free(key);
		return refuse(why, path, "a key's alg is not for its kind");
	}
	if (kid && !(name = strdup(json_string_value(kid)))) {
		EVP_PKEY_free(key);
		return NJ_NOMEM;
	}
	return add_key(s, key, name, path, why);
}

static enum nj_err
parse_json(
    struct jwk_set *s, struct slice text, const char *path, struct nj_why *why)
{
	json_error_t fault;
	json_t *all = json_read(text, JSON_REJECT_DUPLICATES, &fault);
	const json_t *keys = json_object_get(all, "keys");
	size_t before = s->n;
	enum nj_err e = NJ_OK;
	char esc[TEXT_ESC];

	if (!all) {
		why_set(why, "%s, line %d: %s",
		    text_esc(esc, sizeof esc, slice_str(path)), fault.line,
		    fault.text);
		why_mend(why, "fetch the key set again");
		return NJ_INVALID;
	}
	if (!keys && json_is_object(all))
		e = add_jwk(s, all, path, why); /* one key alone */
	else if (!json_is_array(keys))
		e = refuse(why, path, "\"keys\" is no list");
	for (size_t i = 0; i < json_array_size(keys) && !e; i++)
		e = add_jwk(s, json_array_get(keys, i), path, why);
	if (!e && s->n == before)
		e = refuse(why, path, "there is no key for signatures in it");
	json_decref(all);
	return e;
}

enum nj_err
jwk_set_parse(
    struct jwk_set *s, struct slice text, const char *path, struct nj_why *why)
{
	size_t i = 0;

	if (!text.p)
		return refuse(why, path, "it is empty");
	while (i < text.n && strchr(" \t\r\n", text.p[i]))
		i++;
	return i < text.n && (text.p[i] == '{' || text.p[i] == '[')
	    ? parse_json(s, text, path, why)
	    : parse_pem(s, text, path, why);
}

enum nj_err
jwk_set_load(struct jwk_set *s, const char *path, struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e = file_read(path, JWK_FILE_MAX, &text, why);

	if (!e)
		e = jwk_set_parse(s, buf_slice(&text), path, why);
	buf_fini(&text);
	return e;
}

/* -- verifying ----------------------------------------------------------- */

/* r and s as JWS has them, in the form that OpenSSL reads (RFC 7518 3.4). */
static unsigned char *
der_of(struct slice raw, size_t *n)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw.p, P256_BYTES, NULL);
	BIGNUM *s = BN_bin2bn(raw.p + P256_BYTES, P256_BYTES, NULL);
	unsigned char *der = NULL;
	int len;

	if (!sig || !r || !s || !ECDSA_SIG_set0(sig, r, s)) {
		BN_free(r);
		BN_free(s);
		ECDSA_SIG_free(sig);
		return NULL;
	}
	len = i2d_ECDSA_SIG(sig, &der);
	*n = len > 0 ? (size_t)len : 0;
	ECDSA_SIG_free(sig);
	return len > 0 ? der : NULL;
}

static bool
verify_one(const struct jwk *k, struct slice text, struct slice sig)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	const EVP_MD *md = k->alg == JWK_EDDSA ? NULL : EVP_sha256();
	bool ok;

	/* RSA's padding is PKCS #1 1.5 by default, which RS256 is */
	ok = c && EVP_DigestVerifyInit(c, NULL, md, NULL, k->key) == 1 &&
	    EVP_DigestVerify(c, sig.p, sig.n, text.p, text.n) == 1;
	EVP_MD_CTX_free(c);
	ERR_clear_error();
	return ok;
}

static bool
is_candidate(const struct jwk_set *s, size_t i, enum jwk_alg alg, bool has_kid,
    struct slice kid, bool named)
{
	const struct jwk *k = &s->v[i];

	if (k->alg != alg)
		return false;
	if (!has_kid)
		return true;
	return named ? k->kid && slice_is(kid, k->kid) : !k->kid;
}

static bool
has_name(const struct jwk_set *s, enum jwk_alg alg, struct slice kid)
{
	for (size_t i = 0; i < s->n; i++)
		if (is_candidate(s, i, alg, true, kid, true))
			return true;
	return false;
}

enum nj_err
jwk_verify(const struct jwk_set *s, enum jwk_alg alg, bool has_kid,
    struct slice kid, struct slice signed_bytes, struct slice signature)
{
	bool named = has_kid && has_name(s, alg, kid), ok = false;
	unsigned char *der = NULL;
	size_t tries = 0, n = 0;

	if (alg == JWK_ES256) {
		if (signature.n != 2 * P256_BYTES)
			return NJ_DENIED;
		if (!(der = der_of(signature, &n)))
			return NJ_NOMEM;
		signature = slice_of(der, n);
	}
	for (size_t i = 0; i < s->n && !ok && tries < JWK_TRIES_MAX; i++) {
		if (!is_candidate(s, i, alg, has_kid, kid, named))
			continue;
		tries++;
		ok = verify_one(&s->v[i], signed_bytes, signature);
	}
	OPENSSL_free(der);
	return ok ? NJ_OK : tries == 0 ? NJ_NOTFOUND : NJ_DENIED;
}
