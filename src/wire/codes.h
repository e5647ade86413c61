/* SPDX-License-Identifier: Apache-2.0
 * codes - which reason codes each packet may carry.
 *
 * Threads: pure.
 * Spec:    MQTT 5.0 2.4 and the table of each packet; 3.1.1 3.2.2.3, 3.9.3.
 */
#ifndef NJ_WIRE_CODES_H
#define NJ_WIRE_CODES_H

#include <stdbool.h>

#include "base/slice.h"
#include "wire/mqtt.h"

/* Whether a packet of this type and version may carry the code; false for
 * types that carry none. */
bool code_ok(enum mqtt_type type, enum mqtt_ver v, uint8_t code);
/* The same for each byte. */
bool codes_ok(enum mqtt_type type, enum mqtt_ver v, struct slice codes);

#endif
