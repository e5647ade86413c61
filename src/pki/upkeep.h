/* SPDX-License-Identifier: Apache-2.0
 * upkeep - the server's certificate, kept good while a broker runs: made anew
 *          when names or addresses of the machine change, two thirds of its
 *          life are over, or the CA has a successor.
 *
 * Runs beside the CA's key.  Which names go into it is found here, from the
 * machine and from what the operator asked for (DIR/server/names): who asks
 * says none.
 *
 * Owns:    nothing; the socket and the clock are the caller's.
 * Threads: one owner.
 * Bounds:  one certificate each UPKEEP_PAUSE_S and UPKEEP_DAY_MAX a day: who
 *          can give this machine addresses does not fill the registry.
 */
#ifndef NJ_PKI_UPKEEP_H
#define NJ_PKI_UPKEEP_H

#include "base/clock.h"
#include "base/err.h"
#include "pki/ca.h"

#define UPKEEP_PAUSE_S 10
#define UPKEEP_DAY_MAX 24

struct upkeep {
	const struct clock *clock;
	int addresses; /* of addresses_open; -1: as it needs them */
	/* Called when something has to be issued and the CA is locked. */
	enum nj_err (*unlock)(void *arg, struct pki_ca *ca, struct nj_why *why);
	void *arg;
	/* zeroed */
	int64_t made[UPKEEP_DAY_MAX]; /* when the last ones were; a ring */
	unsigned next;
};

enum upkeep_result {
	UPKEEP_GOOD,  /* nothing had to be done */
	UPKEEP_MADE,  /* *why: why, and for which names */
	UPKEEP_LATER, /* *why: too many were made just now */
	UPKEEP_FAILED
};

enum upkeep_result
upkeep_server(struct upkeep *u, struct pki_ca *ca, struct nj_why *why);

#endif
