/* SPDX-License-Identifier: Apache-2.0
 * tls_ticket - keys of session tickets, and what a ticket must say to be used.
 *
 * The library does not look at a certificate again when a session resumes.
 * So a ticket carries what its certificate was believed on, and until when;
 * one that is not good enough any more is ignored, and the client goes
 * through a full handshake, where everything is checked and explained.
 *
 * Offered is not used: whoever saw another's ticket may show it, with a cipher
 * that it does not go with or beside a key of his own, and the library then
 * goes on without (RFC 8446 4.2.11).  So nothing of a ticket is kept beside its
 * session, and only the session that the connection has is asked.
 */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rand.h"
#include "net/tls_impl.h"

#define GENERATIONS 3

/* The first byte of a key's name: no text begins with it, so that no ticket is
 * taken for the identity of a shared key (tls_psk.c). */
#define NAME_NO_TEXT 0xff

struct ticket_key {
	uint8_t name[16];
	uint8_t aes[32];
	uint8_t mac[32];
};

struct tls_tickets {
	atomic_uint refs;
	uint8_t context[32]; /* session id context: never another listener's */
	uint64_t rotate_ms;
	pthread_mutex_t lock; /* of what follows */
	uint64_t made_ms;
	struct secret *keys[GENERATIONS]; /* newest first */
};

/* What our tickets carry besides the session.  After it comes how lists call the
 * client's certificate and the CAs above it (struct tls_peer), and with ident a record of that
 * certificate (tls_ident.c), else, where the session has it itself, what was
 * known of its issuers. */
struct ticket_note {
	uint8_t trust[32];
	int64_t until;	 /* first end in the client's chain; 0: no client
			* certificate */
	uint16_t listed; /* bytes */
	uint8_t ident;
	uint8_t zero;
	uint32_t part; /* struct tls_lent */
};

/* -- where a session came from ------------------------------------------- */

static int came_index = -1;
static pthread_once_t came_once = PTHREAD_ONCE_INIT;
static uint8_t came[TLS_CAME_BY_TICKET + 1]; /* a place for each */

static void
came_init(void)
{
	came_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

bool
tls_came_set(SSL_SESSION *sess, enum tls_came how)
{
	(void)pthread_once(&came_once, came_init);
	return came_index >= 0 &&
	    SSL_SESSION_set_ex_data(sess, came_index, &came[how]);
}

enum tls_came
tls_came(const SSL *ssl)
{
	const uint8_t *mark;

	(void)pthread_once(&came_once, came_init);
	if (came_index < 0 || !SSL_session_reused(ssl))
		return TLS_CAME_NOT;
	mark = SSL_SESSION_get_ex_data(SSL_get_session(ssl), came_index);
	return mark ? (enum tls_came)(mark - came) : TLS_CAME_NOT;
}

static bool
note_take(SSL_SESSION *sess, struct ticket_note *note, struct tls_told *out)
{
	struct slice rest;
	void *p = NULL;
	size_t n = 0;

	if (!SSL_SESSION_get0_ticket_appdata(sess, &p, &n) || n < sizeof *note)
		return false;
	memcpy(note, p, sizeof *note);
	rest = slice_of((const uint8_t *)p + sizeof *note, n - sizeof *note);
	*out = (struct tls_told){ .part = note->part };
	if (take_bytes(&rest, note->listed, &out->listed))
		return false;
	*(note->ident ? &out->ident : &out->issuers) = rest;
	return true;
}

bool
tls_told(const SSL *ssl, struct tls_told *out)
{
	struct ticket_note note;

	return tls_came(ssl) == TLS_CAME_BY_TICKET &&
	    note_take(SSL_get_session(ssl), &note, out);
}

/* -- keys ----------------------------------------------------------------- */

static enum nj_err
key_make(struct secret **out)
{
	struct ticket_key k;
	enum nj_err e;

	rand_bytes(&k, sizeof k);
	k.name[0] = NAME_NO_TEXT;
	e = secret_new(slice_of(&k, sizeof k), out);
	secret_wipe(&k, sizeof k);
	return e;
}

enum nj_err
tls_tickets_new(uint32_t rotate_s, struct tls_tickets **out)
{
	struct tls_tickets *t = calloc(1, sizeof *t);
	enum nj_err e = NJ_OK;

	if (!t)
		return NJ_NOMEM;
	atomic_init(&t->refs, 1);
	(void)pthread_mutex_init(&t->lock, NULL);
	t->rotate_ms = (uint64_t)rotate_s * 1000;
	t->made_ms = clock_mono(&clock_system);
	rand_bytes(t->context, sizeof t->context);
	for (int i = 0; i < GENERATIONS && !e; i++)
		e = key_make(&t->keys[i]);
	if (e) {
		tls_tickets_unref(t);
		return e;
	}
	*out = t;
	return NJ_OK;
}

struct tls_tickets *
tls_tickets_ref(struct tls_tickets *t)
{
	if (t)
		atomic_fetch_add(&t->refs, 1);
	return t;
}

void
tls_tickets_unref(struct tls_tickets *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	for (int i = 0; i < GENERATIONS; i++)
		secret_free(t->keys[i]);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

static void
rotate_locked(struct tls_tickets *t)
{
	struct secret *k = NULL;

	if (key_make(&k))
		return; /* the old key serves on; tried again */
	secret_free(t->keys[GENERATIONS - 1]);
	for (int i = GENERATIONS - 1; i > 0; i--)
		t->keys[i] = t->keys[i - 1];
	t->keys[0] = k;
}

void
tls_tickets_rotate(struct tls_tickets *t)
{
	(void)pthread_mutex_lock(&t->lock);
	rotate_locked(t);
	(void)pthread_mutex_unlock(&t->lock);
}

/* A copy of the newest key, or of the one with this name; which one. */
static int
key_get(struct tls_tickets *t, const uint8_t *name, struct ticket_key *out)
{
	uint64_t now = clock_mono(&clock_system);
	int found = -1;

	(void)pthread_mutex_lock(&t->lock);
	/* A listener that nobody used for a day forgets all three. */
	for (int i = 0; i < GENERATIONS && t->rotate_ms > 0 &&
	     now - t->made_ms >= t->rotate_ms;
	     i++) {
		rotate_locked(t);
		t->made_ms += t->rotate_ms;
	}
	if (t->rotate_ms > 0 && now - t->made_ms >= t->rotate_ms)
		t->made_ms = now;
	for (int i = 0; i < GENERATIONS && found < 0; i++) {
		const struct ticket_key *k =
		    (const void *)secret_bytes(t->keys[i]).p;

		if (!name || memcmp(name, k->name, sizeof k->name) == 0) {
			*out = *k;
			found = i;
		}
	}
	(void)pthread_mutex_unlock(&t->lock);
	return found;
}

static int
ticket_crypt(SSL *ssl, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int enc)
{
	struct tls_stream *s = tls_stream_of(ssl);
	const struct tls_shard *sh = &s->server->shard[s->shard];
	char sha256[] = "SHA256";
	struct ticket_key k;
	OSSL_PARAM params[2];
	int at, ok;

	if ((at = key_get(s->server->tickets, enc ? NULL : name, &k)) < 0)
		return 0; /* not ours, or too old: full handshake */
	if (enc) {
		memcpy(name, k.name, sizeof k.name);
		rand_bytes(iv, EVP_MAX_IV_LENGTH);
	}
	params[0] =
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0);
	params[1] = OSSL_PARAM_construct_end();
	ok = EVP_CipherInit_ex2(cipher, sh->aes256, k.aes, iv, enc, NULL) &&
	    EVP_MAC_init(mac, k.mac, sizeof k.mac, params);
	secret_wipe(&k, sizeof k);
	if (!ok)
		return -1;
	return enc || at == 0 ? 1 : 2; /* 2: give a new one */
}

/* -- tickets -------------------------------------------------------------- */

static int
put_note(SSL_SESSION *sess, const struct ticket_note *note, struct slice listed,
    struct slice rest)
{
	struct buf all = { 0 };
	int ok = !buf_put(&all, note, sizeof *note) &&
	    !buf_put_slice(&all, listed) && !buf_put_slice(&all, rest) &&
	    SSL_SESSION_set1_ticket_appdata(
		sess, buf_slice(&all).p, buf_len(&all));

	buf_fini(&all);
	return ok;
}

/* Of a session that was made just now: what on_verify and tls_shed know.  One
 * that was offered, and not used, has no part in it. */
static int
note_made(struct tls_stream *s, SSL_SESSION *sess, struct ticket_note *note)
{
	/* when tls_shed writes it the peer has them */
	struct slice listed = s->peer ? s->peer->listed : buf_slice(&s->listed);

	if (listed.n > UINT16_MAX)
		return 0;
	memcpy(note->trust, s->server->trust, sizeof note->trust);
	note->until = s->trusted_until;
	note->ident = buf_len(&s->ident) > 0;
	note->listed = (uint16_t)listed.n;
	note->part = s->part;
	return put_note(sess, note, listed,
	    buf_slice(note->ident ? &s->ident : &s->issuers));
}

/* Called when a ticket is about to be written. */
static int
ticket_write(SSL *ssl, void *arg)
{
	struct tls_stream *s = tls_stream_of(ssl);
	SSL_SESSION *sess = SSL_get_session(ssl);
	struct ticket_note note = { 0 };
	struct tls_told told;
	int64_t life = TLS_TICKET_LIFE_S;

	if (!SSL_session_reused(ssl)) {
		if (!note_made(s, sess, &note))
			return 0;
	} else if (tls_came(ssl) == TLS_CAME_BY_TICKET) {
		if (!note_take(sess, &note, &told))
			return 0;
	} else { /* by a shared key: it opens nothing */
		note.until = 1;
		if (!put_note(sess, &note, SLICE_NONE, SLICE_NONE))
			return 0;
	}
	if (note.until) {
		int64_t left = note.until - (int64_t)time(NULL);

		if (left < life)
			life = left > 0 ? left : 0;
	}
	(void)SSL_SESSION_set_timeout(sess, (long)life);
	return 1;
}

/* Whether a ticket that we can read is good enough. */
static bool
ticket_good(const struct tls_server *t, SSL_SESSION *sess)
{
	bool tls13 = SSL_SESSION_get_protocol_version(sess) >= TLS1_3_VERSION;
	struct ticket_note note;
	struct tls_told told;
	struct tls_ident id;

	if (!note_take(sess, &note, &told))
		return false;
	if (memcmp(note.trust, t->trust, sizeof note.trust) != 0)
		return false; /* other CAs since */
	if (note.until && note.until <= (int64_t)time(NULL))
		return false;
	if (!tls_server_listed_good(t, told.listed, told.part, true))
		return false;
	if ((note.ident || SSL_SESSION_get0_peer(sess)) && told.listed.n == 0)
		return false;
	if (!tls13 && tls_server_12_has_no_tickets(t))
		return false;
	if (!note.ident)
		return tls_server_recheck_quiet(t, SSL_SESSION_get0_peer(sess));
	/* others have the certificate */
	return tls13 && !SSL_SESSION_get0_peer(sess) &&
	    !tls_ident_take(told.ident, &id) && tls_server_recheck_ident(&id);
}

static SSL_TICKET_RETURN
ticket_read(SSL *ssl, SSL_SESSION *sess, const unsigned char *name,
    size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
	bool readable =
	    status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;

	/* The mark is the session's, so that it goes where that goes: the
	 * library may still pass it over. */
	if (!readable || !ticket_good(tls_stream_of(ssl)->server, sess) ||
	    !tls_came_set(sess, TLS_CAME_BY_TICKET))
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	/* TLS 1.3 clients use a ticket once (RFC 8446 C.4) and would have
	 * none for their next visit. */
	return status == SSL_TICKET_SUCCESS_RENEW ||
		SSL_version(ssl) >= TLS1_3_VERSION
	    ? SSL_TICKET_RETURN_USE_RENEW
	    : SSL_TICKET_RETURN_USE;
}

struct slice
tls_tickets_context(const struct tls_tickets *t)
{
	return slice_of(t->context, sizeof t->context);
}

enum nj_err
tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx)
{
	(void)SSL_CTX_set_timeout(ctx, TLS_TICKET_LIFE_S);
	if (!SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_crypt) ||
	    !SSL_CTX_set_session_ticket_cb(
		ctx, ticket_write, ticket_read, NULL) ||
	    !SSL_CTX_set_session_id_context(ctx, t->context, sizeof t->context))
		return NJ_CRYPTO;
	return NJ_OK;
}
