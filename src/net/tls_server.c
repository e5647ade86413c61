/* SPDX-License-Identifier: Apache-2.0
 * tls_server - the listener's side of TLS: contexts, and what is asked of
 *              clients.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls_foreign.h"
#include "net/tls_impl.h"
#include "pki/explain.h"

/* -- callbacks ----------------------------------------------------------- */

/* The protocols of RFC 7301 we serve, best first. */
static const uint8_t alpn_ours[] = "\4mqtt\10http/1.1";
#define HTTP_LEN 8

static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned in_len, void *arg)
{
	unsigned char *chosen = NULL;

	if (SSL_select_next_proto(&chosen, out_len, alpn_ours,
		sizeof alpn_ours - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	if (tls_stream_of(ssl)->server->spare_browsers && *out_len == HTTP_LEN)
		SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	return SSL_TLSEXT_ERR_OK;
}

/* How long the whole chain is good. */
static int64_t
chain_end(STACK_OF(X509) * chain)
{
	int64_t end = 0;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		int64_t t =
		    tls_time(X509_get0_notAfter(sk_X509_value(chain, i)));

		if (end == 0 || t < end)
			end = t;
	}
	return end;
}

/* One that stands alone is its own. */
static X509 *
issuer_of(STACK_OF(X509) * chain, int i)
{
	return sk_X509_value(chain, i + 1 < sk_X509_num(chain) ? i + 1 : i);
}

/* No list speaks of a root (RFC 5280 6.1): what has its serial on its own is
 * another's. */
static bool
is_root(STACK_OF(X509) * chain, int i)
{
	return i > 0 && X509_self_signed(sk_X509_value(chain, i), 0) == 1;
}

/* Whose lists speak of the one at i: its issuer's at *at = 0, then those of each CA
 * above that has the same name.  NULL: there is none left.  Where a CA has a new key
 * and the old one is certified by it (RFC 4210 4.4), the new one signs the list of
 * both, and the library believes that. */
static X509 *
next_lister(STACK_OF(X509) * chain, int i, int *at)
{
	const X509_NAME *name = X509_get_issuer_name(sk_X509_value(chain, i));

	if (*at == 0) {
		*at = i + 2;
		return issuer_of(chain, i);
	}
	while (*at < sk_X509_num(chain)) {
		X509 *ca = sk_X509_value(chain, (*at)++);

		if (X509_NAME_cmp(X509_get_subject_name(ca), name) == 0)
			return ca;
	}
	return NULL;
}

static bool
is_listed(const struct tls_revoked *r, STACK_OF(X509) * chain, int i)
{
	int at = 0;
	X509 *ca;

	while ((ca = next_lister(chain, i, &at)))
		if (tls_revoked_has_cert(r, sk_X509_value(chain, i), ca))
			return true;
	return false;
}

/* Says so in ctx. */
static bool
chain_is_revoked(const struct tls_revoked *r, X509_STORE_CTX *ctx)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);

	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *x = sk_X509_value(chain, i);

		if (is_root(chain, i) || !is_listed(r, chain, i))
			continue;
		X509_STORE_CTX_set_current_cert(ctx, x);
		X509_STORE_CTX_set_error_depth(ctx, i);
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REVOKED);
		return true;
	}
	return false;
}

/* The CAs behind a certificate that was just found good. */
static enum nj_err
note_issuers(struct tls_stream *s, STACK_OF(X509) * chain)
{
	const EVP_MD *md = s->server->shard[s->shard].sha256;
	uint8_t one[32];
	enum nj_err e = NJ_OK;

	buf_fini(&s->issuers);
	for (int i = 1; i < sk_X509_num(chain) && !e; i++)
		if (!(e = tls_spki_sha256(sk_X509_value(chain, i), md, one)))
			e = buf_put(&s->issuers, one, sizeof one);
	return e;
}

/* They are looked up again when it comes back, and when lists change. */
static enum nj_err
note_listed(struct tls_stream *s, STACK_OF(X509) * chain)
{
	enum nj_err e = NJ_OK;

	buf_fini(&s->listed);
	for (int i = 0; i < sk_X509_num(chain); i++) {
		int at = 0;
		X509 *ca;

		while (!is_root(chain, i) && !e &&
		    (ca = next_lister(chain, i, &at)))
			e = tls_revoked_put(
			    sk_X509_value(chain, i), ca, &s->listed);
	}
	return e;
}

/* The dates, where the library was told to leave them to us: says what is wrong
 * in ctx. */
static bool
chain_is_timely(X509_STORE_CTX *ctx, uint32_t grace_s)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);

	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *x = sk_X509_value(chain, i);
		time_t now = time(NULL), late = now - (i ? 0 : grace_s);
		int err = X509_V_OK;

		if (X509_cmp_time(X509_get0_notBefore(x), &now) > 0)
			err = X509_V_ERR_CERT_NOT_YET_VALID;
		else if (X509_cmp_time(X509_get0_notAfter(x), &late) < 0)
			err = X509_V_ERR_CERT_HAS_EXPIRED;
		if (err == X509_V_OK)
			continue;
		X509_STORE_CTX_set_current_cert(ctx, x);
		X509_STORE_CTX_set_error_depth(ctx, i);
		X509_STORE_CTX_set_error(ctx, err);
		return false;
	}
	return true;
}

static int
on_verify(X509_STORE_CTX *ctx, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(
	    ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_stream *s = tls_stream_of(ssl);
	struct tls_revoked *r = tls_server_revoked(s->server);
	struct tls_lent lent = { .r = r };
	int ok;

	ok = tls_revoked_lend(&lent, ctx) ? X509_verify_cert(ctx) : 0;
	if (ok > 0 && s->server->grace_s > 0 &&
	    !chain_is_timely(ctx, s->server->grace_s))
		ok = 0;
	if (ok > 0 && chain_is_revoked(r, ctx))
		ok = 0;
	tls_revoked_back(&lent, ctx, ok > 0);
	s->part = lent.part;
	tls_revoked_unref(r);
	if (ok <= 0) {
		pki_explain_verify(pki_verify_cause(ctx),
		    X509_STORE_CTX_get_current_cert(ctx),
		    X509_STORE_CTX_get_error_depth(ctx),
		    stream_why_new(&s->base));
		s->explained = true;
		return ok;
	}
	if (tls_peer_names_ok(
		X509_STORE_CTX_get0_cert(ctx), stream_why_new(&s->base))) {
		X509_STORE_CTX_set_error(
		    ctx, X509_V_ERR_APPLICATION_VERIFICATION);
		s->explained = true;
		return 0;
	}
	if ((s->server->want_issuers &&
		note_issuers(s, X509_STORE_CTX_get0_chain(ctx))) ||
	    note_listed(s, X509_STORE_CTX_get0_chain(ctx))) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_OUT_OF_MEM);
		return 0;
	}
	s->trusted_until = chain_end(X509_STORE_CTX_get0_chain(ctx));
	/* Who is let in by grace alone does not come back by a ticket. */
	if (s->trusted_until && s->trusted_until <= (int64_t)time(NULL)) {
		SSL_set_options(ssl, SSL_OP_NO_TICKET);
		if (!SSL_set_num_tickets(ssl, 0))
			return 0;
	}
	/* tls_shed writes the ticket, without the certificate. */
	if (SSL_version(ssl) >= TLS1_3_VERSION && tls_shed_works() &&
	    SSL_get_num_tickets(ssl) > 0 && SSL_set_num_tickets(ssl, 0))
		s->ticket_due = true;
	/* The connection would keep it, and the certificates with it. */
	X509_STORE_CTX_set0_verified_chain(ctx, NULL);
	return 1;
}

struct tls_revoked *
tls_server_revoked(const struct tls_server *t)
{
	struct tls_server *lockable = (struct tls_server *)(uintptr_t)t;
	struct tls_revoked *r;

	(void)pthread_mutex_lock(&lockable->revoked_lock);
	r = tls_revoked_ref(t->revoked);
	(void)pthread_mutex_unlock(&lockable->revoked_lock);
	return r;
}

struct tls_revoked *
tls_server_put_lists(struct tls_server *t, struct tls_revoked *r)
{
	struct tls_revoked *had;

	(void)pthread_mutex_lock(&t->revoked_lock);
	had = t->revoked;
	t->revoked = r;
	(void)pthread_mutex_unlock(&t->revoked_lock);
	return had;
}

/* -- contexts ------------------------------------------------------------ */

static enum nj_err
add_ca(X509_STORE *store, OSSL_LIB_CTX *lib, X509 *ca)
{
	X509 *x = tls_lib_cert(lib, ca);
	int ok = x && X509_STORE_add_cert(store, x);

	X509_free(x);
	return ok ? NJ_OK : NJ_CRYPTO;
}

static enum nj_err
add_trust(struct tls_shard *sh, const struct tls_server_opts *o,
    const struct tls_material *m)
{
	X509_STORE *store = SSL_CTX_get_cert_store(sh->ctx);
	int mode = SSL_VERIFY_PEER;
	enum nj_err e;

	for (int i = 0; i < sk_X509_num(m->cas); i++)
		if ((e = add_ca(store, sh->lib, sk_X509_value(m->cas, i))))
			return e;
	/* The lists come with each check (on_verify), so that new ones take the
	 * place of the old, and those of a reload that of none. */
	tls_revoked_use(store);
	if (o->grace_s > 0 && /* chain_is_timely looks instead */
	    !X509_STORE_set_flags(store, X509_V_FLAG_NO_CHECK_TIME))
		return NJ_CRYPTO;
	if (!o->require_certificate &&
	    (!o->want_certificate || sk_X509_num(m->cas) == 0))
		return NJ_OK;
	if (o->require_certificate)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(sh->ctx, mode, NULL);
	SSL_CTX_set_cert_verify_callback(sh->ctx, on_verify, NULL);
	return NJ_OK;
}

static enum nj_err
add_own(struct tls_shard *sh, const struct tls_material *m)
{
	EVP_PKEY *key = tls_lib_key(sh->lib, m->key);
	enum nj_err e = NJ_CRYPTO;
	X509 *x = NULL;

	/* A key that does not leave its place serves from there. */
	if (!key && EVP_PKEY_up_ref(m->key) == 1)
		key = m->key;
	for (int i = 0; i < sk_X509_num(m->chain); i++) {
		X509_free(x);
		if (!(x = tls_lib_cert(sh->lib, sk_X509_value(m->chain, i))))
			goto out;
		if (i == 0 ? SSL_CTX_use_certificate(sh->ctx, x) != 1
			   : SSL_CTX_add1_chain_cert(sh->ctx, x) != 1)
			goto out;
	}
	if (!key || SSL_CTX_use_PrivateKey(sh->ctx, key) != 1)
		goto out;
	/* Sent as the file has it; nothing is looked up at each handshake. */
	(void)SSL_CTX_set_mode(sh->ctx, SSL_MODE_NO_AUTO_CHAIN);
	e = NJ_OK;
out:
	X509_free(x);
	EVP_PKEY_free(key);
	return e;
}

static enum nj_err
set_tickets(struct tls_server *t, SSL_CTX *ctx, unsigned tickets)
{
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_num_tickets(ctx, tickets);
	if (t->tickets)
		return tls_tickets_use(t->tickets, ctx);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	return NJ_OK;
}

/* Who offers a cipher of shared keys has one. */
static const char *
ciphers_of(const struct tls_server_opts *o)
{
	return !o->ciphers && o->psk ? TLS_CIPHERS_PSK ":" TLS_CIPHERS_12
				     : o->ciphers;
}

static enum nj_err
shard_init(struct tls_server *t, unsigned i, const struct tls_server_opts *o,
    const struct tls_material *m, struct nj_why *why, struct nj_why *doubt)
{
	struct tls_shard *sh = &t->shard[i];
	enum nj_err e;

	sh->lib = tls_lib(i);
	sh->sha256 = EVP_MD_fetch(sh->lib, "SHA256", NULL);
	sh->aes256 = EVP_CIPHER_fetch(sh->lib, "AES-256-CBC", NULL);
	sh->ctx = SSL_CTX_new_ex(sh->lib, NULL, TLS_server_method());
	if (!sh->sha256 || !sh->aes256 || !sh->ctx) {
		tls_library_why(why, "making a TLS context");
		return NJ_NOMEM;
	}
	if ((e = tls_context_set(sh->ctx, o->min, 0, ciphers_of(o),
		 o->ciphersuites, why, doubt)))
		return e;
	SSL_CTX_set_alpn_select_cb(sh->ctx, on_alpn, NULL);
	if ((o->psk && (e = tls_psk_use(sh->ctx, o->psk))) ||
	    (o->certfile && (e = add_own(sh, m))) ||
	    (e = tls_more_use(sh, m)) || (e = add_trust(sh, o, m)) ||
	    (e = set_tickets(t, sh->ctx, o->tickets)))
		tls_library_why(why, "setting up a TLS context");
	return e;
}

/* See struct tls_server.trust. */
static enum nj_err
digest_trust(
    const struct tls_server *t, const struct tls_material *m, uint8_t out[32])
{
	const EVP_MD *md = t->shard[0].sha256;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t flags[3] = { t->require, t->want, t->want_issuers };
	STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(t->shard[0].ctx);
	uint8_t one[EVP_MAX_MD_SIZE];
	bool ok = c && EVP_DigestInit_ex(c, md, NULL) &&
	    EVP_DigestUpdate(c, flags, sizeof flags);

	/* With TLS 1.2 a session keeps its cipher, whatever is served now. */
	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers) && ok; i++) {
		uint32_t id =
		    SSL_CIPHER_get_id(sk_SSL_CIPHER_value(ciphers, i));

		ok = EVP_DigestUpdate(c, &id, sizeof id);
	}

	for (int i = 0; i < sk_X509_num(m->cas) && ok; i++)
		ok = X509_digest(sk_X509_value(m->cas, i), md, one, NULL) &&
		    EVP_DigestUpdate(c, one, 32);
	ok = ok && EVP_DigestFinal_ex(c, out, NULL);
	EVP_MD_CTX_free(c);
	return ok ? NJ_OK : NJ_CRYPTO;
}

/* -- loading ------------------------------------------------------------- */

struct report {
	struct tls_note **tail;
	struct nj_why *why; /* the first fatal one */
	bool failed;
};

static void
note(struct report *r, const struct nj_why *why)
{
	struct tls_note *n = calloc(1, sizeof *n);

	if (!n)
		return; /* a warning less */
	n->why = *why;
	*r->tail = n;
	r->tail = &n->next;
}

static void
notes_free(struct tls_note *v)
{
	struct tls_note *n;

	while ((n = v)) {
		v = n->next;
		free(n);
	}
}

static void
on_fault(void *arg, bool fatal, const struct nj_why *why)
{
	struct report *r = arg;

	if (!fatal)
		note(r, why);
	else if (!r->failed) {
		r->failed = true;
		if (r->why)
			*r->why = *why;
	}
}

/* A damaged list of our own does not keep a broker from its start.  At a reload all
 * stays as it was if there was one, for whom that refuses would be let in. */
static enum nj_err
lists_init(struct tls_server *t, const struct tls_server_opts *o,
    struct tls_material *m, struct report *r)
{
	const char *const from[] = { o->crlfile, o->capath, o->own_list,
		o->cafile };
	const char **const to[] = { &t->lists.crlfile, &t->lists.capath,
		&t->lists.own_list, &t->lists.cafile };
	STACK_OF(X509_CRL) *none = NULL;
	struct tls_revoked *had;
	struct nj_why why = { 0 };
	enum nj_err e;

	for (size_t i = 0; i < sizeof from / sizeof *from; i++)
		if (from[i] && !(*to[i] = strdup(from[i])))
			return NJ_NOMEM;
	t->cas = m->cas;
	m->cas = NULL; /* moved */
	had = o->previous ? tls_server_revoked(o->previous) : NULL;
	e = tls_revoked_new(o->crlfile ? &m->crls : &none, o->own_list, t->cas,
	    had, &t->revoked, &why);
	if (e && e != NJ_NOMEM && e != NJ_TOOBIG && !(had && had->has_own)) {
		note(r, &why);
		e = tls_revoked_new(o->crlfile ? &m->crls : &none, NULL, t->cas,
		    had, &t->revoked, &why);
	}
	if (e && e != NJ_NOMEM)
		on_fault(r, true, &why);
	tls_revoked_unref(had);
	return e;
}

static void
lists_fini(struct tls_server *t)
{
	tls_revoked_unref(t->revoked);
	sk_X509_pop_free(t->cas, X509_free);
	free((void *)(uintptr_t)t->lists.crlfile);
	free((void *)(uintptr_t)t->lists.capath);
	free((void *)(uintptr_t)t->lists.own_list);
	free((void *)(uintptr_t)t->lists.cafile);
	(void)pthread_mutex_destroy(&t->revoked_lock);
}

static enum nj_err
server_fill(struct tls_server *t, const struct tls_server_opts *o,
    struct tls_material *m, struct report *r)
{
	enum nj_err e = NJ_OK;

	t->require = o->require_certificate;
	t->want = o->want_certificate;
	t->spare_browsers = o->spare_browsers;
	t->grace_s = o->grace_s;
	t->want_issuers = o->want_issuers;
	if (o->tickets && o->previous && o->previous->tickets)
		t->tickets = tls_tickets_ref(o->previous->tickets);
	else if (o->tickets)
		e = tls_tickets_new(o->ticket_rotate_s, &t->tickets);
	for (unsigned i = 0; i < t->n && !e; i++) {
		struct nj_why doubt = { 0 };

		e = shard_init(t, i, o, m, r->why, &doubt);
		if (i == 0 && doubt.what[0])
			note(r, &doubt);
	}
	if (!e)
		e = digest_trust(t, m, t->trust);
	if (e)
		return e;
	if (o->certfile) {
		tls_face_of(sk_X509_value(m->chain, 0), &t->face);
		t->own = X509_chain_up_ref(m->chain);
		if (EVP_PKEY_up_ref(m->key) == 1)
			t->key = m->key;
	}
	for (int i = 0; o->certfile && i < sk_X509_num(m->chain); i++) {
		int64_t end =
		    tls_time(X509_get0_notAfter(sk_X509_value(m->chain, i)));

		if (i == 0 || end < t->expires)
			t->expires = end;
	}
	if ((o->certfile && (e = tls_staple_use(t, o->staples, m))) ||
	    (e = lists_init(t, o, m, r)))
		return e;
	if (o->psk) /* taken over, for nothing can fail any more */
		t->psk = *o->psk;
	t->psk.hint = NULL; /* the contexts have their own */
	t->former = tls_server_ref((struct tls_server *)(uintptr_t)o->previous);
	return NJ_OK;
}

enum nj_err
tls_server_new(const struct tls_server_opts *o, unsigned shards,
    struct tls_server **out, struct nj_why *why)
{
	struct tls_server *t =
	    calloc(1, sizeof *t + shards * sizeof t->shard[0]);
	struct tls_material m = { 0 };
	struct report r = { .why = why };
	enum nj_err e;

	if (!t)
		return NJ_NOMEM;
	atomic_init(&t->refs, 1);
	(void)pthread_mutex_init(&t->revoked_lock, NULL);
	t->n = shards;
	r.tail = &t->notes;
	if ((e = tls_material_load(o, on_fault, &r, &m)) ||
	    (e = server_fill(t, o, &m, &r)))
		goto out;
	*out = t;
	t = NULL; /* moved */
out:
	tls_material_fini(&m);
	tls_server_unref(t);
	ERR_clear_error();
	return e;
}

struct tls_server *
tls_server_ref(struct tls_server *t)
{
	if (t)
		atomic_fetch_add(&t->refs, 1);
	return t;
}

void
tls_server_unref(struct tls_server *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	if (t->psk.key_of)
		t->psk.unref(t->psk.arg);
	for (unsigned i = 0; i < t->n; i++) {
		SSL_CTX_free(t->shard[i].ctx);
		SSL_CTX_free(t->shard[i].park[0]);
		SSL_CTX_free(t->shard[i].park[1]);
		SSL_SESSION_free(t->shard[i].blank);
		tls_more_free(t->shard[i].more);
		EVP_MD_free(t->shard[i].sha256);
		EVP_CIPHER_free(t->shard[i].aes256);
	}
	tls_staple_drop(t->staples, t->n_staples);
	notes_free(t->notes);
	sk_X509_pop_free(t->own, X509_free);
	EVP_PKEY_free(t->key);
	lists_fini(t);
	tls_tickets_unref(t->tickets);
	tls_former_fini(t);
	free(t);
}

struct check {
	void (*fn)(void *arg, bool fatal, const struct nj_why *why);
	void *arg;
	bool fatal;
};

static void
on_check(void *arg, bool fatal, const struct nj_why *why)
{
	struct check *c = arg;

	c->fatal |= fatal;
	c->fn(c->arg, fatal, why);
}

void
tls_server_check(const struct tls_server_opts *o,
    void (*fn)(void *arg, bool fatal, const struct nj_why *why), void *arg)
{
	struct check c = { .fn = fn, .arg = arg };
	struct tls_material m = { 0 };
	struct nj_why why = { 0 }, doubt = { 0 };
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!tls_material_load(o, on_check, &c, &m))
		tls_material_fini(&m);
	/* Ciphers are a fault of their own, beside the files'. */
	if (ctx &&
	    tls_context_set(
		ctx, o->min, 0, ciphers_of(o), o->ciphersuites, &why, &doubt))
		fn(arg, true, &why);
	if (doubt.what[0])
		fn(arg, false, &doubt);
	SSL_CTX_free(ctx);
	ERR_clear_error();
}

int64_t
tls_server_expires(const struct tls_server *t)
{
	return t->expires;
}

#define CAS_FEW 8 /* more are a bundle: some always end */

void
tls_server_dates(const struct tls_server *t, int64_t now, struct tls_dates *out)
{
	int n = sk_X509_num(t->cas);
	struct tls_revoked *r = tls_server_revoked(t);

	*out = (struct tls_dates){ .server = t->expires,
		.lists = r ? r->until : 0 };
	tls_revoked_unref(r);
	for (int i = 0; n <= CAS_FEW && i < n; i++) {
		int64_t end =
		    tls_time(X509_get0_notAfter(sk_X509_value(t->cas, i)));
		bool over = out->cas && out->cas <= now;

		if (!out->cas || over || (end > now && end < out->cas))
			out->cas = end;
	}
}

void
tls_server_warnings(struct tls_server *t,
    void (*fn)(void *arg, const struct nj_why *why), void *arg)
{
	for (const struct tls_note *n = t->notes; n; n = n->next)
		fn(arg, &n->why);
}

static bool
same_lists(const struct tls_revoked *a, const struct tls_revoked *b)
{
	return a && a->n == b->n && a->n_by == b->n_by &&
	    (a->n_by == 0 ||
		memcmp(a->by, b->by, a->n_by * sizeof *a->by) == 0) &&
	    (a->n == 0 || memcmp(a->v, b->v, a->n * sizeof *a->v) == 0);
}

enum nj_err
tls_server_renew_lists(struct tls_server *t, bool *changed, struct nj_why *why)
{
	struct tls_revoked *new = NULL, *old = tls_server_revoked(t);
	STACK_OF(X509_CRL) *crls = NULL;
	struct tls_note *notes = NULL;
	struct report r = { .why = why, .tail = &notes };
	enum nj_err e;

	if (t->lists.crlfile &&
	    (e = tls_reload_crls(&t->lists, on_fault, &r, &crls)))
		goto out;
	if ((e = tls_revoked_new(
		 &crls, t->lists.own_list, t->cas, old, &new, why)))
		goto out;
	tls_revoked_unref(old);
	old = tls_server_put_lists(t, tls_revoked_ref(new));
	*changed = !same_lists(old, new);
	tls_revoked_unref(new);
	tls_former_lists(t, old);
	old = NULL;
out:
	tls_revoked_unref(old);
	notes_free(notes);
	sk_X509_CRL_pop_free(crls, X509_CRL_free);
	ERR_clear_error();
	return e;
}

bool
tls_server_list_is_stale(const struct tls_server *t)
{
	struct tls_revoked *r = tls_server_revoked(t);
	bool stale = r && r->own_stale;

	tls_revoked_unref(r);
	return stale;
}

void
tls_server_rotate(struct tls_server *t)
{
	if (t->tickets)
		tls_tickets_rotate(t->tickets);
}

enum nj_err
tls_accept(struct tls_server *t, unsigned shard, int fd,
    struct stream_scratch *scratch, struct stream **out)
{
	struct tls_stream *s = NULL;
	enum nj_err e = tls_stream_new(fd, scratch, &s);

	if (e)
		return e;
	s->server = tls_server_ref(t);
	s->shard = (uint16_t)(shard % t->n);
	s->phase = TLS_HELLO;
	*out = &s->base;
	return NJ_OK;
}
