/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/cert_rules.h"

#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/text.h"
#include "pki/cert.h"
#include "wire/topic.h"

#define SHA256_BYTES 32
#define WORDS_MAX    5
#define BLANKS	     " \t"

enum field { F_CN, F_SUBJECT, F_URI, F_DNS, F_EMAIL, F_DEVICE, F_KEY };

static const char *const fields[] = { "cn", "subject", "san_uri", "san_dns",
	"san_email", "device" };

struct rule {
	enum field field;
	bool any; /* CA */
	uint8_t sha256[SHA256_BYTES];
	struct slice text; /* name of a key, prefix of a field's value */
};

struct cert_rules {
	atomic_uint refs;
	char *text; /* the rules' words point here */
	size_t n, cap;
	struct rule *v;
	bool want_issuers;
};

/* -- reading ------------------------------------------------------------- */

static int
hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'a' && c <= 'f'  ? c - 'a' + 10
	    : c >= 'A' && c <= 'F'  ? c - 'A' + 10
				    : -1;
}

static bool
read_sha256(struct slice s, uint8_t out[SHA256_BYTES])
{
	if (slice_has_prefix(s, LIT("sha256:")))
		s = slice_of(s.p + 7, s.n - 7);
	if (s.n != (size_t)2 * SHA256_BYTES)
		return false;
	for (size_t i = 0; i < SHA256_BYTES; i++) {
		int hi = hex_digit(s.p[2 * i]), lo = hex_digit(s.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static enum nj_err
add_rule(struct cert_rules *r, const struct rule *what, struct nj_why *why)
{
	if (r->n == CERT_RULES_MAX) {
		why_set(why, "more than %d rules", CERT_RULES_MAX);
		return NJ_INVALID;
	}
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 8;
		struct rule *v = realloc(r->v, cap * sizeof *v);

		if (!v)
			return NJ_NOMEM;
		r->v = v;
		r->cap = cap;
	}
	r->v[r->n++] = *what;
	return NJ_OK;
}

static size_t
split(char *line, char *words[WORDS_MAX + 1])
{
	size_t n = 0;

	for (char *p = line + strspn(line, BLANKS); *p && n <= WORDS_MAX; n++) {
		size_t len = strcspn(p, BLANKS);
		char *next = p + len + strspn(p + len, BLANKS);

		p[len] = '\0';
		words[n] = p;
		p = next;
	}
	return n;
}

static enum nj_err
refuse(struct nj_why *why, const char *what, const char *word)
{
	char esc[TEXT_ESC];

	why_set(
	    why, "%s: '%s'", what, text_esc(esc, sizeof esc, slice_str(word)));
	why_mend(why,
	    "write 'key SHA256 NAME' or 'ca FILE|SHA256|any "
	    "cn|subject|san_uri|san_dns|san_email|device [begins PREFIX]'");
	return NJ_INVALID;
}

static enum nj_err
read_key(struct cert_rules *r, char **w, size_t n, struct nj_why *why)
{
	struct rule key = { .field = F_KEY };

	if (n != 3)
		return refuse(why, "a key needs its digest and a name", w[0]);
	if (!read_sha256(slice_str(w[1]), key.sha256))
		return refuse(why,
		    "not the SHA-256 of a public key (64 hexadecimal digits)",
		    w[1]);
	key.text = slice_str(w[2]);
	if (!utf8_ok(key.text) || strpbrk(w[2], "+#*"))
		return refuse(why, "no user can have this name", w[2]);
	return add_rule(r, &key, why);
}

/* One rule for each CA of the file. */
static enum nj_err
add_file(struct cert_rules *r, struct rule *rule, const char *path,
    struct nj_why *why)
{
	STACK_OF(X509) *cas = NULL;
	enum nj_err e = pki_chain_load(path, &cas, why);

	for (int i = 0; i < sk_X509_num(cas) && !e; i++) {
		X509 *x = sk_X509_value(cas, i);

		if (X509_check_ca(x) == 0) {
			e = refuse(
			    why, "it holds a certificate that is no CA", path);
			break;
		}
		if (!(e = pki_spki_sha256(x, rule->sha256)))
			e = add_rule(r, rule, why);
	}
	sk_X509_pop_free(cas, X509_free);
	return e;
}

static enum nj_err
read_ca(struct cert_rules *r, char **w, size_t n, struct nj_why *why)
{
	struct rule rule = { .field = F_KEY };

	if (n != 3 && (n != 5 || strcmp(w[3], "begins") != 0))
		return refuse(why, "a CA needs a field", w[0]);
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (strcmp(w[2], fields[i]) == 0)
			rule.field = (enum field)i;
	if (rule.field == F_KEY)
		return refuse(why, "no such field", w[2]);
	if (n == 5)
		rule.text = slice_str(w[4]);
	rule.any = strcmp(w[1], "any") == 0;
	r->want_issuers |= !rule.any || rule.field == F_DEVICE;
	if (rule.any || read_sha256(slice_str(w[1]), rule.sha256))
		return add_rule(r, &rule, why);
	return add_file(r, &rule, w[1], why);
}

static enum nj_err
read_line(struct cert_rules *r, char *line, struct nj_why *why)
{
	char *w[WORDS_MAX + 1] = { NULL };
	size_t n = split(line, w);

	if (n == 0)
		return NJ_OK;
	if (strcmp(w[0], "key") == 0)
		return read_key(r, w, n, why);
	if (strcmp(w[0], "ca") == 0)
		return read_ca(r, w, n, why);
	return refuse(why, "a certificate rule begins with key or ca", w[0]);
}

enum nj_err
cert_rules_parse(const char *text, struct cert_rules **out, struct nj_why *why)
{
	struct cert_rules *r = calloc(1, sizeof *r);
	enum nj_err e = NJ_OK;
	char *line, *end;

	if (!r)
		return NJ_NOMEM;
	atomic_init(&r->refs, 1);
	if (!(r->text = strdup(text))) {
		cert_rules_unref(r);
		return NJ_NOMEM;
	}
	for (line = r->text; line && !e; line = end) {
		if ((end = strchr(line, '\n')))
			*end++ = '\0';
		e = read_line(r, line, why);
	}
	if (e) {
		cert_rules_unref(r);
		return e;
	}
	*out = r;
	return NJ_OK;
}

struct cert_rules *
cert_rules_ref(struct cert_rules *r)
{
	(void)atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void
cert_rules_unref(struct cert_rules *r)
{
	if (!r ||
	    atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(r->v);
	free(r->text);
	free(r);
}

bool
cert_rules_want_issuers(const struct cert_rules *r)
{
	return r->want_issuers;
}

/* -- asking -------------------------------------------------------------- */

struct slice
cert_device_id(struct slice uri, struct slice *ca)
{
	static const char urn[] = "urn:nightjar:", mid[] = ":device:";
	size_t head = sizeof urn - 1 + PKI_CA_ID;
	size_t all = head + sizeof mid - 1;

	if (uri.n <= all || memcmp(uri.p, urn, sizeof urn - 1) != 0 ||
	    memcmp(uri.p + head, mid, sizeof mid - 1) != 0)
		return SLICE_NONE;
	if (ca)
		*ca = slice_of(uri.p + sizeof urn - 1, PKI_CA_ID);
	return slice_of(uri.p + all, uri.n - all);
}

static bool
has_issuer(const struct cert_facts *f, const uint8_t sha256[SHA256_BYTES])
{
	for (size_t at = 0; at + SHA256_BYTES <= f->issuers.n;
	     at += SHA256_BYTES)
		if (memcmp(f->issuers.p + at, sha256, SHA256_BYTES) == 0)
			return true;
	return false;
}

/* Whether a CA of that short name stands behind the certificate. */
static bool
has_ca(struct slice issuers, struct slice ca)
{
	for (size_t at = 0; at + SHA256_BYTES <= issuers.n;
	     at += SHA256_BYTES) {
		size_t i = 0;

		while (i < PKI_CA_ID &&
		    hex_digit(ca.p[i]) ==
			(issuers.p[at + i / 2] >> (i % 2 ? 0 : 4) & 0x0f))
			i++;
		if (i == PKI_CA_ID)
			return true;
	}
	return false;
}

/* The device of a certificate is believed from the CA whose name it has. */
struct slice
cert_device_by(struct slice uri, struct slice issuers)
{
	struct slice ca = SLICE_NONE, id = cert_device_id(uri, &ca);

	return id.n > 0 && has_ca(issuers, ca) ? id : SLICE_NONE;
}

static struct slice
value_of(const struct cert_facts *f, enum field field)
{
	switch (field) {
	case F_CN:
		return f->cn;
	case F_SUBJECT:
		return f->subject;
	case F_URI:
		return f->uri;
	case F_DNS:
		return f->dns;
	case F_EMAIL:
		return f->email;
	case F_DEVICE:
		return cert_device_by(f->uri, f->issuers);
	case F_KEY:
		break;
	}
	return SLICE_NONE;
}

static struct slice
name_of_key(const struct cert_rules *r, const struct cert_facts *f)
{
	for (size_t i = 0; i < r->n && f->spki_sha256.n == SHA256_BYTES; i++)
		if (r->v[i].field == F_KEY &&
		    memcmp(r->v[i].sha256, f->spki_sha256.p, SHA256_BYTES) == 0)
			return r->v[i].text;
	return SLICE_NONE;
}

struct slice
cert_rules_name(const struct cert_rules *r, const struct cert_facts *f)
{
	struct slice name = name_of_key(r, f);

	for (size_t i = 0; i < r->n && name.n == 0; i++) {
		const struct rule *v = &r->v[i];

		if (v->field == F_KEY || (!v->any && !has_issuer(f, v->sha256)))
			continue;
		name = value_of(f, v->field);
		if (!slice_has_prefix(name, v->text))
			name = SLICE_NONE;
	}
	return name;
}
