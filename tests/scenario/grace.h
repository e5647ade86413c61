/* SPDX-License-Identifier: Apache-2.0
 * grace - grace periods that begin at once, in place of liburcu's.
 *
 * Owns:    one thread, until the program ends.
 * Threads: any may call call_rcu().
 */
#ifndef TESTS_SCENARIO_GRACE_H
#define TESTS_SCENARIO_GRACE_H

#include <urcu-qsbr.h>

/* Once, before the first broker. */
void grace_start(void);

void
__wrap_urcu_qsbr_call_rcu(struct rcu_head *h, void (*fn)(struct rcu_head *));

#endif
