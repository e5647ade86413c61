/* SPDX-License-Identifier: Apache-2.0
 * sub - nightjar sub, which is mosquitto_sub.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_SUB_H
#define NJ_CMD_SUB_H

/* The exit status. */
int cmd_sub(int argc, char **argv);

#endif
