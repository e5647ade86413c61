/* SPDX-License-Identifier: Apache-2.0
 * seam - what the linker (--wrap) puts in place of the machine: the event
 *        loop, sockets, accepting, randomness, grace periods and memory.
 *
 * Everything that the broker itself calls stays as it is; so what is tested is
 * what is shipped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <urcu-qsbr.h>

#include "base/pool.h"
#include "broker/fence.h"
#include "broker/memory.h"
#include "net/loop.h"
#include "net/stream_impl.h"
#include "sim.h"

#define RETIRED_MAX 4096

static bool in_broker;
static unsigned memory_of_1000;
static bool out_of_files;
static long refused;

bool
seam_inside(bool inside)
{
	bool was = in_broker;

	in_broker = inside;
	return was;
}

void
seam_memory(unsigned of_1000)
{
	memory_of_1000 = of_1000;
}

void
seam_files(bool out)
{
	out_of_files = out;
}

long
seam_refused(void)
{
	return refused;
}

/* Memory. */

static bool
refuse(void)
{
	if (!in_broker || memory_of_1000 == 0 ||
	    !chance(&sim->fault, memory_of_1000))
		return false;
	refused++;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
void *__wrap_pool_get(size_t n);
void __wrap_pool_put(void *p, size_t n);
uint64_t __wrap_memory_heap(const struct broker *b);

void *
__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}

char *
__wrap_strdup(const char *s)
{
	return refuse() ? NULL : __real_strdup(s);
}

/* What a pool keeps would be carried from one run to the next. */
void *
__wrap_pool_get(size_t n)
{
	return __wrap_malloc(n);
}

void
__wrap_pool_put(void *p, size_t n)
{
	free(p);
}

/* In $SYS and nowhere else. */
uint64_t
__wrap_memory_heap(const struct broker *b)
{
	return 1000000 + sim->seq % 1000;
}

/* What does not ask a struct clock: statistics, the age of stored messages. */

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
time_t __wrap_time(time_t *out);

int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	*ts = (struct timespec){ (time_t)(sim->now / 1000),
		(long)(sim->now % 1000) * 1000000 };
	return 0;
}

time_t
__wrap_time(time_t *out)
{
	return (time_t)(INT64_C(1700000000) + (int64_t)(sim->now / 1000));
}

/* Randomness. */

void __wrap_rand_bytes(void *p, size_t n);

void
__wrap_rand_bytes(void *p, size_t n)
{
	uint8_t *at = p;

	while (n-- > 0)
		*at++ = (uint8_t)pick(&sim->sched, 256);
}

/* The event loop: who is ready is called in an order of the seed's, and some
 * are told a turn later. */

struct loop {
	struct watch **v, **batch;
	unsigned n, cap, batch_at, batch_n;
};

NJ_MUST enum nj_err __wrap_loop_new(struct loop **out);
void __wrap_loop_free(struct loop *l);
NJ_MUST enum nj_err __wrap_loop_add(struct loop *l, struct watch *w);
NJ_MUST enum nj_err
__wrap_loop_want(struct loop *l, struct watch *w, unsigned want);
void __wrap_loop_del(struct loop *l, struct watch *w);
int __wrap_loop_wait(struct loop *l, int timeout_ms);
void __wrap_loop_dispatch(struct loop *l);
bool __wrap_loop_next(struct loop *l);
void __wrap_loop_break(struct loop *l);
int __wrap_loop_fd(const struct loop *l);

enum nj_err
__wrap_loop_new(struct loop **out)
{
	bool was = seam_inside(false);
	struct loop *l = calloc(1, sizeof *l);

	seam_inside(was);
	if (!l)
		return NJ_NOMEM;
	*out = l;
	return NJ_OK;
}

void
__wrap_loop_free(struct loop *l)
{
	if (!l)
		return;
	free(l->v);
	free(l->batch);
	free(l);
}

/* What is there already is told, also where only news are. */
static void
arm(const struct watch *w)
{
	struct nconn *c = w->fd >= NET_FD ? net_find(w->fd) : NULL;

	if (c)
		c->armed = true;
}

/* The kernel, too, can be out of memory. */
enum nj_err
__wrap_loop_add(struct loop *l, struct watch *w)
{
	bool was;

	if (refuse())
		return NJ_NOMEM;
	was = seam_inside(false);
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->v = realloc(l->v, l->cap * sizeof(*l->v));
		l->batch = realloc(l->batch, l->cap * sizeof(*l->batch));
		if (!l->v || !l->batch)
			abort();
	}
	l->v[l->n++] = w;
	arm(w);
	seam_inside(was);
	return NJ_OK;
}

enum nj_err
__wrap_loop_want(struct loop *l, struct watch *w, unsigned want)
{
	w->want = want;
	arm(w);
	return NJ_OK;
}

void
__wrap_loop_del(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	w->fd = -1;
	for (unsigned i = 0; i < l->n; i++)
		if (l->v[i] == w) {
			l->v[i] = l->v[--l->n];
			break;
		}
	for (unsigned i = l->batch_at; i < l->batch_n; i++)
		if (l->batch[i] == w)
			l->batch[i] = NULL;
}

static unsigned
ready_bits(const struct watch *w)
{
	struct nconn *c;

	if (w->fd == NET_LOOP)
		return LOOP_IN; /* it is looked at in each turn */
	if (w->fd < NET_PORT)
		return 0; /* a mailbox: nobody sleeps here */
	if (w->fd < NET_FD)
		return (w->want & LOOP_IN) &&
			net_waiting((unsigned)(w->fd - NET_PORT))
		    ? LOOP_IN
		    : 0;
	c = net_find(w->fd);
	return c ? net_ready(c, w->want) : 0;
}

int
__wrap_loop_wait(struct loop *l, int timeout_ms)
{
	l->batch_at = l->batch_n = 0;
	for (unsigned i = 0; i < l->n; i++)
		if (ready_bits(l->v[i]) && !chance(&sim->sched, 50))
			l->batch[l->batch_n++] = l->v[i];
	for (unsigned i = l->batch_n; i > 1; i--) {
		unsigned k = (unsigned)pick(&sim->sched, i);
		struct watch *w = l->batch[k];

		l->batch[k] = l->batch[i - 1];
		l->batch[i - 1] = w;
	}
	return (int)l->batch_n;
}

bool
__wrap_loop_next(struct loop *l)
{
	while (l->batch_at < l->batch_n) {
		struct watch *w = l->batch[l->batch_at++];
		unsigned ready = w ? ready_bits(w) : 0;

		if (!ready)
			continue;
		if (w->want & LOOP_EDGE)
			net_told(net_find(w->fd));
		w->fn(w, ready);
		return true;
	}
	return false;
}

void
__wrap_loop_dispatch(struct loop *l)
{
	while (__wrap_loop_next(l))
		;
}

void
__wrap_loop_break(struct loop *l)
{
	l->batch_at = l->batch_n;
}

int
__wrap_loop_fd(const struct loop *l)
{
	return NET_LOOP;
}

/* Sockets. */

struct fake {
	struct stream s;
	struct nconn *c;
};

static struct nconn *
conn_of(struct stream *s)
{
	return ((struct fake *)(void *)s)->c;
}

static enum nj_err
fake_nothing(struct stream *s)
{
	return NJ_OK;
}

static enum nj_err
fake_read(struct stream *s, uint8_t *dst, size_t cap, size_t *n)
{
	bool was = seam_inside(false);
	enum nj_err e = net_read(conn_of(s), dst, cap, n);

	seam_inside(was);
	return e;
}

static enum nj_err
fake_write(struct stream *s, const uint8_t *src, size_t len, size_t *n)
{
	bool was = seam_inside(false);
	enum nj_err e = net_write(conn_of(s), src, len, n);

	seam_inside(was);
	return e;
}

static enum nj_err
fake_writev(struct stream *s, const struct iovec *iov, int cnt, size_t *n)
{
	return cnt < 1 ? NJ_AGAIN
		       : fake_write(s, iov[0].iov_base, iov[0].iov_len, n);
}

static bool
fake_pending(const struct stream *s)
{
	return false;
}

static unsigned
fake_wants(const struct stream *s)
{
	return 0;
}

static void
fake_shutdown(struct stream *s)
{
}

static void
fake_move(struct stream *s, struct stream_scratch *scratch)
{
}

static const struct tls_peer *
fake_tls(const struct stream *s)
{
	return NULL;
}

static void
fake_free(struct stream *s)
{
	free(s);
}

static const struct stream_ops fake_ops = {
	.handshake = fake_nothing,
	.read = fake_read,
	.write = fake_write,
	.writev = fake_writev,
	.flush = fake_nothing,
	.pending = fake_pending,
	.wants = fake_wants,
	.shutdown = fake_shutdown,
	.move = fake_move,
	.tls = fake_tls,
	.free = fake_free,
};

NJ_MUST enum nj_err __wrap_stream_tcp_new(int fd, struct stream **out);
void __wrap_stream_ack_now(struct stream *s);
NJ_MUST enum nj_err __wrap_listener_accept(
    int fd, bool nodelay, int *out, char *peer, size_t peer_size);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how);

enum nj_err
__wrap_stream_tcp_new(int fd, struct stream **out)
{
	struct fake *f = calloc(1, sizeof *f);

	if (!f)
		return NJ_NOMEM;
	f->s.ops = &fake_ops;
	f->s.fd = fd;
	f->c = net_find(fd);
	*out = &f->s;
	return NJ_OK;
}

void
__wrap_stream_ack_now(struct stream *s)
{
}

enum nj_err
__wrap_listener_accept(
    int fd, bool nodelay, int *out, char *peer, size_t peer_size)
{
	struct nconn *c = net_waiting((unsigned)(fd - NET_PORT));

	if (!c)
		return NJ_AGAIN;
	if (out_of_files)
		return NJ_FULL;
	c->accepted = true;
	snprintf(peer, peer_size, "sim-%u", c->id);
	*out = c->fd;
	return NJ_OK;
}

int
__wrap_close(int fd)
{
	struct nconn *c = fd >= NET_FD ? net_find(fd) : NULL;
	bool was = seam_inside(false);
	int rc = 0;

	if (c)
		net_close(c);
	else if (fd < NET_PORT)
		rc = __real_close(fd);
	else
		sim_fail("a descriptor is closed twice: %d", fd - NET_FD);
	seam_inside(was);
	return rc;
}

int
__wrap_shutdown(int fd, int how)
{
	struct nconn *c = fd >= NET_FD ? net_find(fd) : NULL;
	bool was;

	if (!c)
		return __real_shutdown(fd, how);
	was = seam_inside(false);
	net_shut(c);
	seam_inside(was);
	return 0;
}

/* Grace periods: they end between turns, some at once, some much later. */

static struct {
	struct rcu_head *head;
	void (*fn)(struct rcu_head *);
} retired[RETIRED_MAX];
static unsigned n_retired;

void
__wrap_urcu_qsbr_call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *));
void __wrap_fence_barrier(struct broker *b);

void
__wrap_urcu_qsbr_call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *))
{
	if (n_retired == RETIRED_MAX)
		abort();
	retired[n_retired].head = head;
	retired[n_retired++].fn = fn;
}

void
seam_grace(bool all)
{
	/* in the order in which they began, as liburcu has it */
	unsigned n =
	    all ? n_retired : (unsigned)pick(&sim->sched, n_retired + 1);

	for (unsigned i = 0; i < n; i++)
		retired[i].fn(retired[i].head);
	memmove(retired, retired + n, (n_retired - n) * sizeof retired[0]);
	n_retired -= n;
}

unsigned
seam_retiring(void)
{
	return n_retired;
}

void
__wrap_fence_barrier(struct broker *b)
{
	seam_grace(true);
	power_meanwhile(b->store);
}

/* The store's thread, for brokers that stop: how far it comes meanwhile. */

void __real_store_turn(struct store *s);
void __wrap_store_turn(struct store *s);

void
__wrap_store_turn(struct store *s)
{
	if (!power_store_rests())
		__real_store_turn(s);
}

void
seam_start(void)
{
	in_broker = out_of_files = false;
	memory_of_1000 = 0;
	refused = 0;
	n_retired = 0;
}
