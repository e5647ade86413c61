/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mount.h"

#include <stdlib.h>
#include <string.h>

#include "wire/topic.h"

static struct slice
prefix_of(const struct mount *m)
{
	return slice_of(m->prefix, m->n);
}

enum nj_err
mount_new(const char *prefix, struct mount **out)
{
	size_t n = prefix ? strlen(prefix) : 0;
	struct mount *m;

	*out = NULL;
	if (n == 0)
		return NJ_OK;
	if (n > UINT16_MAX)
		return NJ_TOOBIG;
	if (!(m = malloc(sizeof *m + n)))
		return NJ_NOMEM;
	m->n = (uint16_t)n;
	memcpy(m->prefix, prefix, n);
	*out = m;
	return NJ_OK;
}

bool
mount_is(const struct mount *m, const char *prefix)
{
	return slice_eq(m ? prefix_of(m) : SLICE_NONE,
	    prefix ? slice_str(prefix) : SLICE_NONE);
}

enum nj_err
mount_put_topic(const struct mount *m, struct slice topic, struct buf *out)
{
	enum nj_err e;

	if (topic.n + m->n > MQTT_STRING_MAX)
		return NJ_TOOBIG;
	if ((e = buf_put_slice(out, prefix_of(m))))
		return e;
	return buf_put_slice(out, topic);
}

enum nj_err
mount_put_filter(const struct mount *m, struct slice filter, struct buf *out)
{
	struct slice group, inner;
	enum nj_err e;

	/* of a shared one only what is behind its group is a filter */
	if (topic_share(filter, &group, &inner) != NJ_OK)
		inner = filter;
	if (filter.n + m->n > MQTT_STRING_MAX)
		return NJ_TOOBIG;
	if ((e = buf_put(out, filter.p, filter.n - inner.n)))
		return e;
	return mount_put_topic(m, inner, out);
}

/* One property that is a string, with another text. */
static enum nj_err
put_text(struct buf *out, uint8_t id, struct slice front, struct slice text)
{
	enum nj_err e;

	if (front.n + text.n > MQTT_STRING_MAX)
		return NJ_TOOBIG;
	if ((e = buf_put_u8(out, id)) ||
	    (e = buf_put_u16(out, (uint16_t)(front.n + text.n))) ||
	    (e = buf_put_slice(out, front)))
		return e;
	return buf_put_slice(out, text);
}

enum nj_err
mount_put_props(const struct mount *m, struct slice raw, struct buf *out)
{
	while (raw.n > 0) {
		struct slice whole, text;
		uint8_t id;
		enum nj_err e = msg_next_prop(&raw, &id, &whole);

		if (e)
			return e;
		text = slice_of(whole.p + 3, whole.n > 3 ? whole.n - 3 : 0);
		e = id == PROP_RESPONSE_TOPIC
		    ? put_text(out, id, prefix_of(m), text)
		    : buf_put_slice(out, whole);
		if (e)
			return e;
	}
	return NJ_OK;
}

bool
mount_seen(const struct mount *m, struct slice topic, struct slice *seen)
{
	if (topic.n <= m->n || !slice_has_prefix(topic, prefix_of(m)))
		return false;
	*seen = slice_of(topic.p + m->n, topic.n - m->n);
	return true;
}

static enum nj_err
strip_props(const struct mount *m, struct slice raw, struct buf *out)
{
	while (raw.n > 0) {
		struct slice whole, text, seen;
		uint8_t id;
		enum nj_err e = msg_next_prop(&raw, &id, &whole);

		if (e)
			return e;
		text = slice_of(whole.p + 3, whole.n > 3 ? whole.n - 3 : 0);
		if (id != PROP_RESPONSE_TOPIC)
			e = buf_put_slice(out, whole);
		else if (mount_seen(m, text, &seen))
			e = put_text(out, id, SLICE_NONE, seen);
		if (e)
			return e;
	}
	return NJ_OK;
}

enum nj_err
mount_strip(const struct mount *m, const struct msg *from, struct msg **out)
{
	struct publish p = {
		.qos = from->qos,
		.retain = from->retain,
		.payload = msg_payload(from),
	};
	struct buf props = { 0 };
	struct slice seen;
	struct msg *to = NULL;
	enum nj_err e;

	if (!mount_seen(m, msg_topic(from), &seen))
		return NJ_NOTFOUND;
	if ((e = strip_props(m, msg_props(from), &props)))
		goto out;
	p.props.raw = buf_slice(&props);
	if ((e = msg_new(&p, seen, 0, &to)))
		goto out;
	to->expires_at = from->expires_at;
	to->from = from->from;
	*out = to;
out:
	buf_fini(&props);
	return e;
}
