/* SPDX-License-Identifier: Apache-2.0
 * print - received messages on standard output, as sub and rr print them.
 *
 * Owns:    its line, and a copy of each topic that -w has a line for.
 * Threads: the main thread.
 * Bounds:  PRINT_WATCHED_MAX topics with a line of their own; those that come
 *          later share the last one.
 * Spec:    mosquitto_sub(1), "Output format".
 */
#ifndef NJ_CMD_PRINT_H
#define NJ_CMD_PRINT_H

#include "base/buf.h"
#include "base/map.h"
#include "cmd/client_opts.h"
#include "wire/packet.h"

#define PRINT_WATCHED_MAX 1000

struct printer {
	const struct cli *o;
	struct buf line;
	struct map watched; /* of struct watched, by topic */
	unsigned next_line; /* of the screen */
};

/* o is borrowed. */
void printer_init(struct printer *p, const struct cli *o);
void printer_fini(struct printer *p);
/* With -w: clears the screen and says where from. */
void printer_start(struct printer *p);
/* A message that cannot be printed is told on stderr; false: standard output
 * takes no more. */
bool printer_message(struct printer *p, const struct publish *m);

#endif
