/* SPDX-License-Identifier: Apache-2.0
 * tls_judge - what a listener's certificates are worth: the chain in certfile,
 *             and what of certfile, cafile and crlfile does not fit together.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/text.h"
#include "net/tls_load.h"
#include "pki/explain.h"

static void
doubt(void *arg, const struct nj_why *why)
{
	tls_load_fault(arg, false, why);
}

static bool
is_ca(X509 *x)
{
	bool yes = x && X509_check_ca(x) != 0;

	ERR_clear_error();
	return yes;
}

static bool
is_root(X509 *x)
{
	return X509_check_issued(x, x) == X509_V_OK;
}

/* A CA first and the server's certificate behind it: what is wrong with the
 * first for a server is not what is wrong. */
static bool
wrong_order(const struct tls_loader *l, struct nj_why *why)
{
	const char *path = l->o->certfile;
	char esc[TEXT_ESC];

	for (int i = 1; i < sk_X509_num(l->m->chain); i++) {
		if (is_ca(sk_X509_value(l->m->chain, i)))
			continue;
		(void)text_esc(esc, sizeof esc, slice_str(path));
		why_set(why,
		    "the certificates in %s are in the wrong order: the "
		    "server's comes first, then the CA that issued it",
		    esc);
		why_mend(why, "nightjar inspect --pem '%s' >NEW", esc);
		return true;
	}
	return false;
}

/* certfile and cafile exchanged. */
static bool
exchanged(const struct tls_loader *l, struct nj_why *why)
{
	STACK_OF(X509) *other = sk_X509_new_null();
	char cert[TEXT_ESC], ca[TEXT_ESC];
	struct stat st;
	bool yes = other && l->o->cafile && file_stat(l->o->cafile, &st) &&
	    S_ISREG(st.st_mode) && /* a pipe is read once */
	    !tls_load_certs(l->o->cafile, other, NULL) &&
	    !is_ca(sk_X509_value(other, 0));

	sk_X509_pop_free(other, X509_free);
	if (!yes)
		return false;
	why_set(why,
	    "%s (certfile) holds a CA's certificate, and %s (cafile) one that "
	    "is no CA's",
	    text_esc(cert, sizeof cert, slice_str(l->o->certfile)),
	    text_esc(ca, sizeof ca, slice_str(l->o->cafile)));
	why_mend(why, "exchange the two lines");
	return true;
}

/* Who it is, where a file holds several. */
static const char *
called(const struct tls_loader *l, int i, char *dst, size_t size)
{
	char name[TEXT_ESC];

	if (i == 0)
		return l->o->certfile;
	pki_short_name(sk_X509_value(l->m->chain, i), name, sizeof name);
	(void)snprintf(
	    dst, size, "the CA certificate '%s' in %s", name, l->o->certfile);
	return dst;
}

/* OpenSSL finds its way; small devices want each behind the one it issued. */
static void
judge_order(struct tls_loader *l)
{
	struct nj_why why = { 0 };
	int n = sk_X509_num(l->m->chain);
	char esc[TEXT_ESC];

	for (int i = 0; i + 1 < n; i++) {
		X509 *x = sk_X509_value(l->m->chain, i);

		if (X509_check_issued(sk_X509_value(l->m->chain, i + 1), x) ==
		    X509_V_OK)
			continue;
		for (int k = i + 2; k < n; k++) {
			if (X509_check_issued(
				sk_X509_value(l->m->chain, k), x) != X509_V_OK)
				continue;
			(void)text_esc(
			    esc, sizeof esc, slice_str(l->o->certfile));
			why_set(&why,
			    "the CAs in %s are in the wrong order: some "
			    "clients, small devices above all, do not find "
			    "their way",
			    esc);
			why_mend(&why, "nightjar inspect --pem '%s' >NEW", esc);
			tls_load_fault(l, false, &why);
			return;
		}
	}
}

/* Whether it issued another that is there. */
static bool
issued_any(STACK_OF(X509) * v, X509 *ca)
{
	for (int i = 0; i < sk_X509_num(v); i++)
		if (sk_X509_value(v, i) != ca &&
		    X509_check_issued(ca, sk_X509_value(v, i)) == X509_V_OK)
			return true;
	return false;
}

/* A root that has ended is only a copy of what clients have, and the CA above
 * the issuing one is for those alone who do not trust that. */
static bool
can_be_left_out(X509 *x, int depth)
{
	return (depth > 1 || is_root(x)) &&
	    X509_cmp_current_time(X509_get0_notAfter(x)) < 0;
}

static void
tell_superfluous(struct tls_loader *l, X509 *x)
{
	char name[TEXT_ESC], day[40], esc[TEXT_ESC];
	struct nj_why why = { 0 };

	pki_short_name(x, name, sizeof name);
	pki_day_text(X509_get0_notAfter(x), day, sizeof day);
	why_set(&why,
	    "the CA certificate '%s' in %s expired on %s: clients that know "
	    "its successor pass it over, old ones (OpenSSL 1.0) trip over it",
	    name, text_esc(esc, sizeof esc, slice_str(l->o->certfile)), day);
	why_mend(&why, "take it out of that file");
	tls_load_fault(l, false, &why);
}

static void
tell_strangers(struct tls_loader *l, int n)
{
	struct nj_why why = { 0 };
	char esc[TEXT_ESC];

	why_set(&why,
	    "%d of the certificates in %s are of no CA of its chain, and are "
	    "sent with every handshake",
	    n, text_esc(esc, sizeof esc, slice_str(l->o->certfile)));
	why_mend(&why,
	    "keep the server's certificate and its intermediate CAs in "
	    "certfile; a list of CAs belongs into cafile");
	tls_load_fault(l, false, &why);
}

static void
judge_size(struct tls_loader *l, size_t size)
{
	struct nj_why why = { 0 };
	char esc[TEXT_ESC];

	if (size <= TLS_CHAIN_MAX)
		return;
	why_set(&why, "%s: a chain of %zu bytes is too long to send",
	    text_esc(esc, sizeof esc, slice_str(l->o->certfile)), size);
	why_mend(&why,
	    "keep the server's certificate and its intermediate CAs "
	    "in certfile, and nothing else");
	tls_load_fault(l, true, &why);
}

void
tls_judge_chain(struct tls_loader *l)
{
	STACK_OF(X509) *chain = l->m->chain;
	char whose[2 * TEXT_ESC + 32];
	struct nj_why why = { 0 };
	int strangers = 0;
	size_t size = 0;

	if (is_ca(sk_X509_value(chain, 0)) &&
	    (wrong_order(l, &why) || exchanged(l, &why))) {
		tls_load_fault(l, true, &why);
		return;
	}
	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *x = sk_X509_value(chain, i);
		const char *path = called(l, i, whose, sizeof whose);
		enum pki_use use = i == 0 ? PKI_USE_SERVER : PKI_USE_CA;
		int der = i2d_X509(x, NULL);

		size += der > 0 ? (size_t)der : 0;
		if (i > 0 && !issued_any(chain, x))
			strangers++;
		else if (i > 0 && can_be_left_out(x, i))
			tell_superfluous(l, x);
		else if (pki_judge(x, use, path, &why))
			tls_load_fault(l, true, &why);
		else
			pki_doubts(x, use, path, doubt, l);
	}
	judge_order(l);
	if (strangers > 0)
		tell_strangers(l, strangers);
	judge_size(l, size);
}

/* -- together ------------------------------------------------------------ */

/* Clients find out at the first login, and then all at once. */
static void
judge_constraints(struct tls_loader *l)
{
	struct nj_why why = { 0 };
	char esc[TEXT_ESC];

	if (!pki_unpermitted(l->m->chain, l->m->cas, &why))
		return;
	why_prefix(
	    &why, "%s", text_esc(esc, sizeof esc, slice_str(l->o->certfile)));
	tls_load_fault(l, false, &why);
}

/* Whether o issued x, or is the root whose cross certificate x is. */
static bool
is_above(X509 *o, X509 *x)
{
	return X509_check_issued(o, x) == X509_V_OK ||
	    (is_root(o) &&
		X509_NAME_cmp(
		    X509_get_subject_name(o), X509_get_subject_name(x)) == 0 &&
		EVP_PKEY_eq(X509_get0_pubkey(o), X509_get0_pubkey(x)) == 1);
}

/* Whose own CA is not there believes nobody: a chain ends at a root.  Where no
 * certificate is asked for, the file completes the server's own chain. */
static void
judge_roots(struct tls_loader *l)
{
	STACK_OF(X509) *cas = l->m->cas;
	char name[TEXT_ESC], issuer[TEXT_ESC];
	struct nj_why why = { 0 };

	if (!l->o->require_certificate && !l->o->want_certificate)
		return;
	for (int i = 0; i < sk_X509_num(cas); i++) {
		X509 *x = sk_X509_value(cas, i);
		bool above = !is_ca(x);

		for (int k = 0; k < sk_X509_num(cas) && !above; k++)
			above = is_above(sk_X509_value(cas, k), x);
		if (above)
			continue;
		pki_short_name(x, name, sizeof name);
		pki_issuer_name(x, issuer, sizeof issuer);
		why_set(&why,
		    "the CA '%s' in %s was issued by '%s', which is not there: "
		    "its clients are refused, as their chain ends at no root",
		    name, l->o->cafile ? "cafile" : "capath", issuer);
		why_mend(&why,
		    "put the certificate of '%s' beside it: cat issuing.crt "
		    "root.crt >ca.crt",
		    issuer);
		tls_load_fault(l, false, &why);
	}
}

/* One of a CA that was made anew under its name.  A list of another may be
 * that of an intermediate CA, which clients send. */
static void
judge_lists(struct tls_loader *l)
{
	STACK_OF(X509) *cas = l->m->cas;
	bool named = false;
	struct nj_why why = { 0 };
	char name[TEXT_ESC] = "";

	for (int i = 0; i < sk_X509_num(cas); i++) {
		X509 *ca = sk_X509_value(cas, i);

		for (int k = 0; k < sk_X509_CRL_num(l->m->crls); k++) {
			X509_CRL *c = sk_X509_CRL_value(l->m->crls, k);

			if (X509_NAME_cmp(X509_CRL_get_issuer(c),
				X509_get_subject_name(ca)) != 0)
				continue;
			named = true;
			pki_short_name(ca, name, sizeof name);
			if (X509_CRL_verify(c, X509_get0_pubkey(ca)) != 1)
				continue;
			ERR_clear_error();
			return;
		}
	}
	ERR_clear_error();
	if (!named)
		return;
	why_set(&why,
	    "crlfile: the list of '%s' is not signed by the CA of that name "
	    "that is trusted, but by another: every client is refused",
	    name);
	why_mend(
	    &why, "put that CA's own list there, or remove the crlfile line");
	tls_load_fault(l, false, &why);
}

void
tls_judge_together(struct tls_loader *l)
{
	if (l->fatal)
		return;
	judge_constraints(l);
	judge_roots(l);
	judge_lists(l);
}
