/* SPDX-License-Identifier: Apache-2.0
 *
 * The store that an import makes.
 */
#include "cmd/import_impl.h"

enum nj_err
import_put_entry(struct import *im, struct taken *t, struct carried *c,
    uint16_t pid, uint8_t qos, uint8_t state, bool retain, uint32_t sub_id)
{
	const uint8_t id[4] = { (uint8_t)(sub_id >> 24),
		(uint8_t)(sub_id >> 16), (uint8_t)(sub_id >> 8),
		(uint8_t)sub_id };
	uint32_t at;

	return batch_queue(im->batch,
	    &(struct store_entry){
		.session = t->id,
		.seq = ++t->seq,
		.pid = pid,
		.qos = qos,
		.state = state,
		.retain = retain,
		.ids = slice_of(id, sub_id ? sizeof id : 0),
		.msg = c,
	    },
	    &at);
}

static void
describe(void *arg, void *msg, struct store_body *out)
{
	const struct carried *c = msg;
	const struct msg *m = c->msg;

	(void)arg;
	*out = (struct store_body){
		.id = c->id,
		.bytes = slice_of(m->data,
		    (size_t)2 + m->topic_len + m->payload_len + m->props_len),
		.topic_len = m->topic_len,
		.payload_len = m->payload_len,
		.qos = m->qos,
		.retain = m->retain,
		.expires_ms = c->expires_ms,
	};
}

static uint64_t
name(void *arg, void *msg)
{
	struct import *im = arg;
	struct carried *c = msg;

	if (c->id == 0)
		c->id = im->next_msg++;
	return c->id;
}

/* They stay in the map as long as the store is open. */
static void
unref(void *msg)
{
	(void)msg;
}

const struct store_msg_ops import_msg_ops = {
	.describe = describe, .name = name, .unref = unref
};

static void
done(void *arg, struct store_batch *b)
{
	((struct import *)arg)->written = true;
	batch_free(b);
}

static void
state(void *arg, enum store_state s, const char *said)
{
	struct import *im = arg;

	if (s == STORE_OK)
		return;
	why_set(im->why, "cannot write it: %s", said);
	if (s == STORE_FULL)
		why_mend(im->why, "free space on the disk it is written to");
	else if (s == STORE_FAILING)
		why_mend(im->why, "look at what the disk says: dmesg");
}

enum nj_err
import_open(struct import *im, const char *into)
{
	enum nj_err e = store_open(
	    &(struct store_opts){
		.path = into,
		.msgs = &import_msg_ops,
		.arg = im,
		.done = done,
		.state = state,
		.no_thread = true,
		/* one file is easily given away */
		.data_min = STORE_ONE_FILE,
	    },
	    &im->store, im->why);

	if (e)
		return e;
	im->next_session = store_next_session(im->store);
	im->next_msg = store_next_msg(im->store);
	im->order = store_order(im->store);
	if (im->next_session > 1 || im->next_msg > 1 || im->order > 0) {
		why_set(im->why, "%s has sessions or messages in it", into);
		why_mend(im->why,
		    "give a new file: what two stores say of one client or "
		    "topic cannot be joined");
		return NJ_EXISTS;
	}
	return store_start(im->store, im->why);
}
