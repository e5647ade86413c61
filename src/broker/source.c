/* SPDX-License-Identifier: Apache-2.0
 *
 * In wire form it is a user property without a name, so that whoever takes a
 * stored message apart finds its way; the value has the parts below, each with
 * its length in front.
 */
#include "broker/source.h"

#include "auth/decide.h"
#include "auth/principal.h"
#include "auth/rolebase.h"
#include "broker/guard.h"
#include "broker/internal.h"
#include "net/listener.h"

enum { PARTS = 6 };

static void
parts_of(const struct principal *who, struct slice v[PARTS])
{
	v[0] = who->name;
	v[1] = slice_eq(who->claimed, who->name) ? SLICE_NONE : who->claimed;
	v[2] = who->client_id;
	v[3] = who->address;
	v[4] = who->listener;
	v[5] = who->groups;
}

static enum nj_err
write_source(struct buf *b, const struct principal *who)
{
	struct slice v[PARTS];
	size_t n = PARTS * 2u;
	enum nj_err e;

	parts_of(who, v);
	for (unsigned i = 0; i < PARTS; i++)
		n += v[i].n;
	if (n > UINT16_MAX)
		return NJ_TOOBIG;
	buf_truncate(b, 0);
	if ((e = buf_put_u8(b, PROP_USER)) || (e = buf_put_u16(b, 0)) ||
	    (e = buf_put_u16(b, (uint16_t)n)))
		return e;
	for (unsigned i = 0; !e && i < PARTS; i++)
		if (!(e = buf_put_u16(b, (uint16_t)v[i].n)))
			e = buf_put_slice(b, v[i]);
	return e;
}

/* Whoever retains one message mostly goes on to retain others, and is the same:
 * the epoch is his who was found to be it. */
static bool
is_retainer(const struct shard *sh, const struct session *s)
{
	return sh->retainer.session == s->number &&
	    sh->retainer.who == s->who->epoch;
}

static enum nj_err
make_retainer(struct shard *sh, const struct session *s)
{
	enum nj_err e;

	sh->retainer.session = 0;
	if ((e = write_source(&sh->retainer.text, s->who)))
		return e;
	sh->retainer.id = guard_identity(s->who, session_id(s));
	sh->retainer.session = s->number;
	sh->retainer.who = s->who->epoch;
	return NJ_OK;
}

enum nj_err
source_msg_new(const struct session *s, const struct publish *p,
    struct slice topic, uint64_t now_ms, struct msg **out)
{
	struct shard *sh = LIST_OWNER(s->home, struct shard, home);
	enum nj_err e;

	if (!p->retain || !s->who || p->payload.n == 0)
		return msg_new(p, topic, now_ms, out);
	if (!is_retainer(sh, s) && (e = make_retainer(sh, s)))
		return e;
	return msg_new_from(
	    p, topic, now_ms, buf_slice(&sh->retainer.text), out);
}

uint64_t
source_identity(const struct session *s)
{
	const struct shard *sh = LIST_OWNER(s->home, struct shard, home);

	return s->who && is_retainer(sh, s)
	    ? sh->retainer.id
	    : guard_identity(s->who, session_id(s));
}

/* False: it was written by nobody we know. */
static bool
read_source(struct slice s, struct principal *who)
{
	struct slice name, value, v[PARTS];
	uint8_t id;

	if (take_u8(&s, &id) || take_bin(&s, &name) || take_bin(&s, &value))
		return false;
	for (unsigned i = 0; i < PARTS; i++)
		if (take_bin(&value, &v[i]))
			return false;
	*who = (struct principal){
		.name = v[0],
		.claimed = v[1].n ? v[1] : v[0],
		.client_id = v[2],
		.address = v[3],
		.listener = v[4],
		.groups = v[5],
	};
	who->has_ip = principal_address(who->address, who->ip);
	return true;
}

bool
source_owner(const struct msg *m, uint64_t *id)
{
	struct principal who;

	if (m->source_len == 0 || !read_source(msg_source(m), &who))
		return false;
	*id = guard_identity(&who, who.client_id);
	return true;
}

bool
source_is(const struct msg *m, const struct session *s)
{
	struct principal who;

	return m->from == s->number ||
	    (m->source_len > 0 && read_source(msg_source(m), &who) &&
		who.client_id.n > 0 && slice_eq(who.client_id, session_id(s)));
}

/* The listener he came by; NULL: it is not there any more. */
static const struct port_opts *
port_of(const struct port_set *set, struct slice where)
{
	for (size_t i = 0; i < set->n; i++)
		if (slice_is(where, set->v[i].listener->where))
			return &set->v[i];
	return NULL;
}

static bool
may_by(struct shard *sh, const struct port_opts *po,
    const struct principal *who, const struct msg *m)
{
	struct decision rule;
	struct asker a = {
		.who = who,
		.client_id = who->client_id,
		.acl = po->acl,
		.roles =
		    po->roles ? rolebase_seen(po->roles, sh->home.shard) : NULL,
	};

	return decide(&a, ACTION_PUBLISH, msg_topic(m), &rule);
}

bool
source_may(struct shard *sh, const struct msg *m)
{
	const struct port_opts *po;
	struct principal who;

	if (m->source_len == 0 || !sh->limits.check_source || sh->set->n == 0)
		return true;
	if (!read_source(msg_source(m), &who))
		return false;
	if ((po = port_of(sh->set, who.listener)))
		return may_by(sh, po, &who, m);
	/* it may have been that one, as with sessions (may_anywhere) */
	for (size_t i = 0; i < sh->set->n; i++)
		if (!sh->set->v[i].est && !may_by(sh, &sh->set->v[i], &who, m))
			return false;
	return true;
}
