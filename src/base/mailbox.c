/* SPDX-License-Identifier: Apache-2.0
 * The queue is Dmitry Vyukov's intrusive MPSC list: a sender swaps itself in
 * as the head, then links its predecessor to itself.  Between the two steps
 * the chain is cut; the consumer sees an empty box that is not quite empty,
 * and mailbox_sleep refuses to sleep on it.
 *
 * Waking: the sender that turns asleep from true to false writes the eventfd
 * once.  Its write may come after the consumer was awake again for another
 * reason, so the consumer counts the writes it is owed and reads only then;
 * a busy consumer makes no system call here.
 */
#include "base/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum nj_err
mailbox_init(struct mailbox *m)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return errno == ENOMEM ? NJ_NOMEM : NJ_IO;
	atomic_init(&m->stub.next, NULL);
	m->stub.kind = 0;
	atomic_init(&m->head, &m->stub);
	m->tail = &m->stub;
	atomic_init(&m->asleep, false);
	atomic_init(&m->depth, 0);
	m->owed = 0;
	m->fd = fd;
	return NJ_OK;
}

void
mailbox_fini(struct mailbox *m)
{
	assert(atomic_load(&m->depth) == 0);
	(void)close(m->fd);
	m->fd = -1;
}

static void
append(struct mailbox *m, struct letter *l)
{
	struct letter *prev;

	atomic_store_explicit(&l->next, NULL, memory_order_relaxed);
	prev = atomic_exchange(&m->head, l);
	atomic_store_explicit(&prev->next, l, memory_order_release);
}

void
mailbox_post(struct mailbox *m, struct letter *l)
{
	uint64_t one = 1;

	atomic_fetch_add_explicit(&m->depth, 1, memory_order_relaxed);
	append(m, l);
	/*
	 * Sequentially consistent against mailbox_sleep: either this sees
	 * asleep, or the consumer sees the new head.
	 */
	if (!atomic_load(&m->asleep) || !atomic_exchange(&m->asleep, false))
		return;
	while (write(m->fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

struct letter *
mailbox_take(struct mailbox *m)
{
	struct letter *tail = m->tail;
	struct letter *next =
	    atomic_load_explicit(&tail->next, memory_order_acquire);

	if (tail == &m->stub) {
		if (!next)
			return NULL;
		m->tail = tail = next;
		next = atomic_load_explicit(&tail->next, memory_order_acquire);
	}
	if (!next) {
		/* The last one leaves only with the stub behind it. */
		if (tail != atomic_load(&m->head))
			return NULL;
		append(m, &m->stub);
		next = atomic_load_explicit(&tail->next, memory_order_acquire);
		if (!next)
			return NULL;
	}
	m->tail = next;
	atomic_fetch_sub_explicit(&m->depth, 1, memory_order_relaxed);
	return tail;
}

size_t
mailbox_depth(const struct mailbox *m)
{
	return atomic_load_explicit(&m->depth, memory_order_relaxed);
}

static void
stay_awake(struct mailbox *m)
{
	if (!atomic_exchange(&m->asleep, false))
		m->owed++; /* a sender was first, and writes */
}

bool
mailbox_sleep(struct mailbox *m)
{
	atomic_store(&m->asleep, true);
	if (m->tail == &m->stub && atomic_load(&m->head) == &m->stub)
		return true;
	stay_awake(m);
	return false;
}

void
mailbox_awake(struct mailbox *m)
{
	uint64_t n;

	stay_awake(m);
	if (m->owed > 0 && read(m->fd, &n, sizeof n) == (ssize_t)sizeof n)
		m->owed -= n;
}
