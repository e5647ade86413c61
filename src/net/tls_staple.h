/* SPDX-License-Identifier: Apache-2.0
 * tls_staple - what CAs say of the certificates that we serve with (OCSP),
 *              fetched in the background and shown with them to clients that
 *              ask.
 *
 * Only for certificates that name a responder, which come from the operator's
 * files; what a peer sends is never asked about.  An answer, good or revoked,
 * is shown as long as it holds; without one nothing is shown.
 *
 * Owns:    struct tls_staples a thread, and each certificate's answer, which
 *          the servers with that certificate share: a reload goes on with it.
 * Threads: its own; the others only look.
 * Bounds:  PKI_OCSP_MAX bytes of answer, TLS_STAPLE_PATIENCE_MS for it, one
 *          question at a time.
 * Spec:    RFC 6066 8, RFC 8446 4.4.2.1, RFC 6960, RFC 7633.
 */
#ifndef NJ_NET_TLS_STAPLE_H
#define NJ_NET_TLS_STAPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

#define TLS_STAPLE_PATIENCE_MS 10000

struct tls_staples;

NJ_MUST enum nj_err
tls_staples_new(const struct clock *clock, struct tls_staples **out);
/* Begins to ask; after rights are given up. */
NJ_MUST enum nj_err tls_staples_start(struct tls_staples *s);
/* Waits for a question under way, but not for a resolver that hangs. */
void tls_staples_stop(struct tls_staples *s);
/* After the last server. */
void tls_staples_free(struct tls_staples *s);

enum tls_staple_state {
	TLS_STAPLE_NONE, /* no answer that holds */
	TLS_STAPLE_GOOD,
	TLS_STAPLE_REVOKED
};

struct tls_staple_info {
	char name[160]; /* the certificate's */
	char serial[48];
	char url[256];
	enum tls_staple_state state;
	int64_t until;	    /* of the answer */
	int64_t revoked_at; /* Unix seconds; 0: not said */
	bool must;	    /* clients refuse it without an answer */
	struct nj_why why;  /* the last failure; empty: none */
};
/* Of all certificates that are served with now. */
void tls_staples_each(struct tls_staples *s,
    void (*fn)(void *arg, const struct tls_staple_info *i), void *arg);

#endif
