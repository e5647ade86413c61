/* SPDX-License-Identifier: Apache-2.0
 * renewal - has the signer look after the certificate that we serve with.
 *
 * The question is a worker's, so that signals are heard meanwhile.  What the
 * signer makes lies where certfile is, and is noticed there (lists.h).
 *
 * Owns:    one question under way, and a socket of addresses.h.
 * Threads: the main thread; the worker while it asks.  The workers are ended
 *          before renewal_free.
 * Bounds:  one question at a time; what goes wrong in the same way is logged
 *          once in RENEWAL_SAY_S.
 */
#ifndef NJ_CMD_RENEWAL_H
#define NJ_CMD_RENEWAL_H

#include "base/err.h"
#include "base/workers.h"
#include "pki/signer.h"

#define RENEWAL_SAY_S 3600

struct renewal;

/* sig comes when addresses of this machine change; renewal_look is to be called
 * then, and from time to time. */
NJ_MUST enum nj_err renewal_new(
    struct signer *s, struct workers *askers, int sig, struct renewal **out);
void renewal_free(struct renewal *r);
void renewal_look(struct renewal *r);

#endif
