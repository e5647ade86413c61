/* SPDX-License-Identifier: Apache-2.0
 * inspect_set - whether things belong together: keys to certificates, chains
 *               to their CAs, lists of revoked ones to those that are there.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "pki/inspect.h"

static bool
is_cert(const struct pki_item *it)
{
	return it->kind == PKI_ITEM_CERT;
}

static bool
same_key(const struct pki_item *a, const struct pki_item *b)
{
	EVP_PKEY *x = pki_item_public(a), *y = pki_item_public(b);
	bool same = x && y && EVP_PKEY_eq(x, y) == 1;

	EVP_PKEY_free(x);
	EVP_PKEY_free(y);
	ERR_clear_error();
	return same;
}

static bool
is_ca(const struct pki_item *it)
{
	enum pki_use use;

	return is_cert(it) && pki_meant_for(it->cert, &use) &&
	    use == PKI_USE_CA;
}

struct quoted {
	char text[TEXT_ESC + 2];
};

/* A file's name between quotation marks; what a server sends is none. */
static const char *
quoted(const struct pki_source *src, struct quoted *q)
{
	if (src->container == PKI_IN_TLS)
		return src->name;
	(void)snprintf(q->text, sizeof q->text, "'%s'", src->name);
	return q->text;
}

/* The same for a command that is to mend it. */
static const char *
as_file(const struct pki_source *src, struct quoted *q)
{
	return src->container == PKI_IN_TLS ? "CERTFILE" : quoted(src, q);
}

/* By name and signature. */
static bool
issued(const struct pki_item *ca, const struct pki_item *it)
{
	EVP_PKEY *key = X509_get0_pubkey(ca->cert);
	bool yes = X509_NAME_cmp(X509_get_subject_name(ca->cert),
		       X509_get_issuer_name(it->cert)) == 0 &&
	    key && X509_verify(it->cert, key) == 1;

	ERR_clear_error();
	return yes;
}

/* -- keys ---------------------------------------------------------------- */

static const struct pki_item *
cert_of_key(const struct pki_items *s, const struct pki_item *key, bool leaf)
{
	for (unsigned i = 0; i < s->n; i++)
		if (is_cert(&s->v[i]) && (!leaf || !is_ca(&s->v[i])) &&
		    same_key(key, &s->v[i]))
			return &s->v[i];
	return NULL;
}

static bool
has_leaf(const struct pki_items *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (is_cert(&s->v[i]) && !is_ca(&s->v[i]) &&
		    !s->sources[s->v[i].source].trust)
			return true;
	return false;
}

static void
judge_key(struct pki_inspection *in, const struct pki_item *key)
{
	const struct pki_items *s = in->items;
	const struct pki_item *cert;
	char name[TEXT_ESC + 32], ca[TEXT_ESC + 32];
	struct nj_why *w;

	if (!key->key)
		return;
	pki_item_call(s, key, name, sizeof name);
	if ((cert = cert_of_key(s, key, false))) {
		if (!is_ca(cert))
			return;
		pki_item_call(s, cert, ca, sizeof ca);
		w = pki_inspect_add(in,
		    has_leaf(s) || cert->source == key->source ? PKI_DOUBT
							       : PKI_NOTE,
		    "ca-key", key, 0);
		why_set(w,
		    "%s is the CA's own (%s)%s%s: whoever reads it can make "
		    "certificates that all your devices believe",
		    name, ca, key->encrypted ? "" : ", not encrypted",
		    cert->source == key->source
			? ", in one file with the certificate that everybody "
			  "gets"
			: "");
		why_mend(w,
		    "keep it off the broker and off every device; the broker "
		    "needs only the CA's certificate");
		return;
	}
	for (unsigned i = 0; i < s->n; i++)
		if (s->v[i].kind == PKI_ITEM_CSR && same_key(key, &s->v[i]))
			return;
	if (!has_leaf(s))
		return;
	w = pki_inspect_add(in, PKI_FAULT, "key-mismatch", key, 0);
	why_set(w, "%s belongs to none of the certificates here", name);
	why_mend(w,
	    "use the pair of files that was made together, or make a new "
	    "one: nightjar ca server, nightjar ca device ID --again");
}

static void
judge_sharing(struct pki_inspection *in, unsigned a)
{
	const struct pki_items *s = in->items;
	const struct pki_item *x = &s->v[a];
	char name[TEXT_ESC + 32], other[TEXT_ESC + 32];
	struct nj_why *w;
	struct quoted q;

	for (unsigned b = a + 1; b < s->n; b++) {
		const struct pki_item *y = &s->v[b];

		if (!is_cert(y))
			continue;
		pki_item_call(s, x, name, sizeof name);
		pki_item_call(s, y, other, sizeof other);
		if (X509_cmp(x->cert, y->cert) == 0) {
			if (x->source != y->source)
				continue;
			why_set(pki_inspect_add(in, PKI_DOUBT, "twice", y, 0),
			    "%s is in %s twice", name,
			    quoted(&s->sources[y->source], &q));
			return;
		}
		if (!same_key(x, y) ||
		    X509_NAME_cmp(X509_get_subject_name(x->cert),
			X509_get_subject_name(y->cert)) == 0)
			continue;
		w = pki_inspect_add(in, PKI_DOUBT, "shared-key", y, 0);
		why_set(w,
		    "%s and %s have the same key: what one of them "
		    "loses, both have lost",
		    name, other);
		why_mend(w, "give each its own: nightjar ca device ID --again");
		return;
	}
}

/* Of two with one serial a revocation takes both, and browsers refuse both. */
static void
judge_serial(struct pki_inspection *in, unsigned a)
{
	const struct pki_items *s = in->items;
	const struct pki_item *x = &s->v[a];
	char name[TEXT_ESC + 32], other[TEXT_ESC + 32];
	struct nj_why *w;

	for (unsigned b = a + 1; b < s->n; b++) {
		const struct pki_item *y = &s->v[b];

		if (!is_cert(y) ||
		    X509_issuer_and_serial_cmp(x->cert, y->cert) != 0 ||
		    X509_cmp(x->cert, y->cert) == 0)
			continue;
		pki_item_call(s, x, name, sizeof name);
		pki_item_call(s, y, other, sizeof other);
		w = pki_inspect_add(in, PKI_FAULT, "same-serial", y, 0);
		why_set(w,
		    "%s and %s are two certificates of one CA with one serial "
		    "number: revoking one revokes both, and browsers refuse "
		    "them",
		    name, other);
		why_mend(w,
		    "issue one anew with a serial of its own (openssl: "
		    "-CAcreateserial in place of -set_serial); nightjar ca "
		    "draws them at random");
		return;
	}
}

/* Made anew under the old name, and both are here. */
static void
judge_namesakes(struct pki_inspection *in, unsigned a)
{
	const struct pki_items *s = in->items;
	const struct pki_item *x = &s->v[a];
	char name[TEXT_ESC + 32];
	struct nj_why *w;

	for (unsigned b = a + 1; is_ca(x) && b < s->n; b++) {
		const struct pki_item *y = &s->v[b];

		if (!is_ca(y) || same_key(x, y) ||
		    X509_NAME_cmp(X509_get_subject_name(x->cert),
			X509_get_subject_name(y->cert)) != 0)
			continue;
		pki_item_call(s, x, name, sizeof name);
		w = pki_inspect_add(in, PKI_DOUBT, "namesakes", y, 0);
		why_set(w,
		    "%s is here twice with two keys: CAs of one name are told "
		    "apart by few programs; those that are not find the wrong "
		    "one, and call the signature bad",
		    name);
		why_mend(w,
		    "take the one out that no certificate in use is of, and "
		    "give a CA that is made anew another name");
		return;
	}
}

/* -- order --------------------------------------------------------------- */

static unsigned
certs_of(const struct pki_items *s, unsigned source,
    const struct pki_item **out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n && n < max; i++)
		if (is_cert(&s->v[i]) && s->v[i].source == source)
			out[n++] = &s->v[i];
	return n;
}

/* The first that stands where TLS does not want it: the leaf comes first, and
 * each is issued by the next. */
static const struct pki_item *
out_of_order(const struct pki_item **v, unsigned n)
{
	if (is_ca(v[0]))
		for (unsigned i = 1; i < n; i++)
			if (!is_ca(v[i]))
				return v[0];
	for (unsigned i = 0; i + 1 < n; i++) {
		if (issued(v[i + 1], v[i]))
			continue;
		for (unsigned k = 0; k < n; k++)
			if (k != i && issued(v[k], v[i]))
				return v[i + 1];
	}
	return NULL;
}

#define CHAIN_LOOK 16

static void
judge_order(struct pki_inspection *in, unsigned source)
{
	const struct pki_items *s = in->items;
	const struct pki_source *src = &s->sources[source];
	const struct pki_item *v[CHAIN_LOOK], *bad;
	struct quoted q;
	unsigned n = certs_of(s, source, v, CHAIN_LOOK);
	bool any_leaf = false;
	char name[TEXT_ESC + 32];
	struct nj_why *w;

	for (unsigned i = 0; i < n; i++)
		any_leaf |= !is_ca(v[i]);
	if (n < 2 || !any_leaf || src->trust ||
	    src->container == PKI_IN_PKCS12 || src->container == PKI_IN_PKCS7)
		return;
	if ((bad = out_of_order(v, n))) {
		bool first = bad == v[0];

		pki_item_call(s, bad, name, sizeof name);
		/* behind the leaf many find their way themselves */
		w = pki_inspect_add(
		    in, first ? PKI_FAULT : PKI_DOUBT, "order", bad, 0);
		why_set(w,
		    "the certificates in %s are in the wrong order: %s does "
		    "not stand behind the one that it issued%s",
		    quoted(src, &q), name,
		    first ? ""
			  : ": OpenSSL sorts that out, small devices do not");
		why_mend(w,
		    "the server's or device's first, then who issued it, then "
		    "who issued that: nightjar inspect --pem %s >NEW",
		    as_file(src, &q));
		return;
	}
	if (X509_self_signed(v[n - 1]->cert, 0) == 1)
		why_set(pki_inspect_add(in, PKI_NOTE, "root-sent", v[n - 1], 0),
		    "'%s' sends the root CA along: no harm, and of no use, as "
		    "clients believe only their own copy",
		    src->name);
}

/* -- chains -------------------------------------------------------------- */

static int
verify(X509_STORE *roots, STACK_OF(X509) * between, X509 *leaf, X509 **at)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int err = X509_V_ERR_OUT_OF_MEM;

	*at = NULL;
	if (ctx && X509_STORE_CTX_init(ctx, roots, leaf, between)) {
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
		(void)X509_verify_cert(ctx);
		err = pki_verify_cause(ctx);
		*at = X509_STORE_CTX_get_current_cert(ctx);
		if (*at && !X509_up_ref(*at))
			*at = NULL;
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

/* CAs that are not roots: of one source, or of all (source -1). */
static STACK_OF(X509) * between_of(const struct pki_items *s, int source)
{
	STACK_OF(X509) *out = sk_X509_new_null();

	for (unsigned i = 0; out && i < s->n; i++)
		if (is_ca(&s->v[i]) &&
		    (source < 0 || s->v[i].source == (unsigned)source))
			(void)sk_X509_push(out, s->v[i].cert);
	return out;
}

/* Those that are trusted: files said to be, or else every root here. */
static X509_STORE *
roots_of(const struct pki_items *s, unsigned *n)
{
	X509_STORE *store = X509_STORE_new();
	bool any_trust = false;

	*n = 0;
	for (unsigned i = 0; i < s->nsources; i++)
		any_trust |= s->sources[i].trust;
	for (unsigned i = 0; store && i < s->n; i++) {
		const struct pki_item *it = &s->v[i];

		if (!is_cert(it) ||
		    !(any_trust
			    ? s->sources[it->source].trust
			    : X509_self_signed(it->cert, 0) == 1 && is_ca(it)))
			continue;
		(void)X509_STORE_add_cert(store, it->cert);
		++*n;
	}
	ERR_clear_error();
	return store;
}

/* It would be believed if its file had all that it needs. */
static void
judge_missing(struct pki_inspection *in, const struct pki_item *leaf)
{
	const struct pki_items *s = in->items;
	char name[TEXT_ESC + 32];
	struct nj_why *w;
	struct quoted q;

	pki_item_call(s, leaf, name, sizeof name);
	w = pki_inspect_add(in, PKI_FAULT, "intermediate", leaf, 0);
	why_set(w,
	    "%s lacks an intermediate CA: %s is not issued by the root "
	    "itself, and who has only the root cannot check it",
	    quoted(&s->sources[leaf->source], &q), name);
	why_mend(w,
	    "send both: nightjar inspect --pem %s INTERMEDIATE.crt >NEW, and "
	    "give NEW as certfile (--cert for a client)",
	    as_file(&s->sources[leaf->source], &q));
}

static void
judge_chain(
    struct pki_inspection *in, X509_STORE *roots, const struct pki_item *leaf)
{
	const struct pki_items *s = in->items;
	STACK_OF(X509) *own = between_of(s, (int)leaf->source);
	STACK_OF(X509) *all = between_of(s, -1);
	X509 *at = NULL, *at_all = NULL;
	int err = verify(roots, own, leaf->cert, &at);
	int err_all = verify(roots, all, leaf->cert, &at_all);

	if (err == X509_V_OK || !own || !all)
		;
	else if (err_all == X509_V_OK)
		judge_missing(in, leaf);
	else
		pki_explain_verify(err_all, at_all, 0,
		    pki_inspect_add(in, PKI_FAULT, "chain", leaf, 0));
	X509_free(at);
	X509_free(at_all);
	sk_X509_free(own);
	sk_X509_free(all);
}

static void
judge_chains(struct pki_inspection *in)
{
	const struct pki_items *s = in->items;
	unsigned n = 0;
	X509_STORE *roots = roots_of(s, &n);

	for (unsigned i = 0; roots && n > 0 && i < s->n; i++)
		if (is_cert(&s->v[i]) && !is_ca(&s->v[i]) &&
		    !s->sources[s->v[i].source].trust)
			judge_chain(in, roots, &s->v[i]);
	X509_STORE_free(roots);
}

/* -- revocation lists ---------------------------------------------------- */

static void
judge_revoked(struct pki_inspection *in, const struct pki_item *list)
{
	const struct pki_items *s = in->items;
	bool ca_here = false, signed_by = false;
	char name[TEXT_ESC + 32];
	struct nj_why *w;

	for (unsigned i = 0; i < s->n; i++) {
		const struct pki_item *it = &s->v[i];
		X509_REVOKED *r = NULL;

		if (!is_cert(it))
			continue;
		if (X509_NAME_cmp(X509_get_subject_name(it->cert),
			X509_CRL_get_issuer(list->crl)) == 0) {
			ca_here = true;
			signed_by |= X509_CRL_verify(list->crl,
					 X509_get0_pubkey(it->cert)) == 1;
		}
		if (X509_NAME_cmp(X509_get_issuer_name(it->cert),
			X509_CRL_get_issuer(list->crl)) != 0 ||
		    X509_CRL_get0_by_cert(list->crl, &r, it->cert) != 1)
			continue;
		pki_item_call(s, it, name, sizeof name);
		w = pki_inspect_add(in, PKI_FAULT, "revoked", it, 0);
		why_set(w, "%s is revoked, says '%s'", name,
		    s->sources[list->source].name);
		why_mend(w,
		    "give it a new certificate: nightjar ca device ID --again");
	}
	if (!ca_here || signed_by)
		return;
	w = pki_inspect_add(in, PKI_FAULT, "crl-signature", list, 0);
	why_set(w,
	    "the revocation list '%s' is not signed by the CA of its "
	    "name that is here",
	    s->sources[list->source].name);
	why_mend(w, "use the list of the CA that issued the certificates");
}

void
pki_inspect_set(struct pki_inspection *in)
{
	const struct pki_items *s = in->items;

	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i].kind == PKI_ITEM_KEY)
			judge_key(in, &s->v[i]);
		else if (s->v[i].kind == PKI_ITEM_CRL)
			judge_revoked(in, &s->v[i]);
		else if (is_cert(&s->v[i])) {
			judge_sharing(in, i);
			judge_serial(in, i);
			judge_namesakes(in, i);
		}
	}
	for (unsigned i = 0; i < s->nsources; i++)
		judge_order(in, i);
	judge_chains(in);
	ERR_clear_error();
}
