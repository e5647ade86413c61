/* SPDX-License-Identifier: Apache-2.0
 * tls_more - a listener with several certificates: for other names, which the
 *            client tells by SNI, or with another kind of key, for clients
 *            that know only that.
 *
 * All of them belong to one listener: the name that a client tells chooses
 * what it is shown, and nothing of what it may do.
 *
 * Spec: RFC 6066 3, RFC 8446 4.4.2.2.
 */
#include <limits.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "net/tls_impl.h"
#include "pki/explain.h"

/* What is shown to one client at most: one of each kind of key. */
#define SHOWN_MAX 3

struct tls_pair {
	X509 *leaf;
	STACK_OF(X509) * chain;
	EVP_PKEY *key;
};

struct tls_more {
	unsigned n;
	struct tls_pair v[TLS_MORE_MAX + 1]; /* the listener's own first */
};

/* -- loading --------------------------------------------------------------- */

/* "CERTFILE KEYFILE"; paths have no blanks. */
static bool
take_paths(const char **at, char *cert, char *key, size_t size)
{
	const char *p = *at + strspn(*at, " \t");
	size_t n = strcspn(p, " \t\n"), blank, m;

	if (n == 0 || n >= size)
		return false;
	memcpy(cert, p, n);
	cert[n] = '\0';
	p += n;
	blank = strspn(p, " \t");
	p += blank;
	m = strcspn(p, " \t\n");
	if (blank == 0 || m == 0 || m >= size)
		return false;
	memcpy(key, p, m);
	key[m] = '\0';
	p += m;
	p += strspn(p, " \t");
	if (*p && *p != '\n')
		return false;
	*at = p + (*p == '\n');
	return true;
}

static void
say_form(tls_fault_fn *fn, void *arg, const char *line)
{
	char esc[TEXT_ESC];
	struct nj_why why = { 0 };

	why_set(&why, "further_certificate %s: two paths are needed",
	    text_esc(esc, sizeof esc, slice_of(line, strcspn(line, "\n"))));
	why_mend(&why,
	    "further_certificate CERTFILE KEYFILE, without blanks in them");
	if (fn)
		fn(arg, true, &why);
}

enum nj_err
tls_more_load(const struct tls_server_opts *o, tls_fault_fn *fn, void *arg,
    struct tls_material *m)
{
	char cert[PATH_MAX], key[PATH_MAX];
	enum nj_err e = NJ_OK;

	for (const char *at = o->further; at && *at && !e;) {
		struct tls_server_opts one = { .certfile = cert,
			.keyfile = key,
			.passphrase = o->passphrase,
			.refuse_exposed_key = o->refuse_exposed_key,
			.cafile = o->cafile };
		const char *line = at;

		if (!take_paths(&at, cert, key, sizeof cert) ||
		    m->n_more == TLS_MORE_MAX) {
			say_form(fn, arg, line);
			return NJ_INVALID;
		}
		if (!m->more &&
		    !(m->more = calloc(TLS_MORE_MAX, sizeof *m->more)))
			return NJ_NOMEM;
		if (!(e = tls_material_load(
			  &one, fn, arg, &m->more[m->n_more])))
			m->n_more++;
	}
	return e;
}

/* -- choosing --------------------------------------------------------------- */

static bool
shown_already(struct tls_pair *const *v, unsigned n, const struct tls_pair *p)
{
	for (unsigned i = 0; i < n; i++)
		if (EVP_PKEY_get_base_id(v[i]->key) ==
		    EVP_PKEY_get_base_id(p->key))
			return true;
	return false;
}

/* Those of the name; of none or another one the listener's own, and the first
 * with each other kind of key. */
static unsigned
choose(struct tls_more *more, const char *name, struct tls_pair *v[SHOWN_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; name && i < more->n && n < SHOWN_MAX; i++)
		if (pki_matches_host(more->v[i].leaf, name) &&
		    !shown_already(v, n, &more->v[i]))
			v[n++] = &more->v[i];
	if (n > 0)
		return n;
	for (unsigned i = 0; i < more->n && n < SHOWN_MAX; i++)
		if (!shown_already(v, n, &more->v[i]))
			v[n++] = &more->v[i];
	return n;
}

static int
on_certificate(SSL *ssl, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	struct tls_pair *v[SHOWN_MAX];
	unsigned n = choose(arg, name, v);

	SSL_certs_clear(ssl);
	for (unsigned i = 0; i < n; i++)
		if (SSL_use_cert_and_key(
			ssl, v[i]->leaf, v[i]->key, v[i]->chain, 1) != 1)
			return 0;
	return 1;
}

static enum nj_err
copy_pair(OSSL_LIB_CTX *lib, const struct tls_material *m, struct tls_pair *out)
{
	if (!(out->chain = sk_X509_new_null()))
		return NJ_NOMEM;
	if (!(out->key = tls_lib_key(lib, m->key)) &&
	    EVP_PKEY_up_ref(m->key) == 1)
		out->key = m->key;
	for (int i = 0; i < sk_X509_num(m->chain); i++) {
		X509 *x = tls_lib_cert(lib, sk_X509_value(m->chain, i));

		if (!x)
			return NJ_CRYPTO;
		if (i == 0) {
			out->leaf = x;
		} else if (sk_X509_push(out->chain, x) <= 0) {
			X509_free(x);
			return NJ_NOMEM;
		}
	}
	return out->key && out->leaf ? NJ_OK : NJ_CRYPTO;
}

enum nj_err
tls_more_use(struct tls_shard *sh, const struct tls_material *m)
{
	enum nj_err e;

	if (m->n_more == 0)
		return NJ_OK;
	if (!(sh->more = calloc(1, sizeof *sh->more)))
		return NJ_NOMEM;
	for (unsigned i = 0; i <= m->n_more; i++) {
		sh->more->n = i + 1;
		if ((e = copy_pair(sh->lib, i == 0 ? m : &m->more[i - 1],
			 &sh->more->v[i])))
			return e;
	}
	SSL_CTX_set_cert_cb(sh->ctx, on_certificate, sh->more);
	return NJ_OK;
}

void
tls_more_free(struct tls_more *more)
{
	for (unsigned i = 0; more && i < more->n; i++) {
		X509_free(more->v[i].leaf);
		sk_X509_pop_free(more->v[i].chain, X509_free);
		EVP_PKEY_free(more->v[i].key);
	}
	free(more);
}
