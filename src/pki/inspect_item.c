/* SPDX-License-Identifier: Apache-2.0
 * inspect_item - each certificate, key, request and revocation list by itself.
 */
#include <ctype.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pki/inspect.h"

struct told {
	struct pki_inspection *in;
	const struct pki_item *it;
	const char *name;
};

/* -- certificates -------------------------------------------------------- */

/* Among those that are trusted, one that is over does no harm beside others. */
static bool
has_successor(const struct told *t)
{
	const struct pki_items *s = t->in->items;

	for (unsigned i = 0; s->sources[t->it->source].trust && i < s->n; i++)
		if (&s->v[i] != t->it && s->v[i].kind == PKI_ITEM_CERT &&
		    s->v[i].source == t->it->source &&
		    pki_judge(s->v[i].cert, PKI_USE_CA, "", NULL) == NJ_OK)
			return true;
	return false;
}

static void
tell_fault(void *arg, const char *code, const struct nj_why *why)
{
	const struct told *t = arg;
	bool over = strcmp(code, "expired") == 0 && has_successor(t);
	struct nj_why *w = pki_inspect_add(
	    t->in, over ? PKI_DOUBT : PKI_FAULT, code, t->it, 0);

	*w = *why;
	why_prefix(w, "%s", t->name);
}

static void
tell_remark(
    void *arg, enum pki_level level, const char *code, const struct nj_why *why)
{
	const struct told *t = arg;

	*pki_inspect_add(t->in, level, code, t->it, 0) = *why;
}

/* Seen in recipes: "/CN=broker /O=..." */
static void
judge_spaces(const struct told *t, X509 *x)
{
	char cn[256];
	int n = X509_NAME_get_text_by_NID(
	    X509_get_subject_name(x), NID_commonName, cn, sizeof cn);

	if (n > 0 && (size_t)n < sizeof cn &&
	    (cn[n - 1] == ' ' || cn[0] == ' '))
		why_set(pki_inspect_add(t->in, PKI_DOUBT, "space", t->it, 0),
		    "%s has a space at the %s of its common name: who types "
		    "the name without it does not match",
		    t->name, cn[0] == ' ' ? "beginning" : "end");
}

/* As net/tls_peer.c refuses it. */
static bool
is_unsafe(struct slice s)
{
	if (s.n == 1 && strchr("*+#", s.p[0]))
		return true;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	return false;
}

/* What the broker does with the name of a client. */
static void
judge_identity(const struct told *t, X509 *x)
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	char esc[TEXT_ESC];
	struct nj_why *w;
	struct slice cn;
	int n;

	if (at < 0 ||
	    (n = ASN1_STRING_to_UTF8(&utf8,
		 X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)))) <
		0)
		return;
	cn = slice_of(utf8, (size_t)n);
	(void)text_esc(esc, sizeof esc, cn);
	if (X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
		w = pki_inspect_add(
		    t->in, PKI_DOUBT, "several-names", t->it, 0);
		why_set(w,
		    "%s has several common names: Nightjar and Mosquitto take "
		    "the first, '%s', other programs the last",
		    t->name, esc);
		why_mend(w, "make one with one name: nightjar ca device ID");
	}
	if (is_unsafe(cn)) {
		w = pki_inspect_add(t->in, PKI_FAULT, "unsafe-name", t->it, 0);
		why_set(w,
		    "%s has the common name '%s', which the broker refuses: "
		    "it is a wildcard, or holds a control character",
		    t->name, esc);
		why_mend(
		    w, "make one with a plain name: nightjar ca device ID");
	}
	OPENSSL_free(utf8);
}

static void
judge_as_server_or_client(const struct told *t, X509 *x, enum pki_use use)
{
	uint32_t flags = X509_get_extension_flags(x);
	const struct pki_inspect_opts *o = t->in->o;
	struct nj_why *w;
	char cn[TEXT_ESC];

	if (use != PKI_USE_CA && (flags & EXFLAG_CA)) {
		w = pki_inspect_add(t->in, PKI_DOUBT, "ca-as-leaf", t->it, 0);
		why_set(w,
		    "%s is a CA: whoever gets the broker's or device's key "
		    "can make certificates with it",
		    t->name);
		why_mend(w, "use one that is issued by it: nightjar ca %s",
		    use == PKI_USE_SERVER ? "server" : "device ID");
	}
	if (use == PKI_USE_SERVER && o->host && !pki_matches_host(x, o->host))
		pki_explain_host(x, o->host,
		    pki_inspect_add(t->in, PKI_FAULT, "host", t->it, 0));
	if (use == PKI_USE_CLIENT &&
	    X509_NAME_get_text_by_NID(
		X509_get_subject_name(x), NID_commonName, cn, sizeof cn) <= 0) {
		w = pki_inspect_add(t->in, PKI_DOUBT, "no-name", t->it, 0);
		why_set(w,
		    "%s has no common name: use_identity_as_username finds "
		    "nobody in it",
		    t->name);
		why_mend(w, "nightjar ca device ID");
	}
	if (use == PKI_USE_CLIENT)
		judge_identity(t, x);
}

/* A CA before the one that it issued: that is what is wrong, and not what it
 * lacks for a server or client. */
static bool
heads_wrongly(const struct pki_inspection *in, const struct pki_item *it)
{
	enum pki_use use;

	for (unsigned i = 0; i < in->items->n; i++) {
		const struct pki_item *o = &in->items->v[i];

		if (o != it && o->source == it->source &&
		    o->kind == PKI_ITEM_CERT &&
		    (!pki_meant_for(o->cert, &use) || use != PKI_USE_CA))
			return true;
	}
	return false;
}

static void
judge_cert(struct pki_inspection *in, const struct pki_item *it)
{
	char name[TEXT_ESC + 32];
	struct told t = { in, it, name };
	enum pki_use use = in->o->use, meant;
	bool sure = pki_meant_for(it->cert, &meant);

	pki_item_call(in->items, it, name, sizeof name);
	/* What stands behind the first is its chain. */
	if (!in->o->has_use ||
	    (meant == PKI_USE_CA &&
		(it->number > 1 || heads_wrongly(in, it))) ||
	    in->items->sources[it->source].trust)
		use = meant;
	if (in->items->sources[it->source].trust)
		use = PKI_USE_CA;
	if (!in->o->has_use && !sure && use == PKI_USE_SERVER &&
	    pki_judge(it->cert, PKI_USE_SERVER, name, NULL) &&
	    pki_judge(it->cert, PKI_USE_CLIENT, name, NULL) == NJ_OK)
		use = PKI_USE_CLIENT;
	pki_faults(it->cert, use, tell_fault, &t);
	pki_remarks(it->cert, use, name, tell_remark, &t);
	judge_as_server_or_client(&t, it->cert, use);
	judge_spaces(&t, it->cert);
}

/* -- keys ---------------------------------------------------------------- */

static void
judge_weak_key(struct pki_inspection *in, const struct pki_item *it,
    EVP_PKEY *key, const char *name)
{
	int bits = key ? EVP_PKEY_get_bits(key) : 0;
	struct nj_why *w;

	if (!key)
		return;
	if (EVP_PKEY_is_a(key, "RSA") && bits < 2048) {
		w = pki_inspect_add(in, PKI_FAULT, "weak-key", it, 0);
		why_set(w,
		    "%s is RSA-%d, which can be broken (at least 2048 bits)",
		    name, bits);
		why_mend(w,
		    "make a new key and certificate: nightjar ca server, "
		    "nightjar ca device ID --again");
	} else if (EVP_PKEY_is_a(key, "DSA")) {
		w = pki_inspect_add(in, PKI_FAULT, "dsa-key", it, 0);
		why_set(w, "%s is DSA, which TLS no longer uses", name);
		why_mend(w, "make a new key and certificate: nightjar ca");
	}
}

static void
judge_key(struct pki_inspection *in, const struct pki_item *it)
{
	const struct pki_source *src = &in->items->sources[it->source];
	char name[TEXT_ESC + 32];
	struct nj_why *w;

	pki_item_call(in->items, it, name, sizeof name);
	judge_weak_key(in, it, it->key, name);
	if (!it->encrypted || src->container == PKI_IN_PKCS12)
		return;
	if (it->key) {
		why_set(pki_inspect_add(in, PKI_NOTE, "encrypted", it, 0),
		    "%s is encrypted: the broker needs keyfile_password_file "
		    "to start unattended, clients --keypass-file",
		    name);
		return;
	}
	w = pki_inspect_add(in, PKI_DOUBT, "encrypted", it, 0);
	why_set(w,
	    "%s is encrypted, and was not opened: a broker that has no "
	    "terminal to ask at cannot start with it",
	    name);
	why_mend(w,
	    "give 'keyfile_password_file PATH' below its keyfile line "
	    "(--keypass-file for clients); here: --password-file FILE");
}

/* -- requests and revocation lists --------------------------------------- */

static void
judge_public(struct pki_inspection *in, const struct pki_item *it)
{
	char name[TEXT_ESC + 32];
	struct nj_why *w;

	pki_item_call(in->items, it, name, sizeof name);
	w = pki_inspect_add(in, PKI_DOUBT, "public-key", it, 0);
	why_set(w,
	    "%s is of no use to a broker or client: with a certificate goes "
	    "its private key, and the public one is in the certificate",
	    name);
	why_mend(w,
	    "give the .key file that was made together with the certificate");
}

static void
judge_csr(struct pki_inspection *in, const struct pki_item *it)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(it->csr);
	char name[TEXT_ESC + 32];
	struct nj_why *w;

	pki_item_call(in->items, it, name, sizeof name);
	w = pki_inspect_add(in, PKI_NOTE, "request", it, 0);
	why_set(w,
	    "%s is no certificate yet: a CA has to sign it, and no program "
	    "can serve with it",
	    name);
	if (!key || X509_REQ_verify(it->csr, key) != 1) {
		w = pki_inspect_add(in, PKI_FAULT, "request-signature", it, 0);
		why_set(w,
		    "%s is not signed with the key it asks for: it was "
		    "changed, or made by a broken program",
		    name);
		why_mend(w, "make it again");
	}
	judge_weak_key(in, it, key, name);
}

static void
judge_crl(struct pki_inspection *in, const struct pki_item *it)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(it->crl);
	char name[TEXT_ESC + 32], day[40] = "?";
	struct tm tm;
	struct nj_why *w;

	pki_item_call(in->items, it, name, sizeof name);
	if (X509_cmp_current_time(X509_CRL_get0_lastUpdate(it->crl)) > 0) {
		w = pki_inspect_add(in, PKI_FAULT, "not-yet-valid", it, 0);
		why_set(w, "%s is from the future", name);
		why_mend(w,
		    "set the clock of this machine "
		    "(timedatectl set-ntp true)");
	}
	if (!next || X509_cmp_current_time(next) > 0)
		return;
	if (ASN1_TIME_to_tm(next, &tm))
		(void)strftime(day, sizeof day, "%Y-%m-%d", &tm);
	w = pki_inspect_add(in, PKI_FAULT, "crl-expired", it, 0);
	why_set(w,
	    "%s ended on %s: whoever checks with it refuses every certificate "
	    "of its CA",
	    name, day);
	why_mend(w, "have its CA write a new one, and reload the broker");
}

void
pki_inspect_item(struct pki_inspection *in, const struct pki_item *it)
{
	switch (it->kind) {
	case PKI_ITEM_CERT:
		judge_cert(in, it);
		break;
	case PKI_ITEM_KEY:
		judge_key(in, it);
		break;
	case PKI_ITEM_CSR:
		judge_csr(in, it);
		break;
	case PKI_ITEM_CRL:
		judge_crl(in, it);
		break;
	case PKI_ITEM_PUBLIC:
		judge_public(in, it);
		break;
	}
	ERR_clear_error();
}
