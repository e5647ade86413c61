/* SPDX-License-Identifier: Apache-2.0
 *
 * Each call that SQLite makes to its file system fails once, and then so often
 * that it is more than a moment: at the start, while it is loaded, written and
 * read.  What a store then says is an error, never that its file is damaged (it
 * would be set aside); it goes on by itself; and nothing is lost, or there twice.
 *
 *   fault_test [all]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "memory.h"

#define BATCHES	   12
#define PATIENCE_S 60
#define SOME	   20 /* calls of a kind that fail in turn */

static char path[64];
static const char *doing = "at the start";
static char said[512];	/* by the store, when it did not start */
static char trying[80]; /* for who finds that it hangs */

static const char *const names[DISK_CALLS] = {
	[DISK_OPEN] = "open",
	[DISK_READ] = "read",
	[DISK_WRITE] = "write",
	[DISK_TRUNCATE] = "truncate",
	[DISK_SYNC] = "sync",
	[DISK_SIZE] = "size",
	[DISK_LOCK] = "lock",
	[DISK_SHM_MAP] = "shared memory",
	[DISK_SHM_LOCK] = "lock of shared memory",
	[DISK_DELETE] = "delete",
};

/* It waits for what does not come. */
static void
hangs(int sig)
{
	static const char what[] = "hangs: ";

	(void)sig;
	(void)!write(2, what, sizeof what - 1);
	(void)!write(2, trying, strnlen(trying, sizeof trying));
	(void)!write(2, doing, strlen(doing));
	(void)!write(2, "\n", 1);
	abort();
}

static void
ok(enum nj_err e)
{
	if (e) {
		fprintf(stderr, "%s\n", nj_strerror(e));
		abort();
	}
}

static void
queue(struct store_batch *b, uint64_t session, uint64_t seq, struct note *n)
{
	uint32_t at;

	ok(batch_queue(b,
	    &(struct store_entry){
		.session = session, .seq = seq, .qos = 1, .msg = note_ref(n) },
	    &at));
}

/* A batch of all kinds of records; i is its number. */
static struct store_batch *
batch_of(uint64_t i)
{
	struct note *n;
	struct store_batch *b;
	char payload[6000];

	memset(payload, 'a' + (int)(i % 26), sizeof payload);
	payload[i % 3 ? 40 : sizeof payload - 1] = '\0';
	n = note_new(i % 2 ? "a" : "b", payload);
	ok(batch_new(&note_ops, &b));
	for (uint64_t s = 1; i == 1 && s <= MODEL_SESSIONS; s++)
		ok(batch_session(b,
		    &(struct store_session){ .id = s,
			.client = slice_str("client"),
			.expiry_s = 1,
			.offline_ms = STORE_NEVER }));
	ok(batch_sub(b,
	    &(struct store_sub){ .session = 1 + i % 2,
		.filter = slice_of(&"abcd"[i % MODEL_SUBS], 1),
		.options = (uint32_t)i }));
	ok(batch_received(b, 2, (uint16_t)(i % MODEL_PIDS)));
	for (uint64_t s = 1; s <= MODEL_SESSIONS; s++) {
		struct note *own = s % 2 ? note_ref(n) : note_new("c", payload);

		queue(b, s, i, own);
		note_unref(own);
	}
	if (i > 4)
		ok(batch_queue_end(b, 1 + i % MODEL_SESSIONS, i - 3));
	if (i % 3 == 0)
		ok(batch_will(b, 3, 1, 2, note_ref(n)));
	ok(batch_retain(b, i, n));
	b->ticket = i;
	return b;
}

/* False: it does not go on. */
static bool
acked(struct bench *b, uint64_t ticket)
{
	struct timespec until;
	bool there;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&b->lock);
	while (b->acked < ticket && rc == 0)
		rc = pthread_cond_timedwait(&b->change, &b->lock, &until);
	there = b->acked >= ticket;
	pthread_mutex_unlock(&b->lock);
	return there;
}

/* Opens and loads it; out: what is there. */
static enum nj_err
start(struct bench *b, struct buf *out)
{
	struct nj_why why = { .what = "" };
	enum nj_err e;

	buf_truncate(out, 0);
	if ((e = bench_open(b, path, DISK_VFS, &why)))
		b->store = NULL;
	else
		e = bench_text(b, out, &why);
	if (e) {
		snprintf(said, sizeof said, "%s", why.what);
		bench_close(b);
	}
	return e;
}

static bool
write_some(struct bench *b, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i <= to; i++) {
		store_submit(b->store, batch_of(i));
		if (i % 3 == 0 && !acked(b, i))
			return false;
	}
	return acked(b, to);
}

/* A life with faults after one without; what is found in a third. */
static bool
live(struct buf *found)
{
	struct bench b;
	enum nj_err e;
	bool good;

	doing = "starting";
	if ((e = start(&b, found))) {
		if (e == NJ_MALFORMED || e == NJ_UNSUPPORTED)
			return false;
		disk_fault(DISK_CALLS, 0, 0);
		doing = "starting again";
		if (start(&b, found))
			return false;
	}
	b.acked = BATCHES;
	doing = "writing";
	good = write_some(&b, BATCHES + 1, 2 * BATCHES);
	disk_fault(DISK_CALLS, 0, 0);
	bench_close(&b);
	if (!good)
		return false;
	doing = "finding it again";
	if (start(&b, found))
		return false;
	bench_close(&b);
	return true;
}

static void
first_life(uint64_t seed)
{
	struct bench b;
	struct buf none = { 0 };

	disk_reset(seed);
	ok(start(&b, &none));
	if (!write_some(&b, 1, BATCHES))
		abort();
	bench_close(&b);
	buf_fini(&none);
}

static bool
run(enum disk_call which, uint64_t at, uint64_t times, const struct buf *want)
{
	struct buf found = { 0 };
	bool good;

	snprintf(trying, sizeof trying, "%s %llu, %llu times, ", names[which],
	    (unsigned long long)at, (unsigned long long)times);
	alarm(3 * PATIENCE_S);
	first_life(at + 1);
	disk_fault(which, at, times);
	good = live(&found);
	if (good && !slice_eq(buf_slice(&found), buf_slice(want))) {
		good = false;
		fwrite(buf_slice(&found).p, 1, buf_slice(&found).n, stderr);
	}
	if (!good)
		fprintf(stderr, "%s %llu, %llu times: wrong while %s %s\n",
		    names[which], (unsigned long long)at,
		    (unsigned long long)times, doing, said);
	buf_fini(&found);
	return good;
}

int
main(int argc, char **argv)
{
	/* the check of all pages looks again: both looks may be hit */
	static const uint64_t times[] = { 1, 2, 7 };
	bool all = argc > 1 && strcmp(argv[1], "all") == 0;
	unsigned failed = 0, runs = 0;
	uint64_t calls[DISK_CALLS];
	struct buf want = { 0 };
	char lock[80];

	signal(SIGALRM, hangs);
	alarm(3 * PATIENCE_S);
	bench_data_min = 100;
	bench_data_file = 3000;
	snprintf(path, sizeof path, "/tmp/nightjar-fault-%d", (int)getpid());
	first_life(1);
	disk_fault(DISK_CALLS, 0, 0);
	if (!live(&want))
		abort();
	/* what a life does, its end and what finds it included */
	first_life(1);
	disk_fault(DISK_CALLS, 0, 0);
	{
		struct bench b;
		struct buf none = { 0 };

		ok(start(&b, &none));
		b.acked = BATCHES;
		if (!write_some(&b, BATCHES + 1, 2 * BATCHES))
			abort();
		for (unsigned k = 0; k < DISK_CALLS; k++)
			calls[k] = disk_called((enum disk_call)k);
		bench_close(&b);
		buf_fini(&none);
	}
	for (unsigned k = 0; k < DISK_CALLS; k++) {
		uint64_t step = all ? 1 : 1 + calls[k] / SOME;

		/* the check reads first */
		for (uint64_t at = 1; at <= calls[k];
		     at += k == DISK_READ && at < SOME ? 1 : step)
			for (unsigned i = 0; i < 3; i++, runs++)
				failed += !run(
				    (enum disk_call)k, at, times[i], &want);
	}
	buf_fini(&want);
	disk_fini();
	unlink(path);
	snprintf(lock, sizeof lock, "%s.lock", path);
	unlink(lock);
	printf("%u faults, %u wrong\n", runs, failed);
	if (notes_alive != 0) {
		fprintf(stderr, "%ld messages leak\n", notes_alive);
		failed++;
	}
	return failed ? 1 : 0;
}
