/* SPDX-License-Identifier: Apache-2.0
 * listing - what clients may ask by $CONTROL/broker/v1 (enable_control_api):
 *           Mosquitto 2.1's listListeners and listPlugins.
 *
 * Owns:    nothing.
 * Threads: any; the set of ports does not change.
 * Bounds:  LISTING_BYTES_MAX a message, LISTING_COMMANDS_MAX commands in it.
 */
#ifndef NJ_BROKER_LISTING_H
#define NJ_BROKER_LISTING_H

#include "base/buf.h"
#include "broker/opts.h"

#define LISTING_TOPIC	     "$CONTROL/broker/v1"
#define LISTING_RESPONSE     "$CONTROL/broker/v1/response"
#define LISTING_BYTES_MAX    65536u
#define LISTING_COMMANDS_MAX 64u

/* NJ_NOMEM, or there is an answer. */
NJ_MUST enum nj_err listing_run(
    const struct port_set *set, struct slice commands, struct buf *answer);

#endif
