/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_revoked.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "net/tls_foreign.h"
#include "net/tls_impl.h"

uint32_t
tls_issuer_hash(const X509_NAME *name)
{
	int ok = 0;
	unsigned long h = X509_NAME_hash_ex(name, NULL, NULL, &ok);

	return ok ? (uint32_t)h : 0;
}

uint32_t
tls_hash_never_0(struct slice s)
{
	uint32_t h = (uint32_t)hash_quick(s);

	return h ? h : 1;
}

static uint32_t
hash_of_id(const ASN1_OCTET_STRING *id)
{
	return id ? tls_hash_never_0(slice_of(ASN1_STRING_get0_data(id),
			(size_t)ASN1_STRING_length(id)))
		  : 0;
}

/* The CA whose certificate this is. */
static struct revoked_by
by_cert(X509 *ca)
{
	return (struct revoked_by){ .name = tls_issuer_hash(
					X509_get_subject_name(ca)),
		.key = tls_key_hash(ca),
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

/* The one of cas that has signed a list, for which all of it is hashed; or NULL. */
static X509 *
signer_of(X509_CRL *crl, STACK_OF(X509) * cas)
{
	X509 *found = NULL;

	for (int i = 0; i < sk_X509_num(cas) && !found; i++) {
		X509 *ca = sk_X509_value(cas, i);
		EVP_PKEY *key =
		    tls_list_is_named(crl, ca) ? X509_get0_pubkey(ca) : NULL;

		if (key && X509_CRL_verify(crl, key) == 1)
			found = ca;
	}
	ERR_clear_error();
	return found;
}

/* Who made a list: who has signed it, or what it says itself. */
static struct revoked_by
by_list(X509_CRL *crl, X509 *signer, bool own)
{
	AUTHORITY_KEYID *akid;
	struct revoked_by by = { .name = tls_issuer_hash(
				     X509_CRL_get_issuer(crl)) };

	if (signer)
		return by_cert(signer);
	if (!own) { /* ours counts for all of that name */
		akid = X509_CRL_get_ext_d2i(
		    crl, NID_authority_key_identifier, NULL, NULL);
		by.id = hash_of_id(akid ? akid->keyid : NULL);
		AUTHORITY_KEYID_free(akid);
	}
	return by;
}

/* By an eighth at least, as there may be many lists. */
static size_t
grown(size_t cap, size_t need)
{
	return need > cap + cap / 8 ? need : cap + cap / 8;
}

static enum nj_err
add_by(struct tls_revoked *r, struct revoked_by by, struct nj_why *why)
{
	struct revoked_by *v;
	size_t cap = grown(r->cap_by, r->n_by + 1);

	if (r->n_by >= REVOKED_LISTS_MAX) {
		why_set(why, "there are more than %u revocation lists",
		    REVOKED_LISTS_MAX);
		why_mend(why,
		    "leave in crlfile and capath the last list of each CA");
		return NJ_TOOBIG;
	}
	if (r->n_by == r->cap_by) {
		if (!(v = reallocarray(r->by, cap, sizeof *v)))
			return NJ_NOMEM;
		r->by = v;
		r->cap_by = cap;
	}
	r->by[r->n_by++] = by;
	return NJ_OK;
}

static enum nj_err
add_list(struct tls_revoked *r, X509_CRL *crl, struct revoked_by by,
    struct nj_why *why)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
	size_t more = all ? (size_t)sk_X509_REVOKED_num(all) : 0;
	size_t cap = grown(r->cap, r->n + more);
	struct revoked_one *v;
	enum nj_err e;

	note_end(r, X509_CRL_get0_nextUpdate(crl));
	if ((e = add_by(r, by, why)) || more == 0)
		return e;
	if (r->cap - r->n < more) {
		if (!(v = reallocarray(r->v, cap, sizeof *v)))
			return NJ_NOMEM;
		r->v = v;
		r->cap = cap;
	}
	for (size_t i = 0; i < more; i++) {
		X509_REVOKED *one = sk_X509_REVOKED_value(all, (int)i);
		struct slice s =
		    serial_slice(X509_REVOKED_get0_serialNumber(one));

		if (!is_removed(one))
			set_one(&r->v[r->n++], by.name, r->n_by - 1, s);
	}
	return NJ_OK;
}

/* -- CAs that clients send ------------------------------------------------ */

static bool
has_ca(STACK_OF(X509) * v, const X509 *x)
{
	for (int i = 0; i < sk_X509_num(v); i++)
		if (tls_same_ca(sk_X509_value(v, i), x))
			return true;
	return false;
}

/* A reference, unless it is there. */
static enum nj_err
add_ca(STACK_OF(X509) * v, X509 *x)
{
	if (has_ca(v, x))
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
	X509 *met;

	if (!(r->sent = sk_X509_new_null()))
		return NJ_NOMEM;
	for (size_t i = 0; had && i < had->n_lists && !e; i++)
		if ((met = atomic_load(&had->lists[i].met)))
			e = add_ca(r->sent, met);
	for (int i = 0; had && !e && i < sk_X509_num(had->sent); i++)
		e = add_ca(r->sent, sk_X509_value(had->sent, i));
	return e;
}

static bool
has_list(const struct tls_revoked *r, X509 *x)
{
	struct revoked_by ca = by_cert(x);

	for (size_t i = 0; i < r->n_lists; i++)
		if (r->by[i].name == ca.name && r->by[i].key == ca.key)
			return true;
	return false;
}

/* Who has a list stays, and comes first; of those without one, whose list may be on its
 * way, who had one last.  Nobody gets in here but by a list that we were given. */
static enum nj_err
keep_sent(struct tls_revoked *r)
{
	STACK_OF(X509) *kept = sk_X509_new_null(), *all = r->sent;
	enum nj_err e = kept ? NJ_OK : NJ_NOMEM;
	size_t without = 0;

	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < sk_X509_num(all) && !e; i++) {
			X509 *ca = sk_X509_value(all, i);
			bool listed = has_list(r, ca);

			if (listed == (pass == 0) &&
			    (listed || without++ < REVOKED_SENT_MAX))
				e = add_ca(kept, ca);
		}
	if (e) {
		sk_X509_pop_free(kept, X509_free);
		return e;
	}
	r->sent = kept;
	sk_X509_pop_free(all, X509_free);
	return NJ_OK;
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
		if (!has_ca(all, sk_X509_value(r->sent, i)) &&
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
		struct revoked_by by = by_list(crl, signer_of(crl, cas), true);

		if (is_forged(r, &by))
			continue;
		if (next && X509_cmp_time(next, &now) < 0)
			r->own_stale = true;
		r->has_own = true;
		e = add_list(r, crl, by, why);
	}
	sk_X509_CRL_pop_free(own, X509_CRL_free);
	return e;
}

/* -- foreign lists -------------------------------------------------------- */

static enum nj_err
add_all_foreign(struct tls_revoked *r, STACK_OF(X509_CRL) * crls,
    STACK_OF(X509) * cas, struct nj_why *why)
{
	int n = sk_X509_CRL_num(crls);
	enum nj_err e = NJ_OK;

	if (n > 0 && !(r->lists = calloc((size_t)n, sizeof *r->lists)))
		return NJ_NOMEM;
	for (int i = 0; i < n && !e; i++) {
		X509_CRL *crl = sk_X509_CRL_value(crls, i);
		X509 *signer = signer_of(crl, cas);

		if (!(e = tls_list_init(
			  &r->lists[r->n_lists++], crl, signer, cas)))
			e = add_list(r, crl, by_list(crl, signer, false), why);
	}
	return e;
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
	if (!e && *crls)
		e = add_all_foreign(r, *crls, cas, why);
	if (!e && own)
		e = add_own(r, own, cas, why);
	sk_X509_free(cas);
	if (!e)
		e = keep_sent(r);
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
	for (size_t i = 0; i < r->n_lists; i++)
		tls_list_fini(&r->lists[i]);
	free(r->lists);
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

/* One that is about a part of the certificates is enough for those that such a one has
 * let pass before. */
static bool
list_holds(const struct tls_revoked *r, const struct revoked_by *ca,
    uint32_t part, bool known)
{
	for (size_t i = 0; i < r->n_lists; i++) {
		const struct tls_list *l = &r->lists[i];

		if ((l->plain || (part && l->part == part)) &&
		    is_about(r, i, ca) && tls_list_is_timely(l) &&
		    (!known || tls_list_accepts(l, ca->key)))
			return true;
	}
	return false;
}

bool
tls_revoked_holds(
    const struct tls_revoked *r, struct slice put, uint32_t part, bool known)
{
	struct slice first = SLICE_NONE, serial = SLICE_NONE;
	struct revoked_by ca;

	if (!r || !r->crls)
		return true;
	if (!tls_revoked_take(&put, &first))
		return false;
	while (take_one(&first, &ca, &serial))
		if (list_holds(r, &ca, part, known))
			return true;
	return false;
}
