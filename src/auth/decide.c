/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/decide.h"

#include "wire/topic.h"

struct reserved {
	struct slice level; /* the first one of the topic */
	const char *rule;
};

#define RESERVED(level, rule)                                         \
	{                                                             \
		{ (const uint8_t *)(level), sizeof(level) - 1 }, rule \
	}

/* What only the broker says (4.7.2).  Other topics that begin with $ are
 * clients' own, as with Mosquitto. */
static const struct reserved no_publish[] = {
	RESERVED("$SYS", "$SYS/ is written by the broker only"),
	RESERVED("$CONTROL", "$CONTROL/ is not served"),
	RESERVED("$share", "$share/ is for subscriptions, not a topic"),
	RESERVED("$nightjar", "$nightjar/ is written by the broker only"),
};

/* Mosquitto's bridges say there whether they are connected. */
static const struct slice bridge_state = {
	(const uint8_t *)"$SYS/broker/connection/+/state",
	sizeof("$SYS/broker/connection/+/state") - 1,
};

static struct verdict
may_publish(const struct principal *who, struct slice topic)
{
	struct slice first;
	bool more = true;

	if (topic.n == 0 || topic.p[0] != '$' ||
	    !topic_next(&(struct slice){ topic.p, topic.n }, &more, &first))
		return (struct verdict){ true, "no rule" };
	if (who->bridge && topic_matches(bridge_state, topic))
		return (struct verdict){ true, "a bridge tells its state" };
	for (size_t i = 0; i < sizeof no_publish / sizeof *no_publish; i++)
		if (slice_eq(first, no_publish[i].level))
			return (struct verdict){ false, no_publish[i].rule };
	return (struct verdict){ true, "no rule" };
}

struct verdict
decide(const struct acl *acl, const struct principal *who, enum action what,
    struct slice topic)
{
	(void)acl;
	if (what == ACT_PUBLISH)
		return may_publish(who, topic);
	return (struct verdict){ true, "no rule" };
}
