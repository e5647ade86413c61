/* SPDX-License-Identifier: Apache-2.0
 * testconfig - what looks into the files that a configuration names.
 *
 * Owns:    nothing.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_TESTCONFIG_H
#define NJ_CMD_TESTCONFIG_H

#include "conf/check.h"

/* For this configuration, which outlives them. */
struct conf_checkers config_checkers(struct conf *c);

#endif
