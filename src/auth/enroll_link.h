/* SPDX-License-Identifier: Apache-2.0
 * enroll_link - the authenticator of those who come to enrol: a token of
 *               `nightjar ca token` for a password.  In a chain of its own, which
 *               only they are judged by.
 *
 * Threads: as chain.h; the signer is asked on a worker.
 */
#ifndef NJ_AUTH_ENROLL_LINK_H
#define NJ_AUTH_ENROLL_LINK_H

#include "auth/chain.h"

struct signer;

/* Both outlive the chain. */
NJ_MUST enum nj_err
auth_add_enrolment(struct auth_chain *c, struct signer *s, struct workers *w);

#endif
