/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/handover.h"

#include <stdlib.h>

#include "base/log.h"
#include "broker/groups.h"
#include "broker/internal.h"
#include "broker/sessions.h"
#include "core/full.h"
#include "core/tail.h"

struct handover {
	uint64_t shares[4]; /* which, a bit each */
	uint64_t at, upto;  /* keys */
};

static bool
wanted(const struct handover *h, uint8_t share)
{
	return share != 0 && (h->shares[share / 64] >> share % 64 & 1);
}

/* It is looked at when the turn ends. */
static void
look(struct shard *sh, struct kept *k)
{
	if (!list_linked(&k->page))
		list_push(&sh->durable.keep.pages, &k->page);
}

/* From the start of the tail, to what is its end now. */
static struct handover *
begin(struct shard *sh, struct session *s)
{
	struct kept *k = s->kept;

	if (!k->handover && !(k->handover = calloc(1, sizeof *k->handover)))
		return NULL;
	k->handover->at = k->tail_from;
	k->handover->upto = k->next_key;
	look(sh, k);
	return k->handover;
}

void
handover_recall(struct shard *sh, struct session *s, uint8_t share)
{
	struct handover *h;

	if (share == 0 || s->kept->tail_n == 0 || sh->stopping ||
	    !(h = begin(sh, s)))
		return;
	h->shares[share / 64] |= 1ull << share % 64;
}

/* Whether what has come by some subscription can go to others. */
static bool
has_share(const struct session *s)
{
	for (const struct shared_sub *x = s->shared; x; x = x->next)
		if (x->number != 0)
			return true;
	return false;
}

bool
handover_begin(struct shard *sh, struct session *s)
{
	struct handover *h;

	if (!s->kept || !has_share(s))
		return false;
	/* the next start does it, with what is in flight as well */
	if (sh->stopping)
		return s->out.n > 0 || session_queued(s) > 0;
	if (s->kept->tail_n == 0 || sh->n_ended >= ENDED_MAX ||
	    !(h = begin(sh, s)))
		return false;
	for (const struct shared_sub *x = s->shared; x; x = x->next)
		h->shares[x->number / 64] |= 1ull << x->number % 64;
	return true;
}

bool
handover_go_on(struct shard *sh, struct session *s)
{
	bool begun = together_begin(sh);

	groups_hand_over(sh, s);
	s->kept->handed = together_number(sh);
	if (begun)
		together_end(sh);
	return handover_begin(sh, s);
}

void
handover_stop(struct session *s)
{
	free(s->kept->handover);
	s->kept->handover = NULL;
}

bool
handover_wants(
    struct shard *sh, struct session *s, uint64_t *from, uint64_t *upto)
{
	const struct kept *k = s->kept;
	const struct handover *h = k->handover;
	uint64_t sure = kept_sure_below(k);

	/* what is not on disk yet cannot be read there */
	if (k->reading || h->at >= sure || together_pending(sh, k->handed))
		return false;
	*from = h->at;
	*upto = h->upto < sure ? h->upto : sure;
	return true;
}

/* d leaves this queue, if there is memory to say so. */
static bool
leave(struct shard *sh, struct session *s, struct delivery *d)
{
	struct keep *k = &sh->durable.keep;
	bool failed = k->failed, ok;

	k->failed = false;
	keep_moved(s, d);
	ok = !k->failed;
	k->failed |= failed;
	if (ok)
		tail_gives(s, d);
	return ok;
}

/* What came by x of this page; false: not all of it, for want of memory. */
static bool
move(struct shard *sh, struct session *s, const struct shared_sub *x,
    struct delivery *v, uint32_t n)
{
	struct moved_letter *l = NULL;
	bool ok = true;

	for (uint32_t i = 0; i < n && ok; i++) {
		/* what its client may have got is for no other
		 * [MQTT-4.8.2-4], [MQTT-4.8.2-5] */
		if (!v[i].msg || v[i].share != x->number ||
		    (v[i].qos != 1 && kept_is_known(s->kept, &v[i])))
			continue;
		if ((!l && !(l = groups_moving(s, x, n))) ||
		    !leave(sh, s, &v[i]))
			ok = false;
		else
			groups_move(l, &v[i]);
	}
	if (l) {
		groups_moving_from_disk(l, !s->ended);
		groups_moving_go(sh, l);
	}
	return ok;
}

/* All of it is with others, or ends with it. */
static void
end(struct shard *sh, struct session *s)
{
	struct keep *k = &sh->durable.keep;

	keep_note(k, batch_session_end(k->into, s->kept->id));
	sessions_drop(sh, s);
}

static void
move_all(struct shard *sh, struct session *s, struct delivery *v, uint32_t n,
    uint64_t upto)
{
	struct handover *h = s->kept->handover, was = *h;
	bool begun = together_begin(sh), ok = true, done;

	s->kept->handed = together_number(sh);
	for (const struct shared_sub *x = s->shared; x && ok; x = x->next)
		if (wanted(&was, x->number))
			ok = move(sh, s, x, v, n);
	/* what came back to s has ended it */
	h = s->kept->handover;
	if (h && ok) /* else what had to stay is read again */
		h->at = upto;
	done = !h || h->at >= h->upto;
	if (!s->ended)
		full_check(s);
	if (done && s->ended)
		end(sh, s);
	else if (done)
		handover_stop(s);
	else
		look(sh, s->kept);
	if (begun)
		together_end(sh);
}

void
handover_page(struct shard *sh, struct session *s, struct delivery *v,
    uint32_t n, uint64_t from, uint64_t upto)
{
	struct kept *k = s->kept;

	k->reading = false;
	/* who would get it may be gone, and is there at the next start */
	if (sh->stopping)
		handover_stop(s);
	if (k->handover && k->handover->at == from) {
		move_all(sh, s, v, n, upto);
	} else if (k->handover) {
		look(sh, k); /* another one has begun since */
	} else {
		/* its client may be back, and wait for this one's end */
		session_pump(s);
	}
	for (uint32_t i = 0; i < n; i++)
		delivery_fini(&v[i]);
}

void
handover_failed(struct shard *sh, struct session *s, enum nj_err e)
{
	s->kept->reading = false;
	if (e == NJ_NOMEM && s->kept->handover)
		look(sh, s->kept);
	else
		/* one that has ended is taken up again at the next start */
		handover_stop(s);
	session_pump(s);
}
