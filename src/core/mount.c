/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mount.h"

#include <stdlib.h>
#include <string.h>

#include "core/msg.h"
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

/* Whether there is a response topic among them. */
static bool
has_response(struct slice raw)
{
	struct slice whole;
	uint8_t id;

	while (raw.n > 0 && msg_next_prop(&raw, &id, &whole) == NJ_OK)
		if (id == PROP_RESPONSE_TOPIC)
			return true;
	return false;
}

enum nj_err
mount_strip_props(
    const struct mount *m, struct slice raw, struct buf *own, struct slice *out)
{
	*out = raw;
	if (!has_response(raw))
		return NJ_OK;
	while (raw.n > 0) {
		struct slice whole, text, seen;
		uint8_t id;
		enum nj_err e = msg_next_prop(&raw, &id, &whole);

		if (e)
			return e;
		text = slice_of(whole.p + 3, whole.n > 3 ? whole.n - 3 : 0);
		if (id != PROP_RESPONSE_TOPIC)
			e = buf_put_slice(own, whole);
		else if (mount_seen(m, text, &seen))
			e = put_text(own, id, SLICE_NONE, seen);
		if (e)
			return e;
	}
	*out = buf_slice(own);
	return NJ_OK;
}
