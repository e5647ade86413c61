/* SPDX-License-Identifier: Apache-2.0
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "pki/items.h"

#define PASSPHRASE_MAX 1024
#define ATTEMPTS       16

enum nj_err
pki_items_new(struct pki_items **out)
{
	*out = calloc(1, sizeof **out);
	return *out ? NJ_OK : NJ_NOMEM;
}

static void
item_fini(struct pki_item *it)
{
	X509_free(it->cert);
	EVP_PKEY_free(it->key);
	X509_REQ_free(it->csr);
	X509_CRL_free(it->crl);
}

void
pki_items_free(struct pki_items *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n; i++)
		item_fini(&s->v[i]);
	for (unsigned i = 0; i < s->nsources; i++)
		free(s->sources[i].path);
	free(s);
}

enum nj_err
pki_items_add(struct pki_reader *r, const struct pki_item *item)
{
	struct pki_items *s = r->s;
	struct pki_item *it;

	if (s->n == PKI_ITEMS_MAX) {
		struct pki_item gone = *item;

		item_fini(&gone);
		return NJ_FULL;
	}
	it = &s->v[s->n];
	*it = *item;
	it->source = (unsigned)(r->src - s->sources);
	it->number = 1;
	for (unsigned i = 0; i < s->n; i++)
		if (s->v[i].source == it->source && s->v[i].kind == it->kind)
			it->number++;
	s->n++;
	return NJ_OK;
}

/*
 * Keys.
 */

struct try_pass {
	const struct secret *pass;
	bool asked;
};

static int
give_pass(char *dst, int size, int writing, void *arg)
{
	struct try_pass *t = arg;
	struct slice s;

	(void)writing;
	t->asked = true;
	if (!t->pass)
		return -1;
	s = secret_bytes(t->pass);
	if (size < 0 || s.n > (size_t)size)
		return -1;
	if (s.n > 0)
		memcpy(dst, s.p, s.n);
	return (int)s.n;
}

static EVP_PKEY *
read_key(struct slice s, bool pem, struct try_pass *t)
{
	BIO *b = BIO_new_mem_buf(s.p, (int)s.n);
	EVP_PKEY *key = NULL;

	if (b)
		key = pem ? PEM_read_bio_PrivateKey(b, NULL, give_pass, t)
			  : d2i_PKCS8PrivateKey_bio(b, NULL, give_pass, t);
	BIO_free(b);
	ERR_clear_error();
	return key;
}

/* One that needs a passphrase is kept shut when none fits. */
static enum nj_err
add_key(struct pki_reader *r, struct slice s, bool pem, bool *added)
{
	struct pki_item it = { .kind = PKI_ITEM_KEY };
	struct try_pass t = { 0 };
	char what[TEXT_ESC + 16];

	*added = false;
	it.key = read_key(s, pem, &t);
	it.encrypted = t.asked;
	(void)snprintf(what, sizeof what, "the key %s", r->src->name);
	for (unsigned i = 0; !it.key && t.asked && r->o->pass && i < ATTEMPTS;
	     i++) {
		struct secret *pass = NULL;

		if (r->o->pass(r->o->arg, what, i, &pass))
			break;
		t.pass = pass;
		it.key = read_key(s, pem, &t);
		secret_free(pass);
	}
	if (!it.key && !it.encrypted)
		return NJ_OK;
	*added = true;
	return pki_items_add(r, &it);
}

/*
 * PKCS#7.
 */

static enum nj_err
add_pkcs7(struct pki_reader *r, PKCS7 *p7)
{
	STACK_OF(X509) *certs = NULL;
	enum nj_err e = NJ_OK;

	if (PKCS7_type_is_signed(p7) && p7->d.sign)
		certs = p7->d.sign->cert;
	r->src->container = PKI_IN_PKCS7;
	for (int i = 0; i < sk_X509_num(certs) && !e; i++) {
		struct pki_item it = { .kind = PKI_ITEM_CERT };

		it.cert = X509_dup(sk_X509_value(certs, i));
		e = it.cert ? pki_items_add(r, &it) : NJ_NOMEM;
	}
	return e;
}

/*
 * DER.
 */

static enum nj_err
add_der(struct pki_reader *r, struct slice s, bool *added)
{
	struct pki_item it = { 0 };
	const unsigned char *p;
	EVP_PKEY *key;
	PKCS12 *p12;
	PKCS7 *p7;
	enum nj_err e;

	*added = true;
#define TRY(call) (p = s.p, (call))
	if (TRY(it.cert = d2i_X509(NULL, &p, (long)s.n))) {
		it.kind = PKI_ITEM_CERT;
	} else if (TRY(it.csr = d2i_X509_REQ(NULL, &p, (long)s.n))) {
		it.kind = PKI_ITEM_CSR;
	} else if (TRY(it.crl = d2i_X509_CRL(NULL, &p, (long)s.n))) {
		it.kind = PKI_ITEM_CRL;
	} else if (TRY(p12 = d2i_PKCS12(NULL, &p, (long)s.n))) {
		e = pki_items_p12(r, p12);
		PKCS12_free(p12);
		return e;
	} else if (TRY(p7 = d2i_PKCS7(NULL, &p, (long)s.n))) {
		e = add_pkcs7(r, p7);
		PKCS7_free(p7);
		return e;
	} else if (TRY(key = d2i_AutoPrivateKey(NULL, &p, (long)s.n))) {
		it.kind = PKI_ITEM_KEY;
		it.key = key;
	} else if (TRY(key = d2i_PUBKEY(NULL, &p, (long)s.n))) {
		it.kind = PKI_ITEM_PUBLIC;
		it.key = key;
	} else {
		ERR_clear_error();
		return add_key(r, s, false, added);
	}
#undef TRY
	ERR_clear_error();
	return pki_items_add(r, &it);
}

/*
 * PEM.
 */

static bool
ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);

	return n >= k && strcmp(s + n - k, tail) == 0;
}

static bool
is_key_label(const char *label)
{
	return ends_with(label, "PRIVATE KEY");
}

/* Not needed, and not missed: what openssl puts before keys. */
static bool
is_parameters(const char *label)
{
	return ends_with(label, "PARAMETERS");
}

/* A block whose base64 is whole; data is DER. */
static enum nj_err
add_block(struct pki_reader *r, const char *label, struct slice data,
    struct slice pem, bool *added)
{
	struct pki_item it = { .kind = PKI_ITEM_CERT };
	const unsigned char *p = data.p;

	*added = true;
	if (is_parameters(label))
		return NJ_OK;
	if (is_key_label(label))
		return add_key(r, pem, true, added);
	if (strcmp(label, "TRUSTED CERTIFICATE") == 0 &&
	    (it.cert = d2i_X509_AUX(NULL, &p, (long)data.n)))
		return pki_items_add(r, &it);
	return add_der(r, data, added);
}

static void
not_understood(struct pki_reader *r, const char *label)
{
	if (r->src->unread++ == 0)
		(void)snprintf(r->src->unread_label,
		    sizeof r->src->unread_label, "%s", label);
}

/* Where the next block begins and how it is called, in cleaned PEM. */
static bool
next_pem(struct slice *rest, struct slice *block, char *label, size_t size)
{
	const uint8_t *p, *q;
	size_t n;

	if (!rest->p || rest->n == 0 ||
	    !(p = memmem(rest->p, rest->n, "-----BEGIN ", 11)))
		return false;
	rest->n -= (size_t)(p - rest->p);
	rest->p = p;
	if (!(q = memmem(p + 11, rest->n - 11, "-----\n", 6)))
		return false;
	n = (size_t)(q - p) - 11;
	if (n >= size)
		n = size - 1;
	memcpy(label, p + 11, n);
	label[n] = '\0';
	if (!(q = memmem(p, rest->n, "-----END ", 9)) ||
	    !(q = memchr(q, '\n', rest->n - (size_t)(q - p))))
		return false;
	q++;
	*block = slice_of(p, (size_t)(q - p));
	rest->n -= block->n;
	rest->p = q;
	return true;
}

static enum nj_err
add_pem(struct pki_reader *r, struct slice text)
{
	struct slice block;
	char label[48];
	enum nj_err e = NJ_OK;

	while (!e && next_pem(&text, &block, label, sizeof label)) {
		BIO *b = BIO_new_mem_buf(block.p, (int)block.n);
		char *name = NULL, *header = NULL;
		unsigned char *data = NULL;
		bool added = false;
		long n = 0;

		if (!b)
			return NJ_NOMEM;
		if (PEM_read_bio(b, &name, &header, &data, &n) == 1)
			e = add_block(
			    r, label, slice_of(data, (size_t)n), block, &added);
		if (!added)
			not_understood(r, label);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(data, n > 0 ? (size_t)n : 0);
		BIO_free(b);
		ERR_clear_error();
	}
	return e;
}

/* How many blocks OpenSSL's own reading finds in the bytes as they are. */
static unsigned
count_plainly(struct slice bytes)
{
	BIO *b = BIO_new_mem_buf(bytes.p, (int)bytes.n);
	char *name = NULL, *header = NULL;
	unsigned char *data = NULL;
	unsigned found = 0;
	long n = 0;

	while (b && PEM_read_bio(b, &name, &header, &data, &n) == 1) {
		found += !is_parameters(name);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(data, (size_t)n);
	}
	BIO_free(b);
	ERR_clear_error();
	return found;
}

/*
 * Sources.
 */

static enum nj_err
new_source(
    struct pki_items *s, const char *name, bool trust, struct pki_source **out)
{
	struct pki_source *src = &s->sources[s->nsources];

	if (s->nsources == PKI_SOURCES_MAX)
		return NJ_FULL;
	memset(src, 0, sizeof *src);
	(void)text_esc(src->name, sizeof src->name, slice_str(name));
	src->trust = trust;
	s->nsources++;
	*out = src;
	return NJ_OK;
}

/* How long DER says it is [X.690 8.1.3]; 0: it does not say, or is none. */
static size_t
der_length(struct slice s)
{
	size_t n = 0;
	unsigned more;

	if (!s.p || s.n < 2 || s.p[0] != 0x30 || s.p[1] <= 0x80 ||
	    s.p[1] > 0x84)
		return 0;
	more = s.p[1] & 0x7fu;
	if (s.n < 2 + more)
		return 0;
	for (unsigned i = 0; i < more; i++)
		n = n << 8 | s.p[2 + i];
	return n + 2 + more;
}

static void
explain_nothing(struct pki_source *src, struct slice bytes)
{
	if (der_length(bytes) > bytes.n) {
		why_set(&src->why,
		    "'%s' is cut off: it has %zu of the %zu bytes that it says "
		    "it has",
		    src->name, bytes.n, der_length(bytes));
		why_mend(&src->why,
		    "copy the whole file again, as binary (FTP and terminals "
		    "change it)");
		return;
	}
	if (pki_form_explain(src->name, bytes, &src->why))
		return;
	if (src->unread > 0) {
		why_set(&src->why,
		    "'%s': its %s is damaged, or of an unknown "
		    "kind",
		    src->name, src->unread_label);
		why_mend(&src->why, "copy it again from where it came");
		return;
	}
	why_set(&src->why,
	    "'%s' holds no certificate, key, request or revocation list",
	    src->name);
	why_mend(&src->why, "name a file in PEM, DER or PKCS#12 form");
}

static enum nj_err
read_source(struct pki_reader *r, struct slice bytes)
{
	struct pki_source *src = r->src;
	unsigned before = r->s->n;
	struct buf clean = { 0 };
	bool added = false;
	enum nj_err e;

	src->form = pki_form_of(bytes);
	src->has_form = true;
	if ((e = pki_form_clean(bytes, &clean)) && e != NJ_MALFORMED)
		goto out;
	if (buf_len(&clean) == 0)
		e = NJ_OK;
	else if (src->form.kind == PKI_FORM_PEM)
		e = add_pem(r, buf_slice(&clean));
	else
		e = add_der(r, buf_slice(&clean), &added);
	if (src->form.kind == PKI_FORM_PEM)
		src->plainly = count_plainly(bytes);
	if (!e && r->s->n == before && !src->p12_wrong_password &&
	    !src->p12_unreadable)
		explain_nothing(src, bytes);
out:
	buf_wipe(&clean);
	return e;
}

enum nj_err
pki_items_bytes(struct pki_items *s, const char *name, struct slice bytes,
    const struct pki_items_opts *o)
{
	struct pki_reader r = { .s = s, .o = o };
	enum nj_err e = new_source(s, name, o->trust, &r.src);

	return e ? e : read_source(&r, bytes);
}

enum nj_err
pki_items_file(
    struct pki_items *s, const char *path, const struct pki_items_opts *o)
{
	struct pki_reader r = { .s = s, .o = o };
	struct buf bytes = { 0 };
	struct stat st;
	enum nj_err e;

	if ((e = new_source(s, path, o->trust, &r.src)))
		return e;
	if (!(r.src->path = strdup(path)))
		return NJ_NOMEM;
	r.src->exposed = stat(path, &st) == 0 && (st.st_mode & 077) != 0;
	e = file_read(path, PKI_SOURCE_MAX, &bytes, &r.src->why);
	if (e && e != NJ_NOMEM)
		e = NJ_OK; /* told by its why */
	else if (!e)
		e = read_source(&r, buf_slice(&bytes));
	buf_wipe(&bytes);
	return e;
}

enum nj_err
pki_items_chain(
    struct pki_items *s, const char *name, const STACK_OF(X509) * chain)
{
	struct pki_items_opts o = { 0 };
	struct pki_reader r = { .s = s, .o = &o };
	enum nj_err e = new_source(s, name, false, &r.src);

	if (e)
		return e;
	r.src->container = PKI_IN_TLS;
	for (int i = 0; i < sk_X509_num(chain) && !e; i++) {
		struct pki_item it = { .kind = PKI_ITEM_CERT };

		it.cert = X509_dup(sk_X509_value(chain, i));
		e = it.cert ? pki_items_add(&r, &it) : NJ_NOMEM;
	}
	return e;
}

EVP_PKEY *
pki_item_public(const struct pki_item *it)
{
	switch (it->kind) {
	case PKI_ITEM_CERT:
		return X509_get_pubkey(it->cert);
	case PKI_ITEM_CSR:
		return X509_REQ_get_pubkey(it->csr);
	case PKI_ITEM_KEY:
	case PKI_ITEM_PUBLIC:
		if (it->key && EVP_PKEY_up_ref(it->key))
			return it->key;
		return NULL;
	case PKI_ITEM_CRL:
		break;
	}
	return NULL;
}
