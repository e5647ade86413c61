/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/ca_impl.h"

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
#include "pki/crl.h"
#include "pki/explain.h"
#include "pki/key.h"
#include "pki/pkcs11.h"
#include "pki/registry.h"

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
ca_has(const char *dir, const char *name)
{
	char *path = pki_path(dir, name);
	bool yes = path && exists(path);

	free(path);
	return yes;
}

bool
pki_ca_exists(const char *dir)
{
	return ca_has(dir, CA_CRT);
}

static struct pki_ca *
ca_new(const char *dir)
{
	struct pki_ca *ca = calloc(1, sizeof(*ca));

	if (!ca)
		return NULL;
	ca->dir = strdup(dir);
	ca->registry = pki_path(dir, CA_REGISTRY);
	ca->chain = sk_X509_new_null();
	ca->roots = sk_X509_new_null();
	if (ca->dir && ca->registry && ca->chain && ca->roots)
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
	EVP_PKEY_free(ca->old_key);
	X509_free(ca->old);
	X509_free(ca->issuer);
	sk_X509_pop_free(ca->chain, X509_free);
	sk_X509_pop_free(ca->roots, X509_free);
	sk_X509_pop_free(ca->bridge, X509_free);
	sk_X509_pop_free(ca->rollover, X509_free);
	X509_free(ca->root);
	free(ca->registry);
	free(ca->dir);
	free(ca->crl_url);
	free(ca);
}

/*
 * Files.
 */

enum nj_err
ca_load_chain(const char *dir, const char *name, STACK_OF(X509) * *out,
    struct nj_why *why)
{
	char *path = pki_path(dir, name);
	enum nj_err e = path ? pki_chain_load(path, out, why) : NJ_NOMEM;

	free(path);
	return e;
}

enum nj_err
ca_load_key(const char *dir, const char *name, const struct secret *pass,
    EVP_PKEY **out, struct nj_why *why)
{
	char *path = pki_path(dir, name);
	enum nj_err e =
	    path ? pki_key_load(path, pass, true, out, why) : NJ_NOMEM;

	free(path);
	return e;
}

enum nj_err
ca_store_key(const char *dir, const char *name, EVP_PKEY *key,
    const struct secret *pass, struct nj_why *why)
{
	char *path = pki_path(dir, name);
	enum nj_err e = path ? pki_key_store(path, key, pass, why) : NJ_NOMEM;

	free(path);
	return e;
}

enum nj_err
ca_store_chain(const char *dir, const char *name, X509 *x,
    const STACK_OF(X509) * chain, struct nj_why *why)
{
	char *path = pki_path(dir, name);
	enum nj_err e =
	    path ? pki_chain_store(path, x, chain, 0644, why) : NJ_NOMEM;

	free(path);
	return e;
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

	*issued =
	    strcmp(e->kind, "root") != 0 && strcmp(e->kind, "issuing") != 0;
	return !*issued;
}

/*
 * ca.crt is written last: without it no CA was ever handed out, and what else
 * is there was left by a crash.  Unless it was lost later: then the registry
 * tells of certificates.
 */
static enum nj_err
clear_half_made(const char *dir, struct nj_why *why)
{
	static const char *const parts[] = { CA_REGISTRY, CA_KEY, ISSUING_CRT,
		ISSUING_KEY };
	char *registry = pki_path(dir, CA_REGISTRY);
	bool issued = false;
	enum nj_err e = NJ_OK;

	if (!registry)
		return NJ_NOMEM;
	if (exists(registry))
		e = registry_each(registry, is_issued, &issued, why);
	free(registry);
	if (!e && issued) {
		why_set(why,
		    "'%s/" CA_CRT "' is missing, but this CA has issued "
		    "certificates",
		    dir);
		why_mend(why,
		    "restore it from a backup or from a device's "
		    "ca.crt, or make another CA in another folder with --dir");
		return NJ_EXISTS;
	}
	for (size_t i = 0; !e && i < sizeof parts / sizeof *parts; i++) {
		char *path = pki_path(dir, parts[i]);

		if (!path || (unlink(path) != 0 && errno != ENOENT)) {
			e = NJ_IO;
			why_set(why,
			    "cannot remove '%s/%s', which an "
			    "interrupted start left: %s",
			    dir, parts[i], strerror(errno));
		}
		free(path);
	}
	return e;
}

enum nj_err
ca_prepare_folder(const char *dir, struct nj_why *why)
{
	char *folder = pki_path(dir, "pki"), *lists = pki_path(dir, "crl");
	enum nj_err e = NJ_NOMEM;

	if (!folder || !lists)
		goto out;
	if (pki_ca_exists(dir)) {
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
	/* Who watches for the first list can watch its folder from the start. */
	if (!(e = file_mkdir(folder, 0700, why)) &&
	    !(e = check_folder(dir, why)) &&
	    !(e = file_mkdir(lists, 0755, why)))
		e = clear_half_made(dir, why);
out:
	free(lists);
	free(folder);
	return e;
}

/* "Nightjar CA box 1f2e3d4c": the digits are the key's, so that a CA and
 * the one made after it on the same machine can be told apart. */
enum nj_err
ca_default_name(EVP_PKEY *key, const char *what, char dst[PKI_ID_MAX + 1])
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
	    "Nightjar %s%s%.36s %02x%02x%02x%02x", what, host[0] ? " " : "",
	    host, spki[0], spki[1], spki[2], spki[3]);
	return NJ_OK;
}

enum nj_err
ca_check_name(const char *name, struct nj_why *why)
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

enum nj_err
ca_fill_entry(X509 *x, const char *kind, const char *id, const char *groups,
    struct registry_entry *out)
{
	uint8_t spki[32];
	int64_t from;
	enum nj_err e;

	*out = (struct registry_entry){ .issued = (int64_t)time(NULL) };
	(void)snprintf(out->kind, sizeof(out->kind), "%s", kind);
	(void)snprintf(out->id, sizeof(out->id), "%s", id);
	pki_serial(x, out->serial, sizeof(out->serial));
	out->has_groups = groups != NULL;
	if (groups)
		(void)snprintf(out->groups, sizeof(out->groups), "%s", groups);
	if (!pki_cert_dates(x, &from, &out->not_after))
		return NJ_CRYPTO;
	if ((e = pki_spki_sha256(x, spki)))
		return e;
	for (size_t i = 0; i < sizeof(spki); i++)
		(void)snprintf(out->spki + 2 * i, 3, "%02x", spki[i]);
	return NJ_OK;
}

enum nj_err
ca_append(const char *path, bool create, const struct registry_entry *entry,
    struct nj_why *why)
{
	struct registry *r = NULL;
	enum nj_err e;

	if ((e = registry_open(path, create, &r, why)))
		return e;
	e = registry_append(r, entry, why);
	registry_close(r);
	return e;
}

enum nj_err
ca_record(
    const char *dir, bool create, X509 *x, const char *kind, struct nj_why *why)
{
	char *path = pki_path(dir, CA_REGISTRY), id[PKI_CA_ID + 1];
	struct registry_entry entry;
	enum nj_err e = NJ_NOMEM;

	if (path && !(e = pki_ca_id(x, id)) &&
	    !(e = ca_fill_entry(x, kind, id, NULL, &entry)))
		e = ca_append(path, create, &entry, why);
	free(path);
	return e;
}

/*
 * A new one.  ca.crt is written last.
 */

struct making {
	const char *dir;
	const struct pki_ca_opts *o;
	const struct secret *pass;
	EVP_PKEY *root_key, *key; /* key: of the issuing CA */
	X509 *root, *issuing;
};

/* The one that issues may be in a module. */
static enum nj_err
new_key(const struct making *m, bool above, EVP_PKEY **out, struct nj_why *why)
{
	if (m->o->key_uri && !above)
		return pkcs11_load(slice_str(m->o->key_uri), m->pass, out, why);
	return pki_key_new_p256(out);
}

static enum nj_err
make_root(struct making *m, struct nj_why *why)
{
	const struct pki_ca_opts *o = m->o;
	char name[PKI_ID_MAX + 1];
	struct pki_cert_spec spec = { .profile = PKI_ROOT,
		.cn = o->name ? o->name : name,
		.constraints = o->constraints,
		.days = o->days ? o->days : PKI_ROOT_DAYS };
	enum nj_err e;

	if ((e = new_key(
		 m, m->o->issuing || m->o->offline_root, &m->root_key, why)) ||
	    (e = ca_default_name(m->root_key, "CA", name)))
		return e;
	spec.key = m->root_key;
	return pki_cert_make(&spec, NULL, m->root_key, &m->root, why);
}

enum nj_err
ca_make_issuing(EVP_PKEY *key, X509 *root, EVP_PKEY *root_key, X509 **out,
    struct nj_why *why)
{
	char name[PKI_ID_MAX + 1];
	const struct pki_cert_spec spec = { .profile = PKI_ISSUING,
		.key = key,
		.cn = name,
		.days = PKI_ISSUING_DAYS };
	enum nj_err e;

	if ((e = ca_default_name(key, "issuing CA", name)))
		return e;
	return pki_cert_make(&spec, root, root_key, out, why);
}

static enum nj_err
make_issuing(struct making *m, struct nj_why *why)
{
	enum nj_err e;

	if ((e = new_key(m, false, &m->key, why)) ||
	    (e = ca_make_issuing(
		 m->key, m->root, m->root_key, &m->issuing, why)) ||
	    (e = ca_store_key(m->dir, ISSUING_KEY, m->key, m->pass, why)))
		return e;
	return ca_store_chain(m->dir, ISSUING_CRT, m->issuing, NULL, why);
}

/* The key of the root: here, or where it is to be kept. */
static enum nj_err
store_root_key(struct making *m, struct nj_why *why)
{
	const char *away = m->o->offline_root;
	char *crt, *key;
	enum nj_err e;

	if (!away)
		return ca_store_key(m->dir, CA_KEY, m->root_key, m->pass, why);
	crt = pki_path(away, "root.crt");
	key = pki_path(away, "root.key");
	e = crt && key ? file_mkdir(away, 0700, why) : NJ_NOMEM;
	if (!e && (exists(key) || exists(crt))) {
		e = NJ_EXISTS;
		why_set(why, "'%s' holds the key of a CA already", away);
		why_mend(why, "give an empty folder");
	}
	if (!e && !(e = pki_key_store(key, m->root_key, m->pass, why)))
		e = pki_chain_store(crt, m->root, NULL, 0644, why);
	free(key);
	free(crt);
	return e;
}

static enum nj_err
make_ca(struct making *m, struct nj_why *why)
{
	bool two = m->o->issuing || m->o->offline_root;
	enum nj_err e;

	if ((e = make_root(m, why)) || (e = store_root_key(m, why)) ||
	    (e = ca_record(m->dir, true, m->root, "root", why)))
		return e;
	if (two &&
	    ((e = make_issuing(m, why)) ||
		(e = ca_record(m->dir, false, m->issuing, "issuing", why))))
		return e;
	return ca_store_chain(m->dir, CA_CRT, m->root, NULL, why);
}

enum nj_err
pki_ca_init(const char *dir, const struct pki_ca_opts *o,
    const struct secret *pass, struct pki_ca **out, struct nj_why *why)
{
	struct making m = { .dir = dir, .o = o, .pass = pass };
	struct pki_ca *ca = NULL;
	enum nj_err e = NJ_OK;

	if (o->name)
		e = ca_check_name(o->name, why);
	if (!e && !(e = ca_prepare_folder(dir, why)))
		e = make_ca(&m, why);
	if (!e && !(e = pki_ca_open(dir, &ca, why))) {
		ca->key = m.key ? m.key : m.root_key;
		EVP_PKEY_up_ref(ca->key);
		*out = ca;
	}
	X509_free(m.issuing);
	X509_free(m.root);
	EVP_PKEY_free(m.key);
	EVP_PKEY_free(m.root_key);
	return e;
}

/*
 * One that is there.
 */

/* The issuing CA below the root, where there is one. */
static enum nj_err
open_issuing(struct pki_ca *ca, struct nj_why *why)
{
	STACK_OF(X509) *certs = NULL;
	enum nj_err e;

	if (!ca_has(ca->dir, ISSUING_CRT)) {
		ca->issuer = ca->root;
		X509_up_ref(ca->root);
		return NJ_OK;
	}
	if ((e = ca_load_chain(ca->dir, ISSUING_CRT, &certs, why)))
		return e;
	sk_X509_free(ca->chain);
	ca->chain = certs;
	ca->issuer = sk_X509_value(certs, 0);
	X509_up_ref(ca->issuer);
	return pki_judge(ca->issuer, PKI_USE_CA, ISSUING_CRT, why);
}

static enum nj_err
append(
    STACK_OF(X509) * to, const char *dir, const char *name, struct nj_why *why)
{
	STACK_OF(X509) *certs = NULL;
	enum nj_err e;

	if (!ca_has(dir, name))
		return NJ_OK;
	if ((e = ca_load_chain(dir, name, &certs, why)))
		return e;
	while (!e && sk_X509_num(certs) > 0) {
		X509 *x = sk_X509_shift(certs);

		if (sk_X509_push(to, x) <= 0) {
			X509_free(x);
			e = NJ_NOMEM;
		}
	}
	sk_X509_pop_free(certs, X509_free);
	return e;
}

static enum nj_err
open_rollover(struct pki_ca *ca, struct nj_why *why)
{
	enum nj_err e;

	if (!ca_has(ca->dir, CROSS_CRT) && !ca_has(ca->dir, BACK_CRT))
		return NJ_OK;
	if (!(ca->rollover = sk_X509_new_null()))
		return NJ_NOMEM;
	if ((e = append(ca->rollover, ca->dir, CROSS_CRT, why)))
		return e;
	return append(ca->rollover, ca->dir, BACK_CRT, why);
}

/* Who issued before, as long as its certificates are still about; and the
 * certificate with which those who know only the old one believe the new. */
static enum nj_err
open_old(struct pki_ca *ca, struct nj_why *why)
{
	STACK_OF(X509) *certs = NULL;
	enum nj_err e;

	if (!ca_has(ca->dir, OLD_CRT))
		return NJ_OK;
	if ((e = ca_load_chain(ca->dir, OLD_CRT, &certs, why)))
		return e;
	ca->old = sk_X509_shift(certs);
	sk_X509_pop_free(certs, X509_free);
	/* A crash came before the successor took its place. */
	if (X509_cmp(ca->old, ca->issuer) == 0) {
		X509_free(ca->old);
		ca->old = NULL;
		return NJ_OK;
	}
	if (ca->issuer == ca->root)
		return append(ca->chain, ca->dir, CROSS_CRT, why);
	if (!ca_has(ca->dir, BRIDGE_CRT))
		return NJ_OK;
	return ca_load_chain(ca->dir, BRIDGE_CRT, &ca->bridge, why);
}

/* None, or none for this user. */
static enum nj_err
no_ca(const char *dir, struct nj_why *why)
{
	char *path = pki_path(dir, CA_CRT);
	struct stat st;
	bool closed = path && lstat(path, &st) != 0 && errno == EACCES;

	free(path);
	if (closed) {
		why_set(why,
		    "the CA in '%s' is closed to this user (user id %ld)", dir,
		    (long)geteuid());
		why_mend(why,
		    "run it as the owner of '%s/pki', with sudo as a rule",
		    dir);
		return NJ_DENIED;
	}
	why_set(why, "there is no CA in '%s'", dir);
	why_mend(why, "make one with: nightjar ca init --dir '%s'", dir);
	return NJ_NOTFOUND;
}

enum nj_err
pki_ca_open(const char *dir, struct pki_ca **out, struct nj_why *why)
{
	STACK_OF(X509) *certs = NULL;
	struct pki_ca *ca = NULL;
	enum nj_err e;

	if (!pki_ca_exists(dir))
		return no_ca(dir, why);
	if (!(ca = ca_new(dir)))
		return NJ_NOMEM;
	if ((e = check_folder(dir, why)) ||
	    (e = ca_load_chain(dir, CA_CRT, &certs, why)))
		goto out;
	ca->root = sk_X509_value(certs, 0);
	X509_up_ref(ca->root);
	sk_X509_free(ca->roots);
	ca->roots = certs;
	if ((e = pki_judge(ca->root, PKI_USE_CA, CA_CRT, why)) ||
	    (e = pki_ca_id(ca->root, ca->id)) || (e = open_issuing(ca, why)) ||
	    (e = open_old(ca, why)) || (e = open_rollover(ca, why)))
		goto out;
	ca->crl_url = pki_crl_url(dir);
	*out = ca;
	ca = NULL;
out:
	pki_ca_free(ca);
	return e;
}

static bool
is_key_of(X509 *x, EVP_PKEY *key)
{
	bool yes = X509_check_private_key(x, key) == 1;

	ERR_clear_error();
	return yes;
}

/* The key of the one who issues.  Between two steps of a roll-over it is
 * still called the successor's. */
static enum nj_err
unlock_issuer(struct pki_ca *ca, const struct secret *pass, EVP_PKEY **out,
    struct nj_why *why)
{
	const char *name = ca->issuer == ca->root ? CA_KEY : ISSUING_KEY;
	EVP_PKEY *key = NULL;
	enum nj_err e;

	if (!ca_has(ca->dir, name) && ca->issuer == ca->root) {
		why_set(why, "the key of the CA is not in '%s'", ca->dir);
		why_mend(why, "restore '%s/%s' from a backup", ca->dir, name);
		return NJ_NOTFOUND;
	}
	if ((e = ca_load_key(ca->dir, name, pass, &key, why)))
		return e;
	if (!is_key_of(ca->issuer, key) && ca_has(ca->dir, NEXT_KEY)) {
		EVP_PKEY_free(key);
		key = NULL;
		if ((e = ca_load_key(ca->dir, NEXT_KEY, pass, &key, why)))
			return e;
	}
	if (is_key_of(ca->issuer, key)) {
		*out = key;
		return NJ_OK;
	}
	EVP_PKEY_free(key);
	why_set(
	    why, "'%s/%s' is not the key of its certificate", ca->dir, name);
	why_mend(why, "restore both from the same backup");
	return NJ_INVALID;
}

enum nj_err
pki_ca_unlock(struct pki_ca *ca, const struct secret *pass, struct nj_why *why)
{
	EVP_PKEY *key = NULL, *old = NULL;
	enum nj_err e;

	if ((e = unlock_issuer(ca, pass, &key, why)))
		return e;
	if (ca->old && ca_has(ca->dir, OLD_KEY) &&
	    (e = ca_load_key(ca->dir, OLD_KEY, pass, &old, why))) {
		EVP_PKEY_free(key);
		return e;
	}
	pki_ca_lock(ca);
	ca->key = key;
	ca->old_key = old;
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
	EVP_PKEY_free(ca->old_key);
	ca->key = NULL;
	ca->old_key = NULL;
}

void
pki_ca_reread_url(struct pki_ca *ca)
{
	free(ca->crl_url);
	ca->crl_url = pki_crl_url(ca->dir);
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

const STACK_OF(X509) * pki_ca_server_chain(const struct pki_ca *ca)
{
	return ca->bridge ? ca->bridge : ca->chain;
}

const STACK_OF(X509) * pki_ca_rollover(const struct pki_ca *ca)
{
	return ca->rollover;
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
