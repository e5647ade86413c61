/* SPDX-License-Identifier: Apache-2.0
 * nomalloc - a library to be preloaded: while there is a file "nomalloc" in the
 *            working directory, one allocation in NOMALLOC_EVERY finds no
 *            memory.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_US 10000

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static atomic_bool armed;
static atomic_uint count;
static unsigned every;

static bool
fails(void)
{
	if (!atomic_load_explicit(&armed, memory_order_relaxed) ||
	    atomic_fetch_add(&count, 1) % every != every - 1)
		return false;
	errno = ENOMEM;
	return true;
}

void *
malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}

static void *
look(void *arg)
{
	for (;;) {
		atomic_store(&armed, access("nomalloc", F_OK) == 0);
		usleep(LOOK_US);
	}
	return arg;
}

__attribute__((constructor)) static void
begin(void)
{
	const char *s = getenv("NOMALLOC_EVERY");
	sigset_t all, before;
	pthread_t t;

	every = s ? (unsigned)strtoul(s, NULL, 10) : 0;
	/* the program's signals are not for our thread */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	if (every > 0 && pthread_create(&t, NULL, look, NULL) == 0)
		(void)pthread_detach(t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
