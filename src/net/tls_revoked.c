/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_revoked.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/tls_impl.h"

uint32_t
tls_issuer_hash(const X509_NAME *name)
{
	int ok = 0;
	unsigned long h = X509_NAME_hash_ex(name, NULL, NULL, &ok);

	return ok ? (uint32_t)h : 0;
}

static int
order(const void *a, const void *b)
{
	const struct revoked_one *x = a, *y = b;

	if (x->issuer != y->issuer)
		return x->issuer < y->issuer ? -1 : 1;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->serial, y->serial, x->len);
}

static void
set_one(struct revoked_one *one, uint32_t issuer, struct slice serial)
{
	*one =
	    (struct revoked_one){ .issuer = issuer, .len = (uint8_t)serial.n };
	if (serial.n > 0)
		memcpy(one->serial, serial.p, serial.n);
}

/* Its end, where it is longer than it may be. */
static struct slice
serial_end(struct slice s)
{
	size_t over = s.n > REVOKED_SERIAL_MAX ? s.n - REVOKED_SERIAL_MAX : 0;

	return over ? slice_of(s.p + over, s.n - over) : s;
}

static struct slice
serial_slice(const ASN1_INTEGER *a)
{
	struct slice s =
	    slice_of(ASN1_STRING_get0_data(a), (size_t)ASN1_STRING_length(a));

	while (s.n > 0 && s.p[0] == 0) {
		s.p++;
		s.n--;
	}
	return serial_end(s);
}

/* One that was taken off the list again stands in a delta list only. */
static bool
is_removed(const X509_REVOKED *r)
{
	ASN1_ENUMERATED *a =
	    X509_REVOKED_get_ext_d2i(r, NID_crl_reason, NULL, NULL);
	bool removed =
	    a && ASN1_ENUMERATED_get(a) == CRL_REASON_REMOVE_FROM_CRL;

	ASN1_ENUMERATED_free(a);
	return removed;
}

static void
note_end(struct tls_revoked *r, const ASN1_TIME *next)
{
	int64_t end = next ? tls_time(next) : 0;

	if (end && (!r->until || end < r->until))
		r->until = end;
}

static enum nj_err
add_list(struct tls_revoked *r, X509_CRL *crl)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
	uint32_t issuer = tls_issuer_hash(X509_CRL_get_issuer(crl));
	size_t more = all ? (size_t)sk_X509_REVOKED_num(all) : 0;
	struct revoked_one *v;

	note_end(r, X509_CRL_get0_nextUpdate(crl));
	if (more == 0)
		return NJ_OK;
	if (!(v = reallocarray(r->v, r->n + more, sizeof *v)))
		return NJ_NOMEM;
	r->v = v;
	for (size_t i = 0; i < more; i++) {
		X509_REVOKED *one = sk_X509_REVOKED_value(all, (int)i);
		struct slice s =
		    serial_slice(X509_REVOKED_get0_serialNumber(one));

		if (!is_removed(one))
			set_one(&r->v[r->n++], issuer, s);
	}
	return NJ_OK;
}

/* -- our own list --------------------------------------------------------- */

/* Another CA of that name made it.  One whose issuer is not among cas, as that
 * stands below a root which is, counts: whoever may write the file could as
 * well take it away. */
static bool
is_forged(X509_CRL *crl, STACK_OF(X509) * cas)
{
	bool named = false;

	for (int i = 0; i < sk_X509_num(cas); i++) {
		X509 *ca = sk_X509_value(cas, i);
		EVP_PKEY *key = X509_get0_pubkey(ca);

		if (X509_NAME_cmp(X509_CRL_get_issuer(crl),
			X509_get_subject_name(ca)) != 0)
			continue;
		if (key && X509_CRL_verify(crl, key) == 1)
			return false;
		named = true;
	}
	ERR_clear_error();
	return named;
}

static enum nj_err
add_own(struct tls_revoked *r, const char *path, STACK_OF(X509) * cas,
    struct nj_why *why)
{
	STACK_OF(X509_CRL) *own = sk_X509_CRL_new_null();
	time_t now = time(NULL);
	enum nj_err e = own ? NJ_OK : NJ_NOMEM;

	if (!e)
		e = tls_load_crls(path, own, true, why);
	for (int i = 0; !e && i < sk_X509_CRL_num(own); i++) {
		X509_CRL *crl = sk_X509_CRL_value(own, i);
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);

		if (is_forged(crl, cas))
			continue;
		if (next && X509_cmp_time(next, &now) < 0)
			r->own_stale = true;
		e = add_list(r, crl);
	}
	sk_X509_CRL_pop_free(own, X509_CRL_free);
	return e;
}

/* -- foreign lists -------------------------------------------------------- */

/* A list and a CA that signed it. */
struct signed_list {
	const X509_CRL *crl;
	X509 *ca;
};

/* It is complete, and about all of the CA's certificates (RFC 5280 5.2.4, 5.2.5). */
static bool
is_plain(const X509_CRL *crl)
{
	return X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) < 0 &&
	    X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) <
	    0;
}

/* Whether the CA may sign lists (RFC 5280 4.2.1.3), and has signed this one. */
static bool
has_signed(X509 *ca, X509_CRL *crl)
{
	EVP_PKEY *key = X509_get0_pubkey(ca);

	return key && (X509_get_key_usage(ca) & KU_CRL_SIGN) &&
	    X509_NAME_cmp(
		X509_CRL_get_issuer(crl), X509_get_subject_name(ca)) == 0 &&
	    X509_CRL_verify(crl, key) == 1;
}

static enum nj_err
add_signed(struct tls_revoked *r, const X509_CRL *crl, X509 *ca)
{
	struct signed_list *v = reallocarray(r->good, r->n_good + 1, sizeof *v);

	if (!v)
		return NJ_NOMEM;
	r->good = v;
	if (X509_up_ref(ca) != 1)
		return NJ_NOMEM;
	r->good[r->n_good++] = (struct signed_list){ crl, ca };
	return NJ_OK;
}

/* What the library would do in each handshake, or in the first: it hashes the
 * whole list for its signature, and sorts it. */
static enum nj_err
look_ahead(
    struct tls_revoked *r, STACK_OF(X509_CRL) * crls, STACK_OF(X509) * cas)
{
	enum nj_err e = NJ_OK;

	for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
		X509_CRL *crl = sk_X509_CRL_value(crls, i);
		STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
		X509_REVOKED *one = sk_X509_REVOKED_value(all, 0);

		if (one)
			(void)X509_CRL_get0_by_serial(
			    crl, &one, X509_REVOKED_get0_serialNumber(one));
		for (int k = 0; is_plain(crl) && !e && k < sk_X509_num(cas);
		     k++)
			if (has_signed(sk_X509_value(cas, k), crl))
				e = add_signed(r, crl, sk_X509_value(cas, k));
	}
	ERR_clear_error();
	return e;
}

/* Whether it was signed by that very certificate. */
static bool
is_signed(const struct tls_revoked *r, const X509_CRL *crl, const X509 *ca)
{
	for (size_t i = 0; i < r->n_good; i++)
		if (r->good[i].crl == crl && X509_cmp(r->good[i].ca, ca) == 0)
			return true;
	return false;
}

static bool
is_timely(const X509_CRL *crl)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
	time_t now = time(NULL);

	return X509_cmp_time(X509_CRL_get0_lastUpdate(crl), &now) < 0 && next &&
	    X509_cmp_time(next, &now) > 0;
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
	const struct tls_revoked *r = X509_STORE_CTX_get_app_data(ctx);
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
	int depth = X509_STORE_CTX_get_error_depth(ctx);
	const X509 *x = sk_X509_value(chain, depth);
	const X509 *issuer = sk_X509_value(chain, depth + 1);

	if (r && x && issuer &&
	    X509_NAME_cmp(X509_get_issuer_name(x), X509_CRL_get_issuer(crl)) ==
		0 &&
	    is_timely(crl) && is_signed(r, crl, issuer))
		return 1;
	return is_chain_signed(ctx, chain, depth) && check_whole(ctx, crl);
}

void
tls_revoked_use(X509_STORE *store)
{
	(void)pthread_once(&once, find_check);
	if (check_whole)
		X509_STORE_set_check_crl(store, on_check);
}

void
tls_revoked_lend(struct tls_revoked *r, X509_STORE_CTX *ctx)
{
	X509_STORE_CTX_set0_crls(ctx, r ? r->crls : NULL);
	(void)X509_STORE_CTX_set_app_data(ctx, r);
}

/* -- the whole ------------------------------------------------------------ */

enum nj_err
tls_revoked_new(STACK_OF(X509_CRL) * *crls, const char *own,
    STACK_OF(X509) * cas, struct tls_revoked **out, struct nj_why *why)
{
	struct tls_revoked *r = calloc(1, sizeof *r);
	enum nj_err e = NJ_OK;

	if (!r)
		return NJ_NOMEM;
	atomic_init(&r->refs, 1);
	for (int i = 0; *crls && !e && i < sk_X509_CRL_num(*crls); i++)
		e = add_list(r, sk_X509_CRL_value(*crls, i));
	if (!e && *crls)
		e = look_ahead(r, *crls, cas);
	if (!e && own && (access(own, F_OK) == 0 || errno != ENOENT))
		e = add_own(r, own, cas, why);
	if (e) {
		tls_revoked_unref(r);
		return e;
	}
	if (r->n > 0)
		qsort(r->v, r->n, sizeof *r->v, order);
	r->crls = *crls;
	*crls = NULL; /* moved */
	*out = r;
	return NJ_OK;
}

struct tls_revoked *
tls_revoked_ref(struct tls_revoked *r)
{
	if (r)
		atomic_fetch_add(&r->refs, 1);
	return r;
}

void
tls_revoked_unref(struct tls_revoked *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	sk_X509_CRL_pop_free(r->crls, X509_CRL_free);
	for (size_t i = 0; i < r->n_good; i++)
		X509_free(r->good[i].ca);
	free(r->good);
	free(r->v);
	free(r);
}

/* The others look something up, and take no new reference. */
void
tls_revoked_end(struct tls_revoked *r)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (unsigned i = 0;
	     r && i < REVOKED_WAITS && atomic_load(&r->refs) > 1; i++)
		(void)nanosleep(&ms, NULL);
	tls_revoked_unref(r);
}

bool
tls_revoked_has(
    const struct tls_revoked *r, uint32_t issuer, struct slice serial)
{
	struct revoked_one key;

	if (!r || r->n == 0)
		return false;
	set_one(&key, issuer, serial_end(serial));
	return bsearch(&key, r->v, r->n, sizeof *r->v, order);
}

bool
tls_revoked_has_cert(const struct tls_revoked *r, X509 *x)
{
	return r && r->n > 0 &&
	    tls_revoked_has(r, tls_issuer_hash(X509_get_issuer_name(x)),
		serial_slice(X509_get0_serialNumber(x)));
}

enum nj_err
tls_revoked_put(X509 *x, struct buf *out)
{
	struct slice serial = serial_slice(X509_get0_serialNumber(x));
	enum nj_err e;

	if ((e = buf_put_u32(out, tls_issuer_hash(X509_get_issuer_name(x)))) ||
	    (e = buf_put_u8(out, (uint8_t)serial.n)))
		return e;
	return buf_put_slice(out, serial);
}

bool
tls_revoked_has_any(const struct tls_revoked *r, struct slice put)
{
	struct slice serial = SLICE_NONE;
	uint32_t issuer = 0;
	uint8_t n = 0;

	while (put.n > 0)
		if (take_u32(&put, &issuer) || take_u8(&put, &n) ||
		    take_bytes(&put, n, &serial) ||
		    tls_revoked_has(r, issuer, serial))
			return true;
	return false;
}

/* Whether a foreign list of this issuer holds now. */
static int
list_verdict(const struct tls_revoked *r, const X509_NAME *issuer)
{
	int verdict = X509_V_ERR_UNABLE_TO_GET_CRL;
	time_t now = time(NULL);

	for (int i = 0; i < sk_X509_CRL_num(r->crls); i++) {
		X509_CRL *crl = sk_X509_CRL_value(r->crls, i);
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);

		if (X509_NAME_cmp(X509_CRL_get_issuer(crl), issuer) != 0)
			continue;
		if (X509_cmp_time(X509_CRL_get0_lastUpdate(crl), &now) > 0)
			verdict = X509_V_ERR_CRL_NOT_YET_VALID;
		else if (next && X509_cmp_time(next, &now) < 0)
			verdict = X509_V_ERR_CRL_HAS_EXPIRED;
		else
			return X509_V_OK;
	}
	return verdict;
}

int
tls_revoked_verdict(const struct tls_revoked *r, const X509_NAME *issuer,
    const ASN1_INTEGER *serial)
{
	if (!r)
		return X509_V_OK;
	if (r->n > 0 &&
	    tls_revoked_has(r, tls_issuer_hash(issuer), serial_slice(serial)))
		return X509_V_ERR_CERT_REVOKED;
	return r->crls ? list_verdict(r, issuer) : X509_V_OK;
}
