/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <ftw.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pki/key.h"

static void
put_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	if (!value)
		return;
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	assert_int_equal(X509_add_ext(x, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

X509 *
rough_cert(const struct rough *r, EVP_PKEY **key_out)
{
	const EVP_MD *md = EVP_get_digestbyname(r->md ? r->md : "SHA256");
	const char *cn = r->cn ? r->cn : "rough";
	bool usual = r->from_days == 0 && r->to_days == 0;
	X509 *x = X509_new();
	EVP_PKEY *key = NULL;
	X509_NAME *name;

	assert_non_null(x);
	if (r->rsa_bits)
		assert_int_equal(pki_key_new_rsa(r->rsa_bits, &key), NJ_OK);
	else
		assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	name = X509_get_subject_name(x);
	X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
	    (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(
	    x, r->issuer ? X509_get_subject_name(r->issuer) : name);
	X509_set_pubkey(x, key);
	ASN1_INTEGER_set_int64(
	    X509_get_serialNumber(x), r->serial ? r->serial : 0x5a12);
	X509_time_adj_ex(
	    X509_getm_notBefore(x), usual ? -1 : r->from_days, 0, NULL);
	X509_time_adj_ex(
	    X509_getm_notAfter(x), usual ? 365 : r->to_days, 0, NULL);
	if (!r->v1) {
		X509 *issuer = r->issuer ? r->issuer : x;

		X509_set_version(x, X509_VERSION_3);
		put_ext(x, issuer, NID_basic_constraints, r->constraints);
		put_ext(x, issuer, NID_key_usage, r->ku);
		put_ext(x, issuer, NID_ext_key_usage, r->eku);
		put_ext(x, issuer, NID_subject_alt_name, r->san);
	}
	assert_true(X509_sign(x, r->issuer_key ? r->issuer_key : key, md) > 0);
	if (key_out)
		*key_out = key;
	else
		EVP_PKEY_free(key);
	return x;
}

struct secret *
rough_secret(const char *text)
{
	struct secret *s = NULL;

	assert_int_equal(secret_new(slice_str(text), &s), NJ_OK);
	return s;
}

void
rough_mkdir(char dst[64])
{
	(void)snprintf(dst, 64, "/tmp/nj-pki-XXXXXX");
	assert_non_null(mkdtemp(dst));
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
	(void)st;
	(void)kind;
	(void)f;
	return remove(path);
}

void
rough_rmdir(const char *dir)
{
	assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *
rough_path(const char *dir, const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *p = paths[next++ % 4];

	(void)snprintf(p, sizeof(paths[0]), "%s/%s", dir, name);
	return p;
}

unsigned
rough_mode(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}
