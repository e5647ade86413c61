/* SPDX-License-Identifier: Apache-2.0
 * bench - nightjar bench, a load generator for any MQTT broker.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_BENCH_BENCH_H
#define NJ_CMD_BENCH_BENCH_H

/* The exit status: 0 done, 1 the broker could not be measured, 2 usage. */
int cmd_bench(int argc, char **argv);

#endif
