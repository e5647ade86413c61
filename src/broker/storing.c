/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/storing.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "broker/internal.h"
#include "broker/paging.h"
#include "broker/shard.h"

/* Messages. */

/* The broker's clock never goes back, the file's has a date. */
static int64_t
to_wall(const struct broker *b, uint64_t mono_ms)
{
	return mono_ms == MSG_NEVER
	    ? STORE_NEVER
	    : clock_wall(b->clock) + (int64_t)(mono_ms - clock_mono(b->clock));
}

static uint64_t
after(const struct broker *b, int64_t ms)
{
	uint64_t now = clock_mono(b->clock);

	return ms < 0 && (uint64_t)-ms > now ? 0 : now + (uint64_t)ms;
}

/* The calendar may have been set back while the broker was down, and some machines
 * have none before they have a network. */
uint64_t
storing_past(const struct broker *b, int64_t wall_ms)
{
	int64_t today = clock_wall(b->clock);

	return after(b, wall_ms < today ? wall_ms - today : 0);
}

/* So no more is left than when it was stored, which is known to the second. */
static uint64_t
to_mono(const struct broker *b, const struct store_body *body)
{
	int64_t today = clock_wall(b->clock);

	if (body->expires_ms == STORE_NEVER)
		return MSG_NEVER;
	if (today / 1000 < body->stored_s)
		today = body->stored_s * 1000 + 999;
	return after(b, body->expires_ms - today);
}

static void
describe(void *arg, void *msg, struct store_body *out)
{
	const struct broker *b = arg;
	const struct msg *m = msg;

	*out = (struct store_body){
		.id = m->keep_id,
		.bytes = slice_of(m->data,
		    2u + m->topic_len + m->payload_len + m->props_len +
			m->source_len),
		.topic_len = m->topic_len,
		.payload_len = m->payload_len,
		.qos = m->qos,
		.retain = m->retain,
		.source = m->source_len > 0,
		.expires_ms = to_wall(b, m->expires_at),
		.stored_s = m->expires_at == MSG_NEVER
		    ? 0
		    : clock_wall(b->clock) / 1000,
	};
}

static uint64_t
name(void *arg, void *msg)
{
	struct broker *b = arg;
	struct msg *m = msg;

	if (m->keep_id == 0)
		m->keep_id = b->next_msg++;
	return m->keep_id;
}

static enum nj_err
make(void *arg, const struct store_body *body, void **msg)
{
	struct msg *m;
	enum nj_err e;

	if ((e = msg_restore(body->bytes, body->topic_len, body->payload_len,
		 body->source, &m)))
		return e;
	m->qos = body->qos;
	m->retain = body->retain;
	m->expires_at = to_mono(arg, body);
	m->keep_id = body->id;
	*msg = m;
	return NJ_OK;
}

static void
unref(void *msg)
{
	msg_unref(msg);
}

const struct store_msg_ops storing_msgs = { describe, name, make, unref };

/* What the store reports; its thread. */

static void
give_back(struct broker *b, struct store_batch *batch)
{
	batch->letter.kind = LETTER_STORED;
	shard_post(&b->shards[batch->owner], &batch->letter);
}

static void
done(void *arg, struct store_batch *batch)
{
	struct broker *b = arg;

	pledge_company_home(b, batch);
	give_back(b, batch);
}

static void
dropped(void *arg, struct store_batch *batch)
{
	batch->ticket = 0;
	give_back(arg, batch);
}

/* Who waits for it is told, or sent away, by its shard, which may sleep. */
static void
wake_shards(struct broker *b)
{
	/* while it starts nobody waits */
	for (unsigned i = 0; b->inited == b->n && i < b->n; i++) {
		struct shard *sh = &b->shards[i];

		if (!atomic_exchange(&sh->trouble_posted, true))
			shard_post(sh, &sh->trouble_letter);
	}
}

static void
state(void *arg, enum store_state s, const char *why)
{
	struct broker *b = arg;

	/* of trouble it tells again and again */
	if ((int)s != b->store_was)
		atomic_store(&b->store_since, clock_wall(b->clock));
	b->store_was = (int)s;
	switch (s) {
	case STORE_OK:
		nj_log(LOG_T_NOTICE,
		    "The store can be written again; what waited is on disk.");
		break;
	case STORE_FULL:
		nj_log(LOG_T_ERROR,
		    "The disk is full (%s): messages that must be kept are "
		    "refused until there is room at %s.  QoS 0 and what is "
		    "read go on.",
		    why, b->opts.store_path);
		break;
	case STORE_FAILING:
		nj_log(LOG_T_ERROR,
		    "%s cannot be written (%s): messages that must be kept "
		    "are refused until it can.",
		    b->opts.store_path, why);
		break;
	case STORE_DAMAGED:
		nj_log(LOG_T_ERROR,
		    "%s is damaged (%s): nothing more is kept.  Stop the "
		    "broker and look at it: nightjar store check",
		    b->opts.store_path, why);
		break;
	}
	if (s != STORE_OK)
		wake_shards(b);
}

static void
checking(void *arg, uint64_t pages)
{
	(void)arg;
	nj_log(LOG_T_NOTICE, "Checking: %llu pages read so far ...",
	    (unsigned long long)pages);
}

enum nj_err
storing_open(struct broker *b, struct nj_why *why)
{
	struct store_opts o = {
		.path = b->opts.store_path,
		.vfs = b->opts.store_vfs,
		.msgs = &storing_msgs,
		.arg = b,
		.done = done,
		.dropped = dropped,
		.paged = paging_done,
		.state = state,
		.checking = checking,
		.no_thread = b->opts.store_no_thread,
		.data_min = b->opts.store_data_min,
		.data_file = b->opts.store_data_file,
	};
	enum nj_err e;

	if (!o.path)
		return NJ_OK;
	if ((e = store_open(&o, &b->store, why)))
		return e;
	atomic_init(&b->next_kept, store_next_session(b->store));
	b->next_msg = store_next_msg(b->store);
	retain_order_from(b->retain, store_order(b->store));
	return NJ_OK;
}

void
storing_close(struct broker *b)
{
	store_close(b->store);
	b->store = NULL;
}
