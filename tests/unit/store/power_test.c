/* SPDX-License-Identifier: Apache-2.0
 *
 * Power is cut at a random moment of a random history: what is found
 * afterwards is the state after some whole batch, and none that was said to be
 * on disk is missing.
 *
 *   power_test [FIRST [LAST]]    seeds
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "disk.h"
#include "memory.h"
#include "store/impl.h"

#define BATCHES 60
/* A history is a little longer, as writes go. */
#define OPS 200
/* The log goes to the database after so many pages. */
#define LOG_PAGES 60

static uint64_t state;
static bool faults; /* a call or two fail, and the store goes on */
static char path[64];

static uint64_t
draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static void
ok(enum nj_err e)
{
	if (e) {
		fprintf(stderr, "%s\n", nj_strerror(e));
		abort();
	}
}

static struct note *
any_note(void)
{
	char topic[2] = { (char)('a' + draw(MODEL_TOPICS)), '\0' };
	char payload[9000];
	size_t n = draw(20) ? draw(40) : draw(sizeof payload - 1);

	for (size_t i = 0; i < n; i++)
		payload[i] = (char)('A' + draw(26));
	payload[n] = '\0';
	return note_new(topic, payload);
}

static void
begin_session(struct model *m, struct store_batch *b, unsigned i)
{
	struct session_model *s = &m->s[i];

	s->used = true;
	snprintf(s->client, sizeof s->client, "c%u-%llu", i,
	    (unsigned long long)draw(100));
	snprintf(s->user, sizeof s->user, "u%u", (unsigned)draw(5));
	s->expiry_s = (uint32_t)draw(UINT32_MAX);
	s->offline_ms = draw(2) ? STORE_NEVER : (int64_t)draw(1000000);
	ok(batch_session(b,
	    &(struct store_session){
		.id = i + 1,
		.client = slice_str(s->client),
		.user = slice_str(s->user),
		.expiry_s = s->expiry_s,
		.offline_ms = s->offline_ms,
	    }));
}

static void
end_session(struct model *m, struct store_batch *b, unsigned i)
{
	struct session_model *s = &m->s[i];

	note_unref(s->will);
	for (unsigned k = 0; k < MODEL_ENTRIES; k++)
		note_unref(s->queue[k].note);
	*s = (struct session_model){ .seq = s->seq };
	ok(batch_session_end(b, i + 1));
}

static void
will(struct session_model *s, struct store_batch *b, unsigned i)
{
	struct note *had = s->will;

	s->will = NULL;
	if (had && draw(2)) {
		ok(batch_will_end(b, i + 1, had));
		return;
	}
	note_unref(had);
	s->will = any_note();
	ok(batch_will(b, i + 1, 5, 6, note_ref(s->will)));
}

static void
subscribe(struct session_model *s, struct store_batch *b, unsigned i)
{
	unsigned k = (unsigned)draw(MODEL_SUBS);
	uint8_t name = (uint8_t)('a' + k);

	if (s->sub[k] && draw(2)) {
		s->sub[k] = 0;
		ok(batch_sub_end(b, i + 1, slice_of(&name, 1)));
		return;
	}
	s->sub[k] = (uint32_t)(1 + draw(UINT32_MAX));
	ok(batch_sub(b,
	    &(struct store_sub){ .session = i + 1,
		.filter = slice_of(&name, 1),
		.options = s->sub[k] }));
}

static void
receive(struct session_model *s, struct store_batch *b, unsigned i)
{
	uint16_t pid = (uint16_t)draw(MODEL_PIDS);

	s->received[pid] = !s->received[pid];
	if (s->received[pid])
		ok(batch_received(b, i + 1, pid));
	else
		ok(batch_released(b, i + 1, pid));
}

/* note: one reference, taken over */
static void
enqueue(struct session_model *s, struct store_batch *b, unsigned i,
    struct note *note)
{
	struct entry_model *e = &s->queue[(s->seq + 1) % MODEL_ENTRIES];
	bool plain = draw(4) > 0; /* it may be in a segment */
	uint8_t ids[12] = { 0 };
	struct store_entry en;
	uint32_t at = 0;

	if (e->note) { /* the ring is full */
		note_unref(note);
		return;
	}
	*e = (struct entry_model){
		.note = note,
		.seq = ++s->seq,
		.pid = !plain && draw(2) ? (uint16_t)(1 + draw(100)) : 0,
		.qos = (uint8_t)draw(plain ? 2 : 3),
		.state = plain ? 0 : (uint8_t)draw(4),
		.share = plain ? 0 : (uint8_t)draw(256),
		.retain = draw(2),
		.n_ids = (uint32_t)draw(4),
	};
	en = (struct store_entry){
		.session = i + 1,
		.seq = e->seq,
		.pid = e->pid,
		.qos = e->qos,
		.state = e->state,
		.share = e->share,
		.retain = e->retain,
		.ids = slice_of(ids, e->n_ids * 4),
		.msg = note_ref(note),
	};
	ok(batch_queue(b, &en, &at));
	if (draw(8) == 0) { /* acknowledged before it was written */
		if (batch_cancel(b, at, i + 1, e->seq) != BATCH_HAD_ENTRY)
			abort();
		note_unref(e->note);
		e->note = NULL;
	}
}

/* The oldest that waits is dropped. */
static void
shift(struct session_model *s, struct store_batch *b, unsigned i)
{
	for (uint64_t q = 1; q <= s->seq; q++) {
		struct entry_model *e = &s->queue[q % MODEL_ENTRIES];

		if (!e->note || e->seq != q || e->pid != 0)
			continue;
		note_unref(e->note);
		e->note = NULL;
		break;
	}
	ok(batch_queue_shift(b, i + 1, 0));
}

/* Those up to one are acknowledged. */
static void
acknowledge(struct session_model *s, struct store_batch *b, unsigned i)
{
	uint64_t upto = s->seq - draw(MODEL_ENTRIES);

	for (uint64_t q = 1; q <= upto && upto <= s->seq; q++) {
		struct entry_model *e = &s->queue[q % MODEL_ENTRIES];

		if (!e->note || e->seq != q)
			continue;
		ok(batch_queue_end(b, i + 1, q));
		note_unref(e->note);
		e->note = NULL;
	}
}

static void
advance(struct session_model *s, struct store_batch *b, unsigned i)
{
	struct entry_model *e = &s->queue[draw(MODEL_ENTRIES)];
	uint32_t at = UINT32_MAX;

	if (!e->note)
		return;
	if (draw(2)) {
		e->pid = (uint16_t)(1 + draw(100));
		e->state = (uint8_t)draw(4);
		ok(batch_queue_state(b, i + 1, e->seq, e->pid, e->state, &at));
		return;
	}
	ok(batch_queue_end(b, i + 1, e->seq));
	note_unref(e->note);
	e->note = NULL;
}

static void
retain(struct model *m, struct store_batch *b)
{
	unsigned k = (unsigned)draw(MODEL_TOPICS);
	uint8_t name = (uint8_t)('a' + k);
	struct note *n;

	if (m->retained[k] && draw(2)) {
		note_unref(m->retained[k]);
		m->retained[k] = NULL;
		ok(batch_retain_end(b, ++m->order, slice_of(&name, 1)));
		return;
	}
	n = any_note();
	k = (unsigned)(n->bytes[2] - 'a');
	note_unref(m->retained[k]);
	m->retained[k] = n;
	ok(batch_retain(b, ++m->order, note_ref(n)));
}

/* One message to all sessions, as fan-out does. */
static void
fan(struct model *m, struct store_batch *b)
{
	struct note *n = any_note();

	for (unsigned i = 0; i < MODEL_SESSIONS; i++)
		if (m->s[i].used)
			enqueue(&m->s[i], b, i, note_ref(n));
	note_unref(n);
}

static void
change(struct model *m, struct store_batch *b)
{
	unsigned i = (unsigned)draw(MODEL_SESSIONS);
	struct session_model *s = &m->s[i];

	if (!s->used) {
		begin_session(m, b, i);
		return;
	}
	switch (draw(18)) {
	case 0:
		end_session(m, b, i);
		break;
	case 1:
		begin_session(m, b, i);
		break;
	case 2:
		will(s, b, i);
		break;
	case 3:
		subscribe(s, b, i);
		break;
	case 4:
	case 5:
		receive(s, b, i);
		break;
	case 6:
	case 7:
		retain(m, b);
		break;
	case 8:
		fan(m, b);
		break;
	case 9:
	case 10:
	case 11:
		advance(s, b, i);
		break;
	case 12:
		shift(s, b, i);
		break;
	case 13:
		if (draw(2))
			acknowledge(s, b, i);
		break;
	default:
		for (uint64_t n = draw(8); n > 0; n--)
			enqueue(s, b, i, any_note());
	}
}

struct history {
	uint64_t hash[BATCHES + 1]; /* of the state after each batch */
	unsigned n;
};

static uint64_t
hash_model(const struct model *m)
{
	struct buf text = { 0 };
	uint64_t h;

	model_text(m, &text);
	h = hash_bytes(buf_slice(&text));
	buf_fini(&text);
	return h;
}

/* Until the power goes or the batches end; the highest ticket on disk. */
static uint64_t
play(struct bench *b, struct model *m, struct history *h)
{
	uint64_t acked = 0;

	while (h->n < BATCHES && !disk_is_off()) {
		unsigned together = 1 + (unsigned)draw(4);

		for (unsigned k = 0; k < together && h->n < BATCHES; k++) {
			struct store_batch *batch;

			ok(batch_new(&note_ops, &batch));
			for (uint64_t i = 1 + draw(6); i > 0; i--)
				change(m, batch);
			h->hash[++h->n] = hash_model(m);
			batch->ticket = h->n;
			store_submit(b->store, batch);
		}
		while (faults && !bench_wait(b, h->n) && !disk_is_off())
			usleep(100);
		if (!bench_wait(b, h->n))
			break;
		acked = h->n;
	}
	pthread_mutex_lock(&b->lock);
	if (b->acked > acked)
		acked = b->acked;
	pthread_mutex_unlock(&b->lock);
	return acked;
}

/* Which of the states it is; -1: none. */
static int
which(const struct history *h, uint64_t hash, uint64_t from)
{
	for (uint64_t i = from; i <= h->n; i++)
		if (h->hash[i] == hash)
			return (int)i;
	return -1;
}

static bool
check(uint64_t seed, struct bench *b, const struct history *h, uint64_t acked)
{
	struct buf text = { 0 };
	struct nj_why why = { .what = "" };
	enum nj_err e = bench_open(b, path, DISK_VFS, &why);
	bool good;

	if (!e)
		e = bench_text(b, &text, &why);
	good = !e && which(h, hash_bytes(buf_slice(&text)), acked) >= 0;
	if (!good)
		fprintf(stderr,
		    "seed %llu: %s %s; %llu of %u batches were on disk; "
		    "found:\n",
		    (unsigned long long)seed, nj_strerror(e), why.what,
		    (unsigned long long)acked, h->n);
	if (!good && buf_len(&text) > 0)
		fwrite(buf_slice(&text).p, 1, buf_len(&text), stderr);
	buf_fini(&text);
	if (e)
		b->store = NULL;
	return good;
}

/* The power fails while the tables are made; what that leaves behind must not
 * come back later. */
static void
fail_first(struct bench *b, uint64_t seed)
{
	struct nj_why why;

	disk_cut_at(1 + seed / 2 % 30);
	if (bench_open(b, path, DISK_VFS, &why))
		b->store = NULL;
	bench_close(b);
	disk_power_on();
}

/* Histories that had files beside the database, and those of them where rows went
 * from one to another. */
static unsigned with_data, with_moves;

static void
count_data(const struct store *s)
{
	with_data += s->data.next > 1;
	with_moves += s->data.moved_us > 0;
}

static bool
run(uint64_t seed)
{
	struct bench b;
	struct model m = { .order = 0 };
	struct history h = { .n = 0 };
	struct nj_why why;
	struct buf none = { 0 };
	uint64_t acked;
	bool good;

	state = seed * 0xd1342543de82ef95ull | 1;
	disk_reset(seed);
	/* two in three have files beside the database */
	bench_data_min = seed % 3 ? 1u << draw(10) : 0;
	bench_data_file = seed % 3 ? 256u << draw(8) : 0;
	if (seed % 2 == 0)
		fail_first(&b, seed);
	ok(bench_open(&b, path, DISK_VFS, &why));
	ok(bench_text(&b, &none, &why));
	buf_fini(&none);
	h.hash[0] = hash_model(&m);
	sqlite3_wal_autocheckpoint(b.store->db, 1 + (int)draw(LOG_PAGES));
	faults = seed % 5 < 2;
	if (faults)
		disk_fault(seed % 5 ? DISK_SYNC : DISK_WRITE, 1 + draw(40),
		    1 + draw(3));
	disk_cut_at(1 + draw(OPS));
	acked = play(&b, &m, &h);
	writer_end(b.store); /* the thread has it until then */
	count_data(b.store);
	bench_close(&b);
	disk_power_on();
	disk_fault(DISK_CALLS, 0, 0);
	good = check(seed, &b, &h, acked);
	bench_close(&b);
	model_fini(&m);
	if (good && notes_alive != 0) {
		fprintf(stderr, "seed %llu: %ld messages leak\n",
		    (unsigned long long)seed, notes_alive);
		good = false;
	}
	return good;
}

int
main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10)
	    : argc > 1		 ? first
				 : 500;
	unsigned failed = 0;
	char lock[80];

	snprintf(path, sizeof path, "/tmp/nightjar-power-%d", (int)getpid());
	for (uint64_t s = first; s <= last; s++)
		if (!run(s))
			failed++;
	disk_fini();
	unlink(path);
	snprintf(lock, sizeof lock, "%s.lock", path);
	unlink(lock);
	printf("%llu seeds, %u failed; %u had data files, %u moved some\n",
	    (unsigned long long)(last - first + 1), failed, with_data,
	    with_moves);
	return failed ? 1 : 0;
}
