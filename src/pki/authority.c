/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/authority.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pki/ca_impl.h"
#include "pki/explain.h"
#include "pki/key.h"

#define ISSUING_PATHLEN "critical,CA:TRUE,pathlen:0"

/*
 * Below a company's own.
 */

static bool
push_ext(STACK_OF(X509_EXTENSION) * exts, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	if (ext && sk_X509_EXTENSION_push(exts, ext) > 0)
		return true;
	X509_EXTENSION_free(ext);
	return false;
}

/* Many a CA takes over what is asked for, others set it by themselves. */
static X509_REQ *
make_request(EVP_PKEY *key, const char *name)
{
	STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
	X509_REQ *req = X509_REQ_new();
	bool ok;

	ok = exts && req &&
	    push_ext(exts, NID_basic_constraints, ISSUING_PATHLEN) &&
	    push_ext(exts, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
	    X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(req),
		NID_commonName, MBSTRING_UTF8, (const unsigned char *)name, -1,
		-1, 0) == 1 &&
	    X509_REQ_set_pubkey(req, key) == 1 &&
	    X509_REQ_add_extensions(req, exts) == 1 &&
	    X509_REQ_sign(req, key, EVP_sha256()) > 0;
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	if (ok)
		return req;
	X509_REQ_free(req);
	ERR_clear_error();
	return NULL;
}

static enum nj_err
store_request(const char *dir, X509_REQ *req, struct nj_why *why)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *path = pki_path(dir, ISSUING_CSR), *text = NULL;
	enum nj_err e = NJ_NOMEM;
	long n;

	if (bio && path && PEM_write_bio_X509_REQ(bio, req) == 1) {
		n = BIO_get_mem_data(bio, &text);
		e = file_write(path, slice_of(text, (size_t)n), 0644, why);
	}
	free(path);
	BIO_free(bio);
	return e;
}

/* The key that the request is for, or a new one. */
static enum nj_err
request_key(const char *dir, const struct secret *pass, EVP_PKEY **out,
    struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	enum nj_err e;

	if (ca_has(dir, ISSUING_KEY))
		return ca_load_key(dir, ISSUING_KEY, pass, out, why);
	if (pki_ca_exists(dir)) {
		why_set(why, "there is a CA in '%s' already", dir);
		why_mend(why, "make the request in another folder: --dir DIR");
		return NJ_EXISTS;
	}
	if ((e = ca_prepare_folder(dir, why)) || (e = pki_key_new_p256(&key)))
		return e;
	if ((e = ca_store_key(dir, ISSUING_KEY, key, pass, why)))
		EVP_PKEY_free(key);
	else
		*out = key;
	return e;
}

enum nj_err
authority_request(const char *dir, const char *name, const struct secret *pass,
    struct nj_why *why)
{
	char made[PKI_ID_MAX + 1];
	EVP_PKEY *key = NULL;
	X509_REQ *req = NULL;
	enum nj_err e;

	if ((name && (e = ca_check_name(name, why))) ||
	    (e = request_key(dir, pass, &key, why)) ||
	    (e = ca_default_name(key, "issuing CA", made)))
		goto out;
	if (!(req = make_request(key, name ? name : made)))
		e = NJ_CRYPTO;
	else
		e = store_request(dir, req, why);
out:
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return e;
}

/*
 * Chains.
 */

static bool
is_self_signed(X509 *x)
{
	bool yes = X509_NAME_cmp(X509_get_subject_name(x),
		       X509_get_issuer_name(x)) == 0 &&
	    X509_verify(x, X509_get0_pubkey(x)) == 1;

	ERR_clear_error();
	return yes;
}

/* Takes the issuer of x out of the heap, or NULL. */
static X509 *
take_issuer(STACK_OF(X509) * heap, X509 *x)
{
	for (int i = 0; i < sk_X509_num(heap); i++) {
		X509 *y = sk_X509_value(heap, i);
		bool is = X509_check_issued(y, x) == X509_V_OK &&
		    X509_verify(x, X509_get0_pubkey(y)) == 1;

		ERR_clear_error();
		if (is)
			return sk_X509_delete(heap, i);
	}
	return NULL;
}

struct chain {
	X509 *ca;		  /* who issues */
	STACK_OF(X509) * between; /* ca, then what is above it, without root */
	X509 *root;		  /* may be ca */
};

static void
chain_fini(struct chain *c)
{
	sk_X509_pop_free(c->between, X509_free);
	X509_free(c->ca);
	X509_free(c->root);
}

static enum nj_err
judge_ca(X509 *x, const char *what, struct nj_why *why)
{
	char name[160];
	enum nj_err e;

	pki_short_name(x, name, sizeof(name));
	if ((e = pki_judge(x, PKI_USE_CA, name, why)))
		why_prefix(why, "%s cannot be used", what);
	return e;
}

static enum nj_err
no_root(X509 *above, struct nj_why *why)
{
	char subject[256];

	X509_NAME_oneline(
	    X509_get_issuer_name(above), subject, (int)sizeof(subject));
	why_set(why,
	    "the certificate of '%s' is missing, so that the chain does not "
	    "reach a root",
	    subject);
	why_mend(why,
	    "add its certificate to the file, or give it with "
	    "--root FILE");
	return NJ_INVALID;
}

/* From the one whose key it is up to the root. */
static enum nj_err
climb(struct chain *c, STACK_OF(X509) * heap, struct nj_why *why)
{
	X509 *at = c->ca, *up;
	enum nj_err e;

	while (!is_self_signed(at)) {
		if (!(up = take_issuer(heap, at)))
			return no_root(at, why);
		if ((e = judge_ca(up, "the CA above it", why))) {
			X509_free(up);
			return e;
		}
		if (is_self_signed(up)) {
			c->root = up;
			return NJ_OK;
		}
		if (sk_X509_push(c->between, up) <= 0) {
			X509_free(up);
			return NJ_NOMEM;
		}
		at = up;
	}
	c->root = at;
	X509_up_ref(at);
	return NJ_OK;
}

static X509 *
take_for_key(STACK_OF(X509) * heap, EVP_PKEY *key)
{
	for (int i = 0; i < sk_X509_num(heap); i++) {
		bool is =
		    X509_check_private_key(sk_X509_value(heap, i), key) == 1;

		ERR_clear_error();
		if (is)
			return sk_X509_delete(heap, i);
	}
	return NULL;
}

static enum nj_err
not_its_key(const char *cert, const char *key, struct nj_why *why)
{
	why_set(
	    why, "no certificate in '%s' is that of the key '%s'", cert, key);
	why_mend(why,
	    "give the certificate that was made for this key; nightjar "
	    "inspect shows both");
	return NJ_INVALID;
}

/* Sorts what is in the files, and judges it. */
static enum nj_err
build_chain(const char *cert, const char *root, EVP_PKEY *key,
    const char *key_name, struct chain *c, struct nj_why *why)
{
	STACK_OF(X509) *heap = NULL, *more = NULL;
	X509 *x;
	enum nj_err e;

	if ((e = pki_chain_load(cert, &heap, why)) ||
	    (root && (e = pki_chain_load(root, &more, why))))
		goto out;
	while (more && (x = sk_X509_shift(more)))
		if (sk_X509_push(heap, x) <= 0)
			X509_free(x);
	if (!(c->ca = take_for_key(heap, key))) {
		e = not_its_key(cert, key_name, why);
		goto out;
	}
	if ((e = judge_ca(c->ca, "this CA", why)))
		goto out;
	if (!(c->between = sk_X509_new_null())) {
		e = NJ_NOMEM;
		goto out;
	}
	if (!is_self_signed(c->ca)) {
		if (sk_X509_push(c->between, c->ca) <= 0) {
			e = NJ_NOMEM;
			goto out;
		}
		X509_up_ref(c->ca);
	}
	e = climb(c, heap, why);
out:
	sk_X509_pop_free(more, X509_free);
	sk_X509_pop_free(heap, X509_free);
	return e;
}

/* With another root above it this is a roll-over: both roots are trusted, and
 * servers show the way to the old one, until nightjar ca roll --finish. */
static enum nj_err
keep_forerunner(const char *dir, const struct chain *c,
    STACK_OF(X509) * *before, struct nj_why *why)
{
	STACK_OF(X509) *roots = NULL, *was = NULL;
	enum nj_err e;

	if (!ca_has(dir, ISSUING_CRT))
		return NJ_OK;
	if ((e = ca_load_chain(dir, CA_CRT, &roots, why)) ||
	    (e = ca_load_chain(dir, ISSUING_CRT, &was, why)))
		goto out;
	/* the same, or one that was trusted already: as it is */
	for (int i = 0; i < sk_X509_num(roots); i++)
		if (X509_cmp(sk_X509_value(roots, i), c->root) == 0) {
			X509_free(sk_X509_delete(roots, i));
			*before = roots;
			roots = NULL;
			goto out;
		}
	if (sk_X509_num(roots) > 1) {
		e = NJ_BUSY;
		why_set(why, "a roll-over to another root is under way");
		why_mend(why, "go on with: nightjar ca roll --finish");
		goto out;
	}
	if (!(e = ca_store_chain(dir, BRIDGE_CRT, NULL, was, why)) &&
	    !(e = ca_store_chain(
		  dir, OLD_CRT, sk_X509_value(was, 0), NULL, why)) &&
	    !(e = ca_record(dir, false, c->root, "root", why))) {
		*before = roots;
		roots = NULL;
	}
out:
	sk_X509_pop_free(roots, X509_free);
	sk_X509_pop_free(was, X509_free);
	return e;
}

enum nj_err
authority_install(const char *dir, const char *cert, const char *root,
    const struct secret *pass, struct nj_why *why)
{
	bool again = pki_ca_exists(dir);
	STACK_OF(X509) *before = NULL; /* the root that goes */
	struct chain c = { 0 };
	EVP_PKEY *key = NULL;
	enum nj_err e;

	if (!ca_has(dir, ISSUING_KEY)) {
		why_set(
		    why, "'%s' holds no key that waits for a certificate", dir);
		why_mend(why, "make a request first: nightjar ca request");
		return NJ_NOTFOUND;
	}
	if ((e = ca_load_key(dir, ISSUING_KEY, pass, &key, why)) ||
	    (e = build_chain(cert, root, key, "pki/issuing.key", &c, why)))
		goto out;
	if (sk_X509_num(c.between) == 0) {
		e = NJ_INVALID;
		why_set(why, "'%s' is signed by itself: it is a root", cert);
		why_mend(
		    why, "give the certificate that the company's CA made");
		goto out;
	}
	if (again && (e = keep_forerunner(dir, &c, &before, why)))
		goto out;
	if (!again && !ca_has(dir, CA_REGISTRY) &&
	    (e = ca_record(dir, true, c.root, "root", why)))
		goto out;
	if ((e = ca_record(dir, false, c.ca, "issuing", why)) ||
	    (e = ca_store_chain(dir, ISSUING_CRT, NULL, c.between, why)))
		goto out;
	e = ca_store_chain(dir, CA_CRT, c.root, before, why);
out:
	sk_X509_pop_free(before, X509_free);
	chain_fini(&c);
	EVP_PKEY_free(key);
	return e;
}

enum nj_err
authority_import(const char *dir, const struct authority_import *in,
    const struct secret *pass, struct nj_why *why)
{
	struct chain c = { 0 };
	EVP_PKEY *key = NULL;
	enum nj_err e;
	bool root;

	if ((e = pki_key_load(in->key, in->key_pass, false, &key, why)) ||
	    (e = build_chain(in->cert, in->root, key, in->key, &c, why)) ||
	    (e = ca_prepare_folder(dir, why)))
		goto out;
	root = sk_X509_num(c.between) == 0;
	if ((e = ca_store_key(
		 dir, root ? CA_KEY : ISSUING_KEY, key, pass, why)) ||
	    (e = ca_record(dir, true, c.root, "root", why)))
		goto out;
	if (!root &&
	    ((e = ca_store_chain(dir, ISSUING_CRT, NULL, c.between, why)) ||
		(e = ca_record(dir, false, c.ca, "issuing", why))))
		goto out;
	e = ca_store_chain(dir, CA_CRT, c.root, NULL, why);
out:
	chain_fini(&c);
	EVP_PKEY_free(key);
	return e;
}
