/* SPDX-License-Identifier: Apache-2.0
 * rc - the one place where our errors become the protocol's reason codes.
 *
 * Threads: pure.
 * Spec:    MQTT 5.0 2.4, 4.13; MQTT 3.1.1 3.2.2.3.
 */
#ifndef NJ_CORE_RC_H
#define NJ_CORE_RC_H

#include "base/err.h"
#include "wire/mqtt.h"

enum mqtt_rc rc_of(enum nj_err e);
/* A CONNACK code for a client below 5.0. */
enum mqtt_connack3 rc_connack3(enum mqtt_rc rc);
/* The code's name in the standard, for the log. */
const char *rc_name(uint8_t rc);

#endif
