/* SPDX-License-Identifier: Apache-2.0
 */
#include "admin/admin.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "net/unixpath.h"

#define BACKLOG		16
#define GROUPS_MAX	1024 /* of whoever asks */
#define CHUNK		4096
#define ACCEPT_PAUSE_MS 100

enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_OVER };

/* A connection and its thread. */
struct slot {
	struct admin *admin;
	pthread_t thread;
	atomic_int state; /* enum slot_state */
	int fd;
	struct ucred who;
};

struct admin {
	struct unixpath path;
	int fd;	  /* listens */
	int stop; /* eventfd; readable for good once it is to end */
	gid_t gid;
	bool gid_may_ask;
	struct admin_env env;
	pthread_t thread;
	bool has_thread;
	struct slot slots[ADMIN_CONNS];
};

/* Requests can hold passwords. */
static void
wiping_free(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

enum nj_err
admin_open(const struct admin_opts *o, struct admin **out, struct nj_why *why)
{
	struct unixpath_opts u = {
		.path = o->path,
		.mode = o->mode	     ? o->mode
		    : o->gid_may_ask ? ADMIN_MODE_GROUP
				     : ADMIN_MODE,
		.uid = o->uid,
		.gid = o->gid,
		.backlog = BACKLOG,
	};
	struct admin *a = calloc(1, sizeof *a);
	enum nj_err e = NJ_NOMEM;

	if (!a) {
		why_set(why, "out of memory");
		return NJ_NOMEM;
	}
	a->fd = -1;
	a->gid = o->gid;
	a->gid_may_ask = o->gid_may_ask;
	if ((a->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
		why_set(why, "no descriptor for it: %s", strerror(errno));
		e = NJ_IO;
	} else {
		e = unixpath_open(&u, &a->path, &a->fd, why);
	}
	if (e) {
		admin_free(a);
		return e;
	}
	*out = a;
	return NJ_OK;
}

void
admin_free(struct admin *a)
{
	if (!a)
		return;
	unixpath_remove(&a->path);
	if (a->fd >= 0)
		(void)close(a->fd);
	if (a->stop >= 0)
		(void)close(a->stop);
	free(a);
}

/* Who asks. */

static bool
in_group(int fd, const struct ucred *who, gid_t gid)
{
	gid_t v[GROUPS_MAX];
	socklen_t n = sizeof v;

	if (who->gid == gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, v, &n) != 0)
		return false;
	for (size_t i = 0; i < n / sizeof v[0]; i++)
		if (v[i] == gid)
			return true;
	return false;
}

static bool
may_ask(const struct admin *a, int fd, struct ucred *who)
{
	socklen_t n = sizeof *who;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &n) != 0 ||
	    n != sizeof *who)
		return false;
	return who->uid == 0 || who->uid == geteuid() ||
	    (a->gid_may_ask && in_group(fd, who, a->gid));
}

/* A connection. */

static uint64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* False: the time is over, or the broker ends. */
static bool
wait_for(const struct admin *a, int fd, short what, uint64_t until)
{
	struct pollfd v[2] = {
		{ .fd = fd, .events = what },
		{ .fd = a->stop, .events = POLLIN },
	};
	uint64_t now = now_ms();
	int n;

	if (now >= until)
		return false;
	n = poll(v, 2, (int)(until - now));
	if (n < 0)
		return errno == EINTR;
	return n > 0 && !v[1].revents;
}

/* The next line, '\n' and all, at the front of *in.  False: there is none. */
static bool
read_line(const struct admin *a, int fd, struct buf *in, size_t *len)
{
	uint64_t until = now_ms() + ADMIN_IDLE_MS;
	size_t seen = 0;

	for (;;) {
		struct slice s = buf_slice(in);
		const uint8_t *nl = s.p && seen < s.n
		    ? memchr(s.p + seen, '\n', s.n - seen)
		    : NULL;
		uint8_t *at;
		ssize_t n;

		if (nl) {
			*len = (size_t)(nl - s.p) + 1;
			return true;
		}
		seen = s.n;
		if (s.n >= ADMIN_REQUEST_MAX || buf_reserve(in, CHUNK, &at) ||
		    !wait_for(a, fd, POLLIN, until))
			return false;
		n = recv(fd, at, CHUNK, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (n > 0)
			buf_commit(in, (size_t)n);
	}
}

static bool
write_all(const struct admin *a, int fd, const char *p, size_t n)
{
	uint64_t until = now_ms() + ADMIN_IDLE_MS;

	while (n > 0) {
		ssize_t k;

		if (!wait_for(a, fd, POLLOUT, until))
			return false;
		k = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (k < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (k > 0) {
			p += k;
			n -= (size_t)k;
		}
	}
	return true;
}

static bool
answer(const struct slot *s, struct slice line)
{
	char *text = admin_answer(&s->admin->env, line, s->who.uid, s->who.pid);
	size_t n = text ? strlen(text) : 0;
	bool sent;

	if (n > ADMIN_ANSWER_MAX) {
		wiping_free(text);
		text = strdup("{\"ok\":false,\"code\":\"too-big\",\"error\":"
			      "\"the answer is too large; ask for less\"}");
		n = text ? strlen(text) : 0;
	}
	sent = text && write_all(s->admin, s->fd, text, n) &&
	    write_all(s->admin, s->fd, "\n", 1);
	wiping_free(text);
	return sent;
}

static void *
serve(void *arg)
{
	struct slot *s = arg;
	struct buf in = { 0 };
	size_t n;

	while (read_line(s->admin, s->fd, &in, &n)) {
		struct slice line = slice_of(buf_slice(&in).p, n - 1);

		if (!answer(s, line))
			break;
		explicit_bzero(in.p + in.off, n);
		buf_drain(&in, n);
	}
	buf_wipe(&in);
	/* its number is free again when the slot is */
	(void)shutdown(s->fd, SHUT_RDWR);
	atomic_store(&s->state, SLOT_OVER);
	return NULL;
}

/* Accepting. */

static void
collect(struct slot *s, bool wait)
{
	int state = atomic_load(&s->state);

	if (state == SLOT_FREE || (state == SLOT_BUSY && !wait))
		return;
	(void)pthread_join(s->thread, NULL);
	(void)close(s->fd);
	atomic_store(&s->state, SLOT_FREE);
}

static void
refuse(int fd, const char *code, const char *text)
{
	char line[256];
	int n = snprintf(line, sizeof line,
	    "{\"ok\":false,\"code\":\"%s\",\"error\":\"%s\"}\n", code, text);

	if (n > 0)
		(void)send(fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd);
}

static bool
begin(struct admin *a, int fd, const struct ucred *who)
{
	for (size_t i = 0; i < ADMIN_CONNS; i++) {
		struct slot *s = &a->slots[i];

		collect(s, false);
		if (atomic_load(&s->state) != SLOT_FREE)
			continue;
		s->admin = a;
		s->fd = fd;
		s->who = *who;
		atomic_store(&s->state, SLOT_BUSY);
		if (pthread_create(&s->thread, NULL, serve, s) == 0) {
			(void)pthread_setname_np(s->thread, "admin");
			return true;
		}
		atomic_store(&s->state, SLOT_FREE);
		return false;
	}
	return false;
}

static void
take_one(struct admin *a)
{
	struct ucred who = { 0 };
	int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0) { /* no descriptor is free, or it went again */
		(void)poll(&(struct pollfd){ .fd = a->stop, .events = POLLIN },
		    1, ACCEPT_PAUSE_MS);
		return;
	}
	if (!may_ask(a, fd, &who)) {
		nj_log(LOG_T_WARNING,
		    "Administrative socket: user %lu (process %ld) may not "
		    "use it",
		    (unsigned long)who.uid, (long)who.pid);
		refuse(fd, "denied", "you may not administer this broker");
	} else if (!begin(a, fd, &who)) {
		refuse(fd, "busy", "too many connections to this socket");
	}
}

static void *
accept_all(void *arg)
{
	struct admin *a = arg;

	for (;;) {
		struct pollfd v[2] = {
			{ .fd = a->fd, .events = POLLIN },
			{ .fd = a->stop, .events = POLLIN },
		};
		int n = poll(v, 2, -1);

		if (n < 0 && errno != EINTR)
			break;
		if (n > 0 && v[1].revents)
			break;
		if (n > 0 && v[0].revents)
			take_one(a);
	}
	return NULL;
}

enum nj_err
admin_start(struct admin *a, const struct admin_env *env, struct nj_why *why)
{
	a->env = *env;
	if (pthread_create(&a->thread, NULL, accept_all, a) != 0) {
		why_set(why, "a thread for %s cannot be made", a->path.path);
		return NJ_IO;
	}
	a->has_thread = true;
	(void)pthread_setname_np(a->thread, "admin accept");
	return NJ_OK;
}

void
admin_stop(struct admin *a)
{
	uint64_t one = 1;

	if (!a || !a->has_thread)
		return;
	(void)!write(a->stop, &one, sizeof one);
	(void)pthread_join(a->thread, NULL);
	a->has_thread = false;
	for (size_t i = 0; i < ADMIN_CONNS; i++)
		collect(&a->slots[i], true);
}
