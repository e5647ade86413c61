/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/suppose.h"

#include <stdio.h>

#include "base/text.h"
#include "wire/topic.h"

static const struct {
	const char *word, *does;
	enum action what;
} actions[] = {
	{ "publish", "publish to", ACTION_PUBLISH },
	{ "subscribe", "subscribe to", ACTION_SUBSCRIBE },
	{ "receive", "receive", ACTION_RECEIVE },
};

#define ACTIONS (sizeof actions / sizeof actions[0])

bool
suppose_action(struct slice word, enum action *out)
{
	for (size_t i = 0; i < ACTIONS; i++)
		if (slice_is(word, actions[i].word)) {
			*out = actions[i].what;
			return true;
		}
	return false;
}

static bool
read_address(struct slice s, uint8_t ip[CIDR_BYTES])
{
	struct cidr c;

	if (!cidr_read(s, &c) || c.bits != CIDR_BYTES * 8)
		return false;
	memcpy(ip, c.addr, CIDR_BYTES);
	return true;
}

static bool
topic_ok(const struct supposed *s)
{
	struct slice group, filter;
	enum nj_err e;

	if (s->what != ACTION_SUBSCRIBE)
		return topic_name_ok(s->topic);
	e = topic_share(s->topic, &group, &filter);
	return e == NJ_OK || (e == NJ_NOTFOUND && topic_filter_ok(s->topic));
}

enum nj_err
suppose_check(const struct supposed *s, struct nj_why *why)
{
	uint8_t ip[CIDR_BYTES];
	char esc[TEXT_ESC];

	if (s->address.n > 0 && !read_address(s->address, ip)) {
		why_set(why, "'%s' is not an IP address",
		    text_esc(esc, sizeof esc, s->address));
		why_mend(why, "write it like 192.0.2.7 or 2001:db8::7");
		return NJ_INVALID;
	}
	if (!topic_ok(s)) {
		why_set(why, "'%s' is not a topic%s",
		    text_esc(esc, sizeof esc, s->topic),
		    s->what == ACTION_SUBSCRIBE ? " filter" : "");
		why_mend(why,
		    "wildcards are for subscribe, alone between slashes, # at "
		    "the end");
		return NJ_INVALID;
	}
	return NJ_OK;
}

bool
suppose_decide(
    const struct supposed *s, const struct asker *rules, struct decision *out)
{
	struct principal who = {
		.name = s->user,
		.claimed = s->user,
		.client_id = s->client_id,
		.listener = s->listener,
		.groups = s->groups,
		.topics = s->topics,
		.has_topics = s->has_topics,
	};
	struct asker a = *rules;

	who.has_ip = s->address.n > 0 && read_address(s->address, who.ip);
	a.who = &who;
	a.client_id = s->client_id;
	return decide(&a, s->what, s->topic, out);
}

void
suppose_text(const struct supposed *s, bool may, const struct decision *why,
    char *dst, size_t size)
{
	char user[TEXT_ESC], topic[TEXT_ESC];
	const char *does = "";

	for (size_t i = 0; i < ACTIONS; i++)
		if (actions[i].what == s->what)
			does = actions[i].does;
	(void)snprintf(dst, size, "%s%s%s may %s%s '%s'%s",
	    s->user.n ? "user '" : "a client without a user name",
	    s->user.n ? text_esc(user, sizeof user, s->user) : "",
	    s->user.n ? "'" : "", may ? "" : "not ", does,
	    text_esc(topic, sizeof topic, s->topic),
	    may && why->each ? ", and gets of it what he may read" : "");
}
