/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/keep.h"

#include <stdlib.h>
#include <string.h>

#include "core/session.h"

#define IDS_FEW 16

void
keep_note(struct keep *k, enum nj_err e)
{
	if (e)
		k->failed = true;
	else
		k->dirty = k->busy = true;
}

void
keep_weigh(struct keep *k, const struct msg *m)
{
	*(k->part ? &k->part->bytes : &k->bytes) += msg_size(m);
	k->messages++;
}

static enum nj_err
grow(void *at, uint32_t n, uint32_t *cap, size_t each)
{
	void **v = at, *bigger;
	uint32_t more = *cap ? *cap * 2 : 8;

	if (n < *cap)
		return NJ_OK;
	if (!(bigger = realloc(*v, more * each)))
		return NJ_NOMEM;
	*v = bigger;
	*cap = more;
	return NJ_OK;
}

/* The entry may not be sent before its part is on disk. */
static enum nj_err
make_unsure(struct session *s, uint64_t key)
{
	struct keep_part *p = s->home->keep->part;
	struct kept *k = s->kept;
	enum nj_err e;

	/* the first are the first to be sure: what is before them is free */
	if (k->at_unsure > 0 && k->at_unsure >= k->n_unsure) {
		memmove(k->unsure, k->unsure + k->at_unsure,
		    k->n_unsure * sizeof *k->unsure);
		k->at_unsure = 0;
	}
	if ((e = grow(&p->v, p->n, &p->cap, sizeof *p->v)) ||
	    (e = grow(&k->unsure, k->at_unsure + k->n_unsure, &k->cap_unsure,
		 sizeof *k->unsure)))
		return e;
	p->v[p->n++] = (struct kept_entry){ s->number, k->id, key, 0 };
	k->unsure[k->at_unsure + k->n_unsure++] = key;
	return NJ_OK;
}

/* The last is none: its key is that of another, which may go with another part. */
static void
never_unsure(struct session *s)
{
	s->home->keep->part->n--;
	s->kept->n_unsure--;
}

void
kept_is_sure(struct kept *k, uint64_t key)
{
	uint64_t *v = k->unsure + k->at_unsure;

	for (uint32_t i = 0; i < k->n_unsure; i++)
		if (v[i] == key) {
			k->n_unsure--;
			if (i == 0)
				k->at_unsure++;
			else
				memmove(&v[i], &v[i + 1],
				    (k->n_unsure - i) * sizeof *v);
			return;
		}
}

void
kept_touch(struct kept *k, const struct keep *keep, uint64_t key)
{
	if (keep->part)
		k->parted = true;
	else
		kept_touch_own(k, keep, key);
}

void
kept_touch_own(struct kept *k, const struct keep *keep, uint64_t key)
{
	if (k->low_ticket != keep->ticket) {
		k->low_ticket = keep->ticket;
		k->low = UINT64_MAX;
		k->high = 0;
	}
	if (key > 0 && key < k->tail_from)
		k->high = key >= k->high ? key + 1 : k->high;
	else if (key < k->low)
		k->low = key;
}

/* Identifiers as the store has them: 4 bytes each, the highest first. */
static enum nj_err
write_ids(ids_t ids, uint8_t *few, struct slice *out)
{
	unsigned n = ids_count(ids);
	uint8_t *at = few;

	if (n > IDS_FEW && !(at = malloc(4 * (size_t)n)))
		return NJ_NOMEM;
	*out = slice_of(at, 4 * (size_t)n);
	for (unsigned i = 0; i < n; i++) {
		uint32_t id = ids_at(ids, i);

		*at++ = (uint8_t)(id >> 24);
		*at++ = (uint8_t)(id >> 16);
		*at++ = (uint8_t)(id >> 8);
		*at++ = (uint8_t)id;
	}
	return NJ_OK;
}

ids_t
keep_ids(struct slice stored)
{
	ids_t ids = 0;

	for (size_t i = 0; i + 4 <= stored.n; i += 4) {
		const uint8_t *p = stored.p + i;

		ids_add(&ids,
		    (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
			(uint32_t)p[2] << 8 | p[3]);
	}
	return ids;
}

bool
keep_add(struct session *s, struct delivery *d)
{
	struct keep *k = s->home->keep;
	uint8_t few[4 * IDS_FEW];
	struct store_entry en = {
		.session = s->kept->id,
		.seq = s->kept->next_key,
		.pid = d->pid,
		.qos = d->qos,
		.state = d->state,
		.retain = d->retain,
		.share = d->share,
	};
	enum nj_err e = write_ids(d->ids, few, &en.ids);

	if (!e && k->part)
		e = make_unsure(s, en.seq);
	if (!e) {
		en.msg = msg_ref(d->msg);
		e = batch_queue(k->into, &en, &d->rec);
		if (e && k->part)
			never_unsure(s);
	}
	if (en.ids.p != few)
		free((void *)(uintptr_t)en.ids.p);
	keep_note(k, e);
	if (e)
		return false;
	d->key = s->kept->next_key++;
	/* with another shard's it is known to be unsure */
	if (!k->part)
		kept_touch(s->kept, k, d->key);
	keep_weigh(k, d->msg);
	return true;
}

void
keep_state(struct session *s, struct delivery *d)
{
	struct keep *k = s->home->keep;
	enum nj_err e;

	if (!d->key)
		return;
	e = batch_queue_state(
	    k->into, s->kept->id, d->key, d->pid, d->state, &d->rec);
	d->unkept = e != NJ_OK;
	keep_note(k, e);
	kept_touch(s->kept, k, d->key);
}

bool
keep_is_early(struct session *s, const struct delivery *d)
{
	struct kept *k = s->kept;

	if (k->sent_ticket <= s->home->keep->done)
		k->sent_before = k->sent;
	/* While nothing can be written, what is on disk is read.  If the broker
	 * dies then, of QoS 1 it comes again without DUP. */
	if (s->home->keep->stuck && d->qos == 1)
		return false;
	return d->key > k->sent_before;
}

/* After a crash all up to there may be its client's, and at QoS 2 is for no other
 * member of a group [MQTT-4.8.2-5].  So of these it is as little as costs no wait: a
 * window of them takes a commit in any case, that of their PUBRECs. */
static uint32_t
ahead_of(const struct session *s, const struct delivery *d)
{
	uint32_t window = s->link->window;

	return d->qos == 2 && d->share ? SENT_GROUP + 2 * window
				       : SENT_AHEAD + SENT_WINDOWS * window;
}

/* It goes with the shard's own, whatever is recorded now: what goes with another
 * shard's may come to the disk behind what is recorded later, and undo that.  Of
 * those that wait for the disk the last counts. */
static void
record_sent(struct session *s, uint64_t key)
{
	struct keep *keep = s->home->keep;
	struct kept *k = s->kept;
	enum nj_err e;

	if (k->sent_ticket != keep->ticket)
		k->sent_at = UINT32_MAX;
	e = batch_sent_at(keep->own, k->id, key, &k->sent_at);
	keep_note(keep, e);
	/* that it knows more than it does is no harm */
	if (e && key > k->sent)
		return;
	k->sent = key;
	k->sent_ticket = keep->ticket;
}

/* That the client may know this entry, and some behind it. */
static void
record_ahead(struct session *s, const struct delivery *d)
{
	struct keep *keep = s->home->keep;
	struct kept *k = s->kept;
	uint32_t ahead = ahead_of(s, d);

	if (k->sent_ticket <= keep->done)
		k->sent_before = k->sent;
	if (d->key + ahead / 2 > k->sent)
		record_sent(s, d->key + ahead);
}

bool
keep_stands(struct session *s, struct delivery *d)
{
	if (d->unkept)
		keep_state(s, d);
	if (d->key > s->kept->sent && d->state != DELIVERY_WAIT_PUBCOMP)
		record_ahead(s, d);
	return !d->unkept &&
	    (d->key <= s->kept->sent || d->state == DELIVERY_WAIT_PUBCOMP);
}

bool
keep_sends(struct session *s, struct delivery *d, uint16_t want)
{
	struct keep *keep = s->home->keep;
	struct kept *k = s->kept;
	bool read = d->rec == UINT32_MAX; /* from the disk */

	if (d->pid != want) /* another entry has it still */
		keep_state(s, d);
	if (d->key > k->last)
		k->last = d->key;
	record_ahead(s, d);
	/* An entry of QoS 1 that is not on disk yet may be sent: nobody was
	 * told that it would arrive.  At QoS 2 its identifier would be that of
	 * two messages [MQTT-4.3.3-2]. */
	return keep_is_early(s, d) || d->pid != want ||
	    (d->qos == 2 && !read && keep->busy);
}

bool
keep_may_send0(struct session *s, const struct delivery *d)
{
	struct kept *k = s->kept;

	record_ahead(s, d);
	if (keep_is_early(s, d))
		return false;
	if (d->key > k->last)
		k->last = d->key;
	return true;
}

void
keep_left(struct session *s)
{
	struct kept *k = s->kept;

	if (k->sent <= k->last)
		return;
	if (k->sent_before > k->last)
		k->sent_before = k->last;
	record_sent(s, k->last);
}

/* own: with the shard's own, or else with what is recorded now. */
static void
end_in(struct session *s, struct delivery *d, bool own)
{
	struct keep *k = s->home->keep;
	enum nj_err e;

	if (!d->key)
		return;
	/* what goes to disk with another shard's is not taken out of what
	 * goes there before */
	if (!own ||
	    batch_cancel(k->own, d->rec, s->kept->id, d->key) !=
		BATCH_HAD_ENTRY) {
		e = batch_queue_end(
		    own ? k->own : k->into, s->kept->id, d->key);
		if (own)
			kept_touch_own(s->kept, k, d->key);
		else
			kept_touch(s->kept, k, d->key);
		/* whether it is on disk matters to nobody */
		k->failed |= e != NJ_OK;
		k->dirty |= !e;
	}
	d->key = 0;
}

/* The end of what is on disk, or before another shard's in the shard's own, does not wait
 * for that: the tail would have it meanwhile, and count it among what there is. */
void
keep_end(struct session *s, struct delivery *d)
{
	end_in(s, d, d->key < kept_sure_below(s->kept));
}

/* Where it goes it is on disk in the same moment. */
void
keep_moved(struct session *s, struct delivery *d)
{
	end_in(s, d, !s->home->keep->part);
}

void
kept_free(struct kept *k)
{
	if (!k)
		return;
	list_remove(&k->page);
	free(k->unsure);
	free(k->handover);
	free(k);
}

void
keep_received(struct session *s, uint16_t pid)
{
	struct keep *k = s->home->keep;
	struct keep_part *p = k->part;
	enum nj_err e = NJ_OK;

	/* the session may end before its part is on disk */
	if (p && !(e = grow(&p->v, p->n, &p->cap, sizeof *p->v)))
		p->v[p->n++] =
		    (struct kept_entry){ s->number, s->kept->id, 0, pid };
	if (!e && (e = batch_received(k->into, s->kept->id, pid)) && p)
		p->n--;
	keep_note(k, e);
}
