/* SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "client/impl.h"

struct reason {
	const char *text, *mend;
};

static const struct reason reasons3[] = {
	[CONNACK3_ACCEPTED] = { "accepted", "" },
	[CONNACK3_BAD_VERSION] = { "the broker does not speak this version of "
				   "MQTT",
	    "try -V mqttv5 or -V mqttv311" },
	[CONNACK3_BAD_ID] = { "the broker does not accept this client id",
	    "choose another one with -i" },
	[CONNACK3_UNAVAILABLE] = { "the broker is not available",
	    "try again later; the broker's log says why" },
	[CONNACK3_BAD_LOGIN] = { "bad user name or password",
	    "check -u and -P against the broker's password file" },
	[CONNACK3_NOT_AUTHORIZED] = { "not authorized",
	    "give -u and -P, or --cert and --key, as the broker requires; "
	    "its log says which rule refused" },
};

static const struct reason reasons5[256] = {
	[RC_SUCCESS] = { "success", "" },
	[RC_GRANTED_QOS1] = { "granted QoS 1", "" },
	[RC_GRANTED_QOS2] = { "granted QoS 2", "" },
	[RC_DISCONNECT_WITH_WILL] = { "disconnected with will", "" },
	[RC_NO_MATCHING_SUBSCRIBERS] = { "no matching subscribers", "" },
	[RC_NO_SUBSCRIPTION_EXISTED] = { "no subscription existed", "" },
	[RC_UNSPECIFIED] = { "unspecified error", "see the broker's log" },
	[RC_MALFORMED_PACKET] = { "malformed packet", "see the broker's log" },
	[RC_PROTOCOL_ERROR] = { "protocol error", "see the broker's log" },
	[RC_IMPLEMENTATION_SPECIFIC] = { "implementation specific error",
	    "see the broker's log" },
	[RC_UNSUPPORTED_VERSION] = { "the broker does not speak this version "
				     "of MQTT",
	    "try -V mqttv311" },
	[RC_CLIENT_ID_NOT_VALID] = { "client id not valid",
	    "choose another one with -i" },
	[RC_BAD_USER_NAME_OR_PASSWORD] = { "bad user name or password",
	    "check -u and -P against the broker's password file" },
	[RC_NOT_AUTHORIZED] = { "not authorized",
	    "give -u and -P, or --cert and --key, as the broker requires; "
	    "its log says which rule refused" },
	[RC_SERVER_UNAVAILABLE] = { "server unavailable", "try again later" },
	[RC_SERVER_BUSY] = { "server busy", "try again later" },
	[RC_BANNED] = { "banned", "ask the operator of the broker" },
	[RC_SERVER_SHUTTING_DOWN] = { "server shutting down",
	    "try again later" },
	[RC_BAD_AUTH_METHOD] = { "bad authentication method",
	    "leave out the property authentication-method" },
	[RC_KEEP_ALIVE_TIMEOUT] = { "keep alive timeout",
	    "the network or this client was too slow; try a longer -k" },
	[RC_SESSION_TAKEN_OVER] = { "session taken over",
	    "another client connected with the same id; give each its own "
	    "with -i" },
	[RC_TOPIC_FILTER_INVALID] = { "topic filter invalid",
	    "check the topic given with -t" },
	[RC_TOPIC_NAME_INVALID] = { "topic name invalid",
	    "check the topic given with -t" },
	[RC_PACKET_ID_IN_USE] = { "packet identifier in use", "" },
	[RC_PACKET_ID_NOT_FOUND] = { "packet identifier not found", "" },
	[RC_RECEIVE_MAX_EXCEEDED] = { "receive maximum exceeded", "" },
	[RC_TOPIC_ALIAS_INVALID] = { "topic alias invalid",
	    "use a smaller topic-alias" },
	[RC_PACKET_TOO_LARGE] = { "packet too large",
	    "send a smaller payload, or raise max_packet_size on the "
	    "broker" },
	[RC_MESSAGE_RATE_TOO_HIGH] = { "message rate too high",
	    "send "
	    "slower" },
	[RC_QUOTA_EXCEEDED] = { "quota exceeded",
	    "the broker has reached a limit; its log says which" },
	[RC_ADMINISTRATIVE_ACTION] = { "administrative action",
	    "ask the operator of the broker" },
	[RC_PAYLOAD_FORMAT_INVALID] = { "payload format invalid",
	    "the payload is not UTF-8 as payload-format-indicator says" },
	[RC_RETAIN_NOT_SUPPORTED] = { "retain not supported", "leave out -r" },
	[RC_QOS_NOT_SUPPORTED] = { "QoS not supported", "use a lower -q" },
	[RC_USE_ANOTHER_SERVER] = { "use another server", "" },
	[RC_SERVER_MOVED] = { "server moved", "" },
	[RC_SHARED_SUBS_NOT_SUPPORTED] = { "shared subscriptions not "
					   "supported",
	    "" },
	[RC_CONNECTION_RATE_EXCEEDED] = { "connection rate exceeded",
	    "try again later" },
	[RC_MAXIMUM_CONNECT_TIME] = { "maximum connect time", "" },
	[RC_SUB_IDS_NOT_SUPPORTED] = { "subscription identifiers not "
				       "supported",
	    "leave out the property subscription-identifier" },
	[RC_WILDCARD_SUBS_NOT_SUPPORTED] = { "wildcard subscriptions not "
					     "supported",
	    "" },
};

static const struct reason *
connack3(uint8_t code)
{
	return code < sizeof reasons3 / sizeof *reasons3 ? &reasons3[code]
							 : NULL;
}

const char *
client_reason(enum mqtt_type type, enum mqtt_ver v, uint8_t code)
{
	const struct reason *r = &reasons5[code];

	if (type == MQTT_CONNACK && v != MQTT5)
		r = connack3(code);
	else if (type == MQTT_SUBACK && code == RC_SUCCESS)
		return "granted QoS 0";
	else if (type == MQTT_SUBACK && v != MQTT5 && code == RC_UNSPECIFIED)
		return "refused";
	return r && r->text ? r->text : "unknown reason";
}

const char *
client_reason_mend(enum mqtt_ver v, uint8_t code)
{
	const struct reason *r = v == MQTT5 ? &reasons5[code] : connack3(code);

	return r && r->mend ? r->mend : "";
}
