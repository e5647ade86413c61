/* SPDX-License-Identifier: Apache-2.0
 * props - the properties of an MQTT 5 packet.
 *
 * Owns:    nothing; slices borrow from the packet (decode) or from the caller
 *          (encode).
 * Threads: pure.
 * Bounds:  PROPS_USER_MAX user properties a packet, NJ_TOOBIG past it; cost
 *          is linear in the bytes.
 * Spec:    MQTT 5.0 2.2.2.
 */
#ifndef NJ_WIRE_PROPS_H
#define NJ_WIRE_PROPS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"
#include "wire/mqtt.h"

#define PROPS_USER_MAX 10000

/* A field means something only when its bit is in seen. */
struct props {
	uint64_t seen;	    /* PROP_BIT of what is there */
	struct slice raw;   /* decode: all of them as received, without the
				 * length; encode: ignored */
	struct slice extra; /* encode: appended as it is (user properties
				 * and subscription identifiers already in
				 * wire form); decode: empty */
	uint32_t message_expiry, session_expiry, will_delay, max_packet_size;
	uint32_t subscription_id; /* the first one; props_next_id has all */
	uint16_t server_keep_alive, receive_max, topic_alias_max, topic_alias;
	uint8_t payload_format, request_problem, request_response, max_qos;
	uint8_t retain_available, wildcard_available, sub_id_available;
	uint8_t shared_available;
	struct slice content_type, response_topic, correlation_data;
	struct slice assigned_client_id, auth_method, auth_data;
	struct slice response_info, server_reference, reason_string;
};

static inline bool
props_has(const struct props *p, enum mqtt_prop id)
{
	return (p->seen & PROP_BIT(id)) != 0;
}

/* Where a set of properties stands; decides which are allowed (table 2-4). */
enum props_in {
	IN_CONNECT = 1,
	IN_CONNACK,
	IN_PUBLISH,
	IN_PUBACK,
	IN_PUBREC,
	IN_PUBREL,
	IN_PUBCOMP,
	IN_SUBSCRIBE,
	IN_SUBACK,
	IN_UNSUBSCRIBE,
	IN_UNSUBACK,
	IN_DISCONNECT = 14,
	IN_AUTH = 15,
	IN_WILL = 16
};

/*
 * The length and the properties behind it.  NJ_MALFORMED: bad lengths, UTF-8,
 * an identifier that is unknown or not allowed in this packet.  NJ_PROTOCOL:
 * one that stands twice, or has a value its section forbids (a receive maximum
 * of 0, a boolean of 2, a subscription identifier of 0, ...).  Several
 * subscription identifiers are allowed in a PUBLISH only.  A topic alias of 0
 * [MQTT-3.3.2-8] is left to the receiver, who has a reason code for it.
 */
NJ_MUST enum nj_err
take_props(struct slice *s, enum props_in where, struct props *out);

/* Steps through the user properties of p->raw: start with *at = p->raw.
 * NJ_NOTFOUND at the end. */
NJ_MUST enum nj_err
props_next_user(struct slice *at, struct slice *name, struct slice *value);
/* The same for subscription identifiers. */
NJ_MUST enum nj_err props_next_id(struct slice *at, uint32_t *id);

/* Bytes that the properties in seen and extra take, length field excluded;
 * PROPS_UNWRITABLE when a string or their sum is beyond the protocol.  The
 * user properties of seen are not counted or written: extra has them. */
#define PROPS_UNWRITABLE UINT32_MAX
uint32_t props_size(const struct props *p);
/* Length and properties to a place that has room for them; size is what
 * props_size gave.  Returns the byte behind.  p may be NULL when size is 0. */
uint8_t *props_write(uint8_t *at, const struct props *p, uint32_t size);
/* Length and properties.  NULL p writes a zero length. */
NJ_MUST enum nj_err props_put(struct buf *b, const struct props *p);
/* One user property in wire form, for building extra. */
NJ_MUST enum nj_err
props_put_user(struct buf *b, struct slice name, struct slice value);
NJ_MUST enum nj_err props_put_id(struct buf *b, uint32_t id);

#endif
