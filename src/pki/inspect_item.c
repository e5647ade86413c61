/* SPDX-License-Identifier: Apache-2.0
 * inspect_item - each certificate, key, request and revocation list by itself.
 */
#include <arpa/inet.h>
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

static void
tell_fault(void *arg, const char *code, const struct nj_why *why)
{
	const struct told *t = arg;
	struct nj_why *w = pki_inspect_add(t->in, PKI_FAULT, code, t->it, 0);

	*w = *why;
	why_prefix(w, "%s", t->name);
}

static void
tell_doubt(void *arg, const struct nj_why *why)
{
	const struct told *t = arg;

	*pki_inspect_add(t->in, PKI_DOUBT, "doubt", t->it, 0) = *why;
}

static bool
is_address(const char *s)
{
	unsigned char a[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, s, a) == 1 || inet_pton(AF_INET6, s, a) == 1;
}

static bool
is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

static void
judge_dns_name(const struct told *t, const char *name)
{
	struct nj_why *w;

	if (is_address(name)) {
		w = pki_inspect_add(
		    t->in, PKI_FAULT, "address-as-name", t->it, 0);
		why_set(w,
		    "%s has the address %s among its host names (DNS:%s); "
		    "clients that connect to %s look for an address (IP:%s)",
		    t->name, name, name, name, name);
		why_mend(w, "nightjar ca server %s", name);
	} else if (strcmp(name, "*") == 0 || strcmp(name, "*.") == 0) {
		w = pki_inspect_add(t->in, PKI_FAULT, "wildcard", t->it, 0);
		why_set(
		    w, "%s has the name '*', which no client accepts", t->name);
		why_mend(w, "name the hosts: nightjar ca server NAME...");
	} else if (name[0] && name[strlen(name) - 1] == '.') {
		w = pki_inspect_add(t->in, PKI_FAULT, "odd-name", t->it, 0);
		why_set(w,
		    "%s has the name '%s', with a dot at its end: who connects "
		    "to '%.*s' does not find that name in it",
		    t->name, name, (int)strlen(name) - 1, name);
		why_mend(
		    w, "nightjar ca server %.*s", (int)strlen(name) - 1, name);
	} else if (!is_ascii(name)) {
		w = pki_inspect_add(t->in, PKI_FAULT, "odd-name", t->it, 0);
		why_set(w,
		    "%s has the name '%s', which is not in ASCII: in "
		    "certificates and in DNS such a name is written as "
		    "xn--..., and clients look for that",
		    t->name, name);
		why_mend(w,
		    "name it as DNS does (python3 -c \"print('%s'.encode("
		    "'idna').decode())\" tells): nightjar ca server xn--...",
		    name);
	} else if (strpbrk(name, " _/:@")) {
		w = pki_inspect_add(t->in, PKI_DOUBT, "odd-name", t->it, 0);
		why_set(w,
		    "%s has the name '%s', which is no host name (letters, "
		    "digits, '-' and '.'): some clients refuse it",
		    t->name, name);
	}
}

static void
judge_names(const struct told *t, X509 *x)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	char text[TEXT_ESC];

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int kind;
		const ASN1_STRING *s = GENERAL_NAME_get0_value(
		    sk_GENERAL_NAME_value(names, i), &kind);

		if (kind != GEN_DNS)
			continue;
		(void)text_esc(text, sizeof text,
		    slice_of(ASN1_STRING_get0_data(s),
			(size_t)ASN1_STRING_length(s)));
		judge_dns_name(t, text);
	}
	GENERAL_NAMES_free(names);
}

/* Its issuer has the same name, and is another. */
static void
judge_itself(const struct told *t, X509 *x, enum pki_use use)
{
	bool same = X509_NAME_cmp(
			X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
	bool own = same && X509_self_signed(x, 1) == 1;
	struct nj_why *w;

	if (same && !own && use != PKI_USE_CA) {
		w = pki_inspect_add(t->in, PKI_DOUBT, "same-name", t->it, 0);
		why_set(w,
		    "%s has the same subject as the CA that issued it: older "
		    "programs (OpenSSL 1, small devices) take it for signed by "
		    "itself and refuse it",
		    t->name);
		why_mend(w,
		    "make it with another common name than the CA's; nightjar "
		    "ca server and nightjar ca device do");
	} else if (own && use != PKI_USE_CA) {
		w = pki_inspect_add(t->in, PKI_DOUBT, "self-signed", t->it, 0);
		why_set(w,
		    "%s is signed by itself: only those who have this very "
		    "file as their cafile believe it%s",
		    t->name,
		    use == PKI_USE_CLIENT ? ", and no broker does" : "");
		why_mend(w,
		    use == PKI_USE_CLIENT
			? "nightjar ca device ID"
			: "nightjar ca init, then nightjar ca server");
	}
}

static void
judge_algorithms(const struct told *t, X509 *x, enum pki_use use)
{
	EVP_PKEY *key = X509_get0_pubkey(x);
	uint32_t ku = X509_get_key_usage(x);
	struct nj_why *w;

	if (!key)
		return;
	if (use != PKI_USE_CA && EVP_PKEY_is_a(key, "RSA") &&
	    !(ku & KU_DIGITAL_SIGNATURE) && (ku & KU_KEY_ENCIPHERMENT)) {
		w = pki_inspect_add(t->in, PKI_DOUBT, "key-usage", t->it, 0);
		why_set(w,
		    "%s has the key usage keyEncipherment without "
		    "digitalSignature, which TLS 1.3 and ECDHE need: Java, Go "
		    "and GnuTLS refuse it",
		    t->name);
		why_mend(w, "make a better one with: nightjar ca %s",
		    use == PKI_USE_SERVER ? "server" : "device ID");
	}
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

static void
judge_cert(struct pki_inspection *in, const struct pki_item *it)
{
	char name[TEXT_ESC + 32];
	struct told t = { in, it, name };
	enum pki_use use = in->o->use, meant;
	bool sure = pki_meant_for(it->cert, &meant);

	pki_item_call(in->items, it, name, sizeof name);
	/* What stands behind the first is its chain. */
	if (!in->o->has_use || (it->number > 1 && meant == PKI_USE_CA) ||
	    in->items->sources[it->source].trust)
		use = meant;
	if (in->items->sources[it->source].trust)
		use = PKI_USE_CA;
	if (!in->o->has_use && !sure && use == PKI_USE_SERVER &&
	    pki_judge(it->cert, PKI_USE_SERVER, name, NULL) &&
	    pki_judge(it->cert, PKI_USE_CLIENT, name, NULL) == NJ_OK)
		use = PKI_USE_CLIENT;
	pki_faults(it->cert, use, tell_fault, &t);
	pki_doubts(it->cert, use, name, tell_doubt, &t);
	if (use == PKI_USE_SERVER)
		judge_names(&t, it->cert);
	judge_itself(&t, it->cert, use);
	judge_algorithms(&t, it->cert, use);
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
