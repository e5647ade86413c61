/* SPDX-License-Identifier: Apache-2.0
 * The properties of -D.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "cmd/client_opts_table.h"
#include "wire/props.h"
#include "wire/topic.h"

/* Kinds of packets that -D can add to, one bit each. */
enum {
	ON_CONNECT = 1,
	ON_PUBLISH = 2,
	ON_SUBSCRIBE = 4,
	ON_UNSUBSCRIBE = 8,
	ON_DISCONNECT = 16,
	ON_WILL = 32
};

struct packet_name {
	const char *name;
	unsigned bit;
	size_t off; /* of its struct cli_props */
};

static const struct packet_name packets[] = {
	{ "connect", ON_CONNECT, offsetof(struct cli, connect) },
	{ "publish", ON_PUBLISH, offsetof(struct cli, publish) },
	{ "subscribe", ON_SUBSCRIBE, offsetof(struct cli, subscribe) },
	{ "unsubscribe", ON_UNSUBSCRIBE, offsetof(struct cli, unsubscribe) },
	{ "disconnect", ON_DISCONNECT, offsetof(struct cli, disconnect) },
	{ "will", ON_WILL, offsetof(struct cli, will) },
};

enum prop_kind { P_U8, P_U16, P_U32, P_ID, P_TEXT, P_PAIR };

struct prop_name {
	const char *name;
	enum mqtt_prop id;
	enum prop_kind kind;
	unsigned on;
	size_t off; /* in struct props */
};

#define IN(member) offsetof(struct props, member)

/* clang-format off */
static const struct prop_name names[] = {
	{ "authentication-data", PROP_AUTH_DATA, P_TEXT, ON_CONNECT, IN(auth_data) },
	{ "authentication-method", PROP_AUTH_METHOD, P_TEXT, ON_CONNECT, IN(auth_method) },
	{ "content-type", PROP_CONTENT_TYPE, P_TEXT, ON_PUBLISH | ON_WILL, IN(content_type) },
	{ "correlation-data", PROP_CORRELATION_DATA, P_TEXT, ON_PUBLISH | ON_WILL,
	    IN(correlation_data) },
	{ "maximum-packet-size", PROP_MAX_PACKET_SIZE, P_U32, ON_CONNECT, IN(max_packet_size) },
	{ "message-expiry-interval", PROP_MESSAGE_EXPIRY, P_U32, ON_PUBLISH | ON_WILL,
	    IN(message_expiry) },
	{ "payload-format-indicator", PROP_PAYLOAD_FORMAT, P_U8, ON_PUBLISH | ON_WILL,
	    IN(payload_format) },
	{ "receive-maximum", PROP_RECEIVE_MAX, P_U16, ON_CONNECT, IN(receive_max) },
	{ "request-problem-information", PROP_REQUEST_PROBLEM, P_U8, ON_CONNECT,
	    IN(request_problem) },
	{ "request-response-information", PROP_REQUEST_RESPONSE, P_U8, ON_CONNECT,
	    IN(request_response) },
	{ "response-topic", PROP_RESPONSE_TOPIC, P_TEXT, ON_PUBLISH | ON_WILL, IN(response_topic) },
	{ "session-expiry-interval", PROP_SESSION_EXPIRY, P_U32, ON_CONNECT | ON_DISCONNECT,
	    IN(session_expiry) },
	{ "subscription-identifier", PROP_SUBSCRIPTION_ID, P_ID, ON_SUBSCRIBE,
	    IN(subscription_id) },
	{ "topic-alias", PROP_TOPIC_ALIAS, P_U16, ON_PUBLISH, IN(topic_alias) },
	{ "topic-alias-maximum", PROP_TOPIC_ALIAS_MAX, P_U16, ON_CONNECT, IN(topic_alias_max) },
	{ "user-property", PROP_USER, P_PAIR, ON_CONNECT | ON_PUBLISH | ON_SUBSCRIBE |
	    ON_UNSUBSCRIBE | ON_DISCONNECT | ON_WILL, 0 },
	{ "will-delay-interval", PROP_WILL_DELAY, P_U32, ON_WILL, IN(will_delay) },
};
/* clang-format on */

static const struct packet_name *
find_packet(const char *word, struct nj_why *why)
{
	char esc[TEXT_ESC];

	for (size_t i = 0; i < sizeof packets / sizeof *packets; i++)
		if (strcasecmp(packets[i].name, word) == 0)
			return &packets[i];
	why_set(why, "-D does not know a packet called \"%s\"",
	    text_esc(esc, sizeof esc, slice_str(word)));
	why_mend(why,
	    "it is one of connect, publish, subscribe, unsubscribe, "
	    "disconnect and will");
	return NULL;
}

static const struct prop_name *
find_name(const char *word, struct nj_why *why)
{
	const struct prop_name *best = NULL;
	unsigned least = 6;
	char esc[TEXT_ESC];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		unsigned d = text_distance(names[i].name, word);

		if (d == 0)
			return &names[i];
		if (d < least) {
			least = d;
			best = &names[i];
		}
	}
	why_set(why, "there is no property called \"%s\"",
	    text_esc(esc, sizeof esc, slice_str(word)));
	if (best)
		why_mend(why, "perhaps you mean %s", best->name);
	return NULL;
}

static enum nj_err
set_number(struct props *p, const struct prop_name *n, const char *word,
    struct nj_why *why)
{
	static const long most[] = { [P_U8] = UINT8_MAX,
		[P_U16] = UINT16_MAX,
		[P_U32] = UINT32_MAX,
		[P_ID] = MQTT_VARINT_MAX };
	uint8_t *at = (uint8_t *)p + n->off;
	char esc[TEXT_ESC];
	long v;

	/* A receive maximum, an alias and an identifier of 0 are forbidden
	 * (MQTT 5.0 3.1.2.11.3, 3.3.2.3.4, 3.8.2.1.2). */
	long least = n->kind == P_ID || n->id == PROP_RECEIVE_MAX ||
	    n->id == PROP_TOPIC_ALIAS || n->id == PROP_MAX_PACKET_SIZE;

	if (!text_to_long(word, least, most[n->kind], &v)) {
		why_set(why, "%s \"%s\" is not a number from %ld to %ld",
		    n->name, text_esc(esc, sizeof esc, slice_str(word)), least,
		    most[n->kind]);
		return NJ_INVALID;
	}
	switch (n->kind) {
	case P_U8:
		if (v > 1) {
			why_set(why, "%s is 0 or 1", n->name);
			return NJ_INVALID;
		}
		*at = (uint8_t)v;
		break;
	case P_U16:
		memcpy(at, &(uint16_t){ (uint16_t)v }, sizeof(uint16_t));
		break;
	default:
		memcpy(at, &(uint32_t){ (uint32_t)v }, sizeof(uint32_t));
		break;
	}
	return NJ_OK;
}

/* [MQTT-1.5.4-1], [MQTT-1.5.7-1], [MQTT-3.3.2-14] */
static enum nj_err
check_text(const struct prop_name *n, struct slice s, const char *second,
    struct nj_why *why)
{
	bool bytes = n->id == PROP_CORRELATION_DATA || n->id == PROP_AUTH_DATA;

	if (!bytes && (!utf8_ok(s) || !utf8_ok(slice_str(second)))) {
		why_set(why, "%s is not UTF-8", n->name);
		return NJ_INVALID;
	}
	if (n->id == PROP_RESPONSE_TOPIC && !topic_name_ok(s)) {
		why_set(why, "invalid response topic");
		why_mend(why, "it is not empty and has no + or #");
		return NJ_INVALID;
	}
	return NJ_OK;
}

static enum nj_err
set_value(struct cli_props *p, const struct prop_name *n, char **values,
    struct nj_why *why)
{
	struct slice s = slice_str(values[0]);
	enum nj_err e;

	if (s.n > MQTT_STRING_MAX) {
		why_set(why, "%s is longer than MQTT can carry", n->name);
		return NJ_TOOBIG;
	}
	if ((e = check_text(n, s, n->kind == P_PAIR ? values[1] : "", why)))
		return e;
	if (n->kind == P_PAIR) {
		if ((e = props_put_user(&p->extra, s, slice_str(values[1]))))
			why_set(why, "user-property: %s", nj_strerror(e));
		return e;
	}
	if (n->kind == P_TEXT)
		memcpy((uint8_t *)&p->p + n->off, &s, sizeof s);
	else if ((e = set_number(&p->p, n, values[0], why)))
		return e;
	p->p.seen |= PROP_BIT(n->id);
	return NJ_OK;
}

enum nj_err
cli_property(struct cli *c, int n, char **args, int *used, struct nj_why *why)
{
	const struct packet_name *packet;
	const struct prop_name *name;
	enum nj_err e;
	int needs;

	if (n < 3) {
		why_set(why, "-D needs a packet, a property and a value");
		why_mend(
		    why, "for example: -D publish content-type text/plain");
		return NJ_INVALID;
	}
	if (!(packet = find_packet(args[0], why)) ||
	    !(name = find_name(args[1], why)))
		return NJ_INVALID;
	needs = name->kind == P_PAIR ? 4 : 3;
	if (n < needs) {
		why_set(why, "-D %s user-property needs a name and a value",
		    packet->name);
		return NJ_INVALID;
	}
	if (!(name->on & packet->bit)) {
		why_set(
		    why, "%s cannot be given to %s", name->name, packet->name);
		return NJ_INVALID;
	}
	if ((e = set_value(
		 (struct cli_props *)(void *)((char *)c + packet->off), name,
		 args + 2, why)))
		return e;
	c->any_property = true;
	*used = needs;
	return NJ_OK;
}

const struct props *
cli_props(struct cli_props *p)
{
	p->p.extra = buf_slice(&p->extra);
	return &p->p;
}
