/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define CLASS_STEP 64
#define CLASSES	   (POOL_BLOCK / CLASS_STEP)

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
	uint32_t bytes[CLASSES];
	bool armed; /* drain will run when the thread ends */
};

static _Thread_local struct pool mine;
static pthread_key_t ending;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
drain(void *arg)
{
	struct pool *p = arg;

	for (unsigned i = 0; i < CLASSES; i++) {
		while (p->first[i]) {
			struct block *b = p->first[i];

			p->first[i] = b->next;
			free(b);
		}
		p->bytes[i] = 0;
	}
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

/* Sizes 1..64 are class 0, and so on. */
static size_t
class_of(size_t size)
{
	return (size - 1) / CLASS_STEP;
}

void *
pool_get(size_t size)
{
	struct block *b;
	size_t c;

	if (KEEP == 0 || (c = class_of(size)) >= CLASSES)
		return malloc(size);
	if (!(b = mine.first[c]))
		return malloc((c + 1) * CLASS_STEP);
	mine.first[c] = b->next;
	mine.bytes[c] -= (uint32_t)(c + 1) * CLASS_STEP;
	return b;
}

void
pool_put(void *p, size_t size)
{
	size_t c = class_of(size);
	struct block *b = p;

	if (c >= CLASSES || mine.bytes[c] + (c + 1) * CLASS_STEP > KEEP) {
		free(p);
		return;
	}
	if (!mine.armed)
		arm();
	b->next = mine.first[c];
	mine.first[c] = b;
	mine.bytes[c] += (uint32_t)(c + 1) * CLASS_STEP;
}
