/* SPDX-License-Identifier: Apache-2.0
 * tls_load - certificates, keys and revocation lists of a listener, read and
 *            judged; every fault is told, not only the first.
 */
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "net/tls_impl.h"
#include "net/tls_load.h"
#include "pki/explain.h"
#include "pki/form.h"
#include "pki/key.h"

#define PEM_MAX	   (4 * 1024 * 1024) /* of one file; /etc/ssl is 220 KiB */
#define CAPATH_MAX 4096		     /* files of one folder */

/* Certificates that are sent at most. */
#define CHAIN_DEPTH_MAX 10

void
tls_load_fault(struct tls_loader *l, bool fatal, const struct nj_why *why)
{
	l->fatal |= fatal;
	if (l->fn)
		l->fn(l->arg, fatal, why);
}

static void
doubt(void *arg, const struct nj_why *why)
{
	tls_load_fault(arg, false, why);
}

static enum nj_err
open_pem(const char *path, size_t max, struct buf *text, BIO **out,
    struct nj_why *why)
{
	enum nj_err e = file_read(path, max, text, why);

	if (e)
		return e;
	if (!(*out = BIO_new_mem_buf(buf_slice(text).p, (int)buf_len(text))))
		return NJ_NOMEM;
	return NJ_OK;
}

/* The reading loops end with "no start line"; anything else is a fault. */
static bool
ended_well(void)
{
	unsigned long err = ERR_peek_last_error();
	bool ok = err == 0 ||
	    (ERR_GET_LIB(err) == ERR_LIB_PEM &&
		ERR_GET_REASON(err) == PEM_R_NO_START_LINE);

	ERR_clear_error();
	return ok;
}

static enum nj_err
damaged(const char *path, int n, const char *what, struct nj_why *why)
{
	char esc[TEXT_ESC];

	why_set(why, "%s: %s number %d in it is damaged",
	    text_esc(esc, sizeof esc, slice_str(path)), what, n + 1);
	why_mend(why, "copy the file again from where it came");
	return NJ_INVALID;
}

static enum nj_err
no_cert(const char *path, struct buf *text, struct nj_why *why)
{
	struct slice s = buf_slice(text);
	char esc[TEXT_ESC];

	if (pki_form_explain(path, s, why))
		return NJ_INVALID;
	(void)text_esc(esc, sizeof esc, slice_str(path));
	if (s.p && s.n > 0 && memmem(s.p, s.n, "PRIVATE KEY", 11))
		why_set(why, "%s holds a private key, not a certificate", esc);
	else if (s.p && s.n > 0 && memmem(s.p, s.n, "CERTIFICATE REQUEST", 19))
		why_set(why,
		    "%s holds a certificate request that no CA has "
		    "signed yet",
		    esc);
	else
		why_set(why, "%s holds no certificate", esc);
	why_mend(why,
	    "have a CA sign it, or make one: \"nightjar ca server\" for a "
	    "server, \"nightjar ca device ID\" for a client");
	return NJ_INVALID;
}

enum nj_err
tls_load_certs(const char *path, STACK_OF(X509) * into, struct nj_why *why)
{
	struct buf text = { 0 };
	BIO *b = NULL;
	X509 *x;
	int n = 0;
	enum nj_err e = open_pem(path, PEM_MAX, &text, &b, why);

	if (e)
		goto out;
	while ((x = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL))) {
		if (!sk_X509_push(into, x)) {
			X509_free(x);
			e = NJ_NOMEM;
			goto out;
		}
		n++;
	}
	if (!ended_well())
		e = pki_form_explain(path, buf_slice(&text), why)
		    ? NJ_INVALID
		    : damaged(path, n, "the certificate", why);
	else if (n == 0)
		e = no_cert(path, &text, why);
out:
	BIO_free(b);
	buf_fini(&text);
	return e;
}

static enum nj_err
no_crl(const char *path, const struct buf *text, struct nj_why *why)
{
	struct slice s = buf_slice(text);
	char esc[TEXT_ESC];

	if (pki_form_explain(path, s, why))
		return NJ_INVALID;
	why_set(why, "%s holds no certificate revocation list%s",
	    text_esc(esc, sizeof esc, slice_str(path)),
	    s.p && s.n > 0 && memmem(s.p, s.n, "BEGIN CERTIFICATE-----", 22)
		? ", but a certificate"
		: "");
	why_mend(why,
	    "have the CA make one (openssl ca -gencrl, or its address in the "
	    "certificates), or delete the crlfile line");
	return NJ_INVALID;
}

enum nj_err
tls_load_crls(const char *path, STACK_OF(X509_CRL) * into, bool required,
    struct nj_why *why)
{
	struct buf text = { 0 };
	BIO *b = NULL;
	X509_CRL *c;
	int n = 0;
	enum nj_err e = open_pem(path, REVOKED_FILE_MAX, &text, &b, why);

	if (e)
		goto out;
	while ((c = PEM_read_bio_X509_CRL(b, NULL, NULL, NULL))) {
		if (!sk_X509_CRL_push(into, c)) {
			X509_CRL_free(c);
			e = NJ_NOMEM;
			goto out;
		}
		n++;
	}
	if (!ended_well())
		e = damaged(path, n, "the revocation list", why);
	else if (n == 0 && required)
		e = no_crl(path, &text, why);
out:
	BIO_free(b);
	buf_fini(&text);
	return e;
}

/* Every readable PEM file of the folder, hashed names or not: nobody has to
 * run c_rehash. */
enum nj_err
tls_load_capath(const char *path, STACK_OF(X509) * into,
    STACK_OF(X509_CRL) * crls, struct nj_why *why)
{
	char name[4096], esc[TEXT_ESC];
	DIR *d = opendir(path);
	struct dirent *en;
	struct stat st;
	int files = 0;

	(void)text_esc(esc, sizeof esc, slice_str(path));
	if (!d) {
		why_set(why, "capath %s: %s", esc, strerror(errno));
		why_mend(why,
		    "name a folder of CA certificates that this user "
		    "may read");
		return NJ_INVALID;
	}
	while ((en = readdir(d)) && files < CAPATH_MAX) {
		if (en->d_name[0] == '.' ||
		    (size_t)snprintf(name, sizeof name, "%s/%s", path,
			en->d_name) >= sizeof name ||
		    stat(name, &st) != 0 || !S_ISREG(st.st_mode))
			continue;
		files++;
		/* Other things may lie there too. */
		(void)!tls_load_certs(name, into, NULL);
		if (crls)
			(void)!tls_load_crls(name, crls, false, NULL);
	}
	(void)closedir(d);
	if (sk_X509_num(into) == 0) {
		why_set(why, "capath %s holds no CA certificate", esc);
		why_mend(why, "copy the CA's certificate (PEM) into it");
		return NJ_INVALID;
	}
	return NJ_OK;
}

/* A broker that gave up root cannot read its key again.  It has it, though,
 * and most new certificates are for the old key. */
static bool
kept_key(struct tls_loader *l, X509 *leaf)
{
	const struct tls_server *p = l->o->previous;

	if (!p || !p->key || !leaf || !file_is_hidden(l->o->keyfile) ||
	    X509_check_private_key(leaf, p->key) != 1)
		return false;
	if (EVP_PKEY_up_ref(p->key) != 1)
		return false;
	l->m->key = p->key;
	return true;
}

/* Nor its certificate, perhaps: then what it has serves on. */
static bool
kept_from_start(struct tls_loader *l)
{
	const struct tls_server *p = l->o->previous;
	struct nj_why why = { 0 };
	char esc[TEXT_ESC];
	STACK_OF(X509) * own;

	if (!p || !p->key || !p->own || !file_is_hidden(l->o->certfile) ||
	    !(own = X509_chain_up_ref(p->own)))
		return false;
	if (EVP_PKEY_up_ref(p->key) != 1) {
		sk_X509_pop_free(own, X509_free);
		return false;
	}
	sk_X509_pop_free(l->m->chain, X509_free);
	l->m->chain = own;
	l->m->key = p->key;
	why_set(&why,
	    "%s cannot be read since the broker gave up root: the certificate "
	    "of its start is served on",
	    text_esc(esc, sizeof esc, slice_str(l->o->certfile)));
	why_mend(&why,
	    "let its user read the certificate and its folder, or restart the "
	    "broker for a new one");
	tls_load_fault(l, false, &why);
	return true;
}

static void
load_key(struct tls_loader *l)
{
	struct nj_why why = { 0 };
	char cert[TEXT_ESC], key[TEXT_ESC];
	X509 *leaf = sk_X509_value(l->m->chain, 0);

	if (!l->o->keyfile) {
		why_set(&why, "certfile is set, but keyfile is not");
		why_mend(&why,
		    "add \"keyfile PATH\" with the private key of "
		    "the certificate");
		tls_load_fault(l, true, &why);
		return;
	}
	if (l->m->key)
		return; /* kept_from_start */
	if (pki_key_load(
		l->o->keyfile, l->o->passphrase, false, &l->m->key, &why) &&
	    !kept_key(l, leaf)) {
		tls_load_fault(l, true, &why);
		return;
	}
	if (file_check_private_linked(l->o->keyfile, &why))
		tls_load_fault(l,
		    l->o->refuse_exposed_key &&
			file_check_rules(l->o->keyfile, true, false, &why),
		    &why);
	ERR_clear_error();
	if (leaf && l->o->certfile &&
	    X509_check_private_key(leaf, l->m->key) != 1) {
		ERR_clear_error();
		(void)text_esc(cert, sizeof cert, slice_str(l->o->certfile));
		(void)text_esc(key, sizeof key, slice_str(l->o->keyfile));
		why_set(&why, "%s is not the key of the certificate in %s", key,
		    cert);
		why_mend(&why,
		    "use the key that the certificate was made "
		    "with; \"nightjar ca server\" makes a new pair");
		tls_load_fault(l, true, &why);
	}
}

static void
judge_cas(struct tls_loader *l, int from, const char *path, bool fatal)
{
	struct nj_why why = { 0 };
	time_t now = time(NULL);
	int good = 0, n = sk_X509_num(l->m->cas);

	for (int i = from; i < n; i++) {
		X509 *x = sk_X509_value(l->m->cas, i);
		/* A CA that has ended does no harm beside its successor. */
		bool over = X509_cmp_time(X509_get0_notAfter(x), &now) < 0;

		if (!pki_judge(x, PKI_USE_CA, path, &why)) {
			good++;
			pki_doubts(x, PKI_USE_CA, path, doubt, l);
		} else if (fatal && (!over || n - from == 1))
			tls_load_fault(l, true, &why);
		else if (fatal)
			tls_load_fault(l, false, &why);
	}
	if (good > 0 || l->fatal)
		return;
	why_set(&why, "%s: none of the %d CA certificates can be used", path,
	    n - from);
	why_mend(&why, "run \"nightjar ca init\" for a new CA");
	tls_load_fault(l, true, &why);
}

/* cat ca.crt ca.key >ca.pem: and then everybody is given that. */
static bool
holds_key(const char *path, struct nj_why *why)
{
	struct buf text = { 0 };
	char esc[TEXT_ESC];
	struct slice s = SLICE_NONE;
	bool yes;

	if (!file_read(path, PEM_MAX, &text, NULL))
		s = buf_slice(&text);
	yes = s.p && s.n > 0 && memmem(s.p, s.n, "PRIVATE KEY-----", 16);
	buf_wipe(&text);
	if (!yes)
		return false;
	(void)text_esc(esc, sizeof esc, slice_str(path));
	why_set(why,
	    "%s holds a private key beside the CA's certificate: who reads it, "
	    "or is given it as ca.crt, can make certificates that this broker "
	    "believes",
	    esc);
	why_mend(why,
	    "give a file with the certificate alone: nightjar inspect --pem "
	    "'%s' >NEW; keep the key elsewhere",
	    esc);
	return true;
}

static void
load_cas(struct tls_loader *l)
{
	struct nj_why why = { 0 };
	const struct tls_server_opts *o = l->o;
	int n;

	if (o->cafile) {
		if (tls_load_certs(o->cafile, l->m->cas, &why))
			tls_load_fault(l, true, &why);
		else
			judge_cas(l, 0, o->cafile, true);
		if (holds_key(o->cafile, &why))
			tls_load_fault(l, false, &why);
	}
	n = sk_X509_num(l->m->cas);
	if (o->capath) {
		if (tls_load_capath(o->capath, l->m->cas,
			o->crlfile ? l->m->crls : NULL, &why))
			tls_load_fault(l, true, &why);
		else
			judge_cas(l, n, o->capath, false);
	}
	if (o->require_certificate && !o->cafile && !o->capath) {
		why_set(&why,
		    "require_certificate true, but no cafile or "
		    "capath says whose certificates are good");
		why_mend(&why,
		    "add \"cafile PATH\" with the CA of your "
		    "clients");
		tls_load_fault(l, true, &why);
	}
}

static void
judge_crl(struct tls_loader *l, X509_CRL *c, const char *path)
{
	struct nj_why why = { 0 };
	char esc[TEXT_ESC];
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(c);
	int64_t end = tls_time(next), now = (int64_t)time(NULL);
	struct tm tm = { 0 };
	char day[32] = "";

	(void)text_esc(esc, sizeof esc, slice_str(path));
	if (tls_time(X509_CRL_get0_lastUpdate(c)) > now) {
		why_set(&why,
		    "%s: the revocation list is from the future; "
		    "this machine's clock may be slow",
		    esc);
		why_mend(&why, "set the clock (timedatectl)");
		tls_load_fault(l, true, &why);
	}
	if (!next || end > now)
		return;
	(void)ASN1_TIME_to_tm(next, &tm);
	(void)strftime(day, sizeof day, "%Y-%m-%d", &tm);
	why_set(&why,
	    "%s: the revocation list ended on %s; with it every client would "
	    "be refused",
	    esc, day);
	why_mend(&why, "have the CA write a new one, then reload");
	tls_load_fault(l, true, &why);
}

/* Of another CA than that whose list it stands on, or of whom it is not clear. */
static bool
is_of_another(const X509_REVOKED *one, const X509_NAME *issuer)
{
	int found = -1;
	GENERAL_NAMES *names =
	    X509_REVOKED_get_ext_d2i(one, NID_certificate_issuer, &found, NULL);
	bool yes = found != -1 && sk_GENERAL_NAME_num(names) <= 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		yes |= g->type != GEN_DIRNAME ||
		    X509_NAME_cmp(g->d.directoryName, issuer) != 0;
	}
	GENERAL_NAMES_free(names);
	return yes;
}

/* RFC 5280 5.2.5, 5.3.3 */
static bool
is_indirect(X509_CRL *c, const ISSUING_DIST_POINT *idp)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(c);
	bool yes = idp && idp->indirectCRL > 0;

	for (int i = 0; i < sk_X509_REVOKED_num(all) && !yes; i++)
		yes = is_of_another(
		    sk_X509_REVOKED_value(all, i), X509_CRL_get_issuer(c));
	return yes;
}

/* An indirect one would say nothing of the others' certificates, or the wrong thing of
 * its maker's.  One that is about a part of them, who knows which, would be taken for
 * the whole. */
static void
judge_scope(struct tls_loader *l, X509_CRL *c, const char *path)
{
	int found = -1;
	ISSUING_DIST_POINT *idp = X509_CRL_get_ext_d2i(
	    c, NID_issuing_distribution_point, &found, NULL);
	bool unclear = !idp && found != -1;
	struct nj_why why = { 0 };
	char esc[TEXT_ESC], name[TEXT_ESC];

	if (!unclear && !is_indirect(c, idp))
		goto out;
	if (!pki_common_name(X509_CRL_get_issuer(c), name, sizeof name))
		(void)snprintf(name, sizeof name, "an unnamed issuer");
	why_set(&why, "%s: the revocation list of '%s' %s",
	    text_esc(esc, sizeof esc, slice_str(path)), name,
	    unclear ? "does not say in a form that can be read which "
		      "certificates it is about (issuingDistributionPoint)"
		    : "is an indirect one: it may revoke certificates of other "
		      "CAs, which would be let in, as such lists are not "
		      "understood");
	why_mend(&why,
	    unclear ? "have the CA write a new one, then reload"
		    : "put there the list that each CA makes of its own "
		      "certificates, without indirectCRL");
	tls_load_fault(l, true, &why);
out:
	ISSUING_DIST_POINT_free(idp);
}

static void
load_revoked(struct tls_loader *l)
{
	struct nj_why why = { 0 };
	int first = sk_X509_CRL_num(l->m->crls); /* after those of capath */

	if (!l->o->crlfile)
		return;
	if (tls_load_crls(l->o->crlfile, l->m->crls, true, &why)) {
		tls_load_fault(l, true, &why);
		return;
	}
	for (int i = 0; i < sk_X509_CRL_num(l->m->crls); i++) {
		const char *path = i < first ? l->o->capath : l->o->crlfile;

		judge_crl(l, sk_X509_CRL_value(l->m->crls, i), path);
		judge_scope(l, sk_X509_CRL_value(l->m->crls, i), path);
	}
	if (!l->o->cafile && !l->o->capath) {
		why_set(&why,
		    "crlfile is set, but no cafile or capath: there "
		    "are no client certificates to look up");
		why_mend(&why,
		    "add \"cafile PATH\", or delete the crlfile "
		    "line");
		tls_load_fault(l, true, &why);
	}
}

/* The CA among those of the clients that issued x, unless it is a root: a root
 * is the other side's to have. */
static X509 *
issuer_of(STACK_OF(X509) * cas, X509 *x)
{
	for (int i = 0; i < sk_X509_num(cas); i++) {
		X509 *ca = sk_X509_value(cas, i);

		if (X509_check_issued(ca, x) == X509_V_OK &&
		    X509_check_issued(ca, ca) != X509_V_OK)
			return ca;
	}
	return NULL;
}

/* Intermediate CAs that certfile leaves out are often in cafile, and Mosquitto
 * sends them from there. */
static void
complete_chain(struct tls_material *m)
{
	int n;

	while ((n = sk_X509_num(m->chain)) > 0 && n < CHAIN_DEPTH_MAX) {
		X509 *ca = issuer_of(m->cas, sk_X509_value(m->chain, n - 1));

		if (!ca || !X509_up_ref(ca))
			return;
		if (!sk_X509_push(m->chain, ca)) {
			X509_free(ca);
			return;
		}
	}
}

enum nj_err
tls_material_load(const struct tls_server_opts *o, tls_fault_fn *fn, void *arg,
    struct tls_material *out)
{
	struct tls_material m = { .chain = sk_X509_new_null(),
		.cas = sk_X509_new_null(),
		.crls = sk_X509_CRL_new_null() };
	struct tls_loader l = { .o = o, .fn = fn, .arg = arg, .m = &m };
	struct nj_why why = { 0 };

	if (!m.chain || !m.cas || !m.crls) {
		tls_material_fini(&m);
		return NJ_NOMEM;
	}
	ERR_clear_error();
	if (!o->certfile && !o->keyfile && o->psk) {
		; /* nobody needs a certificate */
	} else if (!o->certfile) {
		why_set(&why, "keyfile is set, but certfile is not");
		why_mend(&why,
		    "add \"certfile PATH\"; \"nightjar ca server\" "
		    "makes one");
		tls_load_fault(&l, true, &why);
	} else if (kept_from_start(&l) ||
	    tls_load_certs(o->certfile, m.chain, &why) == NJ_OK) {
		tls_judge_chain(&l);
	} else {
		tls_load_fault(&l, true, &why);
	}
	if (o->certfile || o->keyfile || !o->psk)
		load_key(&l);
	load_cas(&l);
	complete_chain(&m);
	load_revoked(&l);
	tls_judge_together(&l);
	if (l.fatal || tls_more_load(o, fn, arg, &m)) {
		tls_material_fini(&m);
		return NJ_INVALID;
	}
	*out = m;
	return NJ_OK;
}

enum nj_err
tls_reload_crls(const struct tls_server_opts *o, tls_fault_fn *fn, void *arg,
    STACK_OF(X509_CRL) * *out)
{
	struct tls_material m = { .cas = sk_X509_new_null(),
		.crls = sk_X509_CRL_new_null() };
	struct tls_loader l = { .o = o, .fn = fn, .arg = arg, .m = &m };
	struct nj_why why = { 0 };

	if (!m.cas || !m.crls) {
		tls_material_fini(&m);
		return NJ_NOMEM;
	}
	if (o->crlfile && o->capath &&
	    tls_load_capath(o->capath, m.cas, m.crls, &why))
		tls_load_fault(&l, true, &why);
	load_revoked(&l);
	if (!l.fatal) {
		*out = m.crls;
		m.crls = NULL; /* moved */
	}
	tls_material_fini(&m);
	return l.fatal ? NJ_INVALID : NJ_OK;
}

void
tls_material_fini(struct tls_material *m)
{
	sk_X509_pop_free(m->chain, X509_free);
	sk_X509_pop_free(m->cas, X509_free);
	sk_X509_CRL_pop_free(m->crls, X509_CRL_free);
	EVP_PKEY_free(m->key);
	for (unsigned i = 0; i < m->n_more; i++)
		tls_material_fini(&m->more[i]);
	free(m->more);
	memset(m, 0, sizeof *m);
}
