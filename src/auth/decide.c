/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/decide.h"

#include "auth/jwt.h"
#include "wire/topic.h"

struct reserved {
	struct slice level; /* the first one of the topic */
	const char *rule;
};

#define BYTES(s)                                    \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}
#define RESERVED(level, rule)      \
	{                          \
		BYTES(level), rule \
	}

/* What only the broker says.  Other topics that begin with $ are the clients'
 * own, as with Mosquitto. */
static const struct reserved no_publish[] = {
	RESERVED("$SYS", "$SYS/ is written by the broker only"),
	RESERVED("$share", "$share/ is for subscriptions, it is no topic"),
};

/* Commands to the broker: by those whom a role or a rule allows it. */
static const struct slice control = BYTES("$CONTROL");

/* Mosquitto's bridges say there whether they are connected. */
static const struct slice bridge_state =
    BYTES("$SYS/broker/connection/+/state");

/* One that speaks MQTT 5, or has try_private off, cannot say that it is one: it
 * is known by its client identifier, which stands in the topic. */
static bool
is_own_state(struct slice id, struct slice topic)
{
	static const struct slice head = BYTES("$SYS/broker/connection/"),
				  tail = BYTES("/state");

	return id.n > 0 && topic.n == head.n + id.n + tail.n &&
	    slice_has_prefix(topic, head) &&
	    slice_eq(slice_of(topic.p + head.n, id.n), id) &&
	    slice_eq(slice_of(topic.p + head.n + id.n, tail.n), tail);
}

static bool
may_publish(const struct asker *a, struct slice topic, const char **rule)
{
	struct slice rest = topic, first;
	bool more = true;

	if (topic.n == 0 || topic.p[0] != '$' ||
	    !topic_next(&rest, &more, &first))
		return true;
	if (!a->roles && !a->acl && slice_eq(first, control)) {
		*rule = "commands to $CONTROL/ take a dynamic_security_file or "
			"a rule of an acl_file that allows them";
		return false;
	}
	if ((a->who->bridge && topic_matches(bridge_state, topic)) ||
	    is_own_state(a->client_id, topic)) {
		*rule = "a bridge tells its state";
		return true;
	}
	for (size_t i = 0; i < sizeof no_publish / sizeof *no_publish; i++) {
		if (slice_eq(first, no_publish[i].level)) {
			*rule = no_publish[i].rule;
			return false;
		}
	}
	return true;
}

static bool
may_by_acl(const struct asker *a, enum action what, struct slice topic,
    struct decision *why)
{
	struct acl_asker who = {
		.user = a->who->name.n ? a->who->name : a->who->claimed,
		.client_id = a->client_id,
		.groups = a->who->groups,
		.listener = a->who->listener,
		.address = a->who->has_ip ? a->who->ip : NULL,
	};
	struct slice group, filter = topic;
	enum acl_cover c;

	if (what == ACTION_UNSUBSCRIBE)
		return true;
	if (what != ACTION_SUBSCRIBE)
		return acl_allows(
		    a->acl, &who, what == ACTION_PUBLISH, topic, &why->text);
	if (topic_share(topic, &group, &filter))
		filter = topic;
	c = acl_covers(a->acl, &who, filter, &why->text);
	why->each |= c != ACL_ALWAYS;
	return c != ACL_NEVER;
}

/* A token's list takes away of what others leave. */
static bool
may_by_token(const struct principal *who, enum action what, struct slice topic,
    struct decision *why)
{
	struct slice group, filter = topic;
	bool ok = true;

	if (what == ACTION_SUBSCRIBE && topic_share(topic, &group, &filter))
		filter = topic;
	if (what == ACTION_SUBSCRIBE)
		ok = jwt_topics_cover(who->topics, filter, &why->each);
	else if (what != ACTION_UNSUBSCRIBE)
		ok = jwt_topics_allow(
		    who->topics, what == ACTION_PUBLISH, topic);
	if (!ok)
		why->text = "the topics in its token do not have it";
	return ok;
}

static enum roles_answer
by_roles(const struct asker *a, enum action what, struct slice topic,
    struct decision *why)
{
	static const enum roles_action actions[] = {
		[ACTION_PUBLISH] = ROLES_PUBLISH,
		[ACTION_SUBSCRIBE] = ROLES_SUBSCRIBE,
		[ACTION_RECEIVE] = ROLES_RECEIVE,
		[ACTION_UNSUBSCRIBE] = ROLES_UNSUBSCRIBE,
	};
	/* a name that nobody proved is none */
	struct roles_asker who = { a->who->name, a->client_id, a->who->groups };
	enum roles_answer answer =
	    roles_decide(a->roles, &who, actions[what], topic, &why->text);

	if (what == ACTION_SUBSCRIBE)
		why->each |= !roles_reads_all(a->roles, &who);
	return answer;
}

/* The broker's own topics, for who has none of his own. */
static bool
may_enroll(const struct principal *who, enum action what, struct slice topic,
    const char **rule)
{
	switch (what) {
	case ACTION_PUBLISH:
		return enrolling_may_ask(who->right, topic, rule);
	case ACTION_SUBSCRIBE:
	case ACTION_RECEIVE:
		return enrolling_may_read(who->right, who->enrols, topic, rule);
	case ACTION_UNSUBSCRIBE:
		break;
	}
	return true;
}

static bool
is_enrolment(const struct principal *who, enum action what, struct slice topic)
{
	struct slice group, filter = topic;

	if (who->right > ENROLLING_BESIDES)
		return true;
	if (topic.n == 0 || topic.p[0] != '$')
		return false;
	if (what == ACTION_SUBSCRIBE && topic_share(topic, &group, &filter))
		filter = topic;
	return enrolling_is_topic(filter);
}

bool
decide(const struct asker *a, enum action what, struct slice topic,
    struct decision *why)
{
	*why = (struct decision){ .text = "no rule forbids it" };
	if (!a->who)
		return true;
	if (is_enrolment(a->who, what, topic)) {
		why->firm = true;
		return may_enroll(a->who, what, topic, &why->text);
	}
	if (what == ACTION_PUBLISH && !may_publish(a, topic, &why->text))
		return false;
	if (a->who->has_topics && !may_by_token(a->who, what, topic, why))
		return false;
	if (a->roles) {
		enum roles_answer answer = by_roles(a, what, topic, why);

		why->firm = answer == ROLES_DENY || !a->acl;
		if (answer != ROLES_DEFER || !a->acl)
			return answer == ROLES_ALLOW;
	}
	return !a->acl || may_by_acl(a, what, topic, why);
}
