/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/serve_admin.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/log.h"

static enum nj_err
owner_of(const struct conf *c, const char *user, struct admin_opts *o,
    struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	if (user)
		e = daemon_find_user(user, &o->uid, &o->gid, why);
	if (!e && c->admin_socket_group) {
		o->gid_may_ask = true;
		e = daemon_find_group(c->admin_socket_group, &o->gid, why);
	}
	return e;
}

static enum nj_err
waiting_init(struct serve_admin *s)
{
	pthread_condattr_t attr;

	if (pthread_mutex_init(&s->lock, NULL) != 0 ||
	    pthread_condattr_init(&attr) != 0)
		return NJ_NOMEM;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (pthread_cond_init(&s->changed, &attr) != 0)
		return NJ_NOMEM;
	(void)pthread_condattr_destroy(&attr);
	return NJ_OK;
}

enum nj_err
serve_admin_open(const struct conf *c, const char *user, struct serve_admin *s,
    struct nj_why *why)
{
	struct admin_opts o = {
		.path = c->admin_socket,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	enum nj_err e;

	if (!c->admin_socket)
		return NJ_OK;
	if (c->admin_socket_mode)
		o.mode = (unsigned)strtoul(c->admin_socket_mode, NULL, 8);
	if (!(e = owner_of(c, user, &o, why)))
		e = admin_open(&o, &s->admin, why);
	if (e && c->admin_socket_usual) {
		nj_log(LOG_T_NOTICE, "No administrative socket: %s", why->what);
		*why = (struct nj_why){ 0 };
		return NJ_OK;
	}
	return e ? e : waiting_init(s);
}

static struct timespec
in_ms(unsigned ms)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

/* The main thread waits for signals, so a signal is how it is asked. */
static enum nj_err
reload(void *arg, unsigned timeout_ms, struct nj_why *why)
{
	struct serve_admin *s = arg;
	struct timespec until = in_ms(timeout_ms);
	enum nj_err e = NJ_TIMEOUT;
	uint64_t mine;
	int late = 0;

	(void)pthread_mutex_lock(&s->lock);
	mine = ++s->asked;
	if (!s->closed)
		(void)kill(getpid(), SIGHUP);
	while (!s->closed && s->done < mine && !late)
		late = pthread_cond_timedwait(&s->changed, &s->lock, &until);
	if (s->done >= mine) {
		e = s->e;
		*why = s->why;
	} else {
		why_set(why,
		    s->closed
			? "the broker is shutting down"
			: "the reload takes longer than %u ms; see the log",
		    timeout_ms);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return e;
}

enum nj_err
serve_admin_start(struct serve_admin *s, struct broker *b,
    struct tls_staples *staples, struct nj_why *why)
{
	struct admin_env env = {
		.broker = b,
		.staples = staples,
		.reload = reload,
		.reload_arg = s,
	};

	return s->admin ? admin_start(s->admin, &env, why) : NJ_OK;
}

uint64_t
serve_admin_reloading(struct serve_admin *s)
{
	uint64_t asked;

	if (!s->admin)
		return 0;
	(void)pthread_mutex_lock(&s->lock);
	asked = s->asked;
	(void)pthread_mutex_unlock(&s->lock);
	return asked;
}

void
serve_admin_reloaded(struct serve_admin *s, uint64_t asked, enum nj_err e,
    const struct nj_why *why)
{
	if (!s->admin)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->done = asked;
	s->e = e;
	s->why = *why;
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
}

void
serve_admin_stop(struct serve_admin *s)
{
	if (!s->admin)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->closed = true;
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
	admin_stop(s->admin);
}

void
serve_admin_close(struct serve_admin *s)
{
	if (!s->admin)
		return;
	admin_free(s->admin);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	*s = (struct serve_admin){ 0 };
}
