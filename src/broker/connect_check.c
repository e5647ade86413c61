/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/connect_check.h"

#include <string.h>

#include "auth/chain.h"
#include "base/text.h"
#include "broker/control.h"
#include "broker/refuse.h"
#include "core/rc.h"
#include "wire/topic.h"

static enum nj_err
check_version(struct conn *c, const struct connect *k)
{
	if (conn_port(c)->versions & 1u << k->version)
		return NJ_OK;
	(void)connect_refuse(c, RC_UNSUPPORTED_VERSION,
	    "this listener does not serve MQTT version %d "
	    "(accept_protocol_versions)",
	    (int)k->version);
	return NJ_UNSUPPORTED;
}

/* One of several, separated by blanks. */
bool
port_takes_id(const struct port_opts *po, struct slice id)
{
	const char *p = po->clientid_prefixes;

	if (!p)
		return true;
	while (*p) {
		size_t n = strcspn(p, " ,");

		if (n > 0 && slice_has_prefix(id, slice_of(p, n)))
			return true;
		p += n;
		p += strspn(p, " ,");
	}
	return false;
}

static enum nj_err
check_id(struct conn *c, const struct connect *k)
{
	const struct port_opts *po = conn_port(c);
	const char *why = NULL;

	if (k->client_id.n == 0) {
		if (k->version == MQTT31)
			why = "MQTT 3.1 has no empty client identifiers";
		else if (!po->allow_zero_length_clientid)
			why = "an empty client identifier is not allowed here "
			      "(allow_zero_length_clientid)";
		else if (k->version == MQTT311 && !k->clean_start)
			/* [MQTT-3.1.3-8] of 3.1.1 */
			why = "an empty client identifier needs a clean "
			      "session";
	} else if (!port_takes_id(po, k->client_id)) {
		why = "its client identifier begins with none of "
		      "clientid_prefixes";
	}
	if (!why)
		return NJ_OK;
	(void)connect_refuse(c, RC_CLIENT_ID_NOT_VALID, "%s", why);
	return NJ_INVALID;
}

static enum nj_err
check_will(struct conn *c, const struct connect *k)
{
	if (!k->has_will)
		return NJ_OK;
	if (!topic_name_ok(k->will.topic))
		(void)connect_refuse(c, RC_TOPIC_NAME_INVALID,
		    "the topic of its will is not one to publish to");
	else if (control_is_topic(k->will.topic))
		(void)connect_refuse(c, RC_NOT_AUTHORIZED,
		    "its will would be a command to the broker ($CONTROL/)");
	else if (c->shard->limits.message_size_limit &&
	    k->will.payload.n > c->shard->limits.message_size_limit)
		(void)connect_refuse(c, RC_PACKET_TOO_LARGE,
		    "the payload of its will is above message_size_limit");
	else if (k->will.qos > conn_port(c)->max_qos)
		(void)connect_refuse(c, RC_QOS_NOT_SUPPORTED,
		    "its will has QoS %u (max_qos)", k->will.qos);
	else if (k->will.retain && !c->shard->limits.retain_available)
		(void)connect_refuse(c, RC_RETAIN_NOT_SUPPORTED,
		    "its will is retained (retain_available)");
	else
		return NJ_OK;
	return NJ_INVALID;
}

/* A 5.0 client is told the server's keep alive instead. */
static enum nj_err
check_keep_alive(struct conn *c, const struct connect *k)
{
	uint16_t max = c->shard->limits.max_keepalive;

	if (!max || k->version == MQTT5 ||
	    (k->keep_alive > 0 && k->keep_alive <= max))
		return NJ_OK;
	(void)connect_refuse(c, RC_CLIENT_ID_NOT_VALID,
	    "its keep alive of %u s is "
	    "not within max_keepalive %u",
	    k->keep_alive, max);
	return NJ_INVALID;
}

enum nj_err
connect_check(struct conn *c, const struct connect *k)
{
	enum nj_err e;

	if ((e = check_version(c, k)) || (e = check_id(c, k)) ||
	    (e = check_will(c, k)))
		return e;
	return check_keep_alive(c, k);
}

enum nj_err
connect_check_method(struct conn *c, const struct connect *k)
{
	const struct auth_chain *chain = conn_port(c)->chain;
	const struct auth_method *m, *have;
	char name[TEXT_ESC];

	if (k->version != MQTT5 || !props_has(&k->props, PROP_AUTH_METHOD))
		return NJ_OK;
	if (!(m = auth_chain_method(chain, k->props.auth_method))) {
		have = auth_chain_nth_method(chain, 0);
		(void)connect_refuse(c, RC_BAD_AUTH_METHOD,
		    "the authentication method '%s' is not offered here; %s%s",
		    text_esc(name, sizeof name, k->props.auth_method),
		    have ? "there is " : "there is none",
		    have ? have->name : "");
		return NJ_UNSUPPORTED;
	}
	/* its session's home was chosen before the name is proved */
	if (conn_port(c)->use_username_as_clientid && k->username.n == 0) {
		(void)connect_refuse(c, RC_CLIENT_ID_NOT_VALID,
		    "the user name is the client identifier here "
		    "(use_username_as_clientid), and its CONNECT has none");
		return NJ_INVALID;
	}
	c->auth_method = m->name;
	return NJ_OK;
}
