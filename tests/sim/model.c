/* SPDX-License-Identifier: Apache-2.0
 */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "edge.h"
#include "sim.h"

uint32_t
model_message(struct client *c, const char *topic, uint8_t qos, bool retain,
    bool will, uint32_t len, uint32_t expiry_s)
{
	struct model *md = &sim->model;

	if (md->n_msgs == 0)
		md->n_msgs = 1;
	if (md->n_msgs == MODEL_MSGS)
		return 0;
	md->msgs[md->n_msgs] = (struct mmsg){
		.client = c->n,
		.topic = topic,
		.qos = qos,
		.retain = retain,
		.will = will,
		.len = len,
		.expiry_s = expiry_s,
		.from = NEVER,
		.upto = NEVER,
		.late = NEVER,
	};
	return md->n_msgs++;
}

/* 4.7, level by level. */
static bool
matches(const char *f, const char *t)
{
	for (;;) {
		size_t fn = strcspn(f, "/"), tn = strcspn(t, "/");

		if (fn == 1 && *f == '#')
			return true;
		if (!(fn == 1 && *f == '+') &&
		    (fn != tn || memcmp(f, t, fn) != 0))
			return false;
		f += fn;
		t += tn;
		if (!*f || !*t)
			break;
		f++;
		t++;
	}
	/* "a/#" is for "a" as well */
	return !*t && (!*f || strcmp(f, "/#") == 0);
}

bool
model_matches(const char *filter, const char *topic)
{
	if (*topic == '$' && (*filter == '+' || *filter == '#'))
		return false; /* [MQTT-4.7.2-1] */
	return matches(filter, topic);
}

/* [MQTT-3.8.3-3] */
bool
model_is_own(
    const struct msession *s, const struct msub *u, const struct mmsg *m)
{
	return u->no_local && m->by == s;
}

/* The filter inside of "$share/group/filter". */
static const char *
inner(const struct msub *u)
{
	const char *at = u->filter;

	for (int i = 0; u->shared && i < 2; i++)
		at = strchr(at, '/') + 1;
	return at;
}

bool
model_maybe(const struct msub *u, const struct mmsg *m)
{
	/* a group may choose once more, when the one it chose has gone */
	return (u->shared || u->asked <= m->late) && u->gone >= m->from &&
	    model_matches(inner(u), m->topic);
}

bool
model_sure(const struct msub *u, const struct mmsg *m)
{
	return u->granted < m->from &&
	    (u->undone == NEVER || u->undone > m->late) &&
	    model_matches(inner(u), m->topic);
}

static void
add(struct due *d, const struct msub *u, const struct mmsg *m)
{
	uint8_t qos = u->qos < m->qos ? u->qos : m->qos;

	if (!model_maybe(u, m))
		return;
	d->maybe = true;
	d->n_maybe++;
	if (qos > d->hi)
		d->hi = qos;
	if (!model_sure(u, m))
		return;
	d->sure = true;
	d->n_sure++;
	if (qos > d->lo)
		d->lo = qos;
}

struct due
model_due(const struct msession *s, const struct mmsg *m)
{
	struct due d = { 0 };

	for (unsigned i = 0; i < s->n_subs; i++)
		if (!s->subs[i].shared && !model_is_own(s, &s->subs[i], m))
			add(&d, &s->subs[i], m);
	return d;
}

struct due
model_shared(const struct msession *s, const struct mmsg *m, const char *filter)
{
	struct due d = { 0 };

	for (unsigned i = 0; i < s->n_subs; i++)
		if (s->subs[i].shared &&
		    (!filter || strcmp(s->subs[i].filter, filter) == 0))
			add(&d, &s->subs[i], m);
	return d;
}

struct got *
model_got(struct msession *s, uint32_t uid)
{
	uint32_t n = s->n_got ? s->n_got : 64;

	if (uid >= s->n_got) {
		while (n <= uid)
			n *= 2;
		s->got = realloc(s->got, n * sizeof *s->got);
		if (!s->got)
			abort();
		memset(s->got + s->n_got, 0, (n - s->n_got) * sizeof *s->got);
		s->n_got = n;
	}
	return &s->got[uid];
}

static unsigned
topic_number(const char *topic)
{
	for (unsigned i = 0; i < TOPICS; i++)
		if (strcmp(topic, topics[i]) == 0)
			return i;
	return TOPICS;
}

/* 4.6: one publisher's messages of one topic and QoS keep their order; what is
 * sent again may be late. */
static void
check_order(struct msession *s, const struct mmsg *m, uint32_t uid, uint8_t qos)
{
	unsigned pair = m->client * TOPICS + topic_number(m->topic);
	uint32_t *last = &s->last[pair * 9 + m->qos * 3u + qos];

	/* one that the broker read twice it may have routed twice; a group's
	 * are not ordered */
	if (m->will || m->retain || m->times > 1 ||
	    s->client->role == ROLE_WORKER)
		return;
	if (uid < *last && !s->vague)
		sim_fail("%s gets m%u (%s, qos %u) of client-%02u after m%u",
		    s->client->id, uid, m->topic, qos, m->client, *last);
	else
		*last = uid;
}

void
model_received(struct client *c, const char *topic, const struct publish *p)
{
	struct msession *s = c->conn->edge->session;
	uint32_t uid = payload_uid(p->payload);
	struct mmsg *m;
	struct got *g;

	if (strncmp(topic, "$SYS/", 5) == 0)
		return;
	if (p->payload.n == 0)
		return;
	if (uid == 0 || uid >= sim->model.n_msgs || !s) {
		sim_fail("%s gets a message that nobody sent", c->id);
		return;
	}
	m = &sim->model.msgs[uid];
	g = model_got(s, uid);
	trace("%s has m%u qos %u%s%s", c->id, uid, p->qos, p->dup ? " dup" : "",
	    p->retain ? " retained" : "");
	if (strcmp(topic, m->topic) != 0)
		sim_fail("%s gets m%u to '%s', not '%s'", c->id, uid, topic,
		    m->topic);
	if (c->role == ROLE_AUDITOR)
		c->seen_retained++;
	if (g->times == 0 && !p->retain)
		check_order(s, m, uid, p->qos);
	if (g->times < 255)
		g->times++;
	if (p->retain && g->retained < 255)
		g->retained++;
	/* [MQTT-4.3.3]: exactly once; at most once.  One that has ended was
	 * forgotten here as well, and what it was sent may be on its way. */
	if (p->qos == 2 && g->times2 < 255 && ++g->times2 > 1 && !m->retain &&
	    !s->vague && s->ended == NEVER)
		sim_fail("%s has m%u (qos 2) twice", c->id, uid);
	/* a group's is with another member, after a cut, and comes from there */
	if (p->qos == 0 && g->times0 < 255 && ++g->times0 > m->times &&
	    !m->retain && !m->will &&
	    (sim->cuts == 0 || c->role != ROLE_WORKER))
		sim_fail("%s has m%u (qos 0) %u times", c->id, uid, g->times0);
}

void
model_fini(void)
{
	struct model *md = &sim->model;

	for (unsigned i = 0; i < md->n_sessions; i++) {
		free(md->sessions[i]->subs);
		free(md->sessions[i]->got);
		free(md->sessions[i]);
	}
	md->n_sessions = 0;
}
