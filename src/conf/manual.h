/* SPDX-License-Identifier: Apache-2.0
 * manual - the option table in words: --help-options and nightjar.conf(5).
 *
 * Threads: any; writes only to the stream given.
 */
#ifndef NJ_CONF_MANUAL_H
#define NJ_CONF_MANUAL_H

#include <stdio.h>

void conf_help_write(FILE *to);
void conf_man_write(FILE *to);

#endif
