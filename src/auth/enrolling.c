/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/enrolling.h"

static const char *const ops[] = {
	[ENROLLING_CACERTS] = "cacerts",
	[ENROLLING_ATTRIBUTES] = "csrattrs",
	[ENROLLING_ENROLL] = "simpleenroll",
	[ENROLLING_REENROLL] = "simplereenroll",
};

static const char *const forms[] = {
	[ENROLLING_PEM] = "/pem",
	[ENROLLING_DER] = "/der",
	[ENROLLING_P7] = "/p7",
};

bool
enrolling_is_topic(struct slice topic)
{
	const struct slice level = LIT(ENROLLING_LEVEL);

	return slice_has_prefix(topic, level) &&
	    (topic.n == level.n || topic.p[level.n] == '/');
}

static bool
take(struct slice *s, const char *word)
{
	struct slice w = slice_str(word);

	if (!slice_has_prefix(*s, w))
		return false;
	*s = slice_of(s->p + w.n, s->n - w.n);
	return true;
}

bool
enrolling_request(
    struct slice topic, enum enrolling_op *op, enum enrolling_form *form)
{
	if (!take(&topic, ENROLLING_TOPIC))
		return false;
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		struct slice rest = topic;

		if (!take(&rest, ops[i]))
			continue;
		*op = (enum enrolling_op)i;
		*form = ENROLLING_PEM;
		if (rest.n == 0)
			return true;
		for (size_t k = 0; k < sizeof forms / sizeof *forms; k++)
			if (slice_is(rest, forms[k])) {
				*form = (enum enrolling_form)k;
				return true;
			}
	}
	return false;
}

const char *
enrolling_op_name(enum enrolling_op op)
{
	return ops[op];
}

bool
enrolling_may_ask(enum enrolling right, struct slice topic, const char **why)
{
	enum enrolling_op op;
	enum enrolling_form form;

	if (!enrolling_is_topic(topic)) {
		*why = "it came to enrol, and may do nothing else";
		return false;
	}
	if (!enrolling_request(topic, &op, &form)) {
		*why = "$nightjar/ is written by the broker only";
		return false;
	}
	switch (op) {
	case ENROLLING_CACERTS:
	case ENROLLING_ATTRIBUTES:
		*why = "this is for all who are let in";
		return true;
	case ENROLLING_ENROLL:
		*why = "simpleenroll takes a token: connect with the device's "
		       "name as user name and the token as password";
		return right == ENROLLING_NEW;
	case ENROLLING_REENROLL:
		*why = "renewing takes the certificate that is renewed: "
		       "connect with it as the client's certificate";
		return right == ENROLLING_BESIDES || right == ENROLLING_LATE;
	}
	return false;
}

bool
enrolling_may_read(
    enum enrolling right, struct slice id, struct slice topic, const char **why)
{
	*why = "below $nightjar/ a device reads the answers to itself only";
	if (right == ENROLLING_LOOK)
		id = LIT(ENROLLING_NO_ID);
	if (id.n == 0 || !take(&topic, ENROLLING_REPLY) ||
	    !slice_has_prefix(topic, id))
		return false;
	return topic.n == id.n || topic.p[id.n] == '/';
}
