/* SPDX-License-Identifier: Apache-2.0 */
#include "props_same.h"

void
props_to_write(struct props *p, struct buf *b, enum props_in where)
{
	struct slice at = p->raw, name, value;
	uint32_t id;
	enum nj_err e;

	while ((e = props_next_user(&at, &name, &value)) == NJ_OK)
		HOLDS(props_put_user(b, name, value) == NJ_OK);
	HOLDS(e == NJ_NOTFOUND);
	if (where == IN_PUBLISH) {
		at = p->raw;
		while ((e = props_next_id(&at, &id)) == NJ_OK)
			HOLDS(props_put_id(b, id) == NJ_OK);
		HOLDS(e == NJ_NOTFOUND);
		p->seen &= ~PROP_BIT(PROP_SUBSCRIPTION_ID);
	}
	p->extra = buf_slice(b);
}

static void
same_lists(const struct props *a, const struct props *b)
{
	struct slice at_a = a->raw, at_b = b->raw, na, nb, va, vb;
	uint32_t ia, ib;
	enum nj_err e;

	do {
		e = props_next_user(&at_a, &na, &va);
		HOLDS(e == props_next_user(&at_b, &nb, &vb));
		HOLDS(e || (slice_eq(na, nb) && slice_eq(va, vb)));
	} while (!e);
	at_a = a->raw;
	at_b = b->raw;
	do {
		e = props_next_id(&at_a, &ia);
		HOLDS(e == props_next_id(&at_b, &ib));
		HOLDS(e || ia == ib);
	} while (!e);
}

#define SAME(id, field) HOLDS(!props_has(a, (id)) || a->field == b->field)
#define SAME_TEXT(id, field) \
	HOLDS(!props_has(a, (id)) || slice_eq(a->field, b->field))

void
props_check_same(const struct props *a, const struct props *b)
{
	HOLDS(a->seen == b->seen);
	HOLDS(a->raw.n == b->raw.n && b->extra.n == 0);
	SAME(PROP_PAYLOAD_FORMAT, payload_format);
	SAME(PROP_MESSAGE_EXPIRY, message_expiry);
	SAME(PROP_SUBSCRIPTION_ID, subscription_id);
	SAME(PROP_SESSION_EXPIRY, session_expiry);
	SAME(PROP_SERVER_KEEP_ALIVE, server_keep_alive);
	SAME(PROP_REQUEST_PROBLEM, request_problem);
	SAME(PROP_WILL_DELAY, will_delay);
	SAME(PROP_REQUEST_RESPONSE, request_response);
	SAME(PROP_RECEIVE_MAX, receive_max);
	SAME(PROP_TOPIC_ALIAS_MAX, topic_alias_max);
	SAME(PROP_TOPIC_ALIAS, topic_alias);
	SAME(PROP_MAX_QOS, max_qos);
	SAME(PROP_RETAIN_AVAILABLE, retain_available);
	SAME(PROP_MAX_PACKET_SIZE, max_packet_size);
	SAME(PROP_WILDCARD_AVAILABLE, wildcard_available);
	SAME(PROP_SUB_ID_AVAILABLE, sub_id_available);
	SAME(PROP_SHARED_AVAILABLE, shared_available);
	SAME_TEXT(PROP_CONTENT_TYPE, content_type);
	SAME_TEXT(PROP_RESPONSE_TOPIC, response_topic);
	SAME_TEXT(PROP_CORRELATION_DATA, correlation_data);
	SAME_TEXT(PROP_ASSIGNED_CLIENT_ID, assigned_client_id);
	SAME_TEXT(PROP_AUTH_METHOD, auth_method);
	SAME_TEXT(PROP_AUTH_DATA, auth_data);
	SAME_TEXT(PROP_RESPONSE_INFO, response_info);
	SAME_TEXT(PROP_SERVER_REFERENCE, server_reference);
	SAME_TEXT(PROP_REASON_STRING, reason_string);
	same_lists(a, b);
}
