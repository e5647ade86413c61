/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/crl.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "pki/explain.h"
#include "pki/registry.h"

static const struct {
	int code;
	const char *word, *name;
} reasons[] = {
	{ CRL_REASON_UNSPECIFIED, "unspecified", "unspecified" },
	{ CRL_REASON_KEY_COMPROMISE, "key-compromise", "keyCompromise" },
	{ CRL_REASON_AFFILIATION_CHANGED, "affiliation-changed",
	    "affiliationChanged" },
	{ CRL_REASON_SUPERSEDED, "superseded", "superseded" },
	{ CRL_REASON_CESSATION_OF_OPERATION, "cessation-of-operation",
	    "cessationOfOperation" },
	{ CRL_REASON_PRIVILEGE_WITHDRAWN, "privilege-withdrawn",
	    "privilegeWithdrawn" },
};

#define N_REASONS (sizeof reasons / sizeof *reasons)

int
pki_reason_of(const char *word)
{
	for (size_t i = 0; i < N_REASONS; i++)
		if (strcasecmp(word, reasons[i].word) == 0 ||
		    strcasecmp(word, reasons[i].name) == 0)
			return reasons[i].code;
	return -1;
}

const char *
pki_reason_name(int reason)
{
	for (size_t i = 0; i < N_REASONS; i++)
		if (reasons[i].code == reason)
			return reasons[i].name;
	return reasons[0].name;
}

/* -- what the registry knows ----------------------------------------------- */

struct gone {
	char serial[41];
	int64_t when, not_after;
	int reason;
};

struct pki_revoked {
	struct gone *v;
	size_t n, cap;
	bool sorted, no_memory;
};

static bool
is_revocation(const struct registry_entry *e)
{
	return strcmp(e->kind, "revoked") == 0;
}

static bool
gather(void *arg, const struct registry_entry *e)
{
	struct pki_revoked *r = arg;
	struct gone *g;

	if (!is_revocation(e))
		return true;
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;

		if (!(g = reallocarray(r->v, cap, sizeof *g))) {
			r->no_memory = true;
			return false;
		}
		r->v = g;
		r->cap = cap;
	}
	g = &r->v[r->n++];
	*g = (struct gone){ .when = e->issued, .not_after = e->not_after };
	(void)snprintf(g->serial, sizeof g->serial, "%s", e->serial);
	g->reason = pki_reason_of(e->reason);
	return true;
}

static int
by_serial(const void *a, const void *b)
{
	const struct gone *x = a, *y = b;

	return strcmp(x->serial, y->serial);
}

enum nj_err
pki_revoked_load(
    const char *registry, struct pki_revoked **out, struct nj_why *why)
{
	struct pki_revoked *r = calloc(1, sizeof *r);
	enum nj_err e;

	if (!r)
		return NJ_NOMEM;
	e = registry_each(registry, gather, r, why);
	if (!e && r->no_memory)
		e = NJ_NOMEM;
	if (e) {
		pki_revoked_free(r);
		return e;
	}
	if (r->n > 0)
		qsort(r->v, r->n, sizeof *r->v, by_serial);
	*out = r;
	return NJ_OK;
}

void
pki_revoked_free(struct pki_revoked *r)
{
	if (!r)
		return;
	free(r->v);
	free(r);
}

bool
pki_revoked_has(const struct pki_revoked *r, const char *serial, int64_t *when)
{
	struct gone key = { 0 }, *found = NULL;

	(void)snprintf(key.serial, sizeof key.serial, "%s", serial);
	if (r->n > 0)
		found = bsearch(&key, r->v, r->n, sizeof *r->v, by_serial);
	if (found && when)
		*when = found->when;
	return found != NULL;
}

/* -- the list --------------------------------------------------------------- */

char *
pki_crl_path(const char *dir)
{
	return pki_path(dir, "crl/ca.crl");
}

static bool
is_url(const char *url)
{
	size_t n = strlen(url), i = 0;

	if (n > PKI_CRL_URL_MAX || strncasecmp(url, "http://", 7) != 0 ||
	    n == 7)
		return false;
	while (i < n && url[i] > ' ' && url[i] < 0x7f && url[i] != '"')
		i++;
	return i == n;
}

enum nj_err
pki_crl_set_url(const char *dir, const char *url, struct nj_why *why)
{
	char *path = pki_path(dir, "pki/crl-url");
	enum nj_err e = NJ_NOMEM;

	if (!path)
		return NJ_NOMEM;
	if (url && !is_url(url)) {
		why_set(why, "this cannot be the address of the list");
		why_mend(why,
		    "give one like http://broker.example.org:8886/"
		    "ca.crl; https would need the list to be read");
		e = NJ_INVALID;
	} else if (url) {
		e = file_write(path, slice_str(url), 0600, why);
	} else {
		e = unlink(path) == 0 || errno == ENOENT ? NJ_OK : NJ_IO;
	}
	free(path);
	return e;
}

char *
pki_crl_url(const char *dir)
{
	char *path = pki_path(dir, "pki/crl-url"), *url = NULL;
	struct buf text = { 0 };

	if (path && access(path, F_OK) == 0 &&
	    file_read(path, PKI_CRL_URL_MAX, &text, NULL) == NJ_OK &&
	    buf_slice(&text).p)
		url = strndup((const char *)buf_slice(&text).p, buf_len(&text));
	if (url && !is_url(url)) {
		free(url);
		url = NULL;
	}
	buf_fini(&text);
	free(path);
	return url;
}

static X509_CRL *
load_list(const char *dir)
{
	char *path = pki_crl_path(dir);
	struct buf text = { 0 };
	X509_CRL *crl = NULL;
	BIO *bio = NULL;

	if (path && file_read(path, PKI_CRL_MAX, &text, NULL) == NJ_OK &&
	    buf_len(&text) > 0 &&
	    (bio = BIO_new_mem_buf(buf_slice(&text).p, (int)buf_len(&text))))
		crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
	BIO_free(bio);
	buf_fini(&text);
	free(path);
	ERR_clear_error();
	return crl;
}

int64_t
pki_crl_until(const char *dir)
{
	X509_CRL *crl = load_list(dir);
	const ASN1_TIME *next = crl ? X509_CRL_get0_nextUpdate(crl) : NULL;
	struct tm tm = { 0 };
	int64_t until = 0;

	if (next && ASN1_TIME_to_tm(next, &tm) == 1)
		until = (int64_t)timegm(&tm);
	X509_CRL_free(crl);
	return until;
}

bool
pki_crl_is_behind(const struct pki_ca *ca)
{
	X509_CRL *crl = load_list(pki_ca_dir(ca));
	struct pki_revoked *r = NULL;
	int64_t now = (int64_t)time(NULL);
	bool behind = false;

	if (pki_revoked_load(pki_ca_registry(ca), &r, NULL)) {
		X509_CRL_free(crl);
		return false;
	}
	for (size_t i = 0; crl && !behind && i < r->n; i++) {
		ASN1_INTEGER *serial = NULL;
		BIGNUM *bn = NULL;
		X509_REVOKED *found = NULL;

		if (r->v[i].not_after < now)
			continue;
		if (BN_hex2bn(&bn, r->v[i].serial) > 0 &&
		    (serial = BN_to_ASN1_INTEGER(bn, NULL)))
			behind =
			    X509_CRL_get0_by_serial(crl, &found, serial) == 0;
		ASN1_INTEGER_free(serial);
		BN_free(bn);
	}
	pki_revoked_free(r);
	X509_CRL_free(crl);
	ERR_clear_error();
	return behind;
}

/* One more than the list that is there has, and never less than the time, in
 * case it was lost [RFC 5280 5.2.3]. */
static bool
add_number(X509_CRL *crl, const char *dir)
{
	X509_CRL *old = load_list(dir);
	ASN1_INTEGER *last =
	    old ? X509_CRL_get_ext_d2i(old, NID_crl_number, NULL, NULL) : NULL;
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	uint64_t v = (uint64_t)time(NULL), was = 0;
	bool ok;

	if (last && ASN1_INTEGER_get_uint64(&was, last) == 1 && was >= v)
		v = was + 1;
	ok = number && ASN1_INTEGER_set_uint64(number, v) == 1 &&
	    X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1;
	ASN1_INTEGER_free(number);
	ASN1_INTEGER_free(last);
	X509_CRL_free(old);
	ERR_clear_error();
	return ok;
}

static bool
set_reason(X509_REVOKED *one, int reason)
{
	ASN1_ENUMERATED *a;
	bool ok;

	if (reason <= CRL_REASON_UNSPECIFIED) /* left out then, 5.3.1 */
		return true;
	a = ASN1_ENUMERATED_new();
	ok = a && ASN1_ENUMERATED_set(a, reason) == 1 &&
	    X509_REVOKED_add1_ext_i2d(one, NID_crl_reason, a, 0, 0) == 1;
	ASN1_ENUMERATED_free(a);
	return ok;
}

static bool
add_gone(X509_CRL *crl, const struct gone *g)
{
	X509_REVOKED *one = X509_REVOKED_new();
	ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)g->when);
	ASN1_INTEGER *serial = NULL;
	BIGNUM *bn = NULL;
	bool ok;

	ok = one && when && BN_hex2bn(&bn, g->serial) > 0 &&
	    (serial = BN_to_ASN1_INTEGER(bn, NULL)) &&
	    X509_REVOKED_set_serialNumber(one, serial) == 1 &&
	    X509_REVOKED_set_revocationDate(one, when) == 1 &&
	    set_reason(one, g->reason) && X509_CRL_add0_revoked(crl, one) == 1;
	if (!ok)
		X509_REVOKED_free(one);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(when);
	BN_free(bn);
	return ok;
}

static bool
fill_list(
    X509_CRL *crl, const struct pki_revoked *r, const char *dir, unsigned days)
{
	time_t now = time(NULL);
	ASN1_TIME *from = ASN1_TIME_set(NULL, now);
	ASN1_TIME *to = ASN1_TIME_adj(NULL, now, (int)days, 0);
	bool ok = from && to && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
	    X509_CRL_set1_lastUpdate(crl, from) == 1 &&
	    X509_CRL_set1_nextUpdate(crl, to) == 1 && add_number(crl, dir);

	for (size_t i = 0; ok && i < r->n; i++) {
		if (i > 0 && by_serial(&r->v[i - 1], &r->v[i]) == 0)
			continue;
		if (r->v[i].not_after >= (int64_t)now - PKI_CRL_KEEP_S)
			ok = add_gone(crl, &r->v[i]);
	}
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	return ok && X509_CRL_sort(crl) == 1;
}

static enum nj_err
store_list(const char *dir, BIO *bio, struct nj_why *why)
{
	char *folder = pki_path(dir, "crl"), *path = pki_crl_path(dir);
	enum nj_err e = NJ_NOMEM;
	char *text = NULL;
	long n;

	if (!folder || !path)
		goto out;
	n = BIO_get_mem_data(bio, &text);
	if (!(e = file_mkdir(folder, 0755, why)))
		e = file_write(path, slice_of(text, (size_t)n), 0644, why);
out:
	free(path);
	free(folder);
	return e;
}

/* Serials are random, so that those of one CA in the list of another mean
 * nothing. */
static enum nj_err
put_list(struct pki_ca *ca, bool old, const struct pki_revoked *r,
    unsigned days, BIO *bio, struct nj_why *why)
{
	X509_CRL *crl = X509_CRL_new();
	enum nj_err e = NJ_NOMEM;

	if (!crl)
		return NJ_NOMEM;
	if (!fill_list(crl, r, pki_ca_dir(ca), days ? days : PKI_CRL_DAYS)) {
		e = NJ_CRYPTO;
		why_set(why, "the revocation list could not be made");
	} else if (!(e = old ? pki_ca_sign_old_crl(ca, crl, why)
			     : pki_ca_sign_crl(ca, crl, why))) {
		e = PEM_write_bio_X509_CRL(bio, crl) == 1 ? NJ_OK : NJ_NOMEM;
	}
	X509_CRL_free(crl);
	ERR_clear_error();
	return e;
}

enum nj_err
pki_crl_renew(struct pki_ca *ca, unsigned days, struct nj_why *why)
{
	BIO *bio = BIO_new(BIO_s_mem());
	struct pki_revoked *r = NULL;
	enum nj_err e = NJ_NOMEM;

	if (!bio)
		return NJ_NOMEM;
	if ((e = pki_revoked_load(pki_ca_registry(ca), &r, why)) ||
	    (e = put_list(ca, false, r, days, bio, why)))
		goto out;
	/* Around a roll-over both CAs' certificates are about. */
	if ((e = put_list(ca, true, r, days, bio, why)) == NJ_NOTFOUND)
		e = NJ_OK;
	if (!e)
		e = store_list(pki_ca_dir(ca), bio, why);
out:
	pki_revoked_free(r);
	BIO_free(bio);
	return e;
}

/* -- taking back ------------------------------------------------------------ */

struct hunt {
	const struct pki_revoke *o;
	char serial[41]; /* what o says as a serial; "": it is none */
	int64_t now;
	const struct pki_revoked *gone;
	struct registry_entry *v;
	size_t n, cap;
	size_t known; /* such, revoked before or ended */
	bool no_memory;
};

/* "0x1f:2E" -> "1F2E", as the registry has it; "" when it is no serial. */
static void
serial_of(const char *word, char dst[41])
{
	size_t n = 0;

	if (word[0] == '0' && (word[1] | 0x20) == 'x')
		word += 2;
	for (; *word; word++) {
		if (*word == ':')
			continue;
		if (!isxdigit((unsigned char)*word) || n == 40) {
			dst[0] = '\0';
			return;
		}
		dst[n++] = (char)toupper((unsigned char)*word);
	}
	dst[n] = '\0';
}

static bool
same_serial(const char *a, const char *b)
{
	a += strspn(a, "0");
	b += strspn(b, "0");
	return *a && strcmp(a, b) == 0;
}

static bool
is_leaf(const struct registry_entry *e)
{
	return strcmp(e->kind, "server") == 0 || strcmp(e->kind, "device") == 0;
}

static bool
match(void *arg, const struct registry_entry *e)
{
	struct hunt *h = arg;
	bool named = h->o->what && strcmp(h->o->what, e->id) == 0;

	if (!is_leaf(e) || !(named || same_serial(h->serial, e->serial)))
		return true;
	h->known++;
	if (e->not_after <= h->now || pki_revoked_has(h->gone, e->serial, NULL))
		return true;
	if (h->n == h->cap) {
		size_t cap = h->cap ? h->cap * 2 : 16;
		struct registry_entry *v = reallocarray(h->v, cap, sizeof *v);

		if (!v) {
			h->no_memory = true;
			return false;
		}
		h->v = v;
		h->cap = cap;
	}
	h->v[h->n++] = *e;
	return true;
}

static enum nj_err
not_found(const struct hunt *h, struct nj_why *why)
{
	char esc[TEXT_ESC];

	why_set(why, "the CA has issued nothing to '%s'",
	    text_esc(esc, sizeof esc,
		slice_str(h->o->what ? h->o->what : h->serial)));
	why_mend(why,
	    "nightjar ca list shows the names and serial numbers; one that "
	    "it does not know is revoked with --file CERT");
	return NJ_NOTFOUND;
}

/* A certificate that the CA signed and the registry does not know: issued with
 * its key before the CA was Nightjar's, or the registry was lost. */
static enum nj_err
from_file(struct pki_ca *ca, struct hunt *h, struct nj_why *why)
{
	struct registry_entry *e;
	char name[TEXT_ESC];
	uint8_t spki[32];
	int64_t from;

	if (!(e = calloc(1, sizeof *e)))
		return NJ_NOMEM;
	h->v = e;
	h->n = h->cap = 1;
	pki_short_name(h->o->cert, name, sizeof name);
	(void)snprintf(e->kind, sizeof e->kind, "device");
	(void)snprintf(e->id, sizeof e->id, "%.*s", PKI_ID_MAX,
	    strlen(name) <= PKI_ID_MAX && !pki_check_id(name, NULL)
		? name
		: "unknown");
	(void)snprintf(e->serial, sizeof e->serial, "%s", h->serial);
	if (!pki_cert_dates(h->o->cert, &from, &e->not_after) ||
	    pki_spki_sha256(h->o->cert, spki))
		return NJ_CRYPTO;
	for (size_t i = 0; i < sizeof spki; i++)
		(void)snprintf(e->spki + 2 * i, 3, "%02x", spki[i]);
	(void)ca;
	(void)why;
	return NJ_OK;
}

static enum nj_err
check_cert(struct pki_ca *ca, X509 *x, struct nj_why *why)
{
	char name[TEXT_ESC], issuer[TEXT_ESC];

	if (pki_ca_issued(ca, x))
		return NJ_OK;
	pki_short_name(x, name, sizeof name);
	pki_short_name(pki_ca_root(ca), issuer, sizeof issuer);
	why_set(why, "the certificate of '%s' was not issued by the CA '%s'",
	    name, issuer);
	why_mend(why,
	    "only the CA that issued a certificate can revoke it: name "
	    "its folder with --dir");
	ERR_clear_error();
	return NJ_INVALID;
}

static enum nj_err
find_all(struct pki_ca *ca, struct hunt *h, struct nj_why *why)
{
	enum nj_err e;

	h->serial[0] = '\0';
	if (h->o->cert) {
		if ((e = check_cert(ca, h->o->cert, why)))
			return e;
		pki_serial(h->o->cert, h->serial, sizeof h->serial);
	}
	if ((e = registry_each(pki_ca_registry(ca), match, h, why)))
		return e;
	/* A name goes before a serial that looks like it. */
	if (h->known == 0 && h->o->what) {
		serial_of(h->o->what, h->serial);
		if (h->serial[0] &&
		    (e = registry_each(pki_ca_registry(ca), match, h, why)))
			return e;
	}
	if (h->no_memory)
		return NJ_NOMEM;
	if (h->known > 0)
		return NJ_OK;
	if (!h->o->cert)
		return not_found(h, why);
	if (pki_revoked_has(h->gone, h->serial, NULL)) {
		h->known = 1;
		return NJ_OK;
	}
	return from_file(ca, h, why);
}

/* Under the registry's lock, so that nothing is issued to the name between the
 * look and the line. */
static enum nj_err
write_down(struct pki_ca *ca, struct hunt *h, struct nj_why *why)
{
	struct pki_revoked *gone = NULL;
	struct registry *r = NULL;
	enum nj_err e;

	if ((e = registry_open(pki_ca_registry(ca), false, &r, why)))
		return e;
	if ((e = pki_revoked_load(pki_ca_registry(ca), &gone, why)))
		goto out;
	h->gone = gone;
	if ((e = find_all(ca, h, why)))
		goto out;
	for (size_t i = 0; !e && i < h->n; i++) {
		struct registry_entry *v = &h->v[i];

		(void)snprintf(v->kind, sizeof v->kind, "revoked");
		v->issued = h->now;
		(void)snprintf(v->reason, sizeof v->reason, "%s",
		    pki_reason_name(h->o->reason));
		v->has_groups = false;
		e = registry_append(r, v, why);
	}
out:
	h->gone = NULL;
	pki_revoked_free(gone);
	registry_close(r);
	return e;
}

/* The registry has it; brokers and others go by the list. */
static void
tell_unlisted(size_t n, struct nj_why *why)
{
	char mend[sizeof why->mend];

	if (!why)
		return;
	(void)snprintf(mend, sizeof mend, "%.*s%sthen at once: nightjar ca crl",
	    (int)(sizeof mend / 2), why->mend, why->mend[0] ? "; " : "");
	why_prefix(why,
	    "%sthe list of revoked certificates could not be written, and "
	    "brokers, which go by that list, still let it in",
	    n > 0 ? "it is written down as revoked, but " : "");
	why_mend(why, "%s", mend);
}

enum nj_err
pki_revoke(struct pki_ca *ca, const struct pki_revoke *o, struct nj_why *why)
{
	struct hunt h = { .o = o, .now = (int64_t)time(NULL) };
	enum nj_err e;

	if (!pki_ca_is_unlocked(ca)) {
		why_set(why, "the key of the CA is locked");
		return NJ_DENIED;
	}
	if ((e = write_down(ca, &h, why)))
		goto out;
	for (size_t i = 0; o->fn && i < h.n; i++)
		o->fn(o->arg, h.v[i].id, h.v[i].serial);
	if ((e = pki_crl_renew(ca, 0, why)))
		tell_unlisted(h.n, why);
	else if (h.n == 0)
		e = NJ_EXISTS;
out:
	free(h.v);
	return e;
}
