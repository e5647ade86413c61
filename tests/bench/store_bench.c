/* SPDX-License-Identifier: Apache-2.0
 * store_bench - makes a large store, and says how long its parts take to load.
 *
 *     store_bench make FILE [SESSIONS SUBS RETAINED QUEUED BYTES]
 *     store_bench load FILE
 *     store_bench write FILE [SECONDS MESSAGES BYTES KEPT]
 *
 * write: commits of so many messages each, one after the other, and how long
 * they take; a message goes when KEPT others have come after it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "store/batch.h"

#define PER_BATCH 2000u
#define TOPIC_MAX 128

struct note {
	atomic_uint refs;
	uint64_t id;
	int64_t expires_ms;
	uint32_t topic_len, payload_len;
	uint8_t bytes[];
};

static atomic_ullong next_id = 1;

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void
must(enum nj_err e, const struct nj_why *why)
{
	if (!e)
		return;
	fprintf(stderr, "store_bench: %s %s\n", nj_strerror(e),
	    why ? why->what : "");
	exit(1);
}

static struct note *
note_new(struct slice topic, uint32_t payload)
{
	struct note *n = calloc(1, sizeof *n + 2 + topic.n + payload);

	if (!n)
		must(NJ_NOMEM, NULL);
	n->refs = 1;
	n->topic_len = (uint32_t)topic.n;
	n->payload_len = payload;
	n->expires_ms = STORE_NEVER;
	n->bytes[0] = (uint8_t)(topic.n >> 8);
	n->bytes[1] = (uint8_t)topic.n;
	memcpy(n->bytes + 2, topic.p, topic.n);
	memset(n->bytes + 2 + topic.n, 'x', payload);
	return n;
}

static void
note_describe(void *arg, void *msg, struct store_body *out)
{
	const struct note *n = msg;

	(void)arg;
	*out = (struct store_body){
		.id = n->id,
		.topic_len = (uint16_t)n->topic_len,
		.payload_len = n->payload_len,
		.qos = 1,
		.bytes = slice_of(n->bytes, 2 + n->topic_len + n->payload_len),
		.expires_ms = n->expires_ms,
	};
}

static uint64_t
note_name(void *arg, void *msg)
{
	struct note *n = msg;

	(void)arg;
	if (n->id == 0)
		n->id = atomic_fetch_add(&next_id, 1);
	return n->id;
}

static enum nj_err
note_make(void *arg, const struct store_body *b, void **msg)
{
	struct note *n = malloc(sizeof *n + b->bytes.n);

	(void)arg;
	if (!n)
		return NJ_NOMEM;
	*n = (struct note){
		.refs = 1,
		.id = b->id,
		.topic_len = b->topic_len,
		.payload_len = b->payload_len,
		.expires_ms = b->expires_ms,
	};
	memcpy(n->bytes, b->bytes.p, b->bytes.n);
	*msg = n;
	return NJ_OK;
}

static void
note_unref(void *msg)
{
	struct note *n = msg;

	if (atomic_fetch_sub(&n->refs, 1) == 1)
		free(n);
}

static const struct store_msg_ops ops = { note_describe, note_name, note_make,
	note_unref };

struct bench {
	struct store *store;
	struct store_batch *batch;
	pthread_mutex_t lock;
	pthread_cond_t change;
	unsigned out; /* batches at the store */
	uint64_t count[7];
	uint64_t at; /* when the part began */
	uint64_t seen, seen_at;
	const char *part;
};

static void
on_done(void *arg, struct store_batch *batch)
{
	struct bench *b = arg;

	batch_free(batch);
	pthread_mutex_lock(&b->lock);
	b->out--;
	pthread_cond_broadcast(&b->change);
	pthread_mutex_unlock(&b->lock);
}

static void
on_state(void *arg, enum store_state s, const char *why)
{
	(void)arg;
	if (s != STORE_OK) {
		fprintf(stderr, "store_bench: %s\n", why);
		exit(1);
	}
}

static void
open_store(struct bench *b, const char *path)
{
	struct nj_why why = { 0 };

	*b = (struct bench){ 0 };
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->change, NULL);
	must(store_open(
		 &(struct store_opts){
		     .path = path,
		     .msgs = &ops,
		     .arg = b,
		     .done = on_done,
		     .state = on_state,
		 },
		 &b->store, &why),
	    &why);
}

static void
wait_out(struct bench *b, unsigned most)
{
	pthread_mutex_lock(&b->lock);
	while (b->out > most)
		pthread_cond_wait(&b->change, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

/* The batch to add to; a full one goes to the store. */
static struct store_batch *
batch(struct bench *b, bool flush)
{
	if (b->batch && (flush || b->batch->n >= PER_BATCH)) {
		wait_out(b, 4);
		pthread_mutex_lock(&b->lock);
		b->out++;
		pthread_mutex_unlock(&b->lock);
		store_submit(b->store, b->batch);
		b->batch = NULL;
	}
	if (!b->batch)
		must(batch_new(&ops, &b->batch), NULL);
	return b->batch;
}

static struct slice
topic_of(char *text, const char *kind, uint64_t i)
{
	int n = snprintf(text, TOPIC_MAX, "site/%llu/%s/%llu/value",
	    (unsigned long long)(i % 997), kind, (unsigned long long)i);

	return slice_of(text, (size_t)n);
}

static void
make_sessions(struct bench *b, const long *size)
{
	char text[TOPIC_MAX];

	for (long i = 1; i <= size[0]; i++) {
		int n = snprintf(text, sizeof text, "device-%07ld", i);

		must(batch_session(batch(b, false),
			 &(struct store_session){
			     .id = (uint64_t)i,
			     .client = slice_of(text, (size_t)n),
			     .user = LIT("someone"),
			     .version = 5,
			     .expiry_s = UINT32_MAX,
			     .offline_ms = 1700000000000,
			 }),
		    NULL);
	}
	for (long i = 0; i < size[1]; i++)
		must(batch_sub(batch(b, false),
			 &(struct store_sub){
			     .session = (uint64_t)(i % size[0] + 1),
			     .filter = topic_of(text, "set", (uint64_t)i),
			     .options = 1,
			 }),
		    NULL);
}

static void
make_messages(struct bench *b, const long *size)
{
	char text[TOPIC_MAX];
	uint32_t at;

	for (long i = 0; i < size[2]; i++)
		must(batch_retain(batch(b, false), (uint64_t)i + 1,
			 note_new(topic_of(text, "is", (uint64_t)i),
			     (uint32_t)size[4])),
		    NULL);
	for (long i = 0; i < size[3]; i++)
		must(
		    batch_queue(batch(b, false),
			&(struct store_entry){
			    .session = (uint64_t)(i % size[0] + 1),
			    .seq = (uint64_t)(i / size[0] + 1),
			    .qos = 1,
			    .pid = i < size[0] ? 1 : 0,
			    .state = i < size[0] ? 1 : 0, /* waits for PUBACK */
			    .msg = note_new(topic_of(text, "set", (uint64_t)i),
				(uint32_t)size[4]),
			},
			&at),
		    NULL);
}

static int
make(const char *path, int n, char **words)
{
	/* sessions, subscriptions, retained, queued, bytes */
	long size[5] = { 100000, 1000000, 1000000, 1000000, 100 };
	struct nj_why why = { 0 };
	uint64_t began = now_us();
	struct bench b;

	for (int i = 0; i < n && i < 5; i++)
		if (!text_to_long(words[i], i == 0, 1L << 40, &size[i]))
			must(NJ_INVALID, NULL);
	open_store(&b, path);
	must(store_start(b.store, &why), &why);
	make_sessions(&b, size);
	make_messages(&b, size);
	batch_free(batch(&b, true));
	wait_out(&b, 0);
	store_close(b.store);
	printf("%-20s %6.2f s\n", "made", (double)(now_us() - began) / 1e6);
	return 0;
}

/* How long the part took that has ended. */
static void
tell(struct bench *b)
{
	if (!b->part)
		return;
	printf("  %-18s %6.2f s %10llu\n", b->part,
	    (double)(b->seen_at - b->at) / 1e6, (unsigned long long)b->seen);
	b->at = b->seen_at;
}

static enum nj_err
count(void *arg, int slot)
{
	((struct bench *)arg)->count[slot]++;
	return NJ_OK;
}

static enum nj_err
l_session(void *arg, const struct store_session *s)
{
	(void)s;
	return count(arg, 0);
}

static enum nj_err
l_will(void *arg, const struct store_will *w, void *msg)
{
	(void)w;
	note_unref(msg);
	return count(arg, 1);
}

static enum nj_err
l_sub(void *arg, const struct store_sub *s)
{
	(void)s;
	return count(arg, 2);
}

static enum nj_err
l_received(void *arg, uint64_t session, uint16_t pid)
{
	(void)session;
	(void)pid;
	return count(arg, 3);
}

static enum nj_err
l_inflight(void *arg, const struct store_entry *e)
{
	note_unref(e->msg);
	return count(arg, 4);
}

static enum nj_err
l_waiting(void *arg, const struct store_waiting *w)
{
	((struct bench *)arg)->count[5] += w->n;
	return NJ_OK;
}

static enum nj_err
l_retained(void *arg, void *msg)
{
	note_unref(msg);
	return count(arg, 6);
}

/* The last call of a part is at its end. */
static void
l_progress(void *arg, const char *what, uint64_t n)
{
	struct bench *b = arg;

	if (b->part != what)
		tell(b);
	b->part = what;
	b->seen = n;
	b->seen_at = now_us();
}

static int
load(const char *path)
{
	uint64_t began = now_us(), opened;
	struct nj_why why = { 0 };
	struct rusage ru;
	struct bench b;

	open_store(&b, path);
	opened = now_us();
	printf("%-20s %6.2f s\n", "open", (double)(opened - began) / 1e6);
	b.at = opened;
	must(store_load(b.store,
		 &(struct store_loader){
		     .session = l_session,
		     .will = l_will,
		     .sub = l_sub,
		     .received = l_received,
		     .inflight = l_inflight,
		     .waiting = l_waiting,
		     .retained = l_retained,
		     .progress = l_progress,
		     .arg = &b,
		 },
		 &why),
	    &why);
	tell(&b);
	printf("%-20s %6.2f s\n", "all", (double)(now_us() - began) / 1e6);
	getrusage(RUSAGE_SELF, &ru);
	printf("sessions %llu subscriptions %llu in flight %llu waiting %llu "
	       "retained %llu; %ld KiB at most\n",
	    (unsigned long long)b.count[0], (unsigned long long)b.count[2],
	    (unsigned long long)b.count[4], (unsigned long long)b.count[5],
	    (unsigned long long)b.count[6], ru.ru_maxrss);
	store_close(b.store);
	return 0;
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
tell_times(uint32_t *us, size_t n, uint64_t messages, double seconds)
{
	static const double at[] = { 0.5, 0.9, 0.99, 0.999, 1 };

	if (n == 0)
		return;
	qsort(us, n, sizeof *us, by_size);
	printf(
	    "%zu commits, %.0f messages/s; ms:", n, (double)messages / seconds);
	for (unsigned i = 0; i < 5; i++)
		printf(" p%g %.2f", at[i] * 100,
		    us[(size_t)((double)(n - 1) * at[i])] / 1000.0);
	printf("\n");
}

static void
write_one(struct bench *b, uint64_t seq, long kept, uint32_t payload)
{
	char text[TOPIC_MAX];
	uint32_t at;

	must(batch_queue(b->batch,
		 &(struct store_entry){
		     .session = seq % 1000 + 1,
		     .seq = seq,
		     .qos = 1,
		     .msg = note_new(topic_of(text, "set", seq), payload),
		 },
		 &at),
	    NULL);
	if (seq > (uint64_t)kept)
		must(
		    batch_queue_end(b->batch, (seq - (uint64_t)kept) % 1000 + 1,
			seq - (uint64_t)kept),
		    NULL);
}

#define TIMES_MAX 1000000

static int
keep_writing(const char *path, int n, char **words)
{
	/* seconds, messages a commit, bytes, kept */
	long size[4] = { 10, 100, 256, 100000 };
	uint32_t *us = calloc(TIMES_MAX, sizeof *us);
	struct nj_why why = { 0 };
	uint64_t seq = 0, began;
	size_t done = 0;
	struct bench b;

	for (int i = 0; i < n && i < 4; i++)
		if (!text_to_long(words[i], 1, 1L << 40, &size[i]))
			must(NJ_INVALID, NULL);
	open_store(&b, path);
	must(store_start(b.store, &why), &why);
	began = now_us();
	while (us && done < TIMES_MAX &&
	    now_us() - began < (uint64_t)size[0] * 1000000) {
		uint64_t at;

		(void)batch(&b, false);
		for (long i = 0; i < size[1]; i++)
			write_one(&b, ++seq, size[3], (uint32_t)size[2]);
		at = now_us();
		(void)batch(&b, true);
		wait_out(&b, 0);
		us[done++] = (uint32_t)(now_us() - at);
	}
	tell_times(us, done, seq, (double)(now_us() - began) / 1e6);
	batch_free(b.batch);
	store_close(b.store);
	free(us);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "write") == 0)
		return keep_writing(argv[2], argc - 3, argv + 3);
	if (argc > 2 && strcmp(argv[1], "make") == 0)
		return make(argv[2], argc - 3, argv + 3);
	if (argc == 3 && strcmp(argv[1], "load") == 0)
		return load(argv[2]);
	fprintf(stderr,
	    "usage: store_bench make FILE [SESSIONS SUBS RETAINED "
	    "QUEUED BYTES]\n"
	    "       store_bench load FILE\n"
	    "       store_bench write FILE [SECONDS MESSAGES "
	    "BYTES KEPT]\n");
	return 2;
}
