/* SPDX-License-Identifier: Apache-2.0
 * Each secret has pages of its own: locked where the limit allows, left out
 * of core dumps, wiped before they are given back.  A few single pages are kept
 * for the next ones: to map, lock and unmap one for each login with a password
 * was several us of it.
 */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rand.h"

#define CTRL_C 3
#define SPARES 8

struct secret {
	size_t n;
	size_t mapped;
	uint8_t bytes[];
};

/* Single pages, wiped, of any thread. */
static _Atomic(struct secret *) spares[SPARES];

static struct secret *
take_spare(void)
{
	struct secret *s = NULL;

	for (size_t i = 0; !s && i < SPARES; i++)
		if (atomic_load_explicit(&spares[i], memory_order_relaxed))
			s = atomic_exchange(&spares[i], NULL);
	return s;
}

/* Whether there was a place for it. */
static bool
keep_spare(struct secret *s)
{
	for (size_t i = 0; i < SPARES; i++) {
		struct secret *none = NULL;

		if (atomic_compare_exchange_strong(&spares[i], &none, s))
			return true;
	}
	return false;
}

/* Room for n bytes, all zero. */
static struct secret *
secret_alloc(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = (sizeof(struct secret) + n + page - 1) / page * page;
	struct secret *s = size == page ? take_spare() : NULL;

	if (!s) {
		s = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (s == MAP_FAILED)
			return NULL;
		(void)madvise(s, size, MADV_DONTDUMP);
	}
	/* a spare, too: locks do not come along into a child */
	(void)mlock(s, size); /* best effort: RLIMIT_MEMLOCK may be small */
	s->mapped = size;
	return s;
}

void
secret_free(struct secret *s)
{
	size_t size;

	if (!s)
		return;
	size = s->mapped;
	secret_wipe(s, size);
	if (size != (size_t)sysconf(_SC_PAGESIZE) || !keep_spare(s))
		(void)munmap(s, size);
}

enum nj_err
secret_new(struct slice bytes, struct secret **out)
{
	struct secret *s;

	if (bytes.n > SECRET_MAX)
		return NJ_TOOBIG;
	if (!(s = secret_alloc(bytes.n)))
		return NJ_NOMEM;
	if (bytes.n > 0)
		memcpy(s->bytes, bytes.p, bytes.n);
	s->n = bytes.n;
	*out = s;
	return NJ_OK;
}

/* Reads until the end of the line or file, or until room bytes are there. */
static enum nj_err
read_line(int fd, struct secret *s, size_t room)
{
	size_t n = 0;

	while (n < room && !memchr(s->bytes, '\n', n)) {
		ssize_t got = read(fd, s->bytes + n, room - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return NJ_IO;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	s->n = n;
	return NJ_OK;
}

/* Keeps the first line, without its LF or CR LF. */
static void
cut_line(struct secret *s)
{
	const uint8_t *lf = memchr(s->bytes, '\n', s->n);
	size_t n = lf ? (size_t)(lf - s->bytes) : s->n;

	if (n > 0 && s->bytes[n - 1] == '\r')
		n--;
	secret_wipe(s->bytes + n, s->n - n);
	s->n = n;
}

enum nj_err
secret_from_file(const char *path, struct secret **out, struct nj_why *why)
{
	struct secret *s = NULL;
	enum nj_err e;
	int fd = -1;

	if ((e = file_open_private(path, &fd, why)))
		goto out;
	e = NJ_NOMEM;
	if (!(s = secret_alloc(SECRET_MAX + 2))) {
		why_set(
		    why, "cannot keep the secret in %s: out of memory", path);
		goto out;
	}
	if ((e = read_line(fd, s, SECRET_MAX + 2))) {
		why_set(why, "cannot read %s: %s", path, strerror(errno));
		goto out;
	}
	cut_line(s);
	if (s->n > SECRET_MAX) {
		e = NJ_TOOBIG;
		why_set(why, "the first line of %s is longer than %d bytes",
		    path, SECRET_MAX);
		goto out;
	}
	if (s->n == 0) {
		e = NJ_INVALID;
		why_set(why, "the first line of %s is empty", path);
		why_mend(why, "put the secret on the first line of %s", path);
		goto out;
	}
	*out = s;
	s = NULL;
out:
	secret_free(s);
	if (fd >= 0)
		(void)close(fd);
	return e;
}

static void
say(int fd, const char *text)
{
	size_t n = strlen(text);

	while (n > 0) {
		ssize_t put = write(fd, text, n);

		if (put <= 0)
			return;
		text += put;
		n -= (size_t)put;
	}
}

enum nj_err
secret_from_tty(const char *prompt, struct secret **out)
{
	struct termios old, quiet;
	struct secret *s = NULL;
	enum nj_err e = NJ_UNSUPPORTED;
	bool interrupted = false;
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 || tcgetattr(fd, &old) != 0)
		goto out;
	e = NJ_NOMEM;
	if (!(s = secret_alloc(SECRET_MAX + 2)))
		goto out;
	/*
	 * Without ISIG, Ctrl-C is a character that ends the line: the
	 * terminal gets its echo back before the signal takes effect.
	 */
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_cc[VEOL] = CTRL_C;
	e = NJ_UNSUPPORTED;
	if (tcsetattr(fd, TCSAFLUSH, &quiet) != 0)
		goto out;
	say(fd, prompt);
	/* One read is one line of a terminal. */
	do {
		ssize_t got = read(fd, s->bytes, SECRET_MAX);

		s->n = got > 0 ? (size_t)got : 0;
		e = got > 0 ? NJ_OK : got == 0 ? NJ_EOF : NJ_IO;
	} while (e == NJ_IO && errno == EINTR);
	interrupted = memchr(s->bytes, CTRL_C, s->n) != NULL;
	(void)tcsetattr(fd, TCSAFLUSH, &old);
	say(fd, "\n");
	if (interrupted)
		e = NJ_EOF;
	if (e)
		goto out;
	cut_line(s);
	*out = s;
	s = NULL;
out:
	secret_free(s);
	if (fd >= 0)
		(void)close(fd);
	if (interrupted)
		(void)raise(SIGINT);
	return e;
}

enum nj_err
secret_random(size_t n, struct secret **out)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz0123456789";
	const uint8_t letters = sizeof alphabet - 1;
	struct secret *s;

	if (n > SECRET_MAX)
		return NJ_TOOBIG;
	if (!(s = secret_alloc(n)))
		return NJ_NOMEM;
	while (s->n < n) {
		uint8_t r[64];

		rand_bytes(r, sizeof r);
		for (size_t i = 0; i < sizeof r && s->n < n; i++) {
			/* Throwing the rest away keeps letters equally likely. */
			if (r[i] < 256 / letters * letters)
				s->bytes[s->n++] =
				    (uint8_t)alphabet[r[i] % letters];
		}
		secret_wipe(r, sizeof r);
	}
	*out = s;
	return NJ_OK;
}

struct slice
secret_bytes(const struct secret *s)
{
	return slice_of(s->bytes, s->n);
}

bool
secret_eq(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	volatile uint8_t diff = a.n != b.n;

	for (size_t i = 0; i < n; i++)
		diff = (uint8_t)(diff | (a.p[i] ^ b.p[i]));
	return diff == 0;
}

void
secret_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}
