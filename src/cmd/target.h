/* SPDX-License-Identifier: Apache-2.0
 * target - HOST:PORT as people write it: "broker:8883", "[fd00::7]:8883",
 *          "192.168.1.20", "mqtts://broker".
 *
 * Owns:    nothing; a struct target is a plain value.
 * Threads: any.
 */
#ifndef NJ_CMD_TARGET_H
#define NJ_CMD_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TARGET_HOST_MAX 254

struct target {
	char host[TARGET_HOST_MAX];
	uint16_t port; /* 0: none was given */
	bool has_scheme, tls, websocket;
};

/* NJ_INVALID: it cannot be one, and *why says so. */
NJ_MUST enum nj_err
target_parse(const char *text, struct target *out, struct nj_why *why);
/* "[fd00::7]:8883" */
void target_print(const char *host, uint16_t port, char *dst, size_t size);
bool target_is_address(const char *host);

#endif
