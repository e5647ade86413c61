/* SPDX-License-Identifier: Apache-2.0
 * pub - nightjar pub, which is mosquitto_pub.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_PUB_H
#define NJ_CMD_PUB_H

/* The exit status. */
int cmd_pub(int argc, char **argv);

#endif
