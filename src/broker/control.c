/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/control.h"

#include <stdlib.h>
#include <string.h>

#include "auth/principal.h"
#include "auth/rolebase.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/workers.h"
#include "broker/listing.h"
#include "broker/present.h"
#include "broker/reload.h"
#include "broker/route.h"
#include "broker/sessions.h"
#include "wire/topic.h"

struct control {
	struct letter letter;
	struct job job;
	struct shard *shard;
	struct conn *conn;    /* NULL: gone */
	struct rolebase *rb;  /* of dynamic security, or NULL, and */
	struct port_set *set; /* the listeners are asked about */
	void (*ack)(struct conn *c, uint8_t qos, uint16_t id, enum mqtt_rc rc);
	uint8_t qos;
	uint16_t id;
	bool end; /* its user may not go on */
	enum nj_err e;
	struct principal *who;
	struct buf command, answer;
	size_t id_len;
	uint8_t client_id[];
};

bool
control_is_topic(struct slice topic)
{
	return slice_has_prefix(topic, LIT("$CONTROL/"));
}

static void
control_free(struct control *k)
{
	rolebase_unref(k->rb);
	port_set_leave(k->shard, k->set);
	principal_unref(k->who);
	buf_wipe(&k->command);
	buf_fini(&k->answer);
	free(k);
}

static void
run(struct job *j)
{
	struct control *k = LIST_OWNER(j, struct control, job);
	struct rolebase_admin who = { .client_id =
					  slice_of(k->client_id, k->id_len),
		.user = k->who->name };
	struct present present = { 0 };

	k->letter.kind = LETTER_CONTROL;
	if (k->set) {
		k->e = listing_run(k->set, buf_slice(&k->command), &k->answer);
		shard_post(k->shard, &k->letter);
		return;
	}
	/* without workers this is a shard, which cannot wait for itself */
	if (k->shard->broker->opts.control)
		present_look(
		    &present, k->shard->broker, buf_slice(&k->command), &who);
	k->e = rolebase_run(k->rb, &who, buf_slice(&k->command), &k->answer);
	present_fini(&present);
	buf_wipe(&k->command);
	shard_post(k->shard, &k->letter);
}

enum nj_err
control_take(struct conn *c, const struct publish *p, struct slice topic,
    void (*ack)(struct conn *c, uint8_t qos, uint16_t id, enum mqtt_rc rc))
{
	struct workers *w = c->shard->broker->opts.control;
	struct rolebase *rb = c->session->roles;
	struct slice id = session_id(c->session);
	bool listing =
	    c->shard->limits.control_api && slice_is(topic, LISTING_TOPIC);
	struct control *k;
	enum nj_err e;

	if (!listing && (!rb || !slice_is(topic, ROLEBASE_TOPIC)))
		return NJ_OK;
	if (!(k = calloc(1, sizeof *k + id.n)))
		return NJ_NOMEM;
	k->id_len = id.n;
	memcpy(k->client_id, id.p, id.n);
	k->shard = c->shard;
	k->conn = c;
	if (listing) {
		k->set = c->shard->set;
		(void)atomic_fetch_add(&k->set->refs, 1);
	} else {
		k->rb = rolebase_ref(rb);
	}
	k->who = principal_ref(c->session->who);
	k->ack = ack;
	k->qos = p->qos;
	k->id = p->id;
	k->job.run = run;
	if ((e = buf_put_slice(&k->command, p->payload))) {
		control_free(k);
		return e;
	}
	c->control = k;
	conn_update_wants(c);
	if (!w) {
		run(&k->job);
	} else if ((e = workers_submit(w, &k->job))) {
		c->control = NULL;
		control_free(k);
		return e;
	}
	return NJ_AGAIN;
}

/* At QoS 0, as Mosquitto does. */
static void
say(struct conn *c, struct slice topic, const struct buf *answer)
{
	struct session *s = c->session;
	struct publish p = { .payload = buf_slice(answer) };
	struct asker a = sessions_asker(s);
	struct decision rule;
	char name[TEXT_ESC];
	struct msg *m;

	if (!route_reaches(c->shard, s, topic))
		return;
	if (!decide(&a, ACTION_RECEIVE, topic, &rule)) {
		nj_log(LOG_T_NOTICE, "Answer to %s on '%s' withheld: %s",
		    conn_name(c, name, sizeof name), (const char *)topic.p,
		    rule.text);
		return;
	}
	if (msg_new(&p, topic, c->shard->home.now_ms, &m)) {
		conn_end(c, RC_IMPLEMENTATION_SPECIFIC, "out of memory");
		return;
	}
	session_deliver(s, &(struct delivery){ .msg = m });
	msg_unref(m);
}

void
control_answered(struct shard *sh, struct letter *l)
{
	struct control *k = LIST_OWNER(l, struct control, letter);
	struct conn *c = k->conn;

	(void)sh;
	if (c && c->state == CONN_LIVE && !c->link.closing) {
		struct keep *keep = &c->shard->durable.keep;

		c->control = NULL;
		keep->dirty = keep->failed = false;
		k->ack(c, k->qos, k->id,
		    k->e ? RC_IMPLEMENTATION_SPECIFIC : RC_SUCCESS);
		if (!k->e && c->state == CONN_LIVE && !c->link.closing)
			say(c,
			    k->set ? LIT(LISTING_RESPONSE)
				   : LIT(ROLEBASE_RESPONSE),
			    &k->answer);
		if (k->end && c->state == CONN_LIVE && !c->link.closing)
			control_end(c);
		if (c->state == CONN_LIVE)
			conn_resume(c);
	} else if (c) {
		c->control = NULL;
	}
	control_free(k);
}

void
control_abandon(struct conn *c)
{
	if (c->control)
		c->control->conn = NULL;
	c->control = NULL;
}

void
control_end(struct conn *c)
{
	/* as Mosquitto: whoever is thrown out leaves no will behind */
	c->clean_disconnect = true;
	conn_end(c, RC_ADMINISTRATIVE_ACTION,
	    "its user is gone, disabled, or has another password or client "
	    "identifier");
}

void
control_end_after(struct conn *c)
{
	c->control->end = true;
}
