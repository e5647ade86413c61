/* SPDX-License-Identifier: Apache-2.0
 * pending - the files of requests that wait for approval; see enrol.h.
 */
#ifndef NJ_PKI_PENDING_H
#define NJ_PKI_PENDING_H

#include "pki/enrol.h"

NJ_MUST enum nj_err
pending_load(const char *dir, const char *id, struct pending *out);
/* NJ_FULL: too many wait. */
NJ_MUST enum nj_err
pending_store(const char *dir, const struct pending *p, struct nj_why *why);
void pending_remove(const char *dir, const char *id);

#endif
