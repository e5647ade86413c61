/* SPDX-License-Identifier: Apache-2.0
 * identity - who a session's client was found to be, as the store keeps it: the
 *            rules that hold for it hold after a restart, while it is away.
 *
 * Owns:    nothing.
 * Threads: any.
 */
#ifndef NJ_BROKER_IDENTITY_H
#define NJ_BROKER_IDENTITY_H

#include "auth/principal.h"
#include "base/buf.h"

/* All of who but its name and its client identifier, which the store has. */
NJ_MUST enum nj_err identity_write(struct buf *b, const struct principal *who);
/* Into the same fields; borrows from s.  NJ_MALFORMED: it is not ours, and *who
 * is as it was. */
NJ_MUST enum nj_err identity_read(struct slice s, struct principal *who);

#endif
