/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom a half-received message is for.
 */
#include "cmd/import_impl.h"
#include "core/delivery.h"
#include "core/index.h"
#include "wire/topic.h"

/* Shared subscriptions that such a message goes to, one member each. */
#define ROUTED_SHARES 16

/* Whether another member of the same shared subscription has it. */
static bool
share_has(struct slice seen[ROUTED_SHARES], unsigned *n, struct slice whole)
{
	for (unsigned i = 0; i < *n; i++)
		if (slice_eq(seen[i], whole))
			return true;
	if (*n == ROUTED_SHARES)
		return true;
	seen[(*n)++] = whole;
	return false;
}

/* The sessions that a message is for, each once. */
static struct taken *
match(struct import *im, const struct carried *c)
{
	struct slice topic = msg_topic(c->msg);
	struct slice shares[ROUTED_SHARES] = { SLICE_NONE };
	struct taken *first = NULL;
	unsigned n = 0;

	for (size_t i = 0; i < im->n_subs; i++) {
		const struct wanted *w = &im->subs[i];
		struct taken *t = w->session;
		uint8_t qos = w->options & SUB_QOS;

		if (!topic_matches(w->filter, topic) ||
		    ((w->options & SUB_NO_LOCAL) &&
			slice_eq(c->from, t->client)) ||
		    (w->shared && share_has(shares, &n, w->whole)))
			continue;
		if (!t->hit) {
			/* the last one points at itself */
			t->hit = first ? first : t;
			t->hit_qos = 0;
			t->hit_ids = 0;
			first = t;
		}
		if (qos >= t->hit_qos) {
			t->hit_qos = qos;
			t->hit_ids = w->options >> 4;
		}
	}
	return first;
}

/* Mosquitto hands a QoS 2 message on when the client releases it, this broker
 * when it is received; so those that it has received go out now. */
enum nj_err
import_route(struct import *im, const struct mosq_item *it)
{
	struct taken *from = map_get(&im->sessions, it->client);
	struct carried *c =
	    map_get(&im->messages, slice_of(&it->msg, sizeof it->msg));
	enum nj_err e = NJ_OK;

	if (it->kind != MOSQ_ENTRY || it->out || it->qos != 2 || it->pid == 0 ||
	    !c || !c->msg || c->expired || !from || !from->id)
		return NJ_OK;
	for (struct taken *t = match(im, c), *next; t && !e; t = next) {
		uint8_t qos = t->hit_qos < 2 ? t->hit_qos : 2;

		next = t->hit == t ? NULL : t->hit;
		t->hit = NULL;
		if (qos == 0)
			continue; /* nobody is there for it */
		im->result->took[TOOK_QUEUED]++;
		e = import_put_entry(
		    im, t, c, 0, qos, DELIVERY_QUEUED, false, t->hit_ids);
	}
	if (!e && c->msg->retain && c->msg->payload_len > 0) {
		im->result->took[TOOK_RETAINED]++;
		e = batch_retain(im->batch, ++im->order, c);
	} else if (!e && c->msg->retain) {
		e = batch_retain_end(im->batch, ++im->order, msg_topic(c->msg));
	}
	return e;
}
