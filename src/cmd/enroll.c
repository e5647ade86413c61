/* SPDX-License-Identifier: Apache-2.0
 * nightjar enroll: a device gets its certificate with a token, and renews it
 * with the one it has.
 *
 *	DIR/client.key, client.crt, ca.crt	as `nightjar ca device` makes
 *	DIR/enroll				where to ask the next time, and how
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auth/base64.h"
#include "auth/enrolling.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "cmd/cmd.h"
#include "cmd/enroll_mqtt.h"
#include "cmd/flags.h"
#include "pki/ca.h"
#include "pki/explain.h"
#include "pki/key.h"
#include "pki/pkcs7.h"
#include "pki/token.h"

#define COUNT(a)   (sizeof(a) / sizeof(*(a)))
#define TIMEOUT_MS 15000
#define PATIENCE_S 600 /* for approval */
#define CONF_MAX   4096
#define EST	   "/.well-known/est/"
#define MORE_MAX   1024
#define CAS_MAX	   64 /* certificates that a CA has, around roll-overs */

struct enrol_run {
	const char *out, *id, *host_given;
	bool renew, force, new_key, mqtt;
	long wait;
	struct pki_token_text token; /* host, port, pin; secret when new */
	char *key_path, *next_path, *crt_path, *ca_path, *conf_path;
	EVP_PKEY *key;
	X509 *cert, *old;
	STACK_OF(X509) * old_chain;
	STACK_OF(X509) * trust; /* roots that are believed */
	STACK_OF(X509) * chain; /* all of the CA's, from one who is believed */
};

/* -- the folder ------------------------------------------------------------- */

static bool
exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static enum nj_err
make_paths(struct enrol_run *r, struct nj_why *why)
{
	enum nj_err e;

	if (!r->renew && (e = file_mkdir(r->out, 0700, why)))
		return e;
	r->key_path = pki_path(r->out, "client.key");
	r->next_path = pki_path(r->out, "client.key.next");
	r->crt_path = pki_path(r->out, "client.crt");
	r->ca_path = pki_path(r->out, "ca.crt");
	r->conf_path = pki_path(r->out, "enroll");
	return r->key_path && r->next_path && r->crt_path && r->ca_path &&
		r->conf_path
	    ? NJ_OK
	    : NJ_NOMEM;
}

/* A key that an interrupted attempt left is as good as a new one. */
static enum nj_err
take_key(const char *path, EVP_PKEY **out, struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	enum nj_err e;

	if (exists(path))
		return pki_key_load(path, NULL, true, out, why);
	if ((e = pki_key_new_p256(&key)))
		return e;
	if ((e = pki_key_store(path, key, NULL, why))) {
		EVP_PKEY_free(key);
		return e;
	}
	*out = key;
	return NJ_OK;
}

static enum nj_err
store_conf(const struct enrol_run *r, struct nj_why *why)
{
	struct pki_token_text t = r->token;
	char text[PKI_TOKEN_MAX + 1];
	struct buf b = { 0 };
	enum nj_err e;

	/* in the form of a token, with a secret that opens nothing */
	memset(t.secret, 'A', PKI_TOKEN_SECRET);
	t.secret[PKI_TOKEN_SECRET] = '\0';
	if (!(e = pki_token_print(&t, text)) &&
	    !(e = buf_printf(&b, "%s\n%s", text, r->mqtt ? "mqtt\n" : "")))
		e = file_write(r->conf_path, buf_slice(&b), 0600, why);
	buf_fini(&b);
	return e;
}

static enum nj_err
load_conf(struct enrol_run *r, struct nj_why *why)
{
	struct buf text = { 0 };
	struct slice s;
	enum nj_err e = file_read(r->conf_path, CONF_MAX, &text, why);

	if (e)
		return e;
	s = buf_slice(&text);
	r->mqtt |= s.p && memmem(s.p, s.n, "\nmqtt\n", 6);
	if (s.p && memchr(s.p, '\n', s.n))
		s.n = (size_t)((const uint8_t *)memchr(s.p, '\n', s.n) - s.p);
	while (s.p && s.n > 0 && s.p[s.n - 1] <= ' ')
		s.n--;
	if (!s.p || pki_token_parse(s, &r->token)) {
		why_set(why, "'%s' does not say where to ask", r->conf_path);
		why_mend(why, "enrol anew with a token: nightjar ca token");
		e = NJ_INVALID;
	}
	buf_fini(&text);
	return e;
}

/* -- asking ----------------------------------------------------------------- */

static struct https_opts
opts_of(const struct enrol_run *r)
{
	return (struct https_opts){ .host = r->token.host,
		.port = r->token.port,
		.trust = r->trust,
		.timeout_ms = TIMEOUT_MS };
}

static bool
is_pinned(X509 *x, const uint8_t pin[32])
{
	uint8_t spki[32];

	return pki_spki_sha256(x, spki) == NJ_OK && memcmp(spki, pin, 32) == 0;
}

/* By itself: roots that have signed each other may have one name. */
static bool
is_root(X509 *x)
{
	bool yes = X509_self_signed(x, 1) == 1 && X509_check_ca(x) != 0;

	ERR_clear_error();
	return yes;
}

static struct enroll_mqtt
mqtt_of(const struct enrol_run *r)
{
	return (struct enroll_mqtt){ .host = r->token.host,
		.port = r->token.port,
		.cafile = r->trust ? r->ca_path : NULL,
		.timeout_ms = TIMEOUT_MS };
}

static enum nj_err
get_cas_by(
    const struct enrol_run *r, struct https_result *res, struct nj_why *why)
{
	struct https_opts o = opts_of(r);
	struct enroll_mqtt m = mqtt_of(r);

	m.user = ENROLLING_NOBODY;
	return r->mqtt
	    ? enroll_mqtt_ask(&m, "cacerts", SLICE_NONE, res, why)
	    : https_do(&o, "GET", EST "cacerts", "", SLICE_NONE, res, why);
}

static enum nj_err
get_cas(struct enrol_run *r, STACK_OF(X509) * *out, struct nj_why *why)
{
	struct https_result res;
	enum nj_err e;

	if ((e = get_cas_by(r, &res, why)))
		return e;
	if (res.status != 200 || pkcs7_certs(buf_slice(&res.body), out) ||
	    sk_X509_num(*out) > CAS_MAX) {
		why_set(why, "%s:%u does not enrol devices (%u)", r->token.host,
		    (unsigned)r->token.port, res.status);
		why_mend(why, "the broker needs a listener with '%s'",
		    r->mqtt ? "enroll true" : "protocol est");
		e = NJ_INVALID;
	}
	buf_fini(&res.body);
	return e;
}

static bool
among(const STACK_OF(X509) * v, X509 *x)
{
	for (int i = 0; i < sk_X509_num(v); i++)
		if (X509_cmp(sk_X509_value(v, i), x) == 0)
			return true;
	return false;
}

/* Of a CA, in date, and by one who is believed. */
static bool
is_believed_ca(X509 *x, const STACK_OF(X509) * trust)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *c = X509_STORE_CTX_new();
	bool ok = store && c;

	for (int i = 0; ok && i < sk_X509_num(trust); i++)
		ok = X509_STORE_add_cert(store, sk_X509_value(trust, i)) == 1;
	/* keyUsage is looked at by X509_check_ca, too */
	ok = ok && X509_check_ca(x) == 1 &&
	    X509_STORE_CTX_init(c, store, x, NULL) == 1 &&
	    X509_verify_cert(c) == 1;
	X509_STORE_CTX_free(c);
	X509_STORE_free(store);
	ERR_clear_error();
	return ok;
}

/* A device has a certificate by the root, too, and could make a root of its
 * own name and key: only a CA's certificate speaks for a root. */
static bool
speaks_for(X509 *by, X509 *root, const STACK_OF(X509) * trust)
{
	return X509_NAME_cmp(X509_get_subject_name(by),
		   X509_get_subject_name(root)) == 0 &&
	    EVP_PKEY_eq(X509_get0_pubkey(by), X509_get0_pubkey(root)) == 1 &&
	    is_believed_ca(by, trust);
}

/* Around a roll-over there are two roots, and each has signed the other
 * (RFC 7030 4.1.3): one that is believed speaks for the other. */
static enum nj_err
believe_other(const STACK_OF(X509) * strangers, STACK_OF(X509) * trust)
{
	for (int i = 0; i < sk_X509_num(strangers); i++) {
		X509 *root = sk_X509_value(strangers, i);
		bool spoken_for = false;

		if (!is_root(root) || among(trust, root))
			continue;
		for (int k = 0; k < sk_X509_num(strangers) && !spoken_for; k++)
			spoken_for = k != i &&
			    speaks_for(
				sk_X509_value(strangers, k), root, trust);
		if (!spoken_for)
			continue;
		if (sk_X509_push(trust, root) <= 0)
			return NJ_NOMEM;
		X509_up_ref(root);
	}
	return NJ_OK;
}

/* RFC 7030 4.1.1: the CA is fetched from whoever answers, and believed only if
 * it is the one that the token names; nothing secret has been said yet. */
static enum nj_err
fetch_root(struct enrol_run *r, struct nj_why *why)
{
	STACK_OF(X509) *strangers = NULL, *trust = sk_X509_new_null();
	enum nj_err e = trust ? get_cas(r, &strangers, why) : NJ_NOMEM;

	for (int i = 0; !e && i < sk_X509_num(strangers); i++) {
		X509 *x = sk_X509_value(strangers, i);

		if (!is_pinned(x, r->token.pin) || !is_root(x) ||
		    sk_X509_num(trust) > 0)
			continue;
		if (sk_X509_push(trust, x) <= 0 || X509_up_ref(x) != 1)
			e = NJ_NOMEM;
	}
	if (!e)
		e = believe_other(strangers, trust);
	if (!e && sk_X509_num(trust) == 0) {
		why_set(why,
		    "%s:%u has another CA than the token names: somebody "
		    "stands between, or the CA was changed",
		    r->token.host, (unsigned)r->token.port);
		why_mend(
		    why, "ask for a new token, from whoever runs the broker");
		e = NJ_DENIED;
	}
	r->trust = trust;
	sk_X509_pop_free(strangers, X509_free);
	if (!e && r->mqtt)
		e = pki_chain_store(r->ca_path, NULL, trust, 0644, why);
	/* again, from one who is believed: with what else there is to believe,
	 * and what is between */
	return e ? e : get_cas(r, &r->chain, why);
}

static enum nj_err
make_csr(const struct enrol_run *r, struct buf *out, struct nj_why *why)
{
	X509_REQ *req = X509_REQ_new();
	const char *id = r->id;
	unsigned char *der = NULL;
	enum nj_err e = NJ_CRYPTO;
	int n;

	if (!req || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
	    (id &&
		X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(req),
		    NID_commonName, MBSTRING_UTF8, (const unsigned char *)id,
		    -1, -1, 0) != 1) ||
	    (r->old &&
		X509_REQ_set_subject_name(req, X509_get_subject_name(r->old)) !=
		    1) ||
	    X509_REQ_set_pubkey(req, r->key) != 1 ||
	    X509_REQ_sign(req, r->key,
		EVP_PKEY_is_a(r->key, "ED25519") ? NULL : EVP_sha256()) <= 0)
		why_set(why, "the request could not be made");
	else if ((n = i2d_X509_REQ(req, &der)) > 0)
		e = pki_base64_put(out, slice_of(der, (size_t)n));
	OPENSSL_free(der);
	X509_REQ_free(req);
	ERR_clear_error();
	return e;
}

static void
headers(const struct enrol_run *r, char more[MORE_MAX])
{
	char login[PKI_ID_MAX + PKI_TOKEN_SECRET + 8];
	char basic[BASE64_SIZE(sizeof login) + 1] = "";
	int n = snprintf(login, sizeof login, "%s:%s", r->id ? r->id : "device",
	    r->token.secret);

	if (!r->renew && n > 0)
		basic[base64_encode(basic, slice_of(login, (size_t)n), true)] =
		    '\0';
	(void)snprintf(more, MORE_MAX,
	    "Content-Type: application/pkcs10\r\n"
	    "Content-Transfer-Encoding: base64\r\n%s%s%s",
	    basic[0] ? "Authorization: Basic " : "", basic,
	    basic[0] ? "\r\n" : "");
	secret_wipe(login, sizeof login);
}

static enum nj_err
take_cert(struct enrol_run *r, struct slice body, struct nj_why *why)
{
	STACK_OF(X509) *certs = NULL;
	EVP_PKEY *ours = NULL;
	enum nj_err e = pkcs7_certs(body, &certs);

	if (!e) {
		r->cert = sk_X509_shift(certs);
		ours = X509_get0_pubkey(r->cert);
	}
	if (e || !ours || EVP_PKEY_eq(ours, r->key) != 1) {
		why_set(why, "the answer holds no certificate of our key");
		e = NJ_INVALID;
	}
	sk_X509_pop_free(certs, X509_free);
	return e;
}

/* The answer has what was wrong in its first line, and a mend in the next. */
static void
refused(const struct https_result *res, struct nj_why *why)
{
	const struct slice mend = LIT("To mend it: ");
	struct slice first = buf_slice(&res->body), rest = SLICE_NONE;
	const uint8_t *nl = first.n > 0 ? memchr(first.p, '\n', first.n) : NULL;
	char text[400];

	if (nl) {
		size_t n = (size_t)(nl - first.p);

		rest = slice_of(nl + 1, first.n - n - 1);
		first.n = n;
	}
	while (rest.n > 0 && rest.p[rest.n - 1] <= ' ')
		rest.n--;
	why_set(why, "the broker says (%u): %s", res->status,
	    text_esc(text, sizeof text, first));
	if (rest.n > mend.n && slice_has_prefix(rest, mend))
		why_mend(why, "%s",
		    text_esc(text, sizeof text,
			slice_of(rest.p + mend.n, rest.n - mend.n)));
}

static enum nj_err
ask_by_mqtt(const struct enrol_run *r, struct slice csr,
    struct https_result *res, struct nj_why *why)
{
	struct enroll_mqtt m = mqtt_of(r);
	char token[PKI_TOKEN_MAX + 1] = "";
	enum nj_err e;

	if (r->renew) {
		m.certfile = r->crt_path;
		m.keyfile = r->key_path;
	} else {
		if ((e = pki_token_print(&r->token, token)))
			return e;
		m.user = r->id;
		m.token = token;
	}
	e = enroll_mqtt_ask(
	    &m, r->renew ? "simplereenroll" : "simpleenroll", csr, res, why);
	secret_wipe(token, sizeof token);
	return e;
}

static enum nj_err
ask_by_https(const struct enrol_run *r, struct slice csr,
    struct https_result *res, struct nj_why *why)
{
	struct https_opts o = opts_of(r);
	char more[MORE_MAX];
	enum nj_err e;

	if (r->renew) {
		o.cert = r->old;
		o.chain = r->old_chain;
		if ((e = pki_key_load(r->key_path, NULL, true, &o.key, why)))
			return e;
	}
	headers(r, more);
	e = https_do(&o, "POST",
	    r->renew ? EST "simplereenroll" : EST "simpleenroll", more, csr,
	    res, why);
	secret_wipe(more, sizeof more);
	EVP_PKEY_free(o.key);
	return e;
}

/* NJ_AGAIN: it waits for approval; *later says when to ask again. */
static enum nj_err
ask_once(
    struct enrol_run *r, struct slice csr, unsigned *later, struct nj_why *why)
{
	struct https_result res;
	enum nj_err e;

	e = r->mqtt ? ask_by_mqtt(r, csr, &res, why)
		    : ask_by_https(r, csr, &res, why);
	if (e)
		return e;
	if (res.status == 200) {
		e = take_cert(r, buf_slice(&res.body), why);
	} else if (res.status == 202) {
		*later = res.retry_after;
		e = NJ_AGAIN;
	} else {
		refused(&res, why);
		e = NJ_DENIED;
	}
	buf_fini(&res.body);
	return e;
}

static enum nj_err
ask(struct enrol_run *r, struct nj_why *why)
{
	time_t until = time(NULL) + r->wait;
	struct buf csr = { 0 };
	unsigned later = 0;
	bool told = false;
	enum nj_err e;

	if ((e = make_csr(r, &csr, why)))
		goto out;
	while ((e = ask_once(r, buf_slice(&csr), &later, why)) == NJ_AGAIN) {
		if (!told) {
			printf("The request waits for approval (nightjar ca "
			       "approve).\n");
			(void)fflush(stdout);
		}
		told = true;
		later = later < 1 ? 1 : later > 60 ? 60 : later;
		if (time(NULL) + (time_t)later > until) {
			why_set(why, "the request waits for approval still");
			why_mend(why,
			    "run the same command again later; the "
			    "key is kept");
			e = NJ_TIMEOUT;
			break;
		}
		(void)sleep(later);
	}
out:
	buf_fini(&csr);
	return e;
}

/* -- the result ------------------------------------------------------------- */

static STACK_OF(X509) * pick_roots(const struct enrol_run *r)
{
	STACK_OF(X509) *v = sk_X509_new_null();

	for (int i = 0; v && i < sk_X509_num(r->chain); i++) {
		X509 *x = sk_X509_value(r->chain, i);

		if (is_root(x) && sk_X509_push(v, x) <= 0) {
			sk_X509_free(v);
			return NULL;
		}
	}
	return v;
}

/* What is between it and a root: of several ways one. */
static STACK_OF(X509) *
    pick_between(const struct enrol_run *r, const STACK_OF(X509) * roots)
{
	STACK_OF(X509) *v = sk_X509_new_null();
	X509 *at = r->cert;
	bool rooted = false;

	for (int i = 0; v && !rooted && i < sk_X509_num(r->chain); i++) {
		X509 *x = sk_X509_value(r->chain, i);

		if (is_root(x) || among(v, x) ||
		    X509_check_issued(x, at) != X509_V_OK)
			continue;
		if (sk_X509_push(v, x) <= 0) {
			sk_X509_free(v);
			return NULL;
		}
		at = x;
		i = -1; /* from the start, for the one above */
		for (int k = 0; k < sk_X509_num(roots); k++)
			rooted |= X509_check_issued(
				      sk_X509_value(roots, k), at) == X509_V_OK;
	}
	return v;
}

/* The certificate last: without it the rest is used again by the next try. */
static enum nj_err
store(struct enrol_run *r, struct nj_why *why)
{
	STACK_OF(X509) *roots = pick_roots(r);
	STACK_OF(X509) *between = pick_between(r, roots);
	X509 *first = sk_X509_shift(roots);
	enum nj_err e = between && first ? NJ_OK : NJ_INVALID;

	if (!e && !(e = pki_chain_store(r->ca_path, first, roots, 0644, why)) &&
	    !(e = store_conf(r, why)))
		e = pki_chain_store(r->crt_path, r->cert, between, 0644, why);
	if (!e && r->new_key && rename(r->next_path, r->key_path) != 0) {
		why_set(why, "cannot put the new key in its place: %s",
		    strerror(errno));
		e = NJ_IO;
	}
	sk_X509_free(roots);
	sk_X509_free(between);
	return e;
}

static void
tell(const struct enrol_run *r)
{
	char name[TEXT_ESC], day[16] = "";
	int64_t from, to = 0;
	time_t at;
	struct tm tm;

	pki_short_name(r->cert, name, sizeof name);
	(void)pki_cert_dates(r->cert, &from, &to);
	at = (time_t)to;
	if (gmtime_r(&at, &tm))
		(void)strftime(day, sizeof day, "%Y-%m-%d", &tm);
	printf("%s the certificate of '%s', valid until %s.\n"
	       "  %s\n  %s\n  %s\n",
	    r->renew ? "Renewed" : "Got", name, day, r->crt_path, r->key_path,
	    r->ca_path);
	if (!r->renew)
		printf("To renew it in time, run this daily: nightjar enroll "
		       "--renew '%s'\n",
		    r->out);
}

static void
run_fini(struct enrol_run *r)
{
	free(r->key_path);
	free(r->next_path);
	free(r->crt_path);
	free(r->ca_path);
	free(r->conf_path);
	EVP_PKEY_free(r->key);
	sk_X509_pop_free(r->trust, X509_free);
	sk_X509_pop_free(r->old_chain, X509_free);
	X509_free(r->cert);
	X509_free(r->old);
	sk_X509_pop_free(r->chain, X509_free);
	secret_wipe(&r->token, sizeof r->token);
}

/* -- first time and again --------------------------------------------------- */

static enum nj_err
enrol_new(struct enrol_run *r, struct nj_why *why)
{
	enum nj_err e;

	if (exists(r->crt_path)) {
		why_set(why, "'%s' holds a certificate already", r->out);
		why_mend(why,
		    "renew it with: nightjar enroll --renew '%s'; "
		    "or name another folder with --out",
		    r->out);
		return NJ_EXISTS;
	}
	if ((e = fetch_root(r, why)) ||
	    (e = take_key(r->key_path, &r->key, why)) || (e = ask(r, why)))
		return e;
	return store(r, why);
}

/* Two thirds of its life are over. */
static bool
is_due(X509 *x)
{
	int64_t from, to, now = (int64_t)time(NULL);

	return !pki_cert_dates(x, &from, &to) ||
	    now >= from + (to - from) / 3 * 2;
}

static enum nj_err
load_old(struct enrol_run *r, struct nj_why *why)
{
	EVP_PKEY *next = NULL;
	enum nj_err e = pki_chain_load(r->crt_path, &r->old_chain, why);

	if (e)
		return e;
	r->old = sk_X509_shift(r->old_chain);
	/* a crash between the new certificate and its key */
	if (exists(r->next_path) &&
	    pki_key_load(r->next_path, NULL, true, &next, NULL) == NJ_OK &&
	    X509_check_private_key(r->old, next) == 1 &&
	    rename(r->next_path, r->key_path) != 0)
		e = NJ_IO;
	EVP_PKEY_free(next);
	ERR_clear_error();
	return e;
}

/* The CA that the folder knows is asked; the pin is only of the first time. */
static enum nj_err
enrol_again(struct enrol_run *r, bool *due, struct nj_why *why)
{
	enum nj_err e;

	if ((e = load_conf(r, why)) || (e = load_old(r, why)))
		return e;
	*due = r->force || is_due(r->old);
	if (!*due)
		return NJ_OK;
	if ((e = pki_chain_load(r->ca_path, &r->trust, why)) ||
	    (e = get_cas(r, &r->chain, why)))
		return e;
	if ((e = take_key(
		 r->new_key ? r->next_path : r->key_path, &r->key, why)) ||
	    (e = ask(r, why)))
		return e;
	return store(r, why);
}

static enum nj_err
take_words(
    struct enrol_run *r, const struct flag_list *words, struct nj_why *why)
{
	char esc[TEXT_ESC];
	long port;
	const char *colon;

	if (r->renew ? words->n != 0 : words->n != 1) {
		why_set(why,
		    r->renew ? "--renew takes no token"
			     : "one token is needed");
		why_mend(why,
		    "nightjar enroll TOKEN, or: nightjar enroll "
		    "--renew DIR");
		return NJ_INVALID;
	}
	if (r->renew)
		return NJ_OK;
	if (pki_token_parse(slice_str(words->v[0]), &r->token)) {
		why_set(why, "this is no token, or not the whole of one");
		why_mend(why,
		    "copy all of it: it begins with nj1. and has no blanks; "
		    "make one with: nightjar ca token ID");
		return NJ_INVALID;
	}
	if (r->id && pki_check_id(r->id, why))
		return NJ_INVALID;
	if (!r->host_given)
		return NJ_OK;
	colon = strrchr(r->host_given, ':');
	if (colon && strchr(r->host_given, ':') == colon) {
		if (!text_to_long(colon + 1, 1, 65535, &port)) {
			why_set(why, "'%s' is no HOST:PORT",
			    text_esc(
				esc, sizeof esc, slice_str(r->host_given)));
			return NJ_INVALID;
		}
		r->token.port = (uint16_t)port;
	} else {
		colon = r->host_given + strlen(r->host_given);
	}
	(void)snprintf(r->token.host, sizeof r->token.host, "%.*s",
	    (int)(colon - r->host_given), r->host_given);
	return NJ_OK;
}

int
cmd_enroll(int argc, char **argv)
{
	struct enrol_run r = { .wait = PATIENCE_S };
	const char *renew = NULL, *out = NULL;
	struct flag_list words = { 0 };
	const struct flag flags[] = {
		{ "out", 'o', FLAG_TEXT, &out, "DIR",
		    "where key and certificate go (nightjar-device)", 0, 0 },
		{ "id", 0, FLAG_TEXT, &r.id, "ID",
		    "the device's name, where the token is for several", 0, 0 },
		{ "host", 'h', FLAG_TEXT, &r.host_given, "HOST[:PORT]",
		    "where the broker is, if not where the token says", 0, 0 },
		{ "wait", 0, FLAG_NUMBER, &r.wait, "SECONDS",
		    "how long to wait for approval (600)", 0, 86400 },
		{ "mqtt", 0, FLAG_SWITCH, &r.mqtt, NULL,
		    "ask over MQTT, at a listener with 'enroll true'", 0, 0 },
		{ "renew", 0, FLAG_TEXT, &renew, "DIR",
		    "renew the certificate in DIR, if it is due", 0, 0 },
		{ "force", 0, FLAG_SWITCH, &r.force, NULL,
		    "with --renew: although it is not due", 0, 0 },
		{ "new-key", 0, FLAG_SWITCH, &r.new_key, NULL,
		    "with --renew: make a new key, too", 0, 0 },
	};
	struct nj_why why = { 0 };
	bool due = true;
	enum nj_err e;

	e = flags_parse(flags, COUNT(flags), argc, argv, &words, &why);
	if (e == NJ_EOF) {
		printf("nightjar enroll TOKEN [options]: gets a device its "
		       "certificate\nnightjar enroll --renew DIR: renews "
		       "it\n\n");
		flags_help(flags, COUNT(flags));
		return EXIT_FINE;
	}
	r.renew = renew != NULL;
	r.out = renew ? renew : out ? out : "nightjar-device";
	if (!e)
		e = take_words(&r, &words, &why);
	if (e) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* TLS writes without asking */
	if (!(e = make_paths(&r, &why)))
		e = r.renew ? enrol_again(&r, &due, &why) : enrol_new(&r, &why);
	if (e)
		say_why(&why, e);
	else if (!due)
		printf("Not due yet.\n");
	else
		tell(&r);
	run_fini(&r);
	return e ? EXIT_FAILED : EXIT_FINE;
}
