/* SPDX-License-Identifier: Apache-2.0
 * source - who published a retained message, remembered with it: it is
 *          delivered only while he may still publish it (check_retain_source).
 *
 * Owns:    nothing; it stands behind the message's properties, and is stored
 *          with them.
 * Threads: the shard's.
 */
#ifndef NJ_BROKER_SOURCE_H
#define NJ_BROKER_SOURCE_H

#include "broker/shard.h"

/* A message of this session's client; who that is is only remembered of
 * messages that are retained. */
NJ_MUST enum nj_err
source_msg_new(const struct session *s, const struct publish *p,
    struct slice topic, uint64_t now_ms, struct msg **out);
/* Whether who published m may do so by the rules of now. */
bool source_may(struct shard *sh, const struct msg *m);
/* Whether it came from the client of this session. */
bool source_is(const struct msg *m, const struct session *s);
/* Whose they are, for quotas: guard_identity. */
uint64_t source_identity(const struct session *s);
/* Who is counted for m as a retained message (guard_identity); false: it does
 * not say who published it. */
bool source_owner(const struct msg *m, uint64_t *who);

#endif
