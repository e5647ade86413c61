/* SPDX-License-Identifier: Apache-2.0
 * inspect - judges what files or a server's chain hold: each item by itself,
 *           and whether they belong together.
 *
 * Owns:    the findings; the items are borrowed.
 * Threads: one owner.
 * Bounds:  PKI_FINDINGS_MAX findings; the rest is counted.
 * Spec:    RFC 5280, RFC 9525, RFC 7292.
 */
#ifndef NJ_PKI_INSPECT_H
#define NJ_PKI_INSPECT_H

#include "pki/explain.h"
#include "pki/items.h"

#define PKI_FINDINGS_MAX 256

struct pki_finding {
	enum pki_level level;
	const char *code; /* for programs: "expired", "no-names" */
	int item;	  /* index into items.v, -1: of a source */
	unsigned source;
	struct nj_why why;
};

struct pki_inspect_opts {
	bool has_use; /* what for is said, and not only guessed */
	enum pki_use use;
	const char *host; /* which clients connect to; NULL */
};

struct pki_inspection {
	struct pki_finding *v;
	unsigned n, left_out;
	const struct pki_items *items;
	const struct pki_inspect_opts *o;
	struct nj_why spare; /* filled when there is no room */
};

/* The caller calls pki_inspect_fini in any case. */
NJ_MUST enum nj_err pki_inspect(const struct pki_items *items,
    const struct pki_inspect_opts *o, struct pki_inspection *out);
void pki_inspect_fini(struct pki_inspection *in);
/* How many there are of a level. */
unsigned pki_inspect_count(const struct pki_inspection *in, enum pki_level l);

/* What a certificate seems to be meant for: its CA flag, extended key usage
 * and names say it.  False: server and client both fit. */
bool pki_meant_for(X509 *x, enum pki_use *use);

/* For the parts (inspect_file.c, inspect_cert.c, inspect_set.c). */
struct nj_why *pki_inspect_add(struct pki_inspection *in, enum pki_level level,
    const char *code, const struct pki_item *it, unsigned source);
void pki_inspect_source(struct pki_inspection *in, unsigned source);
void pki_inspect_item(struct pki_inspection *in, const struct pki_item *it);
void pki_inspect_set(struct pki_inspection *in);
/* "certificate 'dev1'", "the key x.key" */
void pki_item_call(const struct pki_items *s, const struct pki_item *it,
    char *dst, size_t size);

#endif
