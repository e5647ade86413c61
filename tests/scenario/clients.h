/* SPDX-License-Identifier: Apache-2.0
 * clients - clients whose bytes a test writes itself, beside a world, where a
 *           scenario's steps are too coarse: they turn the broker until all is done.
 *
 * Owns:    nothing.
 * Threads: one.
 */
#ifndef NJ_TESTS_SCENARIO_CLIENTS_H
#define NJ_TESTS_SCENARIO_CLIENTS_H

#include "world.h"

/* What is not so is told, and counted. */
void check(const char *what, bool ok);
int check_failures(void);

int client_come(struct world *w);
void client_say(int fd, const char *bytes, size_t n);
/* CONNECT of MQTT 3.1.1, for a clean session. */
void client_connect(int fd, const char *id);
/* Whether a byte waits for it. */
bool client_is_answered(int fd);
/* Forgets what has come; whether that was the end. */
bool client_is_closed(int fd);

#endif
