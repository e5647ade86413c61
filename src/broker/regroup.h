/* SPDX-License-Identifier: Apache-2.0
 * regroup - the groups of devices, for those who are there already when the
 *           CA changes them.
 *
 * Threads: the shard's own.
 */
#ifndef NJ_BROKER_REGROUP_H
#define NJ_BROKER_REGROUP_H

#include "broker/shard.h"

/* Gives the session of a device that a walk has met the groups that it has now. */
void regroup(struct shard *sh, struct walk *w, struct session *s);
/* The same where there are no turns yet. */
void regroup_whole(struct shard *sh, struct session *s);

#endif
