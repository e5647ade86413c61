/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/mounted.h"

#include <stdlib.h>

#include "wire/topic.h"

void
mounted_fini(struct mounted *m)
{
	buf_fini(&m->topic);
	buf_fini(&m->props);
}

static enum nj_err
whole(const struct mount *m, struct slice *topic, struct props *p,
    struct mounted *own)
{
	enum nj_err e = mount_put_topic(m, *topic, &own->topic);

	if (e == NJ_TOOBIG)
		return NJ_INVALID;
	if (e)
		return e;
	*topic = buf_slice(&own->topic);
	if (!topic_name_ok(*topic))
		return NJ_INVALID;
	if (!props_has(p, PROP_RESPONSE_TOPIC))
		return NJ_OK;
	if ((e = mount_put_props(m, p->raw, &own->props)))
		return e == NJ_TOOBIG ? NJ_INVALID : e;
	p->raw = buf_slice(&own->props);
	return NJ_OK;
}

enum nj_err
mounted_publish(const struct mount *m, struct publish *p, struct slice *topic,
    struct mounted *own)
{
	return whole(m, topic, &p->props, own);
}

enum nj_err
mounted_will(const struct mount *m, struct will *w, struct mounted *own)
{
	return whole(m, &w->topic, &w->props, own);
}

void
mounted_filter(const struct mount *m, struct slice *filter, struct buf *own)
{
	struct slice group, inner = *filter;
	enum nj_err e = topic_share(*filter, &group, &inner);

	if (e == NJ_NOTFOUND)
		inner = *filter;
	if ((e && e != NJ_NOTFOUND) || !topic_filter_ok(inner))
		return;
	buf_truncate(own, 0);
	if (mount_put_filter(m, *filter, own))
		*filter = SLICE_NONE; /* which nobody can subscribe to */
	else
		*filter = buf_slice(own);
}

/* filter: whole. */
static bool
matches(const struct session *s, struct slice filter, struct slice topic)
{
	struct slice seen;

	return mount_seen(s->mount, filter, &seen) && seen.p[0] != '+' &&
	    seen.p[0] != '#' && topic_matches(filter, topic);
}

bool
mounted_sees(const struct session *s, struct slice topic)
{
	uint8_t *text = malloc(MQTT_STRING_MAX);
	struct filter *f;
	uint32_t at = 0;
	bool yes = false;

	if (!text)
		return false;
	while (!yes && subs_next(&s->subs, &at, &f)) {
		size_t n = filter_text(f, text, MQTT_STRING_MAX);

		yes = n <= MQTT_STRING_MAX &&
		    matches(s, slice_of(text, n), topic);
	}
	free(text);
	for (const struct shared_sub *x = s->shared; x && !yes; x = x->next) {
		size_t front = (size_t)x->group_at + x->group_len + 1;

		yes = matches(
		    s, slice_of(x->filter + front, x->len - front), topic);
	}
	return yes;
}
