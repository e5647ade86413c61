/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/link.h"

#include <string.h>

#include "wire/encode.h"
#include "wire/frame.h"

/* A turn's output is written early once it reaches this, so that a fan-in
 * from many publishers within one turn does not count as a slow reader. */
#define FLUSH_EARLY (128 * 1024)

void
link_fini(struct link *l)
{
	buf_fini(&l->out);
	loans_free(l->loans);
	l->loans = NULL;
	aliases_fini(&l->aliases);
}

bool
link_congested(struct link *l)
{
	if (link_unsent(l) < FLUSH_EARLY)
		return false;
	if (!l->blocked)
		l->ops->flush(l);
	return link_unsent(l) > l->soft;
}

bool
link_fits(const struct link *l, uint32_t remaining)
{
	return !l->max_packet ||
	    1 + varint_size(remaining) + (uint64_t)remaining <= l->max_packet;
}

/* What a PUBLISH is made of, sized before a byte is written. */
struct plan {
	uint32_t remaining; /* 2.1.4 */
	uint32_t props;	    /* bytes of properties, length excluded */
	uint32_t expiry;    /* seconds; any number is one */
	bool expires;
	uint16_t alias;	  /* 0: none */
	bool topic_known; /* the alias was sent before: no topic */
};

static uint32_t
ids_size(ids_t ids)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < ids_count(ids); i++)
		n += 1 + varint_size(ids_at(ids, i));
	return n;
}

static void
plan_props(struct plan *p, const struct delivery *d, uint32_t passed_on,
    uint64_t now_ms)
{
	const struct msg *m = d->msg;

	p->props = passed_on + ids_size(d->ids) + (p->alias ? 3 : 0);
	if (m->expires_at != MSG_NEVER) {
		/* what is left of it [MQTT-3.3.2-6] */
		uint64_t left = m->expires_at > now_ms
		    ? (m->expires_at - now_ms + 999) / 1000
		    : 0;

		p->expires = true;
		p->expiry = (uint32_t)left;
		p->props += 5;
	}
}

static uint8_t *
put_u16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
	return at + 2;
}

static uint8_t *
put_slice(uint8_t *at, struct slice s)
{
	if (s.n)
		memcpy(at, s.p, s.n);
	return at + s.n;
}

/* What the broker says itself; what is passed on follows. */
static uint8_t *
write_props(uint8_t *at, const struct plan *p, const struct delivery *d)
{
	at = varint_write(at, p->props);
	if (p->expires) {
		*at++ = PROP_MESSAGE_EXPIRY;
		at = put_u16(at, (uint16_t)(p->expiry >> 16));
		at = put_u16(at, (uint16_t)p->expiry);
	}
	if (p->alias) {
		*at++ = PROP_TOPIC_ALIAS;
		at = put_u16(at, p->alias);
	}
	for (unsigned i = 0; i < ids_count(d->ids); i++) {
		*at++ = PROP_SUBSCRIPTION_ID;
		at = varint_write(at, ids_at(d->ids, i));
	}
	return at;
}

/* 3.3.1: the fixed header's first byte. */
static uint8_t
first_byte(const struct delivery *d, bool dup)
{
	return (uint8_t)(MQTT_PUBLISH << 4 | (dup ? 8 : 0) | d->qos << 1 |
	    d->retain);
}

/* Whether m's payload, the last part of a PUBLISH, is lent instead of copied. */
static bool
lends(struct link *l, const struct msg *m)
{
	return m->payload_len >= LOAN_MIN && l->gathers &&
	    loans_reserve(&l->loans) == NJ_OK;
}

/* A PUBLISH is written up to at. */
static void
commit(struct link *l, const uint8_t *at, struct msg *lent)
{
	buf_commit(&l->out, (size_t)(at - (l->out.p + l->out.len)));
	if (lent)
		loans_add(l->loans, &l->out, lent);
	l->packets++;
}

static enum nj_err
publish3(struct link *l, const struct delivery *d, bool dup)
{
	const struct msg *m = d->msg;
	uint32_t body = 2u + m->topic_len + m->payload_len;
	uint32_t remaining = body + (d->qos ? 2 : 0);
	bool lent = lends(l, m);
	uint8_t *at;
	enum nj_err e;

	/* an alias, or a longer header, can make it more than it was */
	if (remaining > MQTT_VARINT_MAX)
		return NJ_TOOBIG;
	link_kick(l);
	if ((e = buf_reserve(
		 &l->out, remaining + 5 - (lent ? m->payload_len : 0), &at)))
		return e;
	*at = first_byte(d, dup);
	at = varint_write(at + 1, remaining);
	if (d->qos == 0 && !lent) {
		/* topic and payload stand in wire order: one copy */
		memcpy(at, m->data, body);
		at += body;
	} else {
		at = put_slice(at, slice_of(m->data, 2u + m->topic_len));
		if (d->qos)
			at = put_u16(at, d->pid);
		if (!lent)
			at = put_slice(at, msg_payload(m));
	}
	commit(l, at, lent ? d->msg : NULL);
	return NJ_OK;
}

/*
 * A new alias keeps its message, for the topic in it: none for a large one, to
 * which it would add nothing.  Nor where the packet is too large only with it.
 */
#define ALIAS_REST_MAX 4096u

static bool
may_begin_alias(const struct msg *m)
{
	return (uint64_t)m->payload_len + m->props_len + m->source_len <=
	    ALIAS_REST_MAX;
}

static void
plan_size(struct plan *p, const struct delivery *d, struct slice topic,
    uint32_t passed_on, uint64_t now_ms)
{
	plan_props(p, d, passed_on, now_ms);
	p->remaining = 2u + (p->topic_known ? 0 : (uint32_t)topic.n) +
	    (d->qos ? 2 : 0) + varint_size(p->props) + p->props +
	    d->msg->payload_len;
}

static bool
gives_up_alias(struct plan *p, const struct link *l)
{
	if (!p->alias || p->topic_known || link_fits(l, p->remaining))
		return false;
	p->alias = 0;
	return true;
}

/* topic and props: of the message as the client sees it. */
static enum nj_err
publish5(struct link *l, const struct delivery *d, struct slice topic,
    struct slice props, bool dup, uint64_t now_ms)
{
	struct plan p = { .alias = 0 };
	uint64_t hash = 0;
	const struct msg *m = d->msg;
	bool lent = lends(l, m);
	uint8_t *at;
	enum nj_err e;

	p.alias = aliases_find(&l->aliases, m, &p.topic_known, &hash);
	if (!p.topic_known && !may_begin_alias(m))
		p.alias = 0;
	do
		plan_size(&p, d, topic, (uint32_t)props.n, now_ms);
	while (gives_up_alias(&p, l));
	if (p.remaining > MQTT_VARINT_MAX || !link_fits(l, p.remaining))
		return NJ_TOOBIG; /* [MQTT-3.1.2-24], [-25] */
	link_kick(l);
	if ((e = buf_reserve(
		 &l->out, p.remaining + 5 - (lent ? m->payload_len : 0), &at)))
		return e;
	*at = first_byte(d, dup);
	at = varint_write(at + 1, p.remaining);
	if (p.topic_known)
		at = put_u16(at, 0);
	else
		at = put_slice(put_u16(at, (uint16_t)topic.n), topic);
	if (d->qos)
		at = put_u16(at, d->pid);
	at = put_slice(write_props(at, &p, d), props);
	if (!lent)
		at = put_slice(at, msg_payload(m));
	commit(l, at, lent ? d->msg : NULL);
	if (p.alias && !p.topic_known)
		aliases_set(&l->aliases, p.alias, d->msg, hash);
	return NJ_OK;
}

/* MQTT 3, where the topic is not the one in the message. */
static enum nj_err
publish3_as(
    struct link *l, const struct delivery *d, struct slice topic, bool dup)
{
	uint32_t remaining =
	    2u + (uint32_t)topic.n + (d->qos ? 2 : 0) + d->msg->payload_len;
	uint8_t *at;
	enum nj_err e;

	if (remaining > MQTT_VARINT_MAX)
		return NJ_TOOBIG;
	link_kick(l);
	if ((e = buf_reserve(&l->out, remaining + 5, &at)))
		return e;
	*at = first_byte(d, dup);
	at = varint_write(at + 1, remaining);
	at = put_slice(put_u16(at, (uint16_t)topic.n), topic);
	if (d->qos)
		at = put_u16(at, d->pid);
	at = put_slice(at, msg_payload(d->msg));
	commit(l, at, NULL);
	return NJ_OK;
}

static bool
is_seen(struct link *l, const struct msg *m, struct slice *topic)
{
	return mount_seen(l->mount, msg_topic(m), topic) &&
	    (topic->p[0] != '$' || l->ops->sees(l, msg_topic(m)));
}

bool
link_hides(struct link *l, const struct msg *m)
{
	struct slice topic;

	return l->mount && !is_seen(l, m, &topic);
}

/* For a client who does not see a part of its topics. */
static enum nj_err
publish_mounted(
    struct link *l, const struct delivery *d, bool dup, uint64_t now_ms)
{
	struct slice topic, props;
	struct buf own = { 0 };
	enum nj_err e;

	if (!is_seen(l, d->msg, &topic))
		return NJ_TOOBIG;
	if (l->version != MQTT5)
		return publish3_as(l, d, topic, dup);
	if (!(e = mount_strip_props(l->mount, msg_props(d->msg), &own, &props)))
		e = publish5(l, d, topic, props, dup, now_ms);
	buf_fini(&own);
	return e;
}

enum nj_err
link_publish(
    struct link *l, const struct delivery *d, bool dup, uint64_t now_ms)
{
	if (l->closing)
		return NJ_EOF;
	if (l->mount)
		return publish_mounted(l, d, dup, now_ms);
	if (l->version != MQTT5)
		return publish3(l, d, dup);
	return publish5(
	    l, d, msg_topic(d->msg), msg_props(d->msg), dup, now_ms);
}

/* What a client is told besides the code.  Nothing about rules or others:
 * who guesses learns no more from it than from the code. */
static struct slice
reason_of(const struct link *l, uint8_t code)
{
	struct slice why = LIT("no rule allows this client to publish here");
	uint32_t n = 3 + 1 + 3 + (uint32_t)why.n;

	return code == RC_NOT_AUTHORIZED && l->explains && link_fits(l, n)
	    ? why
	    : SLICE_NONE;
}

enum nj_err
link_ack(struct link *l, enum mqtt_type type, uint16_t id, uint8_t code)
{
	struct slice why = reason_of(l, code);
	uint8_t *at;
	enum nj_err e;

	if (l->closing)
		return NJ_EOF;
	link_kick(l);
	if ((e = buf_reserve(&l->out, 5 + 4 + why.n, &at)))
		return e;
	/* PUBREL carries 0010 in its flags [MQTT-3.6.1-1] */
	*at++ = (uint8_t)(type << 4 | (type == MQTT_PUBREL ? 2 : 0));
	if (why.n > 0) { /* all of it is shorter than 128 bytes */
		*at++ = (uint8_t)(3 + 1 + 3 + why.n);
		at = put_u16(at, id);
		*at++ = code;
		*at++ = (uint8_t)(3 + why.n);
		*at++ = PROP_REASON_STRING;
		at = put_u16(at, (uint16_t)why.n);
		memcpy(at, why.p, why.n);
		at += why.n;
	} else if (l->version == MQTT5 && code != RC_SUCCESS) {
		*at++ = 3;
		at = put_u16(at, id);
		*at++ = code;
	} else {
		*at++ = 2;
		at = put_u16(at, id);
	}
	buf_commit(&l->out, (size_t)(at - (l->out.p + l->out.len)));
	l->packets++;
	return NJ_OK;
}
