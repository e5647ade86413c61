/* SPDX-License-Identifier: Apache-2.0
 * metrics - the status of a broker as metrics, to stdout.
 */
#ifndef NJ_CMD_METRICS_H
#define NJ_CMD_METRICS_H

#include <jansson.h>

/* The result of the command "status". */
void metrics_print(const json_t *result);

#endif
