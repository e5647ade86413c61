/* SPDX-License-Identifier: Apache-2.0
 * A CA's successor: announced, in office, alone.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "pki/authority.h"
#include "pki/ca_impl.h"
#include "pki/crl.h"
#include "pki/explain.h"
#include "pki/key.h"

static enum nj_err
load_one(const char *dir, const char *name, X509 **out, struct nj_why *why)
{
	STACK_OF(X509) *certs = NULL;
	enum nj_err e;

	if ((e = ca_load_chain(dir, name, &certs, why)))
		return e;
	*out = sk_X509_shift(certs);
	sk_X509_pop_free(certs, X509_free);
	return NJ_OK;
}

static enum nj_err
store_two(const char *dir, X509 *first, X509 *second, struct nj_why *why)
{
	STACK_OF(X509) *more = sk_X509_new_null();
	enum nj_err e = NJ_NOMEM;

	if (more && sk_X509_push(more, second) > 0)
		e = ca_store_chain(dir, CA_CRT, first, more, why);
	sk_X509_free(more);
	return e;
}

static enum nj_err
drop(const char *dir, const char *name, struct nj_why *why)
{
	char *path = pki_path(dir, name);
	enum nj_err e = NJ_OK;

	if (!path)
		return NJ_NOMEM;
	if (unlink(path) != 0 && errno != ENOENT) {
		e = NJ_IO;
		why_set(why, "cannot remove '%s': %s", path, strerror(errno));
	}
	free(path);
	return e;
}

enum authority_stage
authority_stage(const struct pki_ca *ca)
{
	if (ca->old)
		return ROLL_SWITCHED;
	return ca_has(ca->dir, NEXT_CRT) ? ROLL_ANNOUNCED : ROLL_NONE;
}

enum nj_err
authority_announce(struct pki_ca *ca, const char *name, unsigned days,
    const struct secret *pass, struct nj_why *why)
{
	char made[PKI_ID_MAX + 1];
	struct pki_cert_spec spec = { .profile = PKI_ROOT,
		.cn = name ? name : made,
		.days = days ? days : PKI_ROOT_DAYS };
	EVP_PKEY *key = NULL;
	X509 *next = NULL;
	enum nj_err e;

	if (ca->issuer != ca->root) {
		why_set(why,
		    "an issuing CA below a root is replaced by another one, "
		    "which clients need not be told of");
		why_mend(why,
		    "nightjar ca request, have it signed, nightjar ca "
		    "install; or: nightjar ca roll --offline-root DIR");
		return NJ_UNSUPPORTED;
	}
	if ((name && (e = ca_check_name(name, why))) ||
	    (e = pki_key_new_p256(&key)) ||
	    (e = ca_default_name(key, "CA", made)))
		goto out;
	spec.key = key;
	if ((e = pki_cert_make(&spec, NULL, key, &next, why)) ||
	    (e = ca_store_key(ca->dir, NEXT_KEY, key, pass, why)) ||
	    (e = ca_store_chain(ca->dir, NEXT_CRT, next, NULL, why)))
		goto out;
	e = store_two(ca->dir, ca->root, next, why);
out:
	X509_free(next);
	EVP_PKEY_free(key);
	return e;
}

/* For those who know the forerunner only. */
static enum nj_err
make_cross(struct pki_ca *ca, X509 *next, EVP_PKEY *key, struct nj_why *why)
{
	const struct pki_cert_spec spec = { .profile = PKI_ISSUING,
		.key = key,
		.subject = X509_get_subject_name(next),
		.days = PKI_DAYS_MAX }; /* that is, until the issuer ends */
	X509 *cross = NULL;
	enum nj_err e;

	if ((e = pki_cert_make(&spec, ca->root, ca->key, &cross, why)))
		return e;
	if (!(e = ca_record(ca->dir, false, cross, "issuing", why)))
		e = ca_store_chain(ca->dir, CROSS_CRT, cross, NULL, why);
	X509_free(cross);
	return e;
}

static enum nj_err
take_place(const char *dir, struct nj_why *why)
{
	char *from = pki_path(dir, NEXT_KEY), *to = pki_path(dir, CA_KEY);
	enum nj_err e = from && to ? NJ_OK : NJ_NOMEM;

	if (!e && rename(from, to) != 0 && errno != ENOENT) {
		e = NJ_IO;
		why_set(why, "cannot name '%s': %s", to, strerror(errno));
	}
	free(to);
	free(from);
	return e ? e : drop(dir, NEXT_CRT, why);
}

enum nj_err
authority_switch(
    struct pki_ca *ca, const struct secret *pass, struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	X509 *next = NULL;
	enum nj_err e;

	/* A crash came after the last step but one. */
	if (ca->old)
		return take_place(ca->dir, why);
	if ((e = load_one(ca->dir, NEXT_CRT, &next, why)) ||
	    (e = ca_load_key(ca->dir, NEXT_KEY, pass, &key, why)))
		goto out;
	if ((e = make_cross(ca, next, key, why)) ||
	    (e = ca_store_key(ca->dir, OLD_KEY, ca->key, pass, why)) ||
	    (e = ca_store_chain(ca->dir, OLD_CRT, ca->root, NULL, why)) ||
	    (e = ca_record(ca->dir, false, next, "root", why)))
		goto out;
	/* With this it is done. */
	if (!(e = store_two(ca->dir, next, ca->root, why)))
		e = take_place(ca->dir, why);
out:
	EVP_PKEY_free(key);
	X509_free(next);
	return e;
}

/*
 * Another issuing CA below the same root, which clients need not be told of.
 */

static enum nj_err
sign_issuing(struct pki_ca *ca, const char *root_dir, EVP_PKEY *key,
    const struct secret *root_pass, X509 **out, struct nj_why *why)
{
	char name[PKI_ID_MAX + 1];
	struct pki_cert_spec spec = { .profile = PKI_ISSUING,
		.key = key,
		.cn = name,
		.days = PKI_ISSUING_DAYS };
	EVP_PKEY *root_key = NULL;
	enum nj_err e;

	if ((e = ca_load_key(
		 root_dir, "root.key", root_pass, &root_key, why)) ||
	    (e = ca_default_name(key, "issuing CA", name)))
		goto out;
	if (X509_check_private_key(ca->root, root_key) != 1) {
		e = NJ_INVALID;
		why_set(why, "'%s/root.key' is not the key of this CA's root",
		    root_dir);
		why_mend(why, "give the folder that was made with it");
		goto out;
	}
	e = pki_cert_make(&spec, ca->root, root_key, out, why);
out:
	EVP_PKEY_free(root_key);
	return e;
}

static enum nj_err
rename_key(
    const char *dir, const char *from, const char *to, struct nj_why *why)
{
	char *a = pki_path(dir, from), *b = pki_path(dir, to);
	enum nj_err e = a && b ? NJ_OK : NJ_NOMEM;

	if (!e && rename(a, b) != 0) {
		e = NJ_IO;
		why_set(why, "cannot name '%s': %s", b, strerror(errno));
	}
	free(b);
	free(a);
	return e;
}

enum nj_err
authority_reissue(struct pki_ca *ca, const char *root_dir,
    const struct secret *root_pass, const struct secret *pass,
    struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	X509 *x = NULL;
	enum nj_err e;

	if (ca->issuer == ca->root) {
		why_set(why, "there is no issuing CA below this root");
		why_mend(why, "nightjar ca roll, without --offline-root");
		return NJ_INVALID;
	}
	if ((e = pki_key_new_p256(&key)) ||
	    (e = sign_issuing(ca, root_dir, key, root_pass, &x, why)) ||
	    (e = ca_store_key(ca->dir, OLD_KEY, ca->key, pass, why)) ||
	    (e = ca_store_chain(ca->dir, OLD_CRT, ca->issuer, NULL, why)) ||
	    (e = ca_store_key(ca->dir, NEXT_KEY, key, pass, why)) ||
	    (e = ca_record(ca->dir, false, x, "issuing", why)))
		goto out;
	/* With this it is done; the key is found under either name. */
	if (!(e = ca_store_chain(ca->dir, ISSUING_CRT, x, NULL, why)))
		e = rename_key(ca->dir, NEXT_KEY, ISSUING_KEY, why);
out:
	X509_free(x);
	EVP_PKEY_free(key);
	return e;
}

/*
 * What the forerunner leaves behind.
 */

struct holder {
	char key[PKI_ID_MAX + 16]; /* "device ID" */
	char serial[41];
	int64_t until;
	bool old;
};

struct census {
	char issuer[PKI_CA_ID + 1]; /* the one in office */
	bool after;		    /* it issues already */
	struct map all;
	enum nj_err err;
};

static struct slice
key_of(const void *value)
{
	return slice_str(((const struct holder *)value)->key);
}

static enum nj_err
hold(struct census *c, const struct registry_entry *e)
{
	char key[PKI_ID_MAX + 16];
	struct holder *h;
	enum nj_err err;

	(void)snprintf(key, sizeof(key), "%s %s", e->kind, e->id);
	if (!(h = map_get(&c->all, slice_str(key)))) {
		if (!(h = calloc(1, sizeof(*h))))
			return NJ_NOMEM;
		memcpy(h->key, key, sizeof(h->key));
		if ((err = map_put(&c->all, h))) {
			free(h);
			return err;
		}
	}
	memcpy(h->serial, e->serial, sizeof(h->serial));
	h->until = e->not_after;
	h->old = !c->after;
	return NJ_OK;
}

static void
let_go(struct census *c, const struct registry_entry *e)
{
	struct holder *h;
	size_t at = 0;

	while ((h = map_next(&c->all, &at)))
		if (strcmp(h->serial, e->serial) == 0)
			h->until = 0;
}

static bool
count_entry(void *arg, const struct registry_entry *e)
{
	struct census *c = arg;

	if (strcmp(e->kind, "root") == 0 || strcmp(e->kind, "issuing") == 0)
		c->after = strcmp(e->id, c->issuer) == 0;
	else if (strcmp(e->kind, "device") == 0 ||
	    strcmp(e->kind, "server") == 0)
		c->err = hold(c, e);
	else if (strcmp(e->kind, "revoked") == 0)
		let_go(c, e);
	return c->err == NJ_OK;
}

enum nj_err
authority_leftovers(struct pki_ca *ca,
    void (*fn)(void *arg, const char *kind, const char *id, int64_t until),
    void *arg, size_t *n, struct nj_why *why)
{
	struct census c = { .after = false };
	int64_t now = (int64_t)time(NULL);
	struct holder *h;
	size_t at = 0;
	enum nj_err e;

	*n = 0;
	map_init(&c.all, key_of);
	if (!(e = pki_ca_id(ca->issuer, c.issuer)))
		e = registry_each(ca->registry, count_entry, &c, why);
	if (!e)
		e = c.err;
	while ((h = map_next(&c.all, &at))) {
		if (!e && h->old && h->until > now) {
			char *id = strchr(h->key, ' ');

			assert(id); /* key_of put it there */
			*id = '\0';
			fn(arg, h->key, id + 1, h->until);
			++*n;
		}
	}
	for (at = 0; (h = map_next(&c.all, &at));)
		free(h);
	map_fini(&c.all);
	return e;
}

enum nj_err
authority_finish(struct pki_ca *ca, struct nj_why *why)
{
	enum nj_err e;

	if ((e = ca_store_chain(ca->dir, CA_CRT, ca->root, NULL, why)) ||
	    (e = drop(ca->dir, CROSS_CRT, why)) ||
	    (e = drop(ca->dir, OLD_KEY, why)))
		return e;
	return drop(ca->dir, OLD_CRT, why);
}
