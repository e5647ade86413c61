/* SPDX-License-Identifier: Apache-2.0
 *
 * The file is read three times: messages and clients, then what names them,
 * then the messages that were half received.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/import_impl.h"
#include "core/delivery.h"
#include "core/index.h"
#include "wire/topic.h"

/* Shared subscriptions of one session, as sessions number them. */
#define SHARES_MAX 255
/* Half-received messages that are routed here: each is compared with every
 * subscription. */
#define ROUTED_MAX 1000

const char *const import_took_text[TOOK_KINDS] = {
	[TOOK_SESSIONS] = "sessions",
	[TOOK_SUBS] = "subscriptions",
	[TOOK_RETAINED] = "retained messages",
	[TOOK_QUEUED] = "queued messages",
	[TOOK_INFLIGHT] = "messages in flight",
	[TOOK_RECEIVED] = "QoS 2 identifiers not released",
};

const char *const import_left_text[LEFT_REASONS] = {
	[LEFT_SESSION_EXPIRED] = "sessions that had expired",
	[LEFT_SESSION_ENDED] = "sessions that end with their connection",
	[LEFT_SESSION_NAME] = "sessions whose client identifier is none",
	[LEFT_USER] = "user names that are none, of sessions that were taken",
	[LEFT_USER_DOUBT] = ("user names that Mosquitto before 2.0.16 may have "
			     "taken from another client, of sessions that "
			     "were taken"),
	[LEFT_SESSION_TWICE] = "sessions of a client that has one already",
	[LEFT_MESSAGE_EXPIRED] = "messages that had expired",
	[LEFT_MESSAGE_TOPIC] = "messages whose topic is none",
	[LEFT_MESSAGE_TWICE] = "messages with the number of another",
	[LEFT_ENTRY_SESSION] =
	    "queued messages of sessions that were not taken",
	[LEFT_ENTRY_MESSAGE] = "queue entries whose message was not taken",
	[LEFT_SUB_SESSION] = "subscriptions of sessions that were not taken",
	[LEFT_SUB_FILTER] = "subscriptions whose filter or identifier is none",
	[LEFT_SUB_SHARES] = "shared subscriptions beyond 255 of one session",
	[LEFT_RETAIN_MESSAGE] = "retained topics whose message was not taken",
	[LEFT_RETAIN_SYS] = "retained messages of $SYS",
	[LEFT_HALF_RECEIVED] = "half-received QoS 2 messages beyond 1000",
	[LEFT_MESSAGE_UNNAMED] =
	    "messages that nothing names (of clients without a session)",
	[LEFT_CHUNK] = "chunks of a kind that is not known",
};

const char *const import_lack_text[LACKS] = {
	[LACK_SETTINGS] = "the settings that such a file begins with",
	[LACK_MESSAGES] = "messages that it names, in queues or as retained",
	[LACK_CLIENTS] =
	    "clients that it names, with messages or subscriptions",
	[LACK_RETAINED] =
	    "topics, perhaps, of messages that were sent to be retained",
	[LACK_END] = "what came later: Mosquitto went on after it was written",
};

static struct slice
number_of(const void *value)
{
	const struct carried *c = value;

	return slice_of(&c->number, sizeof c->number);
}

static struct slice
client_of(const void *value)
{
	return ((const struct taken *)value)->client;
}

static void
leave(struct import *im, enum import_left why, const struct mosq_item *it)
{
	if (im->result->left[why]++ == 0)
		im->result->left_at[why] = it->offset;
}

/* NULL: it was not taken, or is not there, which is noted. */
static struct carried *
message(struct import *im, uint64_t number)
{
	struct carried *c =
	    map_get(&im->messages, slice_of(&number, sizeof number));

	if (!c) {
		im->result->lacks[LACK_MESSAGES]++;
		return NULL;
	}
	c->named = true;
	return c->msg ? c : NULL;
}

/* The same of a session. */
static struct taken *
session(struct import *im, struct slice client)
{
	struct taken *t = map_get(&im->sessions, client);

	if (!t)
		im->result->lacks[LACK_CLIENTS]++;
	return t && t->id ? t : NULL;
}

static void
carried_free(struct carried *c)
{
	if (c && c->msg)
		msg_unref(c->msg);
	free(c);
}

static enum nj_err
take_message(struct import *im, const struct mosq_item *it)
{
	const struct publish p = {
		.retain = it->retain != 0,
		.qos = it->qos,
		.payload = it->payload,
		.props = it->props,
	};
	struct carried *c = calloc(1, sizeof *c);
	bool good = topic_name_ok(it->topic);
	enum nj_err e;

	if (!c)
		return NJ_NOMEM;
	c->number = it->msg;
	c->from = it->client;
	c->offset = it->offset;
	c->expires_ms =
	    it->expiry_time > 0 && it->expiry_time < INT64_MAX / 1000
	    ? it->expiry_time * 1000
	    : STORE_NEVER;
	c->expired = c->expires_ms <= im->now_ms;
	if ((good && (e = msg_new(&p, it->topic, 0, &c->msg))) ||
	    (e = map_put(&im->messages, c))) {
		carried_free(c);
		if (e != NJ_EXISTS)
			return e;
		leave(im, LEFT_MESSAGE_TWICE, it);
	} else if (!good) {
		leave(im, LEFT_MESSAGE_TOPIC, it);
	} else if (c->expired) {
		leave(im, LEFT_MESSAGE_EXPIRED, it);
	}
	return NJ_OK;
}

/* When it went offline, from when it ends. */
static int64_t
offline_since(const struct import *im, const struct mosq_item *it)
{
	int64_t at;

	if (it->expiry_s == UINT32_MAX || it->expiry_time <= 0 ||
	    it->expiry_time > INT64_MAX / 1000)
		return im->now_ms;
	at = (it->expiry_time - (int64_t)it->expiry_s) * 1000;
	return at < im->now_ms ? at : im->now_ms;
}

/* *out: of a client that was not taken, now or before. */
static enum nj_err
know(struct import *im, struct slice client, struct taken **out)
{
	struct taken *t = map_get(&im->sessions, client);
	enum nj_err e = NJ_OK;

	if (!t) {
		if (!(t = calloc(1, sizeof *t)))
			return NJ_NOMEM;
		t->client = client;
		if ((e = map_put(&im->sessions, t))) {
			free(t);
			return e;
		}
	}
	*out = t;
	return NJ_OK;
}

/* Mosquitto before 2.0.16 gives a client without one that of the one before: with its
 * length's bytes the wrong way round, so with what its memory has behind it, and every
 * other time the name itself.  Behind the first such that name is nobody's. */
static struct slice
user_of(struct import *im, const struct mosq_item *it, enum import_left *why)
{
	struct slice user = it->user, last = im->user;

	*why = LEFT_REASONS;
	if (!utf8_ok(user)) {
		*why = LEFT_USER;
		im->doubt |= last.n > 0 && user.n > last.n &&
		    memcmp(user.p, last.p, last.n) == 0;
		return SLICE_NONE;
	}
	if (im->doubt && slice_eq(user, last)) {
		*why = LEFT_USER_DOUBT;
		return SLICE_NONE;
	}
	if (user.n > 0) {
		im->user = user;
		im->doubt = false;
	}
	return user;
}

static enum nj_err
add_session(struct import *im, const struct mosq_item *it, struct taken *t,
    struct slice user, enum import_left why)
{
	if (t->id) {
		leave(im, LEFT_SESSION_TWICE, it);
		return NJ_OK;
	}
	if (why != LEFT_REASONS)
		leave(im, why, it);
	t->id = im->next_session++;
	im->result->took[TOOK_SESSIONS]++;
	return batch_session(im->batch,
	    &(struct store_session){
		.id = t->id,
		.client = it->client,
		.user = user,
		.version = STORE_IMPORTED,
		.expiry_s = it->expiry_s,
		.offline_ms = offline_since(im, it),
	    });
}

static enum nj_err
take_client(struct import *im, const struct mosq_item *it)
{
	enum import_left why;
	/* of those that are not taken, too: names go from one to the next */
	struct slice user = user_of(im, it, &why);
	struct taken *t;
	enum nj_err e = know(im, it->client, &t);

	if (e)
		return e;
	if (it->client.n == 0 || !utf8_ok(it->client))
		leave(im, LEFT_SESSION_NAME, it);
	else if (it->expiry_s == 0)
		leave(im, LEFT_SESSION_ENDED, it);
	else if (it->expiry_s != UINT32_MAX && it->expiry_time > 0 &&
	    it->expiry_time < im->now_ms / 1000)
		leave(im, LEFT_SESSION_EXPIRED, it);
	else
		return add_session(im, it, t, user, why);
	return NJ_OK;
}

/* Where an entry stood with Mosquitto, as the session has it; QUEUED also for
 * what has no usable packet identifier. */
static enum delivery_state
state_of(const struct mosq_item *it)
{
	if (it->pid == 0 || it->qos == 0)
		return DELIVERY_QUEUED;
	switch (it->state) {
	case MOSQ_PUBLISH_QOS1:
	case MOSQ_WAIT_PUBACK:
		return it->qos == 1 ? DELIVERY_WAIT_PUBACK : DELIVERY_QUEUED;
	case MOSQ_PUBLISH_QOS2:
	case MOSQ_WAIT_PUBREC:
		return it->qos == 2 ? DELIVERY_WAIT_PUBREC : DELIVERY_QUEUED;
	case MOSQ_RESEND_PUBREL:
	case MOSQ_WAIT_PUBCOMP:
		return it->qos == 2 ? DELIVERY_WAIT_PUBCOMP : DELIVERY_QUEUED;
	default:
		return DELIVERY_QUEUED;
	}
}

static enum nj_err
take_out(struct import *im, struct taken *t, struct carried *c,
    const struct mosq_item *it)
{
	enum delivery_state state = state_of(it);
	uint16_t pid = 0;
	enum nj_err e;

	if (state != DELIVERY_QUEUED) {
		if ((e = idset_add(&t->out, it->pid)) == NJ_OK)
			pid = it->pid;
		else if (e == NJ_EXISTS)
			state = DELIVERY_QUEUED; /* in flight already */
		else
			return e;
	}
	/* what was begun is finished [MQTT-4.3.3], expired or not */
	if (pid == 0 && c->expired)
		return NJ_OK;
	im->result->took[pid ? TOOK_INFLIGHT : TOOK_QUEUED]++;
	return import_put_entry(
	    im, t, c, pid, it->qos, state, it->retain != 0, it->sub_id);
}

static enum nj_err
take_entry(struct import *im, const struct mosq_item *it)
{
	struct taken *t = session(im, it->client);
	struct carried *c = message(im, it->msg);
	enum nj_err e;

	if (!t) {
		leave(im, LEFT_ENTRY_SESSION, it);
		return NJ_OK;
	}
	if (!c) {
		leave(im, LEFT_ENTRY_MESSAGE, it);
		return NJ_OK;
	}
	if (it->out)
		return take_out(im, t, c, it);
	if (it->qos != 2 || it->pid == 0)
		return NJ_OK; /* the client sends it again */
	if ((e = idset_add(&t->in, it->pid)))
		return e == NJ_EXISTS ? NJ_OK : e;
	im->result->took[TOOK_RECEIVED]++;
	return batch_received(im->batch, t->id, it->pid);
}

static enum nj_err
remember_sub(struct import *im, const struct wanted *w)
{
	if (im->n_subs == im->cap_subs) {
		size_t cap = im->cap_subs ? im->cap_subs * 2 : 64;
		struct wanted *v = realloc(im->subs, cap * sizeof *v);

		if (!v)
			return NJ_NOMEM;
		im->subs = v;
		im->cap_subs = cap;
	}
	im->subs[im->n_subs++] = *w;
	return NJ_OK;
}

static enum nj_err
take_sub(struct import *im, const struct mosq_item *it)
{
	struct wanted w = {
		.session = session(im, it->client),
		.whole = it->topic,
		.options = it->sub_id << 4 | it->qos |
		    (it->options & (SUB_NO_LOCAL | SUB_RAP)),
	};
	struct slice group;
	enum nj_err e = topic_share(it->topic, &group, &w.filter);

	if (!w.session) {
		leave(im, LEFT_SUB_SESSION, it);
		return NJ_OK;
	}
	w.shared = e == NJ_OK;
	if (e == NJ_NOTFOUND)
		w.filter = it->topic;
	if ((e && (e != NJ_NOTFOUND || !topic_filter_ok(it->topic))) ||
	    it->sub_id > MQTT_VARINT_MAX) {
		leave(im, LEFT_SUB_FILTER, it);
		return NJ_OK;
	}
	if (w.shared && w.session->shares == SHARES_MAX) {
		leave(im, LEFT_SUB_SHARES, it);
		return NJ_OK;
	}
	if ((e = remember_sub(im, &w)))
		return e;
	im->result->took[TOOK_SUBS]++;
	return batch_sub(im->batch,
	    &(struct store_sub){
		.session = w.session->id,
		.filter = it->topic,
		.options = w.options,
		.share = (uint8_t)(w.shared ? ++w.session->shares : 0),
	    });
}

static enum nj_err
take_retain(struct import *im, const struct mosq_item *it)
{
	struct carried *c = message(im, it->msg);

	if (!c || c->expired || c->msg->payload_len == 0) {
		leave(im, LEFT_RETAIN_MESSAGE, it);
		return NJ_OK;
	}
	if (slice_has_prefix(msg_topic(c->msg), LIT("$SYS"))) {
		leave(im, LEFT_RETAIN_SYS, it);
		return NJ_OK;
	}
	im->result->took[TOOK_RETAINED]++;
	return batch_retain(im->batch, ++im->order, c);
}

static enum nj_err
first_pass(struct import *im, const struct mosq_item *it)
{
	switch (it->kind) {
	case MOSQ_MESSAGE:
		return take_message(im, it);
	case MOSQ_CLIENT:
		return take_client(im, it);
	case MOSQ_CONFIG:
		im->result->lacks[LACK_SETTINGS] = 0;
		im->result->lacks[LACK_END] = !it->ended;
		return NJ_OK;
	case MOSQ_OTHER:
		leave(im, LEFT_CHUNK, it);
		return NJ_OK;
	default:
		return NJ_OK;
	}
}

static enum nj_err
second_pass(struct import *im, const struct mosq_item *it)
{
	switch (it->kind) {
	case MOSQ_ENTRY:
		return take_entry(im, it);
	case MOSQ_SUB:
		return take_sub(im, it);
	case MOSQ_RETAIN:
		return take_retain(im, it);
	default:
		return NJ_OK;
	}
}

static enum nj_err
third_pass(struct import *im, const struct mosq_item *it)
{
	if (it->kind != MOSQ_ENTRY || it->out || it->qos != 2)
		return NJ_OK;
	if (im->routed++ == ROUTED_MAX) {
		im->routed--;
		leave(im, LEFT_HALF_RECEIVED, it);
		return NJ_OK;
	}
	return import_route(im, it);
}

/* What was under way to clients that Mosquitto does not write down is in the file
 * as well; a message that was sent to be retained hardly ever. */
static void
count_unnamed(struct import *im)
{
	struct import_result *r = im->result;
	struct carried *c;
	size_t at = 0;

	while ((c = map_next(&im->messages, &at))) {
		if (c->named)
			continue;
		if (c->msg && c->msg->retain && !c->expired)
			r->lacks[LACK_RETAINED]++;
		if (r->left[LEFT_MESSAGE_UNNAMED]++ == 0 ||
		    c->offset < r->left_at[LEFT_MESSAGE_UNNAMED])
			r->left_at[LEFT_MESSAGE_UNNAMED] = c->offset;
	}
}

static enum nj_err
pass(struct import *im,
    enum nj_err (*take)(struct import *im, const struct mosq_item *it))
{
	struct mosq_reader r;
	struct mosq_item it;
	enum nj_err e;

	if ((e = mosq_begin(im->file, &r, im->why)))
		return e;
	im->result->version = r.version;
	while (!(e = mosq_next(&r, &it, im->why)))
		if ((e = take(im, &it)))
			return e;
	return e == NJ_EOF ? NJ_OK : e;
}

static enum nj_err
fill(struct import *im)
{
	enum nj_err e;

	im->result->lacks[LACK_SETTINGS] = 1;
	if ((e = pass(im, first_pass)) || (e = pass(im, second_pass)))
		return e;
	count_unnamed(im);
	if ((im->result->took[TOOK_RECEIVED] > 0 && (e = pass(im, third_pass))))
		return e;
	/* one batch is one transaction */
	store_submit(im->store, im->batch);
	im->batch = NULL;
	store_turn(im->store);
	return im->written ? NJ_OK : NJ_IO;
}

static void
import_fini(struct import *im)
{
	struct carried *c;
	struct taken *t;
	size_t at = 0;

	batch_free(im->batch);
	store_close(im->store);
	while ((c = map_next(&im->messages, &at)))
		carried_free(c);
	map_fini(&im->messages);
	at = 0;
	while ((t = map_next(&im->sessions, &at))) {
		idset_fini(&t->out);
		idset_fini(&t->in);
		free(t);
	}
	map_fini(&im->sessions);
	free(im->subs);
}

enum nj_err
import_mosquitto(struct slice file, const char *into, int64_t now_ms,
    struct import_result *out, struct nj_why *why)
{
	struct import im = {
		.file = file,
		.now_ms = now_ms,
		.result = out,
		.why = why,
	};
	enum nj_err e;

	*out = (struct import_result){ .version = 0 };
	map_init(&im.messages, number_of);
	map_init(&im.sessions, client_of);
	if (!(e = batch_new(&import_msg_ops, &im.batch)) &&
	    !(e = import_open(&im, into)))
		e = fill(&im);
	import_fini(&im);
	return e;
}
