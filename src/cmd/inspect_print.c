/* SPDX-License-Identifier: Apache-2.0
 * inspect_print - certificates and findings in words, as JSON, and as PEM.
 */
#include <inttypes.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/inspect.h"
#include "cmd/json.h"
#include "pki/cert.h"

#define DAY 86400

static const struct use_name {
	enum pki_use use;
	const char *name, *json;
} uses[] = {
	{ PKI_USE_SERVER, "as MQTT server", "server" },
	{ PKI_USE_CLIENT, "as client", "client" },
	{ PKI_USE_CA, "as CA", "ca" },
};

/* Faults for one use, one after the other. */
struct joined {
	char text[400];
	size_t n;
};

static void
join(void *arg, const char *code, const struct nj_why *why)
{
	struct joined *j = arg;
	int n;

	(void)code;
	if (j->n + 2 >= sizeof j->text)
		return;
	n = snprintf(j->text + j->n, sizeof j->text - j->n, "%s%s",
	    j->n ? "; " : "", why->what);
	j->n += n > 0 ? (size_t)n : 0;
	if (j->n >= sizeof j->text)
		j->n = sizeof j->text - 1;
}

static void
day_text(int64_t t, char dst[24])
{
	time_t at = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&at, &tm) || strftime(dst, 24, "%Y-%m-%d", &tm) == 0)
		(void)snprintf(dst, 24, "?");
}

static void
key_text(EVP_PKEY *key, char *dst, size_t size)
{
	char curve[48] = "";

	if (!key) {
		(void)snprintf(dst, size, "of an unknown kind");
		return;
	}
	(void)EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL);
	if (curve[0])
		(void)snprintf(
		    dst, size, "%s, %s", EVP_PKEY_get0_type_name(key), curve);
	else
		(void)snprintf(dst, size, "%s, %d bits",
		    EVP_PKEY_get0_type_name(key), EVP_PKEY_get_bits(key));
}

static const char *
signed_with(X509 *x)
{
	int md = NID_undef, pk = NID_undef;

	(void)X509_get_signature_info(x, &md, &pk, NULL, NULL);
	return md != NID_undef ? OBJ_nid2ln(md)
			       : OBJ_nid2ln(X509_get_signature_nid(x));
}

static void
issuer_text(X509 *x, char *dst, size_t size)
{
	char text[128], esc[TEXT_ESC];
	int n = X509_NAME_get_text_by_NID(
	    X509_get_issuer_name(x), NID_commonName, text, sizeof text);

	if (X509_self_signed(x, 0) == 1)
		(void)snprintf(dst, size, "itself");
	else if (n > 0)
		(void)snprintf(dst, size, "'%s'",
		    text_esc(esc, sizeof esc, slice_of(text, (size_t)n)));
	else
		(void)snprintf(dst, size, "someone without a common name");
}

static void
print_dates(X509 *x)
{
	int64_t from = 0, to = 0, now = (int64_t)time(NULL), left;
	char a[24], b[24];

	if (!pki_cert_dates(x, &from, &to)) {
		printf("  valid           cannot be read\n");
		return;
	}
	day_text(from, a);
	day_text(to, b);
	left = (to - now) / DAY;
	printf("  valid           %s to %s (%" PRId64 " days", a, b,
	    (to - from) / DAY);
	if (now < from)
		printf("; not yet)\n");
	else if (now > to)
		printf("; expired)\n");
	else
		printf("; %" PRId64 " left)\n", left);
}

static void
print_uses(X509 *x)
{
	for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
		struct joined j = { .text = "" };

		pki_faults(x, uses[i].use, join, &j);
		printf("  %-15s %s%s\n", uses[i].name, j.n ? "no: " : "yes",
		    j.text);
	}
}

static void
print_cert(const struct pki_item *it)
{
	char name[TEXT_ESC], subject[400], issuer[TEXT_ESC + 2], names[400];
	char serial[64], print[96], key[80];
	X509 *x = it->cert;

	pki_short_name(x, name, sizeof name);
	pki_subject(x, subject, sizeof subject);
	issuer_text(x, issuer, sizeof issuer);
	pki_names_text(x, names, sizeof names);
	pki_serial(x, serial, sizeof serial);
	pki_fingerprint(x, print);
	key_text(X509_get0_pubkey(x), key, sizeof key);
	printf("certificate '%s'%s%s%s\n", name,
	    it->label[0] ? ", called " : "", it->label,
	    X509_get_version(x) == X509_VERSION_1 ? " (version 1)" : "");
	printf("  subject         %s\n", subject);
	printf("  issued by       %s\n", issuer);
	print_dates(x);
	printf("  key             %s; signed with %s\n", key, signed_with(x));
	printf("  names           %s%s\n",
	    X509_get_ext_by_NID(x, NID_subject_alt_name, -1) >= 0
		? ""
		: "none but the common name: ",
	    names[0] ? names : "none");
	printf("  serial          %s\n", serial);
	printf("  SHA-256         %s\n", print);
	print_uses(x);
}

static void
print_key(const struct pki_item *it)
{
	char key[80];

	if (!it->key) {
		printf("private key, encrypted, not opened\n");
		return;
	}
	key_text(it->key, key, sizeof key);
	printf("%s key: %s%s\n",
	    it->kind == PKI_ITEM_PUBLIC ? "public" : "private", key,
	    it->encrypted ? ", encrypted" : "");
}

static void
print_csr(const struct pki_item *it)
{
	X509_NAME *name = X509_REQ_get_subject_name(it->csr);
	STACK_OF(X509_EXTENSION) *ext = X509_REQ_get_extensions(it->csr);
	BIO *out = BIO_new_fp(stdout, BIO_NOCLOSE);
	char key[80];

	key_text(X509_REQ_get0_pubkey(it->csr), key, sizeof key);
	printf("certificate request\n  subject         ");
	fflush(stdout);
	if (out)
		(void)X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253);
	(void)BIO_flush(out);
	printf("\n  key             %s\n  asks for        %d extension%s "
	       "(a CA is free to ignore them)\n",
	    key,
	    sk_X509_EXTENSION_num(ext) > 0 ? sk_X509_EXTENSION_num(ext) : 0,
	    sk_X509_EXTENSION_num(ext) == 1 ? "" : "s");
	BIO_free(out);
	sk_X509_EXTENSION_pop_free(ext, X509_EXTENSION_free);
}

static int64_t
seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

static void
print_crl(const struct pki_item *it)
{
	STACK_OF(X509_REVOKED) *v = X509_CRL_get_REVOKED(it->crl);
	char a[24], b[24];
	int n = sk_X509_REVOKED_num(v);

	day_text(seconds_of(X509_CRL_get0_lastUpdate(it->crl)), a);
	day_text(seconds_of(X509_CRL_get0_nextUpdate(it->crl)), b);
	printf("revocation list: %d certificate%s, from %s, good until %s\n",
	    n > 0 ? n : 0, n == 1 ? "" : "s", a,
	    X509_CRL_get0_nextUpdate(it->crl) ? b : "it is replaced");
}

static void
print_source(const struct pki_source *src)
{
	static const char *const containers[] = {
		[PKI_IN_FILE] = "",
		[PKI_IN_PKCS7] = " (PKCS#7)",
		[PKI_IN_PKCS12] = " (PKCS#12",
		[PKI_IN_TLS] = " (sent by the server)",
	};

	printf("%s%s", src->name, containers[src->container]);
	if (src->container == PKI_IN_PKCS12)
		printf("%s%s%s%s)", src->p12_ciphers[0] ? ", " : "",
		    src->p12_ciphers, src->p12_mac[0] ? ", MAC " : "",
		    src->p12_mac);
	printf(":\n");
}

void
inspect_print_items(const struct pki_items *s)
{
	unsigned source = PKI_SOURCES_MAX;

	for (unsigned i = 0; i < s->n; i++) {
		const struct pki_item *it = &s->v[i];

		if (it->source != source)
			print_source(&s->sources[it->source]);
		source = it->source;
		switch (it->kind) {
		case PKI_ITEM_CERT:
			print_cert(it);
			break;
		case PKI_ITEM_KEY:
		case PKI_ITEM_PUBLIC:
			print_key(it);
			break;
		case PKI_ITEM_CSR:
			print_csr(it);
			break;
		case PKI_ITEM_CRL:
			print_crl(it);
			break;
		}
	}
	if (s->n > 0)
		printf("\n");
}

static const char *const levels[] = {
	[PKI_FAULT] = "WRONG",
	[PKI_DOUBT] = "doubt",
	[PKI_NOTE] = "note ",
};

static const char *const json_levels[] = {
	[PKI_FAULT] = "fault",
	[PKI_DOUBT] = "doubt",
	[PKI_NOTE] = "note",
};

void
inspect_print_findings(const struct pki_inspection *in)
{
	unsigned faults = pki_inspect_count(in, PKI_FAULT);
	unsigned doubts = pki_inspect_count(in, PKI_DOUBT);

	for (int l = PKI_FAULT; l >= PKI_NOTE; l--)
		for (unsigned i = 0; i < in->n; i++) {
			const struct pki_finding *f = &in->v[i];

			if ((int)f->level != l)
				continue;
			printf("%s  %s\n", levels[l], f->why.what);
			if (f->why.mend[0])
				printf("       to mend it: %s\n", f->why.mend);
		}
	if (in->left_out > 0)
		printf("and %u more\n", in->left_out);
	if (faults > 0)
		printf(
		    "%u thing%s wrong", faults, faults == 1 ? " is" : "s are");
	else
		printf("Nothing is wrong");
	if (doubts > 0)
		printf("; %u doubt%s", doubts, doubts == 1 ? "" : "s");
	printf(".\n");
}

/* -- JSON ---------------------------------------------------------------- */

static enum nj_err
put_pair(struct buf *b, const char *name, const char *value)
{
	enum nj_err e;

	if ((e = buf_printf(b, ",\"%s\":", name)))
		return e;
	return json_put_str(b, slice_str(value));
}

static enum nj_err
json_uses(struct buf *b, X509 *x)
{
	bool first = true;
	enum nj_err e = buf_printf(b, ",\"may_be\":[");

	for (size_t i = 0; i < sizeof uses / sizeof *uses && !e; i++) {
		if (pki_judge(x, uses[i].use, "", NULL))
			continue;
		e = buf_printf(b, "%s\"%s\"", first ? "" : ",", uses[i].json);
		first = false;
	}
	return e ? e : buf_printf(b, "]");
}

static enum nj_err
json_cert(struct buf *b, X509 *x)
{
	char text[400], print[96];
	int64_t from = 0, to = 0;
	enum nj_err e;

	pki_subject(x, text, sizeof text);
	if ((e = put_pair(b, "subject", text)))
		return e;
	issuer_text(x, text, TEXT_ESC);
	if ((e = put_pair(b, "issued_by", text)))
		return e;
	pki_names_text(x, text, sizeof text);
	if ((e = put_pair(b, "names", text)))
		return e;
	pki_serial(x, text, sizeof text);
	if ((e = put_pair(b, "serial", text)))
		return e;
	key_text(X509_get0_pubkey(x), text, sizeof text);
	if ((e = put_pair(b, "key", text)) ||
	    (e = put_pair(b, "signed_with", signed_with(x))))
		return e;
	pki_fingerprint(x, print);
	(void)pki_cert_dates(x, &from, &to);
	if ((e = put_pair(b, "sha256", print)) ||
	    (e = buf_printf(b,
		 ",\"not_before\":%" PRId64 ",\"not_after\":%" PRId64
		 ",\"version\":%ld",
		 from, to, X509_get_version(x) + 1)))
		return e;
	return json_uses(b, x);
}

static enum nj_err
json_item(struct buf *b, const struct pki_items *s, const struct pki_item *it)
{
	static const char *const kinds[] = {
		[PKI_ITEM_CERT] = "certificate",
		[PKI_ITEM_KEY] = "key",
		[PKI_ITEM_CSR] = "request",
		[PKI_ITEM_CRL] = "crl",
		[PKI_ITEM_PUBLIC] = "public-key",
	};
	char text[96];
	enum nj_err e;

	if ((e = buf_printf(b, "{\"kind\":\"%s\",\"number\":%u",
		 kinds[it->kind], it->number)) ||
	    (e = put_pair(b, "file", s->sources[it->source].name)))
		return e;
	if (it->kind == PKI_ITEM_CERT)
		e = json_cert(b, it->cert);
	else if (it->kind == PKI_ITEM_KEY || it->kind == PKI_ITEM_PUBLIC) {
		key_text(it->key, text, sizeof text);
		if (!(e = put_pair(b, "key", it->key ? text : "not opened")))
			e = buf_printf(b, ",\"encrypted\":%s",
			    it->encrypted ? "true" : "false");
	}
	return e ? e : buf_printf(b, "}");
}

static enum nj_err
json_finding(
    struct buf *b, const struct pki_inspection *in, const struct pki_finding *f)
{
	enum nj_err e;

	if ((e = buf_printf(b, "{\"level\":\"%s\",\"code\":\"%s\",\"item\":%d",
		 json_levels[f->level], f->code, f->item)) ||
	    (e = put_pair(b, "file", in->items->sources[f->source].name)) ||
	    (e = put_pair(b, "what", f->why.what)) ||
	    (e = put_pair(b, "mend", f->why.mend)))
		return e;
	return buf_printf(b, "}");
}

enum nj_err
inspect_print_json(const struct pki_inspection *in)
{
	const struct pki_items *s = in->items;
	struct buf b = { 0 };
	enum nj_err e = buf_printf(&b, "{\"items\":[");

	for (unsigned i = 0; i < s->n && !e; i++)
		if (i == 0 || !(e = buf_printf(&b, ",")))
			e = json_item(&b, s, &s->v[i]);
	if (!e)
		e = buf_printf(&b, "],\"findings\":[");
	for (unsigned i = 0; i < in->n && !e; i++)
		if (i == 0 || !(e = buf_printf(&b, ",")))
			e = json_finding(&b, in, &in->v[i]);
	if (!e)
		e = buf_printf(&b, "],\"verdict\":\"%s\"}\n",
		    pki_inspect_count(in, PKI_FAULT)	   ? "wrong"
			: pki_inspect_count(in, PKI_DOUBT) ? "doubtful"
							   : "fine");
	if (!e && b.p)
		(void)fwrite(b.p + b.off, 1, buf_len(&b), stdout);
	buf_fini(&b);
	return e;
}

/* -- PEM ----------------------------------------------------------------- */

struct pem_out {
	const struct pki_items *s;
	bool done[PKI_ITEMS_MAX];
	BIO *bio;
};

static bool
is_leaf(const struct pki_item *it)
{
	enum pki_use use;

	return !(pki_meant_for(it->cert, &use) && use == PKI_USE_CA);
}

/* It, who issued it, who issued that. */
static bool
write_chain(struct pem_out *o, unsigned at)
{
	for (;;) {
		X509 *x = o->s->v[at].cert;
		unsigned next = o->s->n;

		if (PEM_write_bio_X509(o->bio, x) != 1)
			return false;
		o->done[at] = true;
		for (unsigned i = 0; i < o->s->n; i++)
			if (o->s->v[i].kind == PKI_ITEM_CERT && !o->done[i] &&
			    X509_check_issued(o->s->v[i].cert, x) == X509_V_OK)
				next = i;
		if (next == o->s->n)
			return true;
		at = next;
	}
}

static bool
write_certs(struct pem_out *o)
{
	for (int leaf = 1; leaf >= 0; leaf--)
		for (unsigned i = 0; i < o->s->n; i++)
			if (o->s->v[i].kind == PKI_ITEM_CERT && !o->done[i] &&
			    is_leaf(&o->s->v[i]) == leaf && !write_chain(o, i))
				return false;
	return true;
}

enum nj_err
inspect_print_pem(const struct pki_items *s, bool certs, bool keys)
{
	struct pem_out o = { .s = s };
	bool ok = true;

	if (!(o.bio = BIO_new_fp(stdout, BIO_NOCLOSE)))
		return NJ_NOMEM;
	if (certs)
		ok = write_certs(&o);
	for (unsigned i = 0; i < s->n && ok; i++) {
		const struct pki_item *it = &s->v[i];

		if (keys && it->kind == PKI_ITEM_KEY && it->key)
			ok = PEM_write_bio_PKCS8PrivateKey(o.bio, it->key, NULL,
				 NULL, 0, NULL, NULL) == 1;
		else if (certs && it->kind == PKI_ITEM_CSR)
			ok = PEM_write_bio_X509_REQ(o.bio, it->csr) == 1;
		else if (certs && it->kind == PKI_ITEM_CRL)
			ok = PEM_write_bio_X509_CRL(o.bio, it->crl) == 1;
	}
	(void)BIO_flush(o.bio);
	BIO_free(o.bio);
	return ok ? NJ_OK : NJ_CRYPTO;
}
