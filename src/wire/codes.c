/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/codes.h"

/* All codes are below 0x20 or from 0x80 to 0xbf. */
struct code_set {
	uint32_t low;  /* 1 << code */
	uint64_t high; /* 1 << (code - 0x80) */
};

#define LOW(code)  (UINT32_C(1) << (code))
#define HIGH(code) (UINT64_C(1) << ((code)-0x80))

/* 3.4.2.1, 3.5.2.1: how a PUBLISH can be refused. */
#define PUBLISH_REFUSED                                             \
	(HIGH(RC_UNSPECIFIED) | HIGH(RC_IMPLEMENTATION_SPECIFIC) |  \
	    HIGH(RC_NOT_AUTHORIZED) | HIGH(RC_TOPIC_NAME_INVALID) | \
	    HIGH(RC_PACKET_ID_IN_USE) | HIGH(RC_QUOTA_EXCEEDED) |   \
	    HIGH(RC_PAYLOAD_FORMAT_INVALID))
/* 3.11.3. */
#define UNSUBSCRIBE_REFUSED                                           \
	(HIGH(RC_UNSPECIFIED) | HIGH(RC_IMPLEMENTATION_SPECIFIC) |    \
	    HIGH(RC_NOT_AUTHORIZED) | HIGH(RC_TOPIC_FILTER_INVALID) | \
	    HIGH(RC_PACKET_ID_IN_USE))

/* clang-format off */
static const struct code_set sets5[16] = {
	[MQTT_CONNACK] = { LOW(RC_SUCCESS),	/* [MQTT-3.2.2-8] */
	    HIGH(RC_UNSPECIFIED) | HIGH(RC_MALFORMED_PACKET) |
	    HIGH(RC_PROTOCOL_ERROR) | HIGH(RC_IMPLEMENTATION_SPECIFIC) |
	    HIGH(RC_UNSUPPORTED_VERSION) | HIGH(RC_CLIENT_ID_NOT_VALID) |
	    HIGH(RC_BAD_USER_NAME_OR_PASSWORD) | HIGH(RC_NOT_AUTHORIZED) |
	    HIGH(RC_SERVER_UNAVAILABLE) | HIGH(RC_SERVER_BUSY) |
	    HIGH(RC_BANNED) | HIGH(RC_BAD_AUTH_METHOD) |
	    HIGH(RC_TOPIC_NAME_INVALID) | HIGH(RC_PACKET_TOO_LARGE) |
	    HIGH(RC_QUOTA_EXCEEDED) | HIGH(RC_PAYLOAD_FORMAT_INVALID) |
	    HIGH(RC_RETAIN_NOT_SUPPORTED) | HIGH(RC_QOS_NOT_SUPPORTED) |
	    HIGH(RC_USE_ANOTHER_SERVER) | HIGH(RC_SERVER_MOVED) |
	    HIGH(RC_CONNECTION_RATE_EXCEEDED) },
	[MQTT_PUBACK] = {			/* [MQTT-3.4.2-1] */
	    LOW(RC_SUCCESS) | LOW(RC_NO_MATCHING_SUBSCRIBERS),
	    PUBLISH_REFUSED },
	[MQTT_PUBREC] = {			/* [MQTT-3.5.2-1] */
	    LOW(RC_SUCCESS) | LOW(RC_NO_MATCHING_SUBSCRIBERS),
	    PUBLISH_REFUSED },
	[MQTT_PUBREL] = { LOW(RC_SUCCESS),	/* [MQTT-3.6.2-1] */
	    HIGH(RC_PACKET_ID_NOT_FOUND) },
	[MQTT_PUBCOMP] = { LOW(RC_SUCCESS),	/* [MQTT-3.7.2-1] */
	    HIGH(RC_PACKET_ID_NOT_FOUND) },
	[MQTT_SUBACK] = {			/* [MQTT-3.9.3-2] */
	    LOW(RC_SUCCESS) | LOW(RC_GRANTED_QOS1) | LOW(RC_GRANTED_QOS2),
	    UNSUBSCRIBE_REFUSED | HIGH(RC_QUOTA_EXCEEDED) |
	    HIGH(RC_SHARED_SUBS_NOT_SUPPORTED) |
	    HIGH(RC_SUB_IDS_NOT_SUPPORTED) |
	    HIGH(RC_WILDCARD_SUBS_NOT_SUPPORTED) },
	[MQTT_UNSUBACK] = {			/* [MQTT-3.11.3-2] */
	    LOW(RC_SUCCESS) | LOW(RC_NO_SUBSCRIPTION_EXISTED),
	    UNSUBSCRIBE_REFUSED },
	[MQTT_DISCONNECT] = {			/* [MQTT-3.14.2-1] */
	    LOW(RC_SUCCESS) | LOW(RC_DISCONNECT_WITH_WILL),
	    HIGH(RC_UNSPECIFIED) | HIGH(RC_MALFORMED_PACKET) |
	    HIGH(RC_PROTOCOL_ERROR) | HIGH(RC_IMPLEMENTATION_SPECIFIC) |
	    HIGH(RC_NOT_AUTHORIZED) | HIGH(RC_SERVER_BUSY) |
	    HIGH(RC_SERVER_SHUTTING_DOWN) | HIGH(RC_BAD_AUTH_METHOD) |
	    HIGH(RC_KEEP_ALIVE_TIMEOUT) | HIGH(RC_SESSION_TAKEN_OVER) |
	    HIGH(RC_TOPIC_FILTER_INVALID) | HIGH(RC_TOPIC_NAME_INVALID) |
	    HIGH(RC_RECEIVE_MAX_EXCEEDED) | HIGH(RC_TOPIC_ALIAS_INVALID) |
	    HIGH(RC_PACKET_TOO_LARGE) | HIGH(RC_MESSAGE_RATE_TOO_HIGH) |
	    HIGH(RC_QUOTA_EXCEEDED) | HIGH(RC_ADMINISTRATIVE_ACTION) |
	    HIGH(RC_PAYLOAD_FORMAT_INVALID) |
	    HIGH(RC_RETAIN_NOT_SUPPORTED) | HIGH(RC_QOS_NOT_SUPPORTED) |
	    HIGH(RC_USE_ANOTHER_SERVER) | HIGH(RC_SERVER_MOVED) |
	    HIGH(RC_SHARED_SUBS_NOT_SUPPORTED) |
	    HIGH(RC_CONNECTION_RATE_EXCEEDED) |
	    HIGH(RC_MAXIMUM_CONNECT_TIME) | HIGH(RC_SUB_IDS_NOT_SUPPORTED) |
	    HIGH(RC_WILDCARD_SUBS_NOT_SUPPORTED) },
	[MQTT_AUTH] = {				/* [MQTT-3.15.2-1] */
	    LOW(RC_SUCCESS) | LOW(RC_CONTINUE_AUTH) |
	    LOW(RC_REAUTHENTICATE), 0 },
};

static const struct code_set sets3[16] = {
	[MQTT_CONNACK] = {
	    LOW(CONNACK3_ACCEPTED) | LOW(CONNACK3_BAD_VERSION) |
	    LOW(CONNACK3_BAD_ID) | LOW(CONNACK3_UNAVAILABLE) |
	    LOW(CONNACK3_BAD_LOGIN) | LOW(CONNACK3_NOT_AUTHORIZED), 0 },
	[MQTT_SUBACK] = {	/* 3.1 has no failure; brokers send it all the same */
	    LOW(RC_SUCCESS) | LOW(RC_GRANTED_QOS1) | LOW(RC_GRANTED_QOS2),
	    HIGH(RC_UNSPECIFIED) },
};
/* clang-format on */

static bool
in_set(const struct code_set *set, uint8_t code)
{
	if (code < 0x20)
		return (set->low & LOW(code)) != 0;
	return code >= 0x80 && code < 0xc0 && (set->high & HIGH(code)) != 0;
}

static const struct code_set *
set_of(enum mqtt_type type, enum mqtt_ver v)
{
	return v == MQTT5 ? &sets5[type & 0x0f] : &sets3[type & 0x0f];
}

bool
code_ok(enum mqtt_type type, enum mqtt_ver v, uint8_t code)
{
	return in_set(set_of(type, v), code);
}

bool
codes_ok(enum mqtt_type type, enum mqtt_ver v, struct slice codes)
{
	const struct code_set *set = set_of(type, v);

	for (size_t i = 0; i < codes.n; i++)
		if (!in_set(set, codes.p[i]))
			return false;
	return true;
}
