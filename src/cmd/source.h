/* SPDX-License-Identifier: Apache-2.0
 * source - the message that pub and rr send: from the command line, a file or
 *          standard input.
 *
 * Owns:    nothing; the bytes live in the caller's buffer or in argv.
 * Threads: the main thread.
 * Bounds:  what an MQTT packet can carry.
 */
#ifndef NJ_CMD_SOURCE_H
#define NJ_CMD_SOURCE_H

#include "base/buf.h"
#include "cmd/client_opts.h"

/* Appends what standard input has now; *end at its end. */
NJ_MUST enum nj_err
source_read(struct buf *text, bool *end, struct nj_why *why);
/* The whole message, unless the lines of standard input are wanted. */
NJ_MUST enum nj_err source_load(const struct cli *o, struct buf *text,
    struct slice *payload, struct nj_why *why);

#endif
