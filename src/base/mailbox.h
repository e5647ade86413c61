/* SPDX-License-Identifier: Apache-2.0
 * mailbox - a many-producer, one-consumer queue of intrusive letters, with an
 *           eventfd that wakes the consumer only when it sleeps.
 *
 * Owns:    nothing; a letter belongs to the sender until posted, to the
 *          receiver once taken.
 * Threads: mailbox_post from any thread, the rest from the consumer's.
 * Order:   letters of one sender arrive in the order posted, and a letter
 *          posted after another (happens-before) is taken after it.
 * Bounds:  senders look at mailbox_depth and hold back; posting never fails.
 */
#ifndef NJ_BASE_MAILBOX_H
#define NJ_BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct letter {
	_Atomic(struct letter *) next;
	unsigned kind; /* the receiver's own numbering */
};

struct mailbox {
	_Alignas(64) _Atomic(struct letter *) head; /* producers */
	_Alignas(64) struct letter *tail;	    /* consumer */
	uint64_t owed; /* consumer: wakes announced and not read yet */
	struct letter stub;
	_Alignas(64) atomic_bool asleep;
	atomic_size_t depth;
	int fd; /* eventfd, for the consumer's loop */
};

NJ_MUST enum nj_err mailbox_init(struct mailbox *m);
/* The mailbox must be empty. */
void mailbox_fini(struct mailbox *m);
void mailbox_post(struct mailbox *m, struct letter *l);
/* NULL when empty. */
struct letter *mailbox_take(struct mailbox *m);
/* Letters posted and not yet taken; a racy reading. */
size_t mailbox_depth(const struct mailbox *m);
/*
 * Called before the consumer waits: false when a letter is there already and
 * it must not wait.  mailbox_awake is called after every wait (a wait that
 * mailbox_sleep refused is none).
 */
bool mailbox_sleep(struct mailbox *m);
void mailbox_awake(struct mailbox *m);

#endif
