/* SPDX-License-Identifier: Apache-2.0
 * place - whether what a store writes is still at its name.
 *
 * A file that somebody deleted, moved or put another in place of is written all the
 * same, and nothing fails; what is in it is gone with the process, or is found by
 * nobody.
 *
 * Owns:    nothing.
 * Threads: any, once it was looked at.
 */
#ifndef NJ_STORE_PLACE_H
#define NJ_STORE_PLACE_H

#include <stdbool.h>
#include <stddef.h>

struct store;

/* Looks which files the database and its log are; not on a VFS of the tests. */
void place_look(struct store *s);
/* Whether they are still at their names, as far as can be seen; if not, why says
 * so. */
bool place_holds(const struct store *s, char *why, size_t cap);

/* Whether the store at path is not there, or *there, and empty, but has a log. */
bool store_log_alone(const char *path, bool *there);
#define STORE_MEND_ALONE                                                    \
	"move the database back beside its log, which may have what was "   \
	"acknowledged last; where it is lost, restore the last backup, or " \
	"move the log away, too, to begin with nothing"

/* Whether there is a log that belongs to path, even an empty one: whoever has it open,
 * or was killed, leaves one. */
bool store_has_log(const char *path);

#endif
