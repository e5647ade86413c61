/* SPDX-License-Identifier: Apache-2.0
 * certs - see certs.h.
 */
#include "certs.h"

#include <assert.h>
#include <dirent.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY 86400L

void
certs_init(struct certs *c)
{
	memset(c, 0, sizeof *c);
	(void)snprintf(c->dir, sizeof c->dir, "/tmp/nj-net-XXXXXX");
	if (!mkdtemp(c->dir))
		abort();
}

void
certs_fini(struct certs *c)
{
	DIR *d = opendir(c->dir);
	struct dirent *en;
	char path[512];

	while (d && (en = readdir(d))) {
		if (en->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof path, "%s/%s", c->dir, en->d_name);
		(void)unlink(path);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(c->dir);
	for (int i = 0; i < c->n; i++) {
		X509_free(c->made[i].x);
		EVP_PKEY_free(c->made[i].key);
	}
}

const char *
certs_path(struct certs *c, const char *file)
{
	static char paths[64][128];
	static unsigned at;
	char *p = paths[at++ % 64];

	(void)snprintf(p, sizeof paths[0], "%s/%s", c->dir, file);
	return p;
}

static int
find(const struct certs *c, const char *name)
{
	for (int i = 0; i < c->n; i++)
		if (strcmp(c->made[i].name, name) == 0)
			return i;
	(void)fprintf(stderr, "no certificate %s\n", name);
	abort();
}

X509 *
certs_get(struct certs *c, const char *name)
{
	return c->made[find(c, name)].x;
}

static void
extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (!e || !X509_add_ext(x, e, -1))
		abort();
	X509_EXTENSION_free(e);
}

static EVP_PKEY *
new_key(const struct cert_spec *s)
{
	if (s->rsa)
		return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)s->rsa);
	if (s->ed25519)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_EC_gen(s->p384 ? "P-384" : "P-256");
}

static void
write_files(struct certs *c, const char *name, X509 *x, EVP_PKEY *key)
{
	char file[64];
	FILE *f;

	(void)snprintf(file, sizeof file, "%s.crt", name);
	f = fopen(certs_path(c, file), "w");
	if (!f || !PEM_write_X509(f, x) || fclose(f) != 0)
		abort();
	(void)snprintf(file, sizeof file, "%s.key", name);
	f = fopen(certs_path(c, file), "w");
	if (!f || !PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) ||
	    fclose(f) != 0)
		abort();
	if (chmod(certs_path(c, file), 0600) != 0)
		abort();
}

void
certs_make(struct certs *c, const struct cert_spec *s)
{
	EVP_PKEY *key =
	    s->key_of ? c->made[find(c, s->key_of)].key : new_key(s);
	EVP_PKEY *signer = key;
	X509 *x = X509_new(), *issuer = x;
	X509_NAME *n = X509_get_subject_name(x);
	const char *cn = s->cn ? s->cn : s->name;
	long from = s->from_days, to = s->to_days;
	uint64_t serial = 0;

	if (s->key_of && EVP_PKEY_up_ref(key) != 1)
		abort();
	if (!key || RAND_bytes((unsigned char *)&serial, 7) != 1)
		abort();
	if (!from && !to) {
		from = -1;
		to = 90;
	}
	(void)X509_set_version(x, X509_VERSION_3);
	(void)ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial);
	(void)X509_gmtime_adj(X509_getm_notBefore(x), from * DAY);
	(void)X509_gmtime_adj(X509_getm_notAfter(x), to * DAY);
	if (!X509_NAME_add_entry_by_NID(n, NID_commonName, MBSTRING_UTF8,
		(const unsigned char *)cn, s->cn_len ? s->cn_len : -1, -1, 0))
		abort();
	(void)X509_set_pubkey(x, key);
	if (s->issuer) {
		issuer = certs_get(c, s->issuer);
		signer = c->made[find(c, s->issuer)].key;
	}
	(void)X509_set_issuer_name(x, X509_get_subject_name(issuer));
	extension(x, issuer, NID_basic_constraints,
	    s->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	extension(x, issuer, NID_key_usage,
	    s->no_lists ? "critical,keyCertSign"
		: s->ca ? "critical,keyCertSign,cRLSign"
			: "critical,digitalSignature");
	if (s->ca)
		extension(x, x, NID_subject_key_identifier, "hash");
	if (s->issuer)
		extension(x, issuer, NID_authority_key_identifier, "keyid");
	if (s->eku)
		extension(x, issuer, NID_ext_key_usage, s->eku);
	if (s->san)
		extension(x, issuer, NID_subject_alt_name, s->san);
	if (s->crldp)
		extension(x, issuer, NID_crl_distribution_points, s->crldp);
	if (!X509_sign(x, signer, EVP_sha256()))
		abort();
	assert((size_t)c->n < sizeof c->made / sizeof *c->made);
	(void)snprintf(
	    c->made[c->n].name, sizeof c->made[0].name, "%s", s->name);
	c->made[c->n].x = x;
	c->made[c->n++].key = key;
	write_files(c, s->name, x, key);
}

void
certs_crl(struct certs *c, const char *file, const char *ca, int days,
    const char *const *revoked)
{
	X509_CRL *crl = X509_CRL_new();
	int i = find(c, ca);
	ASN1_TIME *t = ASN1_TIME_new();
	FILE *f;

	(void)X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	(void)X509_CRL_set_issuer_name(
	    crl, X509_get_subject_name(c->made[i].x));
	(void)X509_gmtime_adj(t, -10 * DAY);
	(void)X509_CRL_set1_lastUpdate(crl, t);
	(void)X509_gmtime_adj(t, days * DAY);
	(void)X509_CRL_set1_nextUpdate(crl, t);
	(void)X509_gmtime_adj(t, -DAY);
	for (; *revoked; revoked++) {
		X509_REVOKED *r = X509_REVOKED_new();

		(void)X509_REVOKED_set_serialNumber(
		    r, X509_get_serialNumber(certs_get(c, *revoked)));
		(void)X509_REVOKED_set_revocationDate(r, t);
		(void)X509_CRL_add0_revoked(crl, r);
	}
	(void)X509_CRL_sort(crl);
	if (!X509_CRL_sign(crl, c->made[i].key, EVP_sha256()))
		abort();
	f = fopen(certs_path(c, file), "a");
	if (!f || !PEM_write_X509_CRL(f, crl) || fclose(f) != 0)
		abort();
	ASN1_TIME_free(t);
	X509_CRL_free(crl);
}

void
certs_crl_put(struct certs *c, const char *file, const char *ca, X509_CRL *crl)
{
	FILE *f = fopen(certs_path(c, file), "w");

	if (!X509_CRL_sign(crl, c->made[find(c, ca)].key, EVP_sha256()) || !f ||
	    !PEM_write_X509_CRL(f, crl) || fclose(f) != 0)
		abort();
	X509_CRL_free(crl);
}
