/* SPDX-License-Identifier: Apache-2.0
 * loop - one epoll set and what to call for each ready descriptor.
 *
 * Owns:    the epoll descriptor; watches are embedded in what they watch.
 * Threads: one owner.
 * Bounds:  LOOP_EVENTS readiness events a turn.
 * Note:    level triggered, but for watches that want LOOP_EDGE.  A watch removed during a turn is not called any
 *          more in that turn, but its memory must live until the turn ends.
 */
#ifndef NJ_NET_LOOP_H
#define NJ_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LOOP_EVENTS 512
#define LOOP_IN	    1u
#define LOOP_OUT    2u
#define LOOP_HUP    4u /* error or hang-up; always reported */
/* Ready only: the other end has closed, beside LOOP_IN. */
#define LOOP_GONE 8u
/* Wanted: called once for what is new, and not again while it is not read. */
#define LOOP_EDGE 16u

struct watch;
typedef void watch_fn(struct watch *w, unsigned ready);

struct watch {
	int fd;	       /* -1: not in a loop */
	unsigned want; /* LOOP_IN | LOOP_OUT | LOOP_EDGE */
	watch_fn *fn;
};

struct loop;

NJ_MUST enum nj_err loop_new(struct loop **out);
void loop_free(struct loop *l);
NJ_MUST enum nj_err loop_add(struct loop *l, struct watch *w);
/* No system call when want is as it was. */
NJ_MUST enum nj_err loop_want(struct loop *l, struct watch *w, unsigned want);
void loop_del(struct loop *l, struct watch *w);
/* Waits up to timeout_ms (-1: for ever) and calls what is ready; how many. */
int loop_turn(struct loop *l, int timeout_ms);
/* Split form, so that the owner can do something between wait and calls. */
int loop_wait(struct loop *l, int timeout_ms);
void loop_dispatch(struct loop *l);
/* Calls one of what is ready; false when none is left. */
bool loop_next(struct loop *l);
/* Readable while something in l is ready: for a watch in another loop. */
int loop_fd(const struct loop *l);
/* The rest of what is ready is called after the next wait, which finds it again. */
void loop_break(struct loop *l);

#endif
