/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/tail.h"

static void
count(struct session *s, uint64_t n, uint64_t bytes)
{
	struct kept *k = s->kept;

	k->tail_n += n;
	k->tail_bytes += bytes;
	count_add(&s->home->counts.queued, n);
	count_add(&s->home->counts.queued_bytes, bytes);
}

/* What was counted at the start from the file may be a little off. */
static void
count_back(struct session *s, uint64_t n, uint64_t bytes)
{
	struct kept *k = s->kept;

	n = n < k->tail_n ? n : k->tail_n;
	bytes = bytes < k->tail_bytes ? bytes : k->tail_bytes;
	if (n == k->tail_n)
		bytes = k->tail_bytes;
	count(s, -n, -bytes);
}

uint64_t
session_queued(const struct session *s)
{
	return s->queue.n + (s->kept ? s->kept->tail_n : 0);
}

uint64_t
session_queued_bytes(const struct session *s)
{
	return s->queue.bytes + (s->kept ? s->kept->tail_bytes : 0);
}

/* Of those from that key on, so many at most an earlier life may have sent. */
static uint64_t
known_of(const struct kept *k, uint64_t from, uint64_t n)
{
	uint64_t known = from > 0 && from <= k->known ? k->known + 1 - from : 0;

	/* not each key has an entry still */
	if (known > k->known_n)
		known = k->known_n;
	return known < n ? known : n;
}

uint64_t
session_known(const struct session *s)
{
	const struct kept *k = s->kept;

	if (!k || k->known == 0)
		return 0;
	return known_of(k,
	    s->queue.n > 0 ? queue_first(&s->queue)->key : k->tail_from,
	    session_queued(s));
}

void
tail_put(struct session *s, struct delivery *d)
{
	struct kept *k = s->kept;

	if (k->tail_n == 0 && !k->reading)
		k->tail_from = d->key;
	count(s, 1, delivery_size(d));
	delivery_fini(d);
}

void
tail_take_queue(struct session *s)
{
	struct kept *k = s->kept;
	struct delivery d;

	/* what a page brings meanwhile is not taken: it is read again */
	if (s->queue.n > 0)
		k->tail_from = queue_first(&s->queue)->key;
	while (session_dequeue(s, &d)) {
		count(s, 1, delivery_size(&d));
		delivery_fini(&d);
	}
	list_remove(&k->page);
}

bool
tail_keeps(const struct session *s)
{
	return s->link && s->kept->tail_n == 0 &&
	    (s->queue.bytes < KEEP_QUEUE ||
		s->home->keep->queued < KEEP_QUEUES);
}

bool
tail_may_send(struct session *s)
{
	struct keep *keep = s->home->keep;

	if (!keep->full)
		return queue_first(&s->queue)->key < kept_sure_below(s->kept);
	/* it is looked at again when it may */
	if (!list_linked(&s->kept->page))
		list_push(&keep->pages, &s->kept->page);
	return false;
}

bool
tail_wants(const struct session *s)
{
	const struct kept *k = s->kept;

	return s->link && k->tail_n > 0 && !k->reading &&
	    s->queue.n < PAGE_LOW && k->tail_from < kept_sure_below(k);
}

void
tail_ask(struct session *s)
{
	if (tail_wants(s) && !list_linked(&s->kept->page))
		list_push(&s->home->keep->pages, &s->kept->page);
}

bool
tail_drop_oldest(struct session *s)
{
	struct kept *k = s->kept;
	struct keep *keep = s->home->keep;
	uint64_t from = k->tail_from > k->known ? k->tail_from : k->known + 1;
	uint64_t known = known_of(k, k->tail_from, k->tail_n);

	/* each is a record more, which waits as long as nothing is written */
	if (keep->stuck || keep->full)
		return false;
	/* one that waits for another shard's may come to the disk later than this */
	if (k->tail_n <= known + k->n_unsure || k->reading || k->handover ||
	    from >= kept_sure_below(k))
		return false;
	/* with the shard's own, in whose order pages are read */
	keep_note(keep, batch_queue_shift(keep->own, k->id, from));
	kept_touch_own(k, keep, 0); /* it may be any of them */
	count_back(s, 1, k->tail_bytes / k->tail_n);
	return true;
}

void
tail_gives(struct session *s, const struct delivery *d)
{
	count_back(s, 1, delivery_size(d));
}

void
tail_page(struct session *s, struct delivery *v, uint32_t n, uint64_t from,
    uint64_t upto)
{
	struct kept *k = s->kept;

	k->reading = false;
	/* it went away meanwhile, or is back, and what stood in its queue before
	 * this page is in the tail again */
	if (!s->link || k->tail_from < from) {
		for (uint32_t i = 0; i < n; i++)
			delivery_fini(&v[i]);
		session_pump(s);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t key = v[i].key;

		/* a queue that was taken to the tail and back meanwhile */
		if (key < k->tail_from) {
			delivery_fini(&v[i]);
			continue;
		}
		count_back(s, 1, delivery_size(&v[i]));
		if (session_requeue(s, &v[i])) {
			/* no memory: the rest is read again */
			count(s, 1, delivery_size(&v[i]));
			for (; i < n; i++)
				delivery_fini(&v[i]);
			tail_ask(s);
			return;
		}
		k->tail_from = key + 1;
	}
	if (k->tail_from < upto)
		k->tail_from = upto;
	if (k->tail_from >= k->next_key)
		count_back(s, k->tail_n, k->tail_bytes);
	session_pump(s);
}
