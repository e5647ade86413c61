/* SPDX-License-Identifier: Apache-2.0
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pki/inspect.h"

struct nj_why *
pki_inspect_add(struct pki_inspection *in, enum pki_level level,
    const char *code, const struct pki_item *it, unsigned source)
{
	struct pki_finding *f;

	if (in->n == PKI_FINDINGS_MAX) {
		in->left_out++;
		return &in->spare;
	}
	f = &in->v[in->n++];
	f->level = level;
	f->code = code;
	f->item = it ? (int)(it - in->items->v) : -1;
	f->source = it ? it->source : source;
	return &f->why;
}

void
pki_item_call(const struct pki_items *s, const struct pki_item *it, char *dst,
    size_t size)
{
	const char *file = s->sources[it->source].name;
	char name[TEXT_ESC];

	switch (it->kind) {
	case PKI_ITEM_CERT:
		pki_short_name(it->cert, name, sizeof name);
		(void)snprintf(dst, size, "certificate '%s'", name);
		break;
	case PKI_ITEM_KEY:
		(void)snprintf(dst, size, "the key in %s", file);
		break;
	case PKI_ITEM_CSR:
		(void)snprintf(dst, size, "the request in %s", file);
		break;
	case PKI_ITEM_CRL:
		(void)snprintf(dst, size, "the revocation list in %s", file);
		break;
	case PKI_ITEM_PUBLIC:
		(void)snprintf(dst, size, "the public key in %s", file);
		break;
	}
}

/* Issued to the same name as its issuer's. */
static bool
names_itself(X509 *x)
{
	return X509_NAME_cmp(
		   X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
}

static bool
has_host_names(X509 *x)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool yes = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int kind;

		(void)GENERAL_NAME_get0_value(
		    sk_GENERAL_NAME_value(names, i), &kind);
		yes |= kind == GEN_DNS || kind == GEN_IPADD;
	}
	GENERAL_NAMES_free(names);
	return yes;
}

bool
pki_meant_for(X509 *x, enum pki_use *use)
{
	uint32_t flags, eku;

	(void)X509_check_purpose(x, -1, 0);
	flags = X509_get_extension_flags(x);
	eku = flags & EXFLAG_XKUSAGE ? X509_get_extended_key_usage(x) : 0;
	ERR_clear_error();
	if ((flags & EXFLAG_CA) ||
	    (X509_get_version(x) == X509_VERSION_1 && names_itself(x) &&
		X509_self_signed(x, 1) == 1)) {
		*use = PKI_USE_CA;
		return true;
	}
	if ((eku & XKU_SSL_SERVER) || (!eku && has_host_names(x))) {
		*use = PKI_USE_SERVER;
		return !(eku & XKU_SSL_CLIENT);
	}
	*use = eku & XKU_SSL_CLIENT ? PKI_USE_CLIENT : PKI_USE_SERVER;
	return (eku & XKU_SSL_CLIENT) != 0;
}

unsigned
pki_inspect_count(const struct pki_inspection *in, enum pki_level l)
{
	unsigned n = 0;

	for (unsigned i = 0; i < in->n; i++)
		n += in->v[i].level == l;
	return n;
}

enum nj_err
pki_inspect(const struct pki_items *items, const struct pki_inspect_opts *o,
    struct pki_inspection *out)
{
	memset(out, 0, sizeof *out);
	out->items = items;
	out->o = o;
	if (!(out->v = calloc(PKI_FINDINGS_MAX, sizeof *out->v)))
		return NJ_NOMEM;
	for (unsigned i = 0; i < items->nsources; i++)
		pki_inspect_source(out, i);
	for (unsigned i = 0; i < items->n; i++)
		pki_inspect_item(out, &items->v[i]);
	pki_inspect_set(out);
	ERR_clear_error();
	return NJ_OK;
}

void
pki_inspect_fini(struct pki_inspection *in)
{
	free(in->v);
	in->v = NULL;
	in->n = 0;
}
