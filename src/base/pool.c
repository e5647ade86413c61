/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define CLASS_STEP 64
#define SMALL	   (POOL_BLOCK / CLASS_STEP)
/* Above, each doubling of the size is cut into as many steps: what a block is
 * larger than it was asked for is less than a step. */
#define LOG_STEPS 5
#define STEPS	  (1u << LOG_STEPS)
#define LOG_FIRST 9 /* of POOL_BLOCK */
#define LOG_LAST  16
#define CLASSES	  (SMALL + (LOG_LAST - LOG_FIRST + 1) * STEPS)

_Static_assert(POOL_BLOCK == 1u << LOG_FIRST, "they meet");

#if defined(__SANITIZE_ADDRESS__)
#define KEEP 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEP 0
#endif
#endif
#ifndef KEEP
#define KEEP POOL_KEEP
#endif

struct block {
	struct block *next;
};

struct pool {
	struct block *first[CLASSES];
	uint32_t bytes[SMALL];
	uint32_t large; /* bytes of all classes above */
	bool armed;	/* drain will run when the thread ends */
};

static _Thread_local struct pool mine;
static pthread_key_t ending;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
drain_class(struct pool *p, size_t c)
{
	while (p->first[c]) {
		struct block *b = p->first[c];

		p->first[c] = b->next;
		free(b);
	}
}

static void
drain_large(struct pool *p)
{
	for (size_t i = SMALL; i < CLASSES; i++)
		drain_class(p, i);
	p->large = 0;
}

static void
drain(void *arg)
{
	struct pool *p = arg;

	for (size_t i = 0; i < SMALL; i++) {
		drain_class(p, i);
		p->bytes[i] = 0;
	}
	drain_large(p);
	/* Whatever another destructor gives back has it run again. */
	p->armed = false;
}

static void
make_key(void)
{
	/* Without a key a dying thread's blocks stay behind: KEEP a class. */
	(void)pthread_key_create(&ending, drain);
}

static void
arm(void)
{
	(void)pthread_once(&once, make_key);
	(void)pthread_setspecific(ending, &mine);
	mine.armed = true;
}

/* Of a size up to POOL_BLOCK: 1..64 are class 0, and so on. */
static size_t
class_of(size_t size)
{
	return (size - 1) / CLASS_STEP;
}

/* Of a larger one: its class, and what blocks of that have. */
static size_t
large_class(size_t size, size_t *room)
{
	unsigned log = 63u - (unsigned)__builtin_clzll(size - 1);
	unsigned shift = log - LOG_STEPS;
	size_t step = ((size - 1) >> shift) & (STEPS - 1);

	*room = (STEPS + step + 1) << shift;
	return SMALL + (size_t)(log - LOG_FIRST) * STEPS + step;
}

static bool
is_kept(size_t size)
{
	return KEEP > 0 && size <= POOL_LARGE;
}

static void *
get_large(size_t size)
{
	struct block *b;
	size_t c, room;

	if (!is_kept(size))
		return malloc(size);
	c = large_class(size, &room);
	if (!(b = mine.first[c]))
		return malloc(room);
	mine.first[c] = b->next;
	mine.large -= (uint32_t)room;
	return b;
}

void *
pool_get(size_t size)
{
	struct block *b;
	size_t c;

	if (KEEP == 0 || size > POOL_BLOCK)
		return get_large(size);
	c = class_of(size);
	if (!(b = mine.first[c]))
		return malloc((c + 1) * CLASS_STEP);
	mine.first[c] = b->next;
	mine.bytes[c] -= (uint32_t)(c + 1) * CLASS_STEP;
	return b;
}

static void
keep(struct block *b, size_t c)
{
	if (!mine.armed)
		arm();
	b->next = mine.first[c];
	mine.first[c] = b;
}

static void
put_large(void *p, size_t size)
{
	size_t c, room;

	if (!is_kept(size)) {
		free(p);
		return;
	}
	c = large_class(size, &room);
	/* sizes that are not asked for any more are not kept for ever */
	if (mine.large + room > POOL_KEEP_LARGE)
		drain_large(&mine);
	mine.large += (uint32_t)room;
	keep(p, c);
}

void
pool_put(void *p, size_t size)
{
	size_t c;

	if (size > POOL_BLOCK) {
		put_large(p, size);
		return;
	}
	c = class_of(size);
	if (mine.bytes[c] + (c + 1) * CLASS_STEP > KEEP) {
		free(p);
		return;
	}
	mine.bytes[c] += (uint32_t)(c + 1) * CLASS_STEP;
	keep(p, c);
}
