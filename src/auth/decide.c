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
	RESERVED("$CONTROL", "$CONTROL/ is not served"),
	RESERVED("$share", "$share/ is for subscriptions, it is no topic"),
	RESERVED("$nightjar", "$nightjar/ is written by the broker only"),
};

/* Mosquitto's bridges say there whether they are connected. */
static const struct slice bridge_state =
    BYTES("$SYS/broker/connection/+/state");

static bool
may_publish(const struct principal *who, struct slice topic, const char **rule)
{
	struct slice rest = topic, first;
	bool more = true;

	if (topic.n == 0 || topic.p[0] != '$' ||
	    !topic_next(&rest, &more, &first))
		return true;
	if (who->bridge && topic_matches(bridge_state, topic)) {
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
may_by_rules(const struct asker *a, enum action what, struct slice topic,
    struct decision *why)
{
	struct acl_asker who = {
		.user = a->who->name.n ? a->who->name : a->who->claimed,
		.client_id = a->client_id,
		.groups = a->who->groups,
		.listener = a->who->listener,
		.address = a->who->has_ip ? a->who->ip : NULL,
	};
	enum acl_cover c;

	if (what != ACTION_SUBSCRIBE)
		return acl_allows(
		    a->acl, &who, what == ACTION_PUBLISH, topic, &why->text);
	c = acl_covers(a->acl, &who, topic, &why->text);
	why->each |= c != ACL_ALWAYS;
	return c != ACL_NEVER;
}

/* A token's list takes away of what others leave. */
static bool
may_by_token(const struct principal *who, enum action what, struct slice topic,
    struct decision *why)
{
	bool ok = what == ACTION_SUBSCRIBE
	    ? jwt_topics_cover(who->topics, topic, &why->each)
	    : jwt_topics_allow(who->topics, what == ACTION_PUBLISH, topic);

	if (!ok)
		why->text = "the topics in its token do not have it";
	return ok;
}

bool
decide(const struct asker *a, enum action what, struct slice topic,
    struct decision *why)
{
	why->text = "no rule forbids it";
	why->each = false;
	if (!a->who)
		return true;
	if (what == ACTION_PUBLISH && !may_publish(a->who, topic, &why->text))
		return false;
	if (a->who->has_topics && !may_by_token(a->who, what, topic, why))
		return false;
	return !a->acl || may_by_rules(a, what, topic, why);
}
