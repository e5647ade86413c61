/* SPDX-License-Identifier: Apache-2.0
 * device_groups - which groups the devices of a CA are in, from the file that
 *                 nightjar ca writes beside the CA: lines "ID GROUP,GROUP".
 *
 * The registry itself is the CA's alone; a broker that gave up its rights
 * reads this.
 *
 * Owns:    its table; reference counted.
 * Threads: any; a renewal swaps the table under a lock.
 * Bounds:  DEVICE_GROUPS_FILE_MAX bytes.
 */
#ifndef NJ_AUTH_DEVICE_GROUPS_H
#define NJ_AUTH_DEVICE_GROUPS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define DEVICE_GROUPS_FILE_MAX (64 * 1024 * 1024)

struct device_groups;

/* A file that is not there is one without lines. */
NJ_MUST enum nj_err device_groups_new(
    const char *path, struct device_groups **out, struct nj_why *why);
struct device_groups *device_groups_ref(struct device_groups *g);
void device_groups_unref(struct device_groups *g); /* NULL is fine */
/* Reads the file again; *changed when it was another. */
NJ_MUST enum nj_err
device_groups_renew(struct device_groups *g, bool *changed, struct nj_why *why);
/* Appends a device's groups to *out, each ended by '\n'. */
NJ_MUST enum nj_err
device_groups_of(struct device_groups *g, struct slice id, struct buf *out);

#endif
