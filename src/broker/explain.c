/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/explain.h"

#include <assert.h>
#include <stdio.h>

#include "auth/rolebase.h"
#include "base/text.h"
#include "broker/call.h"
#include "broker/internal.h"
#include "broker/sessions.h"
#include "net/listener.h"

enum { TEXTS = 6 };

static void
texts_of(struct supposed *s, struct slice *v[TEXTS])
{
	v[0] = &s->user;
	v[1] = &s->client_id;
	v[2] = &s->address;
	v[3] = &s->listener;
	v[4] = &s->groups;
	v[5] = &s->topic;
}

static enum nj_err
put_question(struct buf *b, const struct supposed *from)
{
	struct supposed s = *from;
	struct slice *v[TEXTS];
	enum nj_err e = buf_put(b, &s, sizeof s);

	texts_of(&s, v);
	for (unsigned i = 0; !e && i < TEXTS; i++)
		e = buf_put_slice(b, *v[i]);
	return e;
}

static void
take_question(struct slice in, struct supposed *s)
{
	struct slice *v[TEXTS], whole;
	enum nj_err e = take_bytes(&in, sizeof *s, &whole);

	assert(e == NJ_OK);
	memcpy(s, whole.p, sizeof *s);
	texts_of(s, v);
	for (unsigned i = 0; i < TEXTS; i++) {
		e = take_bytes(&in, v[i]->n, v[i]);
		assert(e == NJ_OK); /* what put_question wrote */
	}
}

static const struct port_opts *
port_called(const struct port_set *set, struct slice name)
{
	for (size_t i = 0; i < set->n; i++)
		if (name.n == 0 || listener_is(set->v[i].listener, name))
			return &set->v[i];
	return NULL;
}

static bool
all_alike(const struct port_set *set)
{
	for (size_t i = 1; i < set->n; i++)
		if (set->v[i].acl != set->v[0].acl ||
		    set->v[i].roles != set->v[0].roles)
			return false;
	return true;
}

static void
answer_here(const struct session *s, struct supposed *q, struct explained *out)
{
	struct asker a = sessions_asker(s);
	struct decision why;

	out->here = out->sure = true;
	out->may = decide(&a, q->what, q->topic, &why);
	out->each = why.each;
	out->granted = !out->may && !why.firm;
	if (s->who) {
		q->user = s->who->name.n ? s->who->name : s->who->claimed;
		(void)text_esc(
		    out->listener, sizeof out->listener, s->who->listener);
	}
	(void)snprintf(out->rule, sizeof out->rule, "%s", why.text);
	suppose_text(q, out->may, &why, out->text, sizeof out->text);
}

static bool
answer_supposed(
    const struct shard *sh, struct supposed *q, struct explained *out)
{
	const struct port_opts *po = port_called(sh->set, q->listener);
	struct asker rules = { 0 };
	struct decision why;

	if (!po)
		return false;
	out->sure = q->listener.n > 0 || all_alike(sh->set);
	rules.acl = po->acl;
	rules.roles =
	    po->roles ? rolebase_seen(po->roles, sh->home.shard) : NULL;
	q->listener = slice_str(po->listener->where);
	out->may = suppose_decide(q, &rules, &why);
	out->each = why.each;
	out->granted = !out->may && !why.firm;
	(void)snprintf(out->rule, sizeof out->rule, "%s", why.text);
	(void)snprintf(
	    out->listener, sizeof out->listener, "%s", po->listener->where);
	suppose_text(q, out->may, &why, out->text, sizeof out->text);
	return true;
}

static bool
answer(struct shard *sh, struct slice in, struct call_part *p)
{
	struct explained out = { 0 };
	struct supposed q = { 0 };
	const struct session *s;

	take_question(in, &q);
	s = q.client_id.n && !q.user.n && !q.listener.n && !q.address.n
	    ? session_find(&sh->home, q.client_id)
	    : NULL;
	if (s) {
		answer_here(s, &q, &out);
	} else if (!answer_supposed(sh, &q, &out)) {
		p->e = NJ_NOTFOUND;
		return true;
	}
	out.granted = out.granted && q.what == ACTION_SUBSCRIBE &&
	    !sh->limits.deny_subscribe;
	(void)text_esc(out.user, sizeof out.user, q.user);
	p->e = buf_put(&p->out, &out, sizeof out);
	return true;
}

enum nj_err
explain(struct broker *b, const struct supposed *s, unsigned timeout_ms,
    struct explained *out, struct nj_why *why)
{
	struct buf in = { 0 };
	struct call *c = NULL;
	struct slice bytes;
	enum nj_err e;

	if ((e = suppose_check(s, why)))
		return e;
	if (!(e = put_question(&in, s)))
		e = call_shards(b,
		    s->client_id.n ? shard_of_id(b, s->client_id) : 0, answer,
		    buf_slice(&in), timeout_ms, &c);
	buf_fini(&in);
	if (e == NJ_NOTFOUND)
		why_set(why, "there is no such listener");
	if (e)
		return e;
	if (call_answer(c, 0, &bytes) && bytes.n == sizeof *out)
		memcpy(out, bytes.p, sizeof *out);
	else
		e = NJ_EOF;
	call_free(c);
	return e;
}
