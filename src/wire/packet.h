/* SPDX-License-Identifier: Apache-2.0
 * packet - the control packets as structs, the same for both directions.
 *
 * Owns: nothing; slices borrow from the received bytes or from the caller.
 * Spec: MQTT 5.0 3.1 to 3.15.
 */
#ifndef NJ_WIRE_PACKET_H
#define NJ_WIRE_PACKET_H

#include <stdbool.h>

#include "base/slice.h"
#include "wire/mqtt.h"
#include "wire/props.h"

struct will {
	struct slice topic, payload;
	uint8_t qos;
	bool retain;
	struct props props;
};

struct connect {
	enum mqtt_ver version;
	bool bridge; /* bit 7 of the version, Mosquitto's bridge bit */
	bool like5;  /* not served, but its packet is laid out as 5.0 has it */
	bool clean_start, has_will, has_username, has_password;
	uint16_t keep_alive; /* seconds */
	struct slice client_id, username, password;
	struct will will;
	struct props props;
};

struct connack {
	bool session_present;
	uint8_t code; /* enum mqtt_rc, or enum mqtt_connack3 below 5.0 */
	struct props props;
};

struct publish {
	bool dup, retain;
	bool plain; /* decoded: topic_is_plain(topic) */
	uint8_t qos;
	uint16_t id; /* 0 at QoS 0 */
	struct slice topic, payload;
	struct props props;
};

/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
struct ack {
	uint16_t id;
	uint8_t code; /* enum mqtt_rc; 0 below 5.0 */
	struct props props;
};

struct subscription {
	struct slice filter;
	uint8_t qos;
	bool no_local, retain_as_published;
	uint8_t retain_handling; /* 0, 1, 2 */
};

struct subscribe { /* and UNSUBSCRIBE: qos and options are 0 */
	uint16_t id;
	struct props props;
	struct slice list; /* at least one entry; next_subscription */
};

struct suback { /* and UNSUBACK */
	uint16_t id;
	struct props props;
	struct slice codes; /* one byte each; empty in a 3.x UNSUBACK */
};

struct disconnect {   /* and AUTH */
	uint8_t code; /* enum mqtt_rc */
	struct props props;
};

#endif
