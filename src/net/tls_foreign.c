/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_foreign.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <time.h>

#include "net/tls_impl.h"

/* -- one list ------------------------------------------------------------- */

bool
tls_list_is_named(const X509_CRL *crl, const X509 *ca)
{
	return X509_NAME_cmp(
		   X509_CRL_get_issuer(crl), X509_get_subject_name(ca)) == 0;
}

bool
tls_same_ca(const X509 *a, const X509 *b)
{
	const unsigned char *p = NULL, *q = NULL;
	X509_ALGOR *f = NULL, *g = NULL;
	int n = 0, m = 0;

	return X509_NAME_cmp(
		   X509_get_subject_name(a), X509_get_subject_name(b)) == 0 &&
	    X509_PUBKEY_get0_param(NULL, &p, &n, &f, X509_get_X509_PUBKEY(a)) ==
	    1 &&
	    X509_PUBKEY_get0_param(NULL, &q, &m, &g, X509_get_X509_PUBKEY(b)) ==
	    1 &&
	    slice_eq(slice_of(p, (size_t)n), slice_of(q, (size_t)m)) &&
	    X509_ALGOR_cmp(f, g) == 0;
}

uint32_t
tls_key_hash(const X509 *ca)
{
	const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(ca);

	return key ? tls_hash_never_0(slice_of(ASN1_STRING_get0_data(key),
			 (size_t)ASN1_STRING_length(key)))
		   : 0;
}

/* It is complete, and about all of the CA's certificates (RFC 5280 5.2.4, 5.2.5). */
static bool
is_plain(const X509_CRL *crl)
{
	return X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) < 0 &&
	    X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) <
	    0;
}

/* The same certificates are in two lists of a CA that say so by the same bytes. */
static uint32_t
part_of(const X509_CRL *crl)
{
	int at =
	    X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1);
	const ASN1_OCTET_STRING *says =
	    at < 0 ? NULL : X509_EXTENSION_get_data(X509_CRL_get_ext(crl, at));

	return says ? tls_hash_never_0(slice_of(ASN1_STRING_get0_data(says),
			  (size_t)ASN1_STRING_length(says)))
		    : 0;
}

static bool
is_known(const X509_EXTENSION *x, const int *nids)
{
	int nid = OBJ_obj2nid(
	    X509_EXTENSION_get_object((X509_EXTENSION *)(uintptr_t)x));

	while (*nids && *nids != nid)
		nids++;
	return *nids != 0;
}

static bool
has_unknown(const STACK_OF(X509_EXTENSION) * v, const int *nids)
{
	for (int i = 0; i < sk_X509_EXTENSION_num(v); i++) {
		const X509_EXTENSION *x = sk_X509_EXTENSION_value(v, i);

		if (X509_EXTENSION_get_critical(x) && !is_known(x, nids))
			return true;
	}
	return false;
}

/* The library refuses who is to pass by what it does not know, of the list or of one
 * of its entries. */
static bool
is_strange(X509_CRL *crl)
{
	static const int of_list[] = { NID_issuing_distribution_point,
		NID_authority_key_identifier, NID_delta_crl, 0 };
	static const int of_entry[] = { NID_certificate_issuer, 0 };
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);

	if (has_unknown(X509_CRL_get0_extensions(crl), of_list))
		return true;
	for (int i = 0; i < sk_X509_REVOKED_num(all); i++)
		if (has_unknown(X509_REVOKED_get0_extensions(
				    sk_X509_REVOKED_value(all, i)),
			of_entry))
			return true;
	return false;
}

/* Whether it names no other key (RFC 5280 5.2.1). */
static bool
is_akid_of(X509 *ca, const X509_CRL *crl)
{
	AUTHORITY_KEYID *akid =
	    X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
	bool yes = !akid || X509_check_akid(ca, akid) == X509_V_OK;

	AUTHORITY_KEYID_free(akid);
	return yes;
}

/* Whether the library would believe a list of that key by this certificate of the CA
 * (RFC 5280 4.2.1.3). */
static bool
may_sign(X509 *ca, const X509_CRL *crl)
{
	return (X509_get_key_usage(ca) & KU_CRL_SIGN) &&
	    tls_list_is_named(crl, ca) && is_akid_of(ca, crl);
}

/* The library would sort them in the first handshake. */
static void
sort_list(X509_CRL *crl)
{
	X509_REVOKED *one = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), 0);

	if (one)
		(void)X509_CRL_get0_by_serial(
		    crl, &one, X509_REVOKED_get0_serialNumber(one));
}

enum nj_err
tls_list_init(
    struct tls_list *l, X509_CRL *crl, X509 *signer, STACK_OF(X509) * cas)
{
	*l = (struct tls_list){ .crl = crl,
		.part = part_of(crl),
		.plain = is_plain(crl),
		.strange = is_strange(crl) };
	atomic_init(&l->met, NULL);
	sort_list(crl);
	for (int i = 0; l->plain && signer && !l->ca && i < sk_X509_num(cas);
	     i++) {
		X509 *ca = sk_X509_value(cas, i);

		if (!tls_same_ca(ca, signer) || !may_sign(ca, crl))
			continue;
		if (X509_up_ref(ca) != 1)
			return NJ_NOMEM;
		l->ca = ca;
	}
	return NJ_OK;
}

void
tls_list_fini(struct tls_list *l)
{
	X509_free(l->ca);
	X509_free(atomic_load(&l->met));
}

/* NULL: nobody is known. */
static const X509 *
known_signer(const struct tls_list *l)
{
	return l->ca ? l->ca : atomic_load(&l->met);
}

bool
tls_list_accepts(const struct tls_list *l, uint32_t key)
{
	const X509 *signer = known_signer(l);

	return signer && !l->strange && tls_key_hash(signer) == key;
}

bool
tls_list_is_timely(const struct tls_list *l)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(l->crl);
	time_t now = time(NULL);

	return X509_cmp_time(X509_CRL_get0_lastUpdate(l->crl), &now) < 0 &&
	    (!next || X509_cmp_time(next, &now) > 0);
}

/* -- in a handshake ------------------------------------------------------- */

static struct tls_list *
find_list(const struct tls_revoked *r, const X509_CRL *crl)
{
	for (size_t i = 0; i < r->n_lists; i++)
		if (r->lists[i].crl == crl)
			return &r->lists[i];
	return NULL;
}

/* That the library would find it good now by that certificate. */
static bool
is_good(const struct tls_list *l, X509 *ca)
{
	const X509 *signer = l && l->plain ? known_signer(l) : NULL;

	return signer && tls_same_ca(signer, ca) &&
	    (X509_get_key_usage(ca) & KU_CRL_SIGN) && tls_list_is_timely(l);
}

/* Whether the certificates are signed as the chain says, down to this one.  The library
 * looks at that after the lists: whoever makes up a chain with the name of a CA would
 * have a list hashed for it, however long. */
static bool
is_chain_signed(X509_STORE_CTX *ctx, STACK_OF(X509) * chain, int depth)
{
	for (int i = sk_X509_num(chain) - 2; i >= depth; i--) {
		X509 *x = sk_X509_value(chain, i);
		EVP_PKEY *key = X509_get0_pubkey(sk_X509_value(chain, i + 1));

		if (key && X509_verify(x, key) == 1)
			continue;
		X509_STORE_CTX_set_current_cert(ctx, x);
		X509_STORE_CTX_set_error_depth(ctx, i);
		X509_STORE_CTX_set_error(
		    ctx, X509_V_ERR_CERT_SIGNATURE_FAILURE);
		return false;
	}
	return true;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static X509_STORE_CTX_check_crl_fn check_whole; /* the library's own */

static void
find_check(void)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_STORE *store = X509_STORE_new();

	if (ctx && store && X509_STORE_CTX_init(ctx, store, NULL, NULL) == 1)
		check_whole = X509_STORE_CTX_get_check_crl(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
}

/*
 * The library has chosen this list by its issuer's name, its time and its scope,
 * and looks for the certificate in it afterwards.  Between the two it asks
 * whether the list is good: that is known of one that the issuer of the
 * certificate was found to have signed when it was read.  Whatever else it may
 * be, the library finds out itself.
 */
static int
on_check(X509_STORE_CTX *ctx, X509_CRL *crl)
{
	struct tls_lent *lent = X509_STORE_CTX_get_app_data(ctx);
	const struct tls_revoked *r = lent ? lent->r : NULL;
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
	int depth = X509_STORE_CTX_get_error_depth(ctx);
	const X509 *x = sk_X509_value(chain, depth);
	X509 *issuer = sk_X509_value(chain, depth + 1);
	bool own = x && issuer &&
	    X509_NAME_cmp(X509_get_issuer_name(x), X509_CRL_get_issuer(crl)) ==
		0;

	if (r && own && is_good(find_list(r, crl), issuer))
		return 1;
	if (!is_chain_signed(ctx, chain, depth) || !check_whole(ctx, crl))
		return 0;
	if (r && own && depth == 0) {
		lent->seen = crl;
		lent->issuer = issuer;
	}
	return 1;
}

void
tls_revoked_use(X509_STORE *store)
{
	(void)pthread_once(&once, find_check);
	if (check_whole)
		X509_STORE_set_check_crl(store, on_check);
}

/* The leaf only, as Mosquitto: a CA that publishes no list of its intermediates would
 * lock everybody out. */
bool
tls_revoked_lend(struct tls_lent *l, X509_STORE_CTX *ctx)
{
	STACK_OF(X509_CRL) *crls = l->r ? l->r->crls : NULL;

	X509_STORE_CTX_set0_crls(ctx, crls);
	(void)X509_STORE_CTX_set_app_data(ctx, l);
	if (!crls ||
	    X509_VERIFY_PARAM_set_flags(
		X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_CRL_CHECK) == 1)
		return true;
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_OUT_OF_MEM);
	return false;
}

/* Where another key is known for the list the library does it all in each handshake. */
void
tls_revoked_back(struct tls_lent *lent, X509_STORE_CTX *ctx, bool good)
{
	struct tls_list *l =
	    good && lent->seen ? find_list(lent->r, lent->seen) : NULL;
	EVP_PKEY *key;
	X509 *none = NULL;

	X509_STORE_CTX_set0_crls(ctx, NULL);
	(void)X509_STORE_CTX_set_app_data(ctx, NULL);
	lent->part = l ? l->part : 0;
	if (!l || known_signer(l) || !may_sign(lent->issuer, l->crl))
		return;
	/* by that one, and not by another of its name in the chain */
	key = X509_get0_pubkey(lent->issuer);
	if (key && X509_CRL_verify(l->crl, key) == 1 &&
	    X509_up_ref(lent->issuer) == 1 &&
	    !atomic_compare_exchange_strong(&l->met, &none, lent->issuer))
		X509_free(lent->issuer);
	ERR_clear_error();
}
