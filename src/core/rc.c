/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/rc.h"

enum mqtt_rc
rc_of(enum nj_err e)
{
	static const enum mqtt_rc of[NJ_ERR_MAX] = {
		[NJ_OK] = RC_SUCCESS,
		[NJ_AGAIN] = RC_UNSPECIFIED,
		[NJ_NOMEM] = RC_IMPLEMENTATION_SPECIFIC,
		[NJ_TRUNCATED] = RC_MALFORMED_PACKET,
		[NJ_MALFORMED] = RC_MALFORMED_PACKET,
		[NJ_PROTOCOL] = RC_PROTOCOL_ERROR,
		[NJ_TOOBIG] = RC_PACKET_TOO_LARGE,
		[NJ_FULL] = RC_QUOTA_EXCEEDED,
		[NJ_NOTFOUND] = RC_UNSPECIFIED,
		[NJ_EXISTS] = RC_UNSPECIFIED,
		[NJ_DENIED] = RC_NOT_AUTHORIZED,
		[NJ_INVALID] = RC_UNSPECIFIED,
		[NJ_UNSUPPORTED] = RC_UNSUPPORTED_VERSION,
		[NJ_IO] = RC_UNSPECIFIED,
		[NJ_EOF] = RC_UNSPECIFIED,
		[NJ_TLS] = RC_UNSPECIFIED,
		[NJ_TIMEOUT] = RC_KEEP_ALIVE_TIMEOUT,
		[NJ_CRYPTO] = RC_UNSPECIFIED,
		[NJ_BUSY] = RC_SERVER_BUSY,
	};

	return (unsigned)e < NJ_ERR_MAX ? of[e] : RC_UNSPECIFIED;
}

enum mqtt_connack3
rc_connack3(enum mqtt_rc rc)
{
	switch (rc) {
	case RC_SUCCESS:
		return CONNACK3_ACCEPTED;
	case RC_UNSUPPORTED_VERSION:
		return CONNACK3_BAD_VERSION;
	case RC_CLIENT_ID_NOT_VALID:
		return CONNACK3_BAD_ID;
	case RC_BAD_USER_NAME_OR_PASSWORD:
	case RC_BAD_AUTH_METHOD:
		return CONNACK3_BAD_LOGIN;
	case RC_NOT_AUTHORIZED:
	case RC_BANNED:
	case RC_PACKET_TOO_LARGE:
		return CONNACK3_NOT_AUTHORIZED;
	default:
		return CONNACK3_UNAVAILABLE;
	}
}

const char *
rc_name(uint8_t rc)
{
	static const char *const names[256] = {
		[RC_SUCCESS] = "success",
		[RC_GRANTED_QOS1] = "granted QoS 1",
		[RC_GRANTED_QOS2] = "granted QoS 2",
		[RC_DISCONNECT_WITH_WILL] = "disconnect with will",
		[RC_NO_MATCHING_SUBSCRIBERS] = "no matching subscribers",
		[RC_NO_SUBSCRIPTION_EXISTED] = "no subscription existed",
		[RC_CONTINUE_AUTH] = "continue authentication",
		[RC_REAUTHENTICATE] = "re-authenticate",
		[RC_UNSPECIFIED] = "unspecified error",
		[RC_MALFORMED_PACKET] = "malformed packet",
		[RC_PROTOCOL_ERROR] = "protocol error",
		[RC_IMPLEMENTATION_SPECIFIC] = "implementation specific error",
		[RC_UNSUPPORTED_VERSION] = "unsupported protocol version",
		[RC_CLIENT_ID_NOT_VALID] = "client identifier not valid",
		[RC_BAD_USER_NAME_OR_PASSWORD] = "bad user name or password",
		[RC_NOT_AUTHORIZED] = "not authorized",
		[RC_SERVER_UNAVAILABLE] = "server unavailable",
		[RC_SERVER_BUSY] = "server busy",
		[RC_BANNED] = "banned",
		[RC_SERVER_SHUTTING_DOWN] = "server shutting down",
		[RC_BAD_AUTH_METHOD] = "bad authentication method",
		[RC_KEEP_ALIVE_TIMEOUT] = "keep alive timeout",
		[RC_SESSION_TAKEN_OVER] = "session taken over",
		[RC_TOPIC_FILTER_INVALID] = "topic filter invalid",
		[RC_TOPIC_NAME_INVALID] = "topic name invalid",
		[RC_PACKET_ID_IN_USE] = "packet identifier in use",
		[RC_PACKET_ID_NOT_FOUND] = "packet identifier not found",
		[RC_RECEIVE_MAX_EXCEEDED] = "receive maximum exceeded",
		[RC_TOPIC_ALIAS_INVALID] = "topic alias invalid",
		[RC_PACKET_TOO_LARGE] = "packet too large",
		[RC_MESSAGE_RATE_TOO_HIGH] = "message rate too high",
		[RC_QUOTA_EXCEEDED] = "quota exceeded",
		[RC_ADMINISTRATIVE_ACTION] = "administrative action",
		[RC_PAYLOAD_FORMAT_INVALID] = "payload format invalid",
		[RC_RETAIN_NOT_SUPPORTED] = "retain not supported",
		[RC_QOS_NOT_SUPPORTED] = "QoS not supported",
		[RC_USE_ANOTHER_SERVER] = "use another server",
		[RC_SERVER_MOVED] = "server moved",
		[RC_SHARED_SUBS_NOT_SUPPORTED] =
		    "shared subscriptions not supported",
		[RC_CONNECTION_RATE_EXCEEDED] = "connection rate exceeded",
		[RC_MAXIMUM_CONNECT_TIME] = "maximum connect time",
		[RC_SUB_IDS_NOT_SUPPORTED] =
		    "subscription identifiers not supported",
		[RC_WILDCARD_SUBS_NOT_SUPPORTED] =
		    "wildcard subscriptions not supported",
	};

	return names[rc] ? names[rc] : "unknown reason";
}
