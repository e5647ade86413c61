/* SPDX-License-Identifier: Apache-2.0
 * mounted - packets of clients whose listener has a mount_point: their topics
 *           and filters made whole, so that nothing behind has to know.
 *
 * Owns:    struct mounted has the bytes that the packet then borrows.
 * Threads: the shard.
 */
#ifndef NJ_BROKER_MOUNTED_H
#define NJ_BROKER_MOUNTED_H

#include "base/buf.h"
#include "core/mount.h"
#include "core/session.h"
#include "wire/packet.h"

/* Zeroed: empty. */
struct mounted {
	struct buf topic, props;
};

void mounted_fini(struct mounted *m);

/* *topic is the one meant, alias or not.  NJ_INVALID: with the prefix it is
 * too long, or has too many levels. */
NJ_MUST enum nj_err mounted_publish(const struct mount *m, struct publish *p,
    struct slice *topic, struct mounted *own);
/* The same for a will. */
NJ_MUST enum nj_err
mounted_will(const struct mount *m, struct will *w, struct mounted *own);
/* One filter, which own then has.  What is none stays so, and what is too long
 * or has no memory becomes none. */
void
mounted_filter(const struct mount *m, struct slice *filter, struct buf *own);
/* Whether a filter of the session that does not begin with a wildcard, as its
 * client sees it, matches; for topics that the client sees with a $ in front
 * [MQTT-4.7.2-1]. */
bool mounted_sees(const struct session *s, struct slice topic);

#endif
