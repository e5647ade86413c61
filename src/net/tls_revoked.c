/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_revoked.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "net/tls_impl.h"

uint32_t
tls_issuer_hash(const X509_NAME *name)
{
	int ok = 0;
	unsigned long h = X509_NAME_hash_ex(name, NULL, NULL, &ok);

	return ok ? (uint32_t)h : 0;
}

static uint32_t
hash_never_0(struct slice s)
{
	uint32_t h = (uint32_t)hash_quick(s);

	return h ? h : 1;
}

static uint32_t
hash_of_id(const ASN1_OCTET_STRING *id)
{
	return id ? hash_never_0(slice_of(ASN1_STRING_get0_data(id),
			(size_t)ASN1_STRING_length(id)))
		  : 0;
}

/* The CA whose certificate this is. */
static struct revoked_by
by_cert(X509 *ca)
{
	const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(ca);

	return (struct revoked_by){ .name = tls_issuer_hash(
					X509_get_subject_name(ca)),
		.key = key ? hash_never_0(slice_of(ASN1_STRING_get0_data(key),
				 (size_t)ASN1_STRING_length(key)))
			   : 0,
		.id = hash_of_id(X509_get0_subject_key_id(ca)) };
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
set_one(
    struct revoked_one *one, uint32_t issuer, size_t list, struct slice serial)
{
	memset(one, 0, sizeof *one); /* they are compared, too */
	one->issuer = issuer;
	one->list = (uint16_t)list;
	one->len = (uint8_t)serial.n;
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

/* Who made a list: the one of cas that has signed it, or what it says itself. */
static struct revoked_by
by_list(X509_CRL *crl, STACK_OF(X509) * cas, bool own)
{
	AUTHORITY_KEYID *akid;
	struct revoked_by by = { .name = tls_issuer_hash(
				     X509_CRL_get_issuer(crl)) };

	for (int i = 0; i < sk_X509_num(cas); i++) {
		X509 *ca = sk_X509_value(cas, i);
		EVP_PKEY *key = X509_get0_pubkey(ca);

		if (key &&
		    X509_NAME_cmp(X509_CRL_get_issuer(crl),
			X509_get_subject_name(ca)) == 0 &&
		    X509_CRL_verify(crl, key) == 1)
			return by_cert(ca);
	}
	ERR_clear_error();
	if (!own) { /* ours counts for all of that name */
		akid = X509_CRL_get_ext_d2i(
		    crl, NID_authority_key_identifier, NULL, NULL);
		by.id = hash_of_id(akid ? akid->keyid : NULL);
		AUTHORITY_KEYID_free(akid);
	}
	return by;
}

static enum nj_err
add_by(struct tls_revoked *r, struct revoked_by by)
{
	struct revoked_by *v;

	if (r->n_by > UINT16_MAX)
		return NJ_TOOBIG;
	if (!(v = reallocarray(r->by, r->n_by + 1, sizeof *v)))
		return NJ_NOMEM;
	r->by = v;
	r->by[r->n_by++] = by;
	return NJ_OK;
}

static enum nj_err
add_list(struct tls_revoked *r, X509_CRL *crl, struct revoked_by by)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
	size_t more = all ? (size_t)sk_X509_REVOKED_num(all) : 0;
	struct revoked_one *v;
	enum nj_err e;

	note_end(r, X509_CRL_get0_nextUpdate(crl));
	if ((e = add_by(r, by)) || more == 0)
		return e;
	if (!(v = reallocarray(r->v, r->n + more, sizeof *v)))
		return NJ_NOMEM;
	r->v = v;
	for (size_t i = 0; i < more; i++) {
		X509_REVOKED *one = sk_X509_REVOKED_value(all, (int)i);
		struct slice s =
		    serial_slice(X509_REVOKED_get0_serialNumber(one));

		if (!is_removed(one))
			set_one(&r->v[r->n++], by.name, r->n_by - 1, s);
	}
	return NJ_OK;
}

/* A list and a CA that signed it. */
struct signed_list {
	struct signed_list *next;
	const X509_CRL *crl;
	X509 *ca;
	uint32_t key;  /* as struct revoked_by */
	bool plain;    /* there is no more to it than its signature */
	bool noted;    /* by a handshake */
	bool accepted; /* the library lets certificates of that CA pass by it */
};

static bool
has_cert(STACK_OF(X509) * v, const X509 *x)
{
	for (int i = 0; i < sk_X509_num(v); i++)
		if (X509_cmp(sk_X509_value(v, i), x) == 0)
			return true;
	return false;
}

/* A reference, unless it is there. */
static enum nj_err
add_cert(STACK_OF(X509) * v, X509 *x)
{
	if (has_cert(v, x))
		return NJ_OK;
	if (X509_up_ref(x) != 1)
		return NJ_NOMEM;
	if (sk_X509_push(v, x) > 0)
		return NJ_OK;
	X509_free(x);
	return NJ_NOMEM;
}

/* The CAs between clients and ours that the former lists have met. */
static enum nj_err
take_sent(struct tls_revoked *r, const struct tls_revoked *had)
{
	enum nj_err e = NJ_OK;

	if (!(r->sent = sk_X509_new_null()))
		return NJ_NOMEM;
	for (int i = 0; had && !e && i < sk_X509_num(had->sent); i++)
		e = add_cert(r->sent, sk_X509_value(had->sent, i));
	for (const struct signed_list *l = had ? atomic_load(&had->good) : NULL;
	     l && !e; l = l->next)
		if (l->noted)
			e = add_cert(r->sent, l->ca);
	atomic_store(&r->noted, (unsigned)sk_X509_num(r->sent));
	return e;
}

/* All that may have signed a list; owns nothing but itself. */
static enum nj_err
all_cas(struct tls_revoked *r, STACK_OF(X509) * ours, STACK_OF(X509) * *out)
{
	STACK_OF(X509) *all = ours ? sk_X509_dup(ours) : sk_X509_new_null();
	size_t n;

	if (!all)
		return NJ_NOMEM;
	*out = all; /* freed by the caller either way */
	r->n_ours = (size_t)sk_X509_num(all);
	for (int i = 0; i < sk_X509_num(r->sent); i++)
		if (!has_cert(all, sk_X509_value(r->sent, i)) &&
		    sk_X509_push(all, sk_X509_value(r->sent, i)) <= 0)
			return NJ_NOMEM;
	n = (size_t)sk_X509_num(all);
	if (n > 0 && !(r->cas = calloc(n, sizeof *r->cas)))
		return NJ_NOMEM;
	for (; r->n_cas < n; r->n_cas++)
		r->cas[r->n_cas] = by_cert(sk_X509_value(all, (int)r->n_cas));
	return NJ_OK;
}

/* Whether a list speaks of what that CA has issued. */
static bool
is_about(const struct tls_revoked *r, size_t list, const struct revoked_by *ca)
{
	const struct revoked_by *by = &r->by[list];

	if (by->name != ca->name)
		return false;
	if (by->key)
		return by->key == ca->key;
	/* One that was looked at has not signed it. */
	for (size_t i = 0; i < r->n_cas; i++)
		if (r->cas[i].name == ca->name && r->cas[i].key == ca->key)
			return false;
	return !by->id || !ca->id || by->id == ca->id;
}

/* -- our own list --------------------------------------------------------- */

/* Another CA of that name made it.  One whose issuer is not among cas, as that
 * stands below a root which is, counts: whoever may write the file could as
 * well take it away. */
static bool
is_forged(const struct tls_revoked *r, const struct revoked_by *by)
{
	for (size_t i = 0; !by->key && i < r->n_ours; i++)
		if (r->cas[i].name == by->name)
			return true;
	return false;
}

static enum nj_err
add_own(struct tls_revoked *r, const char *path, STACK_OF(X509) * cas,
    struct nj_why *why)
{
	STACK_OF(X509_CRL) *own = sk_X509_CRL_new_null();
	time_t now = time(NULL);
	enum nj_err e = own ? NJ_OK : NJ_NOMEM;

	if (!e && (e = tls_load_crls(path, own, true, why)) == NJ_NOTFOUND) {
		/* nobody was revoked so far */
		if (why)
			*why = (struct nj_why){ 0 };
		e = NJ_OK;
	}
	for (int i = 0; !e && i < sk_X509_CRL_num(own); i++) {
		X509_CRL *crl = sk_X509_CRL_value(own, i);
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
		struct revoked_by by = by_list(crl, cas, true);

		if (is_forged(r, &by))
			continue;
		if (next && X509_cmp_time(next, &now) < 0)
			r->own_stale = true;
		r->has_own = true;
		e = add_list(r, crl, by);
	}
	sk_X509_CRL_pop_free(own, X509_CRL_free);
	return e;
}

/* -- foreign lists -------------------------------------------------------- */

/* It is complete, and about all of the CA's certificates (RFC 5280 5.2.4, 5.2.5). */
static bool
is_plain(const X509_CRL *crl)
{
	return X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) < 0 &&
	    X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) <
	    0;
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

/* Whether the CA may sign lists (RFC 5280 4.2.1.3), and has signed this one. */
static bool
has_signed(X509 *ca, X509_CRL *crl)
{
	EVP_PKEY *key = X509_get0_pubkey(ca);

	return key && (X509_get_key_usage(ca) & KU_CRL_SIGN) &&
	    is_akid_of(ca, crl) &&
	    X509_NAME_cmp(
		X509_CRL_get_issuer(crl), X509_get_subject_name(ca)) == 0 &&
	    X509_CRL_verify(crl, key) == 1;
}

static enum nj_err
add_signed(struct tls_revoked *r, X509_CRL *crl, X509 *ca, bool noted)
{
	struct signed_list *l = calloc(1, sizeof *l);

	if (!l)
		return NJ_NOMEM;
	if (X509_up_ref(ca) != 1) {
		free(l);
		return NJ_NOMEM;
	}
	l->crl = crl;
	l->ca = ca;
	l->key = by_cert(ca).key;
	l->plain = is_plain(crl);
	l->noted = noted;
	l->accepted = noted || !is_strange(crl);
	l->next = atomic_load(&r->good);
	while (!atomic_compare_exchange_weak(&r->good, &l->next, l))
		;
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
			if (has_signed(sk_X509_value(cas, k), crl) &&
			    !(e = add_signed(
				  r, crl, sk_X509_value(cas, k), false)))
				r->n_good++;
	}
	ERR_clear_error();
	return e;
}

/* Whether it was signed by that very certificate. */
static const struct signed_list *
find_signed(const struct tls_revoked *r, const X509_CRL *crl, const X509 *ca)
{
	for (const struct signed_list *l = atomic_load(&r->good); l;
	     l = l->next)
		if (l->crl == crl && X509_cmp(l->ca, ca) == 0)
			return l;
	return NULL;
}

static bool
is_signed(const struct tls_revoked *r, const X509_CRL *crl, const X509 *ca)
{
	const struct signed_list *l = find_signed(r, crl, ca);

	return l && l->plain;
}

static bool
is_timely(const X509_CRL *crl)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
	time_t now = time(NULL);

	return X509_cmp_time(X509_CRL_get0_lastUpdate(crl), &now) < 0 &&
	    (!next || X509_cmp_time(next, &now) > 0);
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

	if (r && own && is_timely(crl) && is_signed(r, crl, issuer))
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

void
tls_revoked_lend(struct tls_lent *l, X509_STORE_CTX *ctx)
{
	X509_STORE_CTX_set0_crls(ctx, l->r ? l->r->crls : NULL);
	(void)X509_STORE_CTX_set_app_data(ctx, l);
}

/* Who takes up no place here has the library do it all in each handshake. */
void
tls_revoked_back(struct tls_lent *l, X509_STORE_CTX *ctx, bool good)
{
	struct tls_revoked *r = l->r;

	X509_STORE_CTX_set0_crls(ctx, NULL);
	(void)X509_STORE_CTX_set_app_data(ctx, NULL);
	/* by that one, and not by another of its name in the chain */
	if (good && l->seen && !find_signed(r, l->seen, l->issuer) &&
	    has_signed(l->issuer, l->seen) &&
	    atomic_fetch_add(&r->noted, 1) < REVOKED_NOTED_MAX)
		(void)!add_signed(r, l->seen, l->issuer, true);
}

/* -- the whole ------------------------------------------------------------ */

enum nj_err
tls_revoked_new(STACK_OF(X509_CRL) * *crls, const char *own,
    STACK_OF(X509) * ours, const struct tls_revoked *had,
    struct tls_revoked **out, struct nj_why *why)
{
	struct tls_revoked *r = calloc(1, sizeof *r);
	STACK_OF(X509) *cas = NULL;
	enum nj_err e;

	if (!r)
		return NJ_NOMEM;
	atomic_init(&r->refs, 1);
	if (!(e = take_sent(r, had)))
		e = all_cas(r, ours, &cas);
	for (int i = 0; *crls && !e && i < sk_X509_CRL_num(*crls); i++) {
		X509_CRL *crl = sk_X509_CRL_value(*crls, i);

		e = add_list(r, crl, by_list(crl, cas, false));
	}
	if (!e && *crls)
		e = look_ahead(r, *crls, cas);
	if (!e && own)
		e = add_own(r, own, cas, why);
	sk_X509_free(cas);
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
	for (struct signed_list *l = atomic_load(&r->good), *next; l;
	     l = next) {
		next = l->next;
		X509_free(l->ca);
		free(l);
	}
	sk_X509_pop_free(r->sent, X509_free);
	free(r->by);
	free(r->cas);
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

static bool
has(const struct tls_revoked *r, const struct revoked_by *ca,
    struct slice serial)
{
	struct revoked_one key;
	const struct revoked_one *at;

	if (!r || r->n == 0)
		return false;
	set_one(&key, ca->name, 0, serial);
	at = bsearch(&key, r->v, r->n, sizeof *r->v, order);
	/* it may stand on several lists */
	while (at && at > r->v && order(at - 1, &key) == 0)
		at--;
	for (; at && at < r->v + r->n && order(at, &key) == 0; at++)
		if (is_about(r, at->list, ca))
			return true;
	return false;
}

bool
tls_revoked_has_cert(const struct tls_revoked *r, X509 *x, X509 *issuer)
{
	struct revoked_by ca;

	if (!r || r->n == 0)
		return false;
	ca = by_cert(issuer);
	return has(r, &ca, serial_slice(X509_get0_serialNumber(x)));
}

enum nj_err
tls_revoked_put(X509 *x, X509 *issuer, struct buf *out)
{
	struct slice serial = serial_slice(X509_get0_serialNumber(x));
	struct revoked_by ca = by_cert(issuer);
	enum nj_err e;

	if ((e = buf_put_u32(out, ca.name)) || (e = buf_put_u32(out, ca.key)) ||
	    (e = buf_put_u32(out, ca.id)) ||
	    (e = buf_put_u8(out, (uint8_t)serial.n)))
		return e;
	return buf_put_slice(out, serial);
}

static bool
take_one(struct slice *put, struct revoked_by *ca, struct slice *serial)
{
	uint8_t n = 0;

	return !take_u32(put, &ca->name) && !take_u32(put, &ca->key) &&
	    !take_u32(put, &ca->id) && !take_u8(put, &n) &&
	    n <= REVOKED_SERIAL_MAX && !take_bytes(put, n, serial);
}

bool
tls_revoked_take(struct slice *put, struct slice *first)
{
	struct slice rest = *put, serial = SLICE_NONE, same = SLICE_NONE;
	struct revoked_by ca, by;

	if (!take_one(&rest, &ca, &serial))
		return false;
	for (struct slice next = rest; take_one(&next, &by, &same) &&
	     by.name == ca.name && slice_eq(same, serial);)
		rest = next;
	*first = slice_of(put->p, put->n - rest.n);
	*put = rest;
	return true;
}

bool
tls_revoked_has_any(const struct tls_revoked *r, struct slice put)
{
	struct slice serial = SLICE_NONE;
	struct revoked_by ca;

	while (put.n > 0)
		if (!take_one(&put, &ca, &serial) || has(r, &ca, serial))
			return true;
	return false;
}

static bool
is_accepted(const struct tls_revoked *r, const X509_CRL *crl, uint32_t key)
{
	for (const struct signed_list *l = atomic_load(&r->good); l;
	     l = l->next)
		if (l->crl == crl && l->key == key && l->accepted)
			return true;
	return false;
}

static bool
list_holds(const struct tls_revoked *r, const struct revoked_by *ca, bool known)
{
	for (int i = 0; i < sk_X509_CRL_num(r->crls); i++) {
		const X509_CRL *crl = sk_X509_CRL_value(r->crls, i);

		if (is_about(r, (size_t)i, ca) && is_timely(crl) &&
		    (!known || is_accepted(r, crl, ca->key)))
			return true;
	}
	return false;
}

bool
tls_revoked_holds(const struct tls_revoked *r, struct slice put, bool known)
{
	struct slice first = SLICE_NONE, serial = SLICE_NONE;
	struct revoked_by ca;

	if (!r || !r->crls)
		return true;
	if (!tls_revoked_take(&put, &first))
		return false;
	while (take_one(&first, &ca, &serial))
		if (list_holds(r, &ca, known))
			return true;
	return false;
}
