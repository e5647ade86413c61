/* SPDX-License-Identifier: Apache-2.0
 * roles_show - answers about users, groups and roles, for people.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_ROLES_SHOW_H
#define NJ_CMD_ROLES_SHOW_H

#include <jansson.h>
#include <stdbool.h>

/* The "data" of an answer, on standard output. */
void roles_show(const json_t *data);
/* One of those that a default is for. */
bool roles_is_default(const char *kind);

#endif
