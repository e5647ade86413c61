/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/paging.h"

#include <stdlib.h>

#include "base/log.h"
#include "broker/internal.h"
#include "broker/shard.h"
#include "broker/storing.h"
#include "core/tail.h"

struct page {
	struct store_read read;
	struct shard *shard;
	uint64_t session; /* its number */
	uint64_t upto;	  /* it has all entries below, unless there are more */
};

static bool
ask(struct shard *sh, struct session *s)
{
	struct kept *k = s->kept;
	struct page *p = calloc(1, sizeof *p);

	if (!p)
		return false;
	p->shard = sh;
	p->session = s->number;
	p->upto = k->next_key;
	if (kept_sure_below(k) < p->upto)
		p->upto = kept_sure_below(k);
	p->read.session = k->id;
	p->read.from = k->tail_from;
	p->read.until = p->upto;
	p->read.max = PAGE_MAX;
	k->reading = true;
	sh->durable.pages++;
	store_read(sh->durable.store, &p->read);
	return true;
}

void
paging_ask(struct shard *sh)
{
	struct list todo, *at;

	list_init(&todo);
	list_splice(&todo, &sh->durable.keep.pages);
	while ((at = list_pop(&todo))) {
		struct session *s = LIST_OWNER(at, struct kept, page)->session;

		bool wants = tail_wants(s);

		if (sh->durable.keep.full || sh->durable.pages == PAGES_MAX ||
		    (wants && !ask(sh, s)))
			list_push(&sh->durable.keep.pages, at);
		else if (!wants)
			session_pump(s);
	}
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
	if (s && r->result) {
		s->kept->reading = false;
		/* it is tried again on the next connection */
		if (s->link)
			s->link->ops->fail(s->link);
		if (r->result != NJ_EOF)
			nj_log(LOG_T_ERROR, "A queue cannot be read: %s",
			    nj_strerror(r->result));
	} else if (s) {
		for (uint32_t i = 0; i < n; i++)
			v[i] = delivery_of(&r->v[i]);
		tail_page(
		    s, v, n, r->more && n > 0 ? r->v[n - 1].seq + 1 : p->upto);
	}
	free(v);
	store_read_fini(r, &storing_msgs);
	free(p);
}
