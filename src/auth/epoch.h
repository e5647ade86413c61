/* SPDX-License-Identifier: Apache-2.0
 * epoch - a number for each thing that decides what somebody may: who he is, a
 *         set of rules, a state of roles.
 *
 * A number is never given twice in the life of the process, as an address may
 * be, so what was found out under some numbers holds as long as they are the
 * same.
 *
 * Threads: any.
 */
#ifndef NJ_AUTH_EPOCH_H
#define NJ_AUTH_EPOCH_H

#include <stdint.h>

/* Never 0. */
uint64_t epoch_new(void);

#endif
