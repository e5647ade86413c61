/* SPDX-License-Identifier: Apache-2.0
 * pending - the files of requests that wait for approval; see enrol.h.
 */
#ifndef NJ_PKI_PENDING_H
#define NJ_PKI_PENDING_H

#include "pki/enrol.h"

#define PENDING_DENIED_S 86400

NJ_MUST enum nj_err
pending_load(const char *dir, const char *id, struct pending *out);
/* One that waits, since now; of a token with so many uses left.  NJ_FULL: too
 * many do. */
NJ_MUST enum nj_err pending_add(const char *dir, const struct pending *p,
    unsigned uses, struct nj_why *why);
/* Forgets those whose token has gone, and those denied PENDING_DENIED_S ago. */
void pending_sweep(const char *dir, int64_t now);
void pending_remove(const char *dir, const char *id);

#endif
