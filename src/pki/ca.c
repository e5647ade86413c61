/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/ca.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "pki/explain.h"
#include "pki/key.h"
#include "pki/registry.h"

struct pki_ca {
	char *dir;
	char *crt, *key_path, *registry;
	char id[PKI_CA_ID + 1];
	X509 *root;
	STACK_OF(X509) * chain; /* below the root; empty for now */
	STACK_OF(X509) * roots; /* all of ca.crt */
	EVP_PKEY *key;		/* NULL while locked */
};

char *
pki_path(const char *dir, const char *rest)
{
	char *p = NULL;

	return asprintf(&p, "%s/%s", dir, rest) < 0 ? NULL : p;
}

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

bool
pki_ca_exists(const char *dir)
{
	char *path = pki_path(dir, "pki/ca.crt");
	bool yes = path && exists(path);

	free(path);
	return yes;
}

static struct pki_ca *
ca_new(const char *dir)
{
	struct pki_ca *ca = calloc(1, sizeof(*ca));

	if (!ca)
		return NULL;
	ca->dir = strdup(dir);
	ca->crt = pki_path(dir, "pki/ca.crt");
	ca->key_path = pki_path(dir, "pki/ca.key");
	ca->registry = pki_path(dir, "pki/registry");
	ca->chain = sk_X509_new_null();
	ca->roots = sk_X509_new_null();
	if (ca->dir && ca->crt && ca->key_path && ca->registry && ca->chain &&
	    ca->roots)
		return ca;
	pki_ca_free(ca);
	return NULL;
}

void
pki_ca_free(struct pki_ca *ca)
{
	if (!ca)
		return;
	EVP_PKEY_free(ca->key);
	sk_X509_pop_free(ca->chain, X509_free);
	sk_X509_pop_free(ca->roots, X509_free);
	X509_free(ca->root);
	free(ca->registry);
	free(ca->key_path);
	free(ca->crt);
	free(ca->dir);
	free(ca);
}

/* The folder of the CA's key has to be its owner's alone. */
static enum nj_err
check_folder(const char *dir, struct nj_why *why)
{
	char *path = pki_path(dir, "pki");
	enum nj_err e = NJ_OK;
	struct stat st;

	if (!path)
		return NJ_NOMEM;
	if (lstat(path, &st) != 0) {
		e = errno == ENOENT ? NJ_NOTFOUND : NJ_IO;
		why_set(why, "cannot look at '%s': %s", path, strerror(errno));
	} else if (!S_ISDIR(st.st_mode)) {
		e = NJ_INVALID;
		why_set(why, "'%s' is not a folder", path);
	} else if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		e = NJ_DENIED;
		why_set(why,
		    "'%s' holds the CA and is open to other users "
		    "(mode %04o)",
		    path, (unsigned)(st.st_mode & 07777));
		why_mend(why, "chmod 700 '%s'", path);
	}
	free(path);
	return e;
}

static bool
is_issued(void *arg, const struct registry_entry *e)
{
	bool *issued = arg;

	*issued = strcmp(e->kind, "root") != 0;
	return !*issued;
}

/*
 * ca.crt is written last: without it no CA was ever handed out, and what else
 * is there was left by a crash.  Unless it was lost later: then the registry
 * tells of certificates.
 */
static enum nj_err
clear_half_made(const struct pki_ca *ca, struct nj_why *why)
{
	bool issued = false;
	enum nj_err e;

	if (exists(ca->registry)) {
		e = registry_each(ca->registry, is_issued, &issued, why);
		if (e)
			return e;
	}
	if (issued) {
		why_set(why,
		    "'%s' is missing, but this CA has issued "
		    "certificates",
		    ca->crt);
		why_mend(why,
		    "restore it from a backup or from a device's "
		    "ca.crt, or make another CA in another folder with --dir");
		return NJ_EXISTS;
	}
	if ((unlink(ca->registry) != 0 && errno != ENOENT) ||
	    (unlink(ca->key_path) != 0 && errno != ENOENT)) {
		why_set(why,
		    "cannot remove '%s' or '%s', which an "
		    "interrupted start left: %s",
		    ca->registry, ca->key_path, strerror(errno));
		return NJ_IO;
	}
	return NJ_OK;
}

/* "Nightjar CA box 1f2e3d4c": the digits are the key's, so that a CA and
 * the one made after it on the same machine can be told apart. */
static enum nj_err
default_name(EVP_PKEY *key, char dst[PKI_ID_MAX + 1])
{
	char host[PKI_ID_MAX + 1] = "";
	uint8_t spki[32];
	enum nj_err e;

	if ((e = pki_key_spki_sha256(key, spki)))
		return e;
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	host[strcspn(host, ".")] = '\0';
	(void)snprintf(dst, PKI_ID_MAX + 1,
	    "Nightjar CA%s%.40s %02x%02x%02x%02x", host[0] ? " " : "", host,
	    spki[0], spki[1], spki[2], spki[3]);
	return NJ_OK;
}

static enum nj_err
check_name(const char *name, struct nj_why *why)
{
	char safe[TEXT_ESC];
	size_t n = strlen(name);

	text_esc(safe, sizeof(safe), slice_str(name));
	if (n >= 1 && n <= PKI_ID_MAX && strcmp(safe, name) == 0)
		return NJ_OK;
	why_set(why, "'%s' cannot be the name of a CA", safe);
	why_mend(why, "give 1 to %d bytes of readable text", PKI_ID_MAX);
	return NJ_INVALID;
}

static enum nj_err
fill_entry(X509 *x, const struct pki_cert_spec *spec, const char *id,
    struct registry_entry *out)
{
	static const char *const kinds[] = { [PKI_ROOT] = "root",
		[PKI_SERVER] = "server",
		[PKI_DEVICE] = "device" };
	uint8_t spki[32];
	int64_t from;
	enum nj_err e;

	*out = (struct registry_entry){ .issued = (int64_t)time(NULL) };
	(void)snprintf(
	    out->kind, sizeof(out->kind), "%s", kinds[spec->profile]);
	(void)snprintf(out->id, sizeof(out->id), "%s", id);
	pki_serial(x, out->serial, sizeof(out->serial));
	out->has_groups = spec->groups != NULL;
	if (out->has_groups)
		(void)snprintf(
		    out->groups, sizeof(out->groups), "%s", spec->groups);
	if (!pki_cert_dates(x, &from, &out->not_after))
		return NJ_CRYPTO;
	if ((e = pki_spki_sha256(x, spki)))
		return e;
	for (size_t i = 0; i < sizeof(spki); i++)
		(void)snprintf(out->spki + 2 * i, 3, "%02x", spki[i]);
	return NJ_OK;
}

static enum nj_err
record(const struct pki_ca *ca, bool create, const struct registry_entry *entry,
    struct nj_why *why)
{
	struct registry *r = NULL;
	enum nj_err e;

	if ((e = registry_open(ca->registry, create, &r, why)))
		return e;
	e = registry_append(r, entry, why);
	registry_close(r);
	return e;
}

static enum nj_err
make_root(struct pki_ca *ca, const struct pki_ca_opts *o,
    const struct secret *pass, struct nj_why *why)
{
	char name[PKI_ID_MAX + 1];
	struct registry_entry entry;
	struct pki_cert_spec spec = { .profile = PKI_ROOT,
		.cn = o->name ? o->name : name,
		.days = o->days ? o->days : PKI_ROOT_DAYS };
	enum nj_err e;

	if ((e = pki_key_new_p256(&ca->key)) ||
	    (e = default_name(ca->key, name)))
		return e;
	spec.key = ca->key;
	if ((e = pki_cert_make(&spec, NULL, ca->key, &ca->root, why)) ||
	    (e = pki_ca_id(ca->root, ca->id)) ||
	    (e = fill_entry(ca->root, &spec, ca->id, &entry)) ||
	    (e = pki_key_store(ca->key_path, ca->key, pass, why)) ||
	    (e = record(ca, true, &entry, why)))
		return e;
	if (!sk_X509_push(ca->roots, ca->root))
		return NJ_NOMEM;
	X509_up_ref(ca->root);
	return pki_chain_store(ca->crt, ca->root, NULL, 0644, why);
}

enum nj_err
pki_ca_init(const char *dir, const struct pki_ca_opts *o,
    const struct secret *pass, struct pki_ca **out, struct nj_why *why)
{
	struct pki_ca *ca = NULL;
	char *folder = NULL;
	enum nj_err e = NJ_NOMEM;

	if (!(ca = ca_new(dir)) || !(folder = pki_path(dir, "pki")))
		goto out;
	if (o->name && (e = check_name(o->name, why)))
		goto out;
	if (exists(ca->crt)) {
		e = NJ_EXISTS;
		why_set(why,
		    "there is a CA in '%s' already; it is left as it "
		    "is",
		    folder);
		why_mend(why,
		    "use it with: nightjar ca server, nightjar ca "
		    "device ID; or make another with --dir DIR");
		goto out;
	}
	if ((e = file_mkdir(folder, 0700, why)) ||
	    (e = check_folder(dir, why)) || (e = clear_half_made(ca, why)) ||
	    (e = make_root(ca, o, pass, why)))
		goto out;
	*out = ca;
	ca = NULL;
out:
	free(folder);
	pki_ca_free(ca);
	return e;
}

enum nj_err
pki_ca_open(const char *dir, struct pki_ca **out, struct nj_why *why)
{
	STACK_OF(X509) *certs = NULL;
	struct pki_ca *ca = NULL;
	enum nj_err e;

	if (!pki_ca_exists(dir)) {
		why_set(why, "there is no CA in '%s'", dir);
		why_mend(
		    why, "make one with: nightjar ca init --dir '%s'", dir);
		return NJ_NOTFOUND;
	}
	if (!(ca = ca_new(dir)))
		return NJ_NOMEM;
	if ((e = check_folder(dir, why)) ||
	    (e = pki_chain_load(ca->crt, &certs, why)))
		goto out;
	ca->root = sk_X509_value(certs, 0);
	X509_up_ref(ca->root);
	sk_X509_free(ca->roots);
	ca->roots = certs;
	certs = NULL;
	if ((e = pki_judge(ca->root, PKI_USE_CA, ca->crt, why)) ||
	    (e = pki_ca_id(ca->root, ca->id)))
		goto out;
	*out = ca;
	ca = NULL;
out:
	sk_X509_pop_free(certs, X509_free);
	pki_ca_free(ca);
	return e;
}

enum nj_err
pki_ca_unlock(struct pki_ca *ca, const struct secret *pass, struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	enum nj_err e;

	if ((e = pki_key_load(ca->key_path, pass, true, &key, why)))
		return e;
	if (X509_check_private_key(ca->root, key) != 1) {
		EVP_PKEY_free(key);
		why_set(
		    why, "'%s' is not the key of '%s'", ca->key_path, ca->crt);
		why_mend(why, "restore both from the same backup");
		return NJ_INVALID;
	}
	EVP_PKEY_free(ca->key);
	ca->key = key;
	return NJ_OK;
}

bool
pki_ca_is_unlocked(const struct pki_ca *ca)
{
	return ca->key != NULL;
}

void
pki_ca_lock(struct pki_ca *ca)
{
	EVP_PKEY_free(ca->key);
	ca->key = NULL;
}

enum nj_err
pki_ca_sign(struct pki_ca *ca, const struct pki_cert_spec *spec, const char *id,
    X509 **out, struct registry_entry *entry, struct nj_why *why)
{
	X509 *x = NULL;
	enum nj_err e;

	if (!ca->key) {
		why_set(why, "the key of the CA is locked");
		return NJ_DENIED;
	}
	if ((e = pki_cert_make(spec, ca->root, ca->key, &x, why)))
		return e;
	if ((e = fill_entry(x, spec, id, entry))) {
		X509_free(x);
		return e;
	}
	*out = x;
	return NJ_OK;
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
	if ((e = record(ca, false, &entry, why))) {
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

enum nj_err
pki_ca_sign_crl(struct pki_ca *ca, X509_CRL *crl, struct nj_why *why)
{
	if (!ca->key) {
		why_set(why, "the key of the CA is locked");
		return NJ_DENIED;
	}
	if (add_issuer(crl, ca->root) &&
	    X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0)
		return NJ_OK;
	why_set(why, "the revocation list could not be signed");
	ERR_clear_error();
	return NJ_CRYPTO;
}

bool
pki_ca_issued(const struct pki_ca *ca, X509 *x)
{
	EVP_PKEY *key = X509_get0_pubkey(ca->root);
	bool yes = key &&
	    X509_NAME_cmp(X509_get_issuer_name(x),
		X509_get_subject_name(ca->root)) == 0 &&
	    X509_verify(x, key) == 1;

	ERR_clear_error();
	return yes;
}

const char *
pki_ca_dir(const struct pki_ca *ca)
{
	return ca->dir;
}

X509 *
pki_ca_root(const struct pki_ca *ca)
{
	return ca->root;
}

const STACK_OF(X509) * pki_ca_chain(const struct pki_ca *ca)
{
	return ca->chain;
}

const STACK_OF(X509) * pki_ca_roots(const struct pki_ca *ca)
{
	return ca->roots;
}

const char *
pki_ca_short_id(const struct pki_ca *ca)
{
	return ca->id;
}

const char *
pki_ca_registry(const struct pki_ca *ca)
{
	return ca->registry;
}
