/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/paging.h"

#include <stdlib.h>

#include "base/log.h"
#include "broker/handover.h"
#include "broker/internal.h"
#include "broker/shard.h"
#include "broker/storing.h"
#include "core/tail.h"

struct page {
	struct store_read read;
	struct shard *shard;
	uint64_t session; /* its number */
	uint64_t upto;	  /* it has all entries below, unless there are more */
	bool handover;	  /* for others */
};

static bool
ask(struct shard *sh, struct session *s, bool handover, uint64_t from,
    uint64_t upto)
{
	struct kept *k = s->kept;
	struct page *p = calloc(1, sizeof *p);

	if (!p)
		return false;
	p->shard = sh;
	p->session = s->number;
	p->upto = upto;
	p->handover = handover;
	p->read.session = k->id;
	p->read.from = from;
	p->read.until = p->upto;
	p->read.max = PAGE_MAX;
	k->reading = true;
	sh->durable.pages++;
	store_read(sh->durable.store, &p->read);
	return true;
}

/* For its client.  False: not now. */
static bool
ask_own(struct shard *sh, struct session *s)
{
	const struct kept *k = s->kept;
	uint64_t upto = k->next_key, sure;

	if (!tail_wants(s)) {
		session_pump(s);
		return true;
	}
	/* what others were handed is there until they have it on disk */
	if (together_pending(sh, k->handed))
		return false;
	if (kept_sure_below(k) < upto)
		upto = kept_sure_below(k);
	/* while the disk takes nothing, what is recorded may have to stay here */
	sure = kept_still_below(k, &sh->durable.keep);
	if (sure > upto)
		sure = upto;
	if (k->parted && sh->durable.open->companions && sure > k->tail_from)
		sure =
		    batch_leaves(sh->durable.open, k->id, k->tail_from, sure);
	if (sure < upto && sure <= k->tail_from)
		return false;
	return ask(sh, s, false, k->tail_from, sure);
}

/* For other clients; the same. */
static bool
ask_handover(struct shard *sh, struct session *s)
{
	uint64_t from, upto;

	return sh->durable.open->live == 0 &&
	    handover_wants(sh, s, &from, &upto) && ask(sh, s, true, from, upto);
}

/* Sessions that cannot be served while the disk takes nothing are not looked at
 * again before it does: they cost the others nothing, however many they are. */
void
paging_ask(struct shard *sh)
{
	struct durable *d = &sh->durable;
	struct list *later = d->keep.stuck ? &d->keep.parked : &d->keep.pages;
	struct list todo, *at;

	list_init(&todo);
	list_splice(&todo, &d->keep.pages);
	while (
	    !d->keep.full && d->pages < PAGES_MAX && (at = list_pop(&todo))) {
		struct session *s = LIST_OWNER(at, struct kept, page)->session;

		if (s->link)
			handover_stop(s);
		if (!(s->kept->handover ? ask_handover(sh, s)
					: ask_own(sh, s)) &&
		    !list_linked(at))
			list_push(later, at);
	}
	list_splice(&d->keep.pages, &todo);
}

void
paging_done(void *arg, struct store_read *r)
{
	struct page *p = (struct page *)r;

	(void)arg;
	r->letter.kind = LETTER_PAGE;
	shard_post(p->shard, &r->letter);
}

static struct delivery
delivery_of(struct store_entry *en)
{
	struct delivery d = {
		.msg = en->msg,
		.key = en->seq,
		.rec = UINT32_MAX,
		.qos = en->qos & 3,
		.retain = en->retain,
		.state = DELIVERY_QUEUED,
		.share = en->share,
	};

	d.ids = keep_ids(en->ids);
	en->msg = NULL;
	return d;
}

/* The disk takes nothing now, and what is on it is not this session's next; or it
 * cannot be read for a while. */
static void
park(struct shard *sh, struct session *s)
{
	struct kept *k = s->kept;

	k->reading = false;
	if (s->link)
		handover_stop(s);
	if ((s->link || k->handover) && !list_linked(&k->page))
		list_push(&sh->durable.keep.parked, &k->page);
}

/* False: what fails now may not the next time. */
static bool
is_final(enum nj_err e)
{
	return e == NJ_EOF || e == NJ_MALFORMED || e == NJ_NOMEM;
}

/* Others are read meanwhile; the disk is asked again soon. */
static void
read_later(struct shard *sh, struct session *s, enum nj_err e)
{
	struct durable *d = &sh->durable;
	uint64_t now = sh->home.now_ms;

	if (d->reread_told == 0 || now - d->reread_told >= STORE_REMIND_MS) {
		d->reread_told = now;
		nj_log(LOG_T_ERROR,
		    "Queues cannot be read: %s.  It is tried again until they "
		    "can.",
		    nj_strerror(e));
	}
	if (!d->reread.at &&
	    timer_set(&sh->home.timers, &d->reread, now + REREAD_MS))
		nj_log(LOG_T_ERROR, "out of memory"); /* then at once */
	park(sh, s);
}

static void
failed(struct shard *sh, struct session *s, const struct page *p)
{
	enum nj_err e = p->read.result;

	if (!is_final(e)) {
		read_later(sh, s, e);
		return;
	}
	if (e != NJ_EOF)
		nj_log(
		    LOG_T_ERROR, "A queue cannot be read: %s", nj_strerror(e));
	if (p->handover) {
		handover_failed(sh, s, e);
		return;
	}
	s->kept->reading = false;
	/* it is tried again on the next connection */
	if (s->link)
		s->link->ops->fail(s->link);
}

void
paging_come(struct shard *sh, struct letter *l)
{
	struct page *p = (struct page *)l;
	struct store_read *r = &p->read;
	struct session *s = session_by_number(&sh->home, p->session);
	struct delivery *v = NULL;
	uint32_t n = r->n;

	sh->durable.pages--;
	if (s && !r->result && n > 0 && !(v = calloc(n, sizeof *v)))
		r->result = NJ_NOMEM;
	if (s && r->result == NJ_AGAIN) {
		park(sh, s);
	} else if (s && r->result) {
		failed(sh, s, p);
	} else if (s) {
		uint64_t upto =
		    r->more && n > 0 ? r->v[n - 1].seq + 1 : p->upto;

		for (uint32_t i = 0; i < n; i++)
			v[i] = delivery_of(&r->v[i]);
		if (s->link)
			handover_stop(s);
		if (p->handover)
			handover_page(sh, s, v, n, r->from, upto);
		else
			tail_page(s, v, n, r->from, upto);
	}
	free(v);
	store_read_fini(r, &storing_msgs);
	free(p);
}
