/* SPDX-License-Identifier: Apache-2.0
 * mount - a prefix that the topics of some clients have, and that these
 *         clients do not see.
 *
 * Inside the broker topics and filters are whole: the prefix is put on when a
 * client's packet comes in, and taken off when a message goes out.
 *
 * Owns:    a copy of the prefix.  A session has its own; its link borrows it.
 * Threads: immutable.
 * Bounds:  a topic of more than 65,535 bytes with its prefix is NJ_TOOBIG.
 */
#ifndef NJ_CORE_MOUNT_H
#define NJ_CORE_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct mount {
	uint16_t n;
	uint8_t prefix[];
};

/* prefix NULL: *out is NULL, which is no prefix. */
NJ_MUST enum nj_err mount_new(const char *prefix, struct mount **out);
/* Both may be NULL. */
bool mount_is(const struct mount *m, const char *prefix);

/* Appends the whole topic. */
NJ_MUST enum nj_err
mount_put_topic(const struct mount *m, struct slice topic, struct buf *out);
/* Appends the whole filter; "$share/group/" stays in front. */
NJ_MUST enum nj_err
mount_put_filter(const struct mount *m, struct slice filter, struct buf *out);
/* Appends properties in wire form with the prefix before the response topic. */
NJ_MUST enum nj_err
mount_put_props(const struct mount *m, struct slice raw, struct buf *out);

/* The topic as the client knows it; false: it is not under the prefix, or is
 * the prefix itself. */
bool mount_seen(const struct mount *m, struct slice topic, struct slice *seen);
/*
 * A message's properties as the client is to see them, in own where they
 * differ.  A response topic that is not under the prefix, where the client
 * could not answer, is left out.
 */
NJ_MUST enum nj_err mount_strip_props(const struct mount *m, struct slice raw,
    struct buf *own, struct slice *out);

#endif
