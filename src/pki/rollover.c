/* SPDX-License-Identifier: Apache-2.0
 * A CA's successor: announced, in office, alone.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "pki/authority.h"
#include "pki/ca_impl.h"
#include "pki/crl.h"
#include "pki/explain.h"
#include "pki/issue.h"
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

enum authority_stage
authority_stage(const struct pki_ca *ca)
{
	if (ca->old)
		return ROLL_SWITCHED;
	return ca_has(ca->dir, NEXT_CRT) ? ROLL_ANNOUNCED : ROLL_NONE;
}

/* A new root for what the present one is for.  name NULL: from the host name;
 * days 0: as long as usual. */
static enum nj_err
make_successor(const struct pki_ca *ca, const char *name, unsigned days,
    EVP_PKEY **key, X509 **out, struct nj_why *why)
{
	char made[PKI_ID_MAX + 1];
	struct pki_cert_spec spec = { .profile = PKI_ROOT,
		.cn = name ? name : made,
		.constraints_of = ca->root,
		.days = days ? days : PKI_ROOT_DAYS };
	enum nj_err e;

	if ((name && (e = ca_check_name(name, why))) ||
	    (e = pki_key_new_p256(key)) ||
	    (e = ca_default_name(*key, "CA", made)))
		return e;
	spec.key = *key;
	return pki_cert_make(&spec, NULL, *key, out, why);
}

enum nj_err
authority_announce(struct pki_ca *ca, const char *name, unsigned days,
    const struct secret *pass, struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	X509 *next = NULL;
	enum nj_err e;

	if (ca->issuer != ca->root) {
		why_set(why,
		    "an issuing CA below a root is replaced by another one, "
		    "which clients need not be told of");
		why_mend(why,
		    "nightjar ca request, have it signed, nightjar ca "
		    "install; or: nightjar ca roll --offline-root DIR; its "
		    "root is replaced by: nightjar ca roll --root");
		return NJ_UNSUPPORTED;
	}
	if ((e = make_successor(ca, name, days, &key, &next, why)) ||
	    (e = ca_store_key(ca->dir, NEXT_KEY, key, pass, why)) ||
	    (e = ca_store_chain(ca->dir, NEXT_CRT, next, NULL, why)))
		goto out;
	e = store_two(ca->dir, ca->root, next, why);
out:
	X509_free(next);
	EVP_PKEY_free(key);
	return e;
}

/* Another certificate of x, by another CA, stored under that name. */
static enum nj_err
cross_sign(const char *dir, const char *name, enum pki_profile profile, X509 *x,
    X509 *by, EVP_PKEY *by_key, const char *kind, struct nj_why *why)
{
	const struct pki_cert_spec spec = { .profile = profile,
		.key = X509_get0_pubkey(x),
		.subject = X509_get_subject_name(x),
		.constraints_of = x,
		.days = PKI_DAYS_MAX }; /* that is, until the issuer ends */
	X509 *cross = NULL;
	enum nj_err e;

	if ((e = pki_cert_make(&spec, by, by_key, &cross, why)))
		return e;
	if (!kind || !(e = ca_record(dir, false, cross, kind, why)))
		e = ca_store_chain(dir, name, cross, NULL, why);
	X509_free(cross);
	return e;
}

/* For those who know only one of the two. */
static enum nj_err
make_cross(struct pki_ca *ca, X509 *next, EVP_PKEY *key, struct nj_why *why)
{
	enum nj_err e = cross_sign(ca->dir, BACK_CRT, PKI_ISSUING, ca->root,
	    next, key, "issuing", why);

	return e ? e
		 : cross_sign(ca->dir, CROSS_CRT, PKI_ISSUING, next, ca->root,
		       ca->key, "issuing", why);
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

/*
 * A root above an issuing CA.
 */

struct two_roots {
	X509 *old, *new; /* old is borrowed */
	EVP_PKEY *old_key, *new_key;
	EVP_PKEY *issuing_key;
	X509 *issuing; /* by the new one */
};

static void
two_roots_fini(struct two_roots *t)
{
	X509_free(t->new);
	X509_free(t->issuing);
	EVP_PKEY_free(t->old_key);
	EVP_PKEY_free(t->new_key);
	EVP_PKEY_free(t->issuing_key);
}

static enum nj_err
load_old_root(struct pki_ca *ca, const struct authority_root *o,
    const struct secret *pass, struct two_roots *t, struct nj_why *why)
{
	const char *dir = o->old_dir ? o->old_dir : ca->dir;
	const char *name = o->old_dir ? "root.key" : CA_KEY;
	enum nj_err e;

	t->old = ca->root;
	if (!ca_has(dir, name)) {
		why_set(why, "the key of the root is not '%s/%s'", dir, name);
		why_mend(why,
		    "say where it was taken to: --offline-root DIR; with a "
		    "company's root: nightjar ca install CERT --root ROOT, "
		    "when "
		    "it has signed this CA with the new one");
		return NJ_NOTFOUND;
	}
	if ((e = ca_load_key(
		 dir, name, o->old_dir ? o->old_pass : pass, &t->old_key, why)))
		return e;
	if (X509_check_private_key(ca->root, t->old_key) == 1)
		return NJ_OK;
	why_set(why, "'%s/%s' is not the key of this CA's root", dir, name);
	why_mend(why, "give the folder that was made with it");
	return NJ_INVALID;
}

/* The new root's key: here, or where it is to be kept. */
static enum nj_err
store_new_root(const char *dir, const struct authority_root *o,
    const struct two_roots *t, const struct secret *pass, struct nj_why *why)
{
	char *folder;
	enum nj_err e;

	if (!o->new_dir)
		return ca_store_key(dir, NEXT_ROOT_KEY, t->new_key, pass, why);
	if (ca_has(o->new_dir, "root.key") || ca_has(o->new_dir, "root.crt")) {
		why_set(why, "'%s' holds the key of a CA already", o->new_dir);
		why_mend(why, "give an empty folder");
		return NJ_EXISTS;
	}
	if (!(folder = strdup(o->new_dir)))
		return NJ_NOMEM;
	if (!(e = file_mkdir(folder, 0700, why)) &&
	    !(e = ca_store_key(folder, "root.key", t->new_key, pass, why)))
		e = ca_store_chain(folder, "root.crt", t->new, NULL, why);
	free(folder);
	return e;
}

enum nj_err
authority_announce_root(struct pki_ca *ca, const struct authority_root *o,
    const struct secret *pass, struct nj_why *why)
{
	struct two_roots t = { 0 };
	enum nj_err e;

	if (ca->issuer == ca->root) {
		why_set(why, "the root issues by itself");
		why_mend(why, "nightjar ca roll, without --root");
		return NJ_INVALID;
	}
	if ((e = load_old_root(ca, o, pass, &t, why)) ||
	    (e = make_successor(
		 ca, o->name, o->days, &t.new_key, &t.new, why)) ||
	    (e = pki_key_new_p256(&t.issuing_key)) ||
	    (e = ca_make_issuing(
		 t.issuing_key, t.new, t.new_key, &t.issuing, why)) ||
	    (e = store_new_root(ca->dir, o, &t, pass, why)) ||
	    (e = ca_store_key(ca->dir, NEXT_KEY, t.issuing_key, pass, why)))
		goto out;
	if ((e = cross_sign(ca->dir, BACK_CRT, PKI_ROOT, t.old, t.new,
		 t.new_key, "root", why)) ||
	    (e = cross_sign(ca->dir, CROSS_CRT, PKI_ROOT, t.new, t.old,
		 t.old_key, "root", why)) ||
	    (e = cross_sign(ca->dir, BRIDGE_CRT, PKI_ISSUING, t.issuing, t.old,
		 t.old_key, NULL, why)) ||
	    (e = ca_store_chain(ca->dir, NEXT_ROOT_CRT, t.new, NULL, why)) ||
	    (e = store_two(ca->dir, ca->root, t.new, why)))
		goto out;
	/* With this it is done. */
	e = ca_store_chain(ca->dir, NEXT_CRT, t.issuing, NULL, why);
out:
	two_roots_fini(&t);
	return e;
}

static enum nj_err
rename_if_there(
    const char *dir, const char *from, const char *to, struct nj_why *why)
{
	return ca_has(dir, from) ? rename_key(dir, from, to, why) : NJ_OK;
}

static enum nj_err
take_root_place(const char *dir, struct nj_why *why)
{
	enum nj_err e;

	if ((e = rename_if_there(dir, NEXT_KEY, ISSUING_KEY, why)) ||
	    (e = rename_if_there(dir, NEXT_ROOT_KEY, CA_KEY, why)) ||
	    (e = drop(dir, NEXT_ROOT_CRT, why)))
		return e;
	return drop(dir, NEXT_CRT, why);
}

static enum nj_err
record_new(const char *dir, X509 *root, X509 *issuing, struct nj_why *why)
{
	X509 *bridge = NULL;
	enum nj_err e;

	if ((e = load_one(dir, BRIDGE_CRT, &bridge, why)))
		return e;
	if (!(e = ca_record(dir, false, root, "root", why)) &&
	    !(e = ca_record(dir, false, bridge, "issuing", why)))
		e = ca_record(dir, false, issuing, "issuing", why);
	X509_free(bridge);
	return e;
}

static enum nj_err
switch_root(struct pki_ca *ca, const struct secret *pass, struct nj_why *why)
{
	X509 *root = NULL, *issuing = NULL;
	enum nj_err e;

	/* A crash came after the last step but one. */
	if (ca->old)
		return take_root_place(ca->dir, why);
	if ((e = load_one(ca->dir, NEXT_ROOT_CRT, &root, why)) ||
	    (e = load_one(ca->dir, NEXT_CRT, &issuing, why)) ||
	    (e = ca_store_key(ca->dir, OLD_KEY, ca->key, pass, why)) ||
	    (e = ca_store_chain(ca->dir, OLD_CRT, ca->issuer, NULL, why)) ||
	    (e = record_new(ca->dir, root, issuing, why)))
		goto out;
	/* A switch that a crash cut short is begun anew. */
	if (X509_cmp(ca->root, root) != 0 &&
	    (e = store_two(ca->dir, root, ca->root, why)))
		goto out;
	/* With this it is done. */
	if (!(e = ca_store_chain(ca->dir, ISSUING_CRT, issuing, NULL, why)))
		e = take_root_place(ca->dir, why);
out:
	X509_free(root);
	X509_free(issuing);
	return e;
}

enum nj_err
authority_switch(
    struct pki_ca *ca, const struct secret *pass, struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	X509 *next = NULL;
	enum nj_err e;

	if (ca->issuer != ca->root)
		return switch_root(ca, pass, why);
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
	EVP_PKEY *root_key = NULL;
	enum nj_err e;

	if ((e = ca_load_key(root_dir, "root.key", root_pass, &root_key, why)))
		return e;
	if (X509_check_private_key(ca->root, root_key) != 1) {
		e = NJ_INVALID;
		why_set(why, "'%s/root.key' is not the key of this CA's root",
		    root_dir);
		why_mend(why, "give the folder that was made with it");
	} else {
		e = ca_make_issuing(key, ca->root, root_key, out, why);
	}
	EVP_PKEY_free(root_key);
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

/* What was there before is a forerunner's, though it may have had the same
 * key. */
static void
pass_on(struct census *c, const struct registry_entry *e)
{
	struct holder *h;
	size_t at = 0;

	c->after = strcmp(e->id, c->issuer) == 0;
	while ((h = map_next(&c->all, &at)))
		h->old = true;
}

static bool
count_entry(void *arg, const struct registry_entry *e)
{
	struct census *c = arg;

	if (strcmp(e->kind, "root") == 0 || strcmp(e->kind, "issuing") == 0)
		pass_on(c, e);
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

static bool
is_old_root_key(const struct pki_ca *ca, const struct secret *pass)
{
	EVP_PKEY *key = NULL;
	bool yes = ca_load_key(ca->dir, CA_KEY, pass, &key, NULL) == NJ_OK &&
	    X509_check_private_key(ca->root, key) != 1;

	ERR_clear_error();
	EVP_PKEY_free(key);
	return yes;
}

enum nj_err
authority_finish(
    struct pki_ca *ca, const struct secret *pass, struct nj_why *why)
{
	static const char *const gone[] = { CROSS_CRT, BACK_CRT, BRIDGE_CRT,
		OLD_KEY, OLD_CRT };
	enum nj_err e = ca_store_chain(ca->dir, CA_CRT, ca->root, NULL, why);

	/* Before the bridge goes, for after it nothing asks for this again. */
	if (!e && ca->issuer != ca->root) {
		sk_X509_pop_free(ca->bridge, X509_free);
		ca->bridge = NULL;
		e = pki_server_rechain(ca, why);
	}
	/* The key of a root whose successor's was taken away. */
	if (!e && ca->issuer != ca->root && ca_has(ca->dir, CA_KEY) &&
	    is_old_root_key(ca, pass))
		e = drop(ca->dir, CA_KEY, why);
	for (size_t i = 0; !e && i < sizeof gone / sizeof *gone; i++)
		e = drop(ca->dir, gone[i], why);
	return e;
}
