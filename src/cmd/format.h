/* SPDX-License-Identifier: Apache-2.0
 * format - a received message as -F of sub and rr wants it printed.
 *
 * Owns:    nothing.
 * Threads: pure; the caller gives the time.  Local time is the process's.
 * Bounds:  FORMAT_WIDTH_MAX of a field width or precision.
 * Spec:    mosquitto_sub(1), "Output format".
 */
#ifndef NJ_CMD_FORMAT_H
#define NJ_CMD_FORMAT_H

#include <stdbool.h>
#include <time.h>

#include "base/buf.h"
#include "wire/packet.h"

#define FORMAT_WIDTH_MAX 10000

/* NJ_INVALID with why when the format cannot be used. */
NJ_MUST enum nj_err format_check(const char *fmt, struct nj_why *why);
/*
 * Appends the message, without an end of line.  fmt has passed format_check.
 * NJ_MALFORMED with why: %J, and the payload is not JSON; *out has what stood
 * before it.
 */
NJ_MUST enum nj_err
format_message(struct buf *out, const char *fmt, const struct publish *p,
    const struct timespec *now, bool pretty, struct nj_why *why);

#endif
