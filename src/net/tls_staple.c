/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_staple.h"

#include <assert.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "net/httppost.h"
#include "net/tls_impl.h"
#include "pki/explain.h"
#include "pki/ocsp.h"

#define LOOK_MS	    1000 /* the clock may be set meanwhile */
#define STOP_WAIT_S 3

/* One certificate's. */
struct tls_staple {
	struct tls_staples *all;
	struct tls_staple *next;
	unsigned refs;
	X509 *leaf, *issuer; /* issuer NULL: not found yet */
	struct http_url url;
	char text[256]; /* url, for people */
	char name[160], serial[48];
	bool must, told;
	unsigned failures;
	int64_t due; /* when to ask, Unix seconds */
	struct nj_why why;
	/* the answer that holds, n 0: none */
	uint8_t *der;
	size_t n;
	struct pki_ocsp says;
};

struct tls_staples {
	const struct clock *clock;
	pthread_mutex_t lock; /* all of the below */
	pthread_cond_t wake;
	pthread_t thread;
	bool running, stopping, ended;
	struct tls_staple *first;
};

static int64_t
now_s(const struct tls_staples *s)
{
	return clock_wall(s->clock) / 1000;
}

/* -- the list; under its lock ------------------------------------------------ */

static void
staple_free(struct tls_staple *x)
{
	X509_free(x->leaf);
	X509_free(x->issuer);
	free(x->der);
	free(x);
}

static void
drop(struct tls_staple *x)
{
	struct tls_staple **at = &x->all->first;

	assert(x->refs > 0);
	if (--x->refs > 0)
		return;
	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	staple_free(x);
}

static bool
holds(const struct tls_staple *x)
{
	return x->n > 0 && x->says.until > now_s(x->all);
}

/* -- asking ------------------------------------------------------------------ */

/* A certificate whose file has no intermediate may be by a root that the
 * system knows. */
X509 *
tls_issuer_of_system(X509 *leaf)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *c = X509_STORE_CTX_new();
	X509 *found = NULL;

	if (store && c && X509_STORE_set_default_paths(store) == 1 &&
	    X509_STORE_CTX_init(c, store, leaf, NULL) == 1 &&
	    X509_STORE_CTX_get1_issuer(&found, c, leaf) != 1)
		found = NULL;
	X509_STORE_CTX_free(c);
	X509_STORE_free(store);
	ERR_clear_error();
	return found;
}

static enum nj_err
fetch(const struct tls_staple *x, X509 **issuer, struct buf *answer,
    struct pki_ocsp *says, struct nj_why *why)
{
	struct buf q = { 0 };
	enum nj_err e;

	if (!*issuer && !(*issuer = tls_issuer_of_system(x->leaf))) {
		why_set(why,
		    "who issued it is not in its file, so that no answer can "
		    "be believed");
		why_mend(
		    why, "put the certificate of the CA behind it in its file");
		return NJ_NOTFOUND;
	}
	if (!(e = pki_ocsp_request(x->leaf, *issuer, &q)) &&
	    !(e = http_post(&x->url, "application/ocsp-request", buf_slice(&q),
		  PKI_OCSP_MAX, TLS_STAPLE_PATIENCE_MS, answer, why)))
		e = pki_ocsp_check(buf_slice(answer), x->leaf, *issuer,
		    now_s(x->all), says, why);
	if (!e && says->status == PKI_OCSP_UNKNOWN) {
		why_set(why, "the CA's responder does not know it");
		e = NJ_NOTFOUND;
	}
	buf_fini(&q);
	return e;
}

static void
day_and_time(int64_t t, char dst[32])
{
	time_t at = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&at, &tm) ||
	    strftime(dst, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		(void)snprintf(dst, 32, "?");
}

static void
tell_answer(const struct tls_staple *x)
{
	char when[32];

	if (x->says.status == PKI_OCSP_REVOKED) {
		day_and_time(x->says.revoked_at, when);
		nj_log(LOG_T_ERROR,
		    "Error: the CA has revoked the certificate '%s' (serial "
		    "%s) that we serve with, on %s%s%s: clients that look "
		    "refuse it. To mend it: have a new one with a new key, and "
		    "put both in the place of the old",
		    x->name, x->serial, when, x->says.reason[0] ? ", " : "",
		    x->says.reason);
		return;
	}
	day_and_time(x->says.until, when);
	nj_log(LOG_T_INFORMATION,
	    "OCSP: the CA says that the certificate '%s' is good, until %s; "
	    "clients that ask are shown it.",
	    x->name, when);
}

static void
tell_failure(const struct tls_staple *x)
{
	char when[32] = "";
	bool loud = x->must && !holds(x);

	if (holds(x))
		day_and_time(x->says.until, when);
	nj_log(loud ? LOG_T_ERROR : LOG_T_WARNING,
	    "%s: OCSP: no answer about the certificate '%s' from %s: %s. It is "
	    "served %s%s%s%s%s",
	    loud ? "Error" : "Warning", x->name, x->text, x->why.what,
	    when[0] ? "with the one that holds until " : "without", when,
	    loud ? ", and clients refuse it like that (must-staple)" : "",
	    x->why.mend[0] ? ". To mend it: " : "", x->why.mend);
}

/* Nothing is told twice: of failures the first, and each that comes to the
 * longest wait; of answers when they say something else. */
static void
settle(struct tls_staple *x, enum nj_err e, struct buf *answer,
    const struct pki_ocsp *says, const struct nj_why *why)
{
	int64_t now = now_s(x->all);
	bool other;

	if (e) {
		x->why = *why;
		if (!x->why.what[0])
			why_set(&x->why, "%s", nj_strerror(e));
		x->failures++;
		x->due =
		    pki_ocsp_next(holds(x) ? &x->says : NULL, x->failures, now);
		if (x->failures == 1 || (x->must && !holds(x)) ||
		    x->due - now >= PKI_OCSP_LATE_S)
			tell_failure(x);
		return;
	}
	other = !x->told || x->failures > 0 || x->says.status != says->status;
	free(x->der);
	x->n = buf_len(answer);
	x->der = answer->p;
	*answer = (struct buf){ 0 }; /* moved */
	x->says = *says;
	x->failures = 0;
	x->why = (struct nj_why){ 0 };
	x->due = pki_ocsp_next(says, 0, now);
	x->told = true;
	if (other)
		tell_answer(x);
}

/* The first that is due, with a reference. */
static struct tls_staple *
next_due(struct tls_staples *s)
{
	int64_t now = now_s(s);

	for (struct tls_staple *x = s->first; x; x = x->next)
		if (x->due <= now) {
			x->refs++;
			return x;
		}
	return NULL;
}

/* With an issuer that it did not have. */
static void
ask_anew(struct tls_staple *x)
{
	x->due = 0;
	x->failures = 0;
}

static void
ask_one(struct tls_staples *s, struct tls_staple *x)
{
	struct pki_ocsp says = { 0 };
	struct buf answer = { 0 };
	struct nj_why why = { 0 };
	X509 *issuer = x->issuer, *had = issuer;
	enum nj_err e;

	(void)pthread_mutex_unlock(&s->lock);
	e = fetch(x, &issuer, &answer, &says, &why);
	(void)pthread_mutex_lock(&s->lock);
	settle(x, e, &answer, &says, &why);
	if (x->issuer == had) {
		x->issuer = issuer;
	} else {
		/* a reload has brought it meanwhile */
		X509_free(issuer);
		if (e)
			ask_anew(x);
	}
	buf_fini(&answer);
	drop(x);
}

static void *
run(void *arg)
{
	struct tls_staples *s = arg;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		struct tls_staple *x = next_due(s);
		struct timespec until;

		if (x) {
			ask_one(s, x);
			continue;
		}
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += LOOK_MS / 1000;
		(void)pthread_cond_timedwait(&s->wake, &s->lock, &until);
	}
	s->ended = true;
	(void)pthread_cond_broadcast(&s->wake);
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* -- its life ---------------------------------------------------------------- */

enum nj_err
tls_staples_new(const struct clock *clock, struct tls_staples **out)
{
	struct tls_staples *s = calloc(1, sizeof *s);

	if (!s)
		return NJ_NOMEM;
	s->clock = clock;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->wake, NULL);
	*out = s;
	return NJ_OK;
}

/* Without certificates that name a responder there is no thread. */
enum nj_err
tls_staples_start(struct tls_staples *s)
{
	enum nj_err e = NJ_OK;

	(void)pthread_mutex_lock(&s->lock);
	if (!s->running && s->first) {
		if (pthread_create(&s->thread, NULL, run, s) != 0)
			e = NJ_NOMEM;
		else
			s->running = true;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return e;
}

void
tls_staples_stop(struct tls_staples *s)
{
	struct timespec until;

	if (!s)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT_S;
	(void)pthread_mutex_lock(&s->lock);
	s->stopping = true;
	(void)pthread_cond_broadcast(&s->wake);
	while (s->running && !s->ended &&
	    pthread_cond_timedwait(&s->wake, &s->lock, &until) == 0)
		continue;
	(void)pthread_mutex_unlock(&s->lock);
	if (s->running && s->ended) {
		(void)pthread_join(s->thread, NULL);
		s->running = false;
	}
}

void
tls_staples_free(struct tls_staples *s)
{
	/* a thread that hangs in the resolver goes with the process, and holds
	 * what it looks at */
	if (!s || s->running)
		return;
	assert(!s->first);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

void
tls_staples_each(struct tls_staples *s,
    void (*fn)(void *arg, const struct tls_staple_info *i), void *arg)
{
	if (!s)
		return;
	(void)pthread_mutex_lock(&s->lock);
	for (const struct tls_staple *x = s->first; x; x = x->next) {
		struct tls_staple_info i = {
			.state = TLS_STAPLE_NONE, .must = x->must, .why = x->why
		};

		memcpy(i.name, x->name, sizeof i.name);
		memcpy(i.serial, x->serial, sizeof i.serial);
		memcpy(i.url, x->text, sizeof i.url);
		if (holds(x)) {
			i.state = x->says.status == PKI_OCSP_GOOD
			    ? TLS_STAPLE_GOOD
			    : TLS_STAPLE_REVOKED;
			i.until = x->says.until;
			i.revoked_at = x->says.revoked_at;
		}
		fn(arg, &i);
	}
	(void)pthread_mutex_unlock(&s->lock);
}

/* -- servers ----------------------------------------------------------------- */

static struct tls_staple *
staple_new(struct tls_staples *s, X509 *leaf, const struct http_url *url,
    const char *text)
{
	struct tls_staple *x = calloc(1, sizeof *x);

	if (!x)
		return NULL;
	x->all = s;
	x->url = *url;
	(void)text_esc(x->text, sizeof x->text, slice_str(text));
	pki_short_name(leaf, x->name, sizeof x->name);
	pki_serial(leaf, x->serial, sizeof x->serial);
	x->must = pki_ocsp_must_staple(leaf);
	X509_up_ref(leaf);
	x->leaf = leaf;
	x->refs = 1;
	x->next = s->first;
	s->first = x;
	return x;
}

/* A reference, the one that another server has for the same certificate, or a
 * new one.  NULL: it names no responder, or no memory. */
static struct tls_staple *
staple_of(struct tls_staples *s, const struct tls_material *m,
    const STACK_OF(X509) * cas)
{
	X509 *leaf = sk_X509_value(m->chain, 0), *issuer;
	char url[PKI_OCSP_URL_MAX + 1];
	struct http_url where;
	struct tls_staple *x;

	if (!leaf || !pki_ocsp_url(leaf, url) || http_url_parse(url, &where))
		return NULL;
	(void)pthread_mutex_lock(&s->lock);
	for (x = s->first; x && X509_cmp(x->leaf, leaf) != 0; x = x->next)
		continue;
	if (x)
		x->refs++;
	else
		x = staple_new(s, leaf, &where, url);
	if (x && !x->issuer &&
	    ((issuer = pki_ocsp_issuer(leaf, m->chain)) ||
		(issuer = pki_ocsp_issuer(leaf, cas))) &&
	    X509_up_ref(issuer) == 1) {
		x->issuer = issuer;
		ask_anew(x);
	}
	(void)pthread_cond_broadcast(&s->wake);
	(void)pthread_mutex_unlock(&s->lock);
	return x;
}

void
tls_staple_drop(struct tls_staple **v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct tls_staples *s = v[i]->all;

		(void)pthread_mutex_lock(&s->lock);
		drop(v[i]);
		(void)pthread_mutex_unlock(&s->lock);
	}
	free(v);
}

/* A copy of the answer about that certificate, which the library frees. */
static unsigned char *
answer_for(const struct tls_server *t, X509 *shown, size_t *n)
{
	unsigned char *copy = NULL;

	for (unsigned i = 0; i < t->n_staples && !copy; i++) {
		struct tls_staple *x = t->staples[i];

		if (X509_cmp(x->leaf, shown) != 0)
			continue;
		(void)pthread_mutex_lock(&x->all->lock);
		if (holds(x) && (copy = OPENSSL_memdup(x->der, x->n)))
			*n = x->n;
		(void)pthread_mutex_unlock(&x->all->lock);
	}
	return copy;
}

/* The client asks, and which certificate it is shown is known. */
static int
on_status(SSL *ssl, void *arg)
{
	const struct tls_stream *s = tls_stream_of(ssl);
	X509 *shown = SSL_get_certificate(ssl);
	unsigned char *der;
	size_t n = 0;

	(void)arg;
	if (!s || !s->server || !shown ||
	    !(der = answer_for(s->server, shown, &n)))
		return SSL_TLSEXT_ERR_NOACK;
	if (SSL_set_tlsext_status_ocsp_resp(ssl, der, (long)n) == 1)
		return SSL_TLSEXT_ERR_OK;
	OPENSSL_free(der);
	return SSL_TLSEXT_ERR_NOACK;
}

enum nj_err
tls_staple_use(
    struct tls_server *t, struct tls_staples *s, const struct tls_material *m)
{
	unsigned n = m->n_more + 1;

	if (!s)
		return NJ_OK;
	if (!(t->staples = calloc(n, sizeof *t->staples)))
		return NJ_NOMEM;
	for (unsigned i = 0; i < n; i++) {
		const struct tls_material *one = i == 0 ? m : &m->more[i - 1];
		struct tls_staple *x = staple_of(s, one, m->cas);

		if (x)
			t->staples[t->n_staples++] = x;
	}
	for (unsigned i = 0; t->n_staples > 0 && i < t->n; i++)
		SSL_CTX_set_tlsext_status_cb(t->shard[i].ctx, on_status);
	return NJ_OK;
}
