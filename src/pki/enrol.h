/* SPDX-License-Identifier: Apache-2.0
 * enrol - whether a device that asks for a certificate gets it.  All policy is
 *         here, on the side of the CA's key; who carries the question (EST,
 *         MQTT) only says what was proved to it.
 *
 *	DIR/pki/pending/ID	a request that waits for `nightjar ca approve`
 *
 * Who asks again with the same proof and the same key gets what he was given
 * (receipt.h): a device whose answer was lost has lost nothing else.
 *
 * Owns:    nothing.
 * Threads: one at a time for a CA; other processes by the locks of tokens and
 *          registry.
 * Bounds:  ENROL_PENDING_MAX requests wait, and of one token as many as it has
 *          uses; ENROL_LIVE_MAX valid certificates a device; no certificate is
 *          for longer than ENROL_DAYS_MAX.
 */
#ifndef NJ_PKI_ENROL_H
#define NJ_PKI_ENROL_H

#include "base/err.h"
#include "base/slice.h"
#include "pki/ca.h"

#define ENROL_PENDING_MAX 1000
#define ENROL_LIVE_MAX	  8
#define ENROL_DAYS_MAX	  825
/* A device that was away when its certificate ended may still renew it. */
#define ENROL_GRACE_DAYS 30
#define ENROL_RETRY_S	 30 /* while it waits for approval */

enum enrol_result {
	ENROL_OK,
	ENROL_WAIT,    /* for approval: ask again with the same request */
	ENROL_DENIED,  /* who asks has no right to */
	ENROL_REFUSED, /* what was asked for cannot be had */
	ENROL_FAILED   /* our own fault; later perhaps */
};

struct enrol_ask {
	struct slice token; /* pki_token_hash; empty: it renews */
	struct slice name;  /* it says of itself, or empty */
	/* The certificate it has proved to have, when it renews. */
	char serial[41];   /* as the registry has it */
	char spki[65];	   /* SHA-256 of its key: another CA's may have that
			    * serial, too */
	struct slice csr;  /* DER */
	struct slice from; /* its address, for the log and the queue */
};

/* *out is set on ENROL_OK, *why otherwise; id: whose it is, as far as that is
 * known. */
enum enrol_result enrol(struct pki_ca *ca, const struct enrol_ask *ask,
    X509 **out, char id[PKI_ID_MAX + 1], struct nj_why *why);

/* Whether who has that token may come to ask, under that name (or none).  What
 * he asks for is judged then; id: for whom. */
enum enrol_result enrol_look(const struct pki_ca *ca, struct slice token,
    struct slice name, char id[PKI_ID_MAX + 1], struct nj_why *why);
/* Forgets what nobody can fetch any more. */
void enrol_sweep(const struct pki_ca *ca);

enum pending_state { PENDING_WAITS, PENDING_APPROVED, PENDING_DENIED };

struct pending {
	char id[PKI_ID_MAX + 1];
	char spki[65];
	char token[40]; /* its name */
	char from[64];
	int64_t since; /* it has been in that state */
	enum pending_state state;
};

NJ_MUST enum nj_err
pending_each(const char *dir, bool (*fn)(void *arg, const struct pending *p),
    void *arg, struct nj_why *why);
/* NJ_NOTFOUND: no such request waits. */
NJ_MUST enum nj_err pending_decide(
    const char *dir, const char *id, bool approve, struct nj_why *why);

#endif
