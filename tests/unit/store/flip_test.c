/* SPDX-License-Identifier: Apache-2.0
 *
 * One bit of a store is another one: what is read is what was written, or it is
 * said to be damaged.  Of a store with all kinds of rows, at places all over each
 * of its pages, found at the start; of one that is open, when it is read.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "place.h"
#include "store/facts.h"
#include "store/pagesum.h"
#include "store/view.h"

#define PAGE	 4096
#define SESSIONS 20u
#define FLIPS	 60u /* about */

static const char *const path = place_path;
static struct bench b;
static struct nj_why why;

/* What there is. */

static struct note *
note_of(const char *topic, unsigned n, unsigned bytes)
{
	char *text = malloc(bytes + 1);
	struct note *note;

	assert_non_null(text);
	memset(text, 'a' + (int)(n % 26), bytes);
	text[bytes] = '\0';
	text[snprintf(text, bytes, "%u", n)] = ' ';
	note = note_new(topic, text);
	free(text);
	return note;
}

static void
put_session(struct store_batch *x, uint64_t id)
{
	char client[32], filter[32];

	snprintf(client, sizeof client, "client-%u", (unsigned)id);
	assert_int_equal(batch_session(x,
			     &(struct store_session){ .id = id,
				 .client = slice_str(client),
				 .user = slice_str("user"),
				 .who = slice_str("who they were"),
				 .version = 5,
				 .expiry_s = 1000 + (uint32_t)id,
				 .offline_ms = STORE_NEVER }),
	    NJ_OK);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(filter, sizeof filter, "sub/%u/%u", (unsigned)id, i);
		assert_int_equal(batch_sub(x,
				     &(struct store_sub){ .session = id,
					 .filter = slice_str(filter),
					 .options = i + 1 }),
		    NJ_OK);
		assert_int_equal(
		    batch_received(x, id, (uint16_t)(i + 1)), NJ_OK);
	}
	assert_int_equal(
	    batch_will(x, id, 3, 4, note_of("will", 1, 50)), NJ_OK);
	assert_int_equal(batch_sent(x, id, 7), NJ_OK);
}

/* QoS 1 in segments, QoS 2 in rows, some of them in flight, one over pages. */
static void
put_queue(struct store_batch *x, uint64_t id)
{
	struct store_entry en = { .session = id };
	unsigned n = id == 1 ? 300 : 12;
	uint32_t at;

	for (en.seq = 1; en.seq <= n; en.seq++) {
		en.qos = en.seq % 4 == 0 ? 2 : 1;
		en.pid = en.seq % 8 == 0 ? (uint16_t)en.seq : 0;
		en.msg = note_of(
		    "queue", (unsigned)en.seq, en.seq == 4 ? 9000 : 100);
		assert_int_equal(batch_queue(x, &en, &at), NJ_OK);
	}
}

static void
write_now(struct store_batch *x)
{
	assert_true(bench_write(&b, x));
}

static void
put_facts(void)
{
	struct facts *f;
	char name[32];

	assert_int_equal(facts_new(LIT("roles"), &f), NJ_OK);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "fact-%02u", i);
		assert_int_equal(
		    facts_put(f, i % 3, slice_str(name), LIT("value")), NJ_OK);
	}
	assert_int_equal(facts_commit(b.store, f, &why), NJ_OK);
	facts_free(f);
}

static const struct store_loader loader;

static void
open_it(bool load)
{
	assert_int_equal(bench_open(&b, path, NULL, &why), NJ_OK);
	if (load)
		assert_int_equal(store_load(b.store, &loader, &why), NJ_OK);
	assert_int_equal(store_start(b.store, &why), NJ_OK);
}

static void
make_store(void)
{
	struct store_batch *x = bench_batch();
	char topic[32];

	place_clear();
	open_it(false);
	for (uint64_t id = 1; id <= SESSIONS; id++) {
		put_session(x, id);
		put_queue(x, id);
	}
	for (unsigned i = 0; i < 50; i++) {
		snprintf(topic, sizeof topic, "kept/%u", i);
		assert_int_equal(
		    batch_retain(x, i + 1, note_of(topic, i, 60)), NJ_OK);
	}
	write_now(x);
	put_facts();
	/* notes of what is gone, pages that are free */
	x = bench_batch();
	for (uint64_t seq = 1; seq < 40; seq += 2)
		assert_int_equal(batch_queue_end(x, 1, seq), NJ_OK);
	assert_int_equal(batch_session_end(x, SESSIONS), NJ_OK);
	write_now(x);
	bench_close(&b);
}

/* All that is read of it, as one number. */

static uint64_t content;

static void
mix(const void *p, size_t n)
{
	const uint8_t *c = p;

	for (size_t i = 0; i < n; i++)
		content = (content ^ c[i]) * 0x100000001b3ull;
}

static void
mix_number(uint64_t v)
{
	mix(&v, sizeof v);
}

static void
mix_slice(struct slice s)
{
	mix_number(s.n);
	mix(s.p, s.n);
}

static void
mix_note(void *msg)
{
	struct note *n = msg;

	mix_number(n->id);
	mix(n->bytes, n->topic_len + n->payload_len);
	note_unref(n);
}

static enum nj_err
l_session(void *arg, const struct store_session *s)
{
	(void)arg;
	mix_number(s->id);
	mix_slice(s->client);
	mix_slice(s->user);
	mix_slice(s->mount);
	mix_slice(s->who);
	mix_number(s->version);
	mix_number(s->expiry_s);
	mix_number((uint64_t)s->offline_ms);
	mix_number(s->sent);
	return NJ_OK;
}

static enum nj_err
l_will(void *arg, const struct store_will *w, void *msg)
{
	(void)arg;
	mix_number(w->session);
	mix_number(w->delay_s);
	mix_number(w->expiry_s);
	mix_note(msg);
	return NJ_OK;
}

static enum nj_err
l_sub(void *arg, const struct store_sub *s)
{
	(void)arg;
	mix_number(s->session);
	mix_slice(s->filter);
	mix_number(s->options);
	mix_number(s->share);
	return NJ_OK;
}

static enum nj_err
l_received(void *arg, uint64_t session, uint16_t pid)
{
	(void)arg;
	mix_number(session);
	mix_number(pid);
	return NJ_OK;
}

static enum nj_err
l_entry(void *arg, const struct store_entry *en)
{
	(void)arg;
	mix_number(en->session);
	mix_number(en->seq);
	mix_number(en->pid);
	mix_number(en->qos);
	mix_number(en->state);
	mix_number(en->retain);
	mix_number(en->share);
	mix_slice(en->ids);
	mix_note(en->msg);
	return NJ_OK;
}

static enum nj_err
l_waiting(void *arg, const struct store_waiting *w)
{
	(void)arg;
	mix_number(w->session);
	mix_number(w->n);
	mix_number(w->first);
	mix_number(w->last);
	mix_number(w->bytes);
	return NJ_OK;
}

static enum nj_err
l_retained(void *arg, void *msg)
{
	(void)arg;
	mix_note(msg);
	return NJ_OK;
}

static enum nj_err
on_fact(void *arg, unsigned kind, struct slice name, struct slice value)
{
	mix_number(kind);
	mix_slice(name);
	mix_slice(value);
	return arg ? NJ_INVALID : NJ_OK;
}

static const struct store_loader loader = {
	.session = l_session,
	.will = l_will,
	.sub = l_sub,
	.received = l_received,
	.inflight = l_entry,
	.waiting = l_waiting,
	.retained = l_retained,
};

static enum nj_err
read_queue(uint64_t session, uint64_t from, uint64_t until)
{
	bool more = true;
	enum nj_err e = NJ_OK;

	while (more && !e) {
		struct store_read r = { .session = session,
			.from = from,
			.until = until,
			.max = 100 };

		bench_read(&b, &r);
		e = r.result;
		for (uint32_t i = 0; !e && i < r.n; i++) {
			from = r.v[i].seq + 1;
			(void)l_entry(NULL, &r.v[i]);
			r.v[i].msg = NULL;
		}
		more = r.more;
		store_read_fini(&r, &note_ops);
	}
	return e;
}

/* NJ_OK: *out is all of it. */
static enum nj_err
read_all(uint64_t *out)
{
	enum nj_err e;

	content = 1;
	why = (struct nj_why){ .what = "" };
	if ((e = bench_open(&b, path, NULL, &why))) {
		pthread_mutex_destroy(&b.lock);
		pthread_cond_destroy(&b.change);
		return e;
	}
	e = store_load(b.store, &loader, &why);
	if (!e)
		e = facts_read(b.store, LIT("roles"), on_fact, NULL, &why);
	if (!e)
		e = store_start(b.store, &why);
	for (uint64_t id = 1; id <= SESSIONS && !e; id++)
		if ((e = read_queue(id, 0, UINT64_MAX)))
			why_set(&why, "damaged");
	bench_close(&b);
	*out = content;
	return e;
}

struct bytes {
	uint8_t *p;
	size_t n;
};

static struct bytes
file_bytes(const char *name)
{
	struct bytes v = { NULL, 0 };
	struct stat st = { .st_size = 0 };
	int fd = open(name, O_RDONLY);

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	v.n = (size_t)st.st_size;
	v.p = malloc(v.n + 1);
	assert_non_null(v.p);
	assert_int_equal(read(fd, v.p, v.n), v.n);
	close(fd);
	return v;
}

static void
write_file(const char *name, const struct bytes *v)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, v->p, v->n), v->n);
	close(fd);
}

static void
remove_log(void)
{
	char name[160];

	snprintf(name, sizeof name, "%s-wal", path);
	unlink(name);
	snprintf(name, sizeof name, "%s-shm", path);
	unlink(name);
}

/* Where in a page: its header, what its cells begin with, all over it, and its
 * sum. */
static size_t
place(unsigned i, unsigned page)
{
	static const size_t near[] = { 0, 3, 5, 9, 20, 61, PAGE - 8, PAGE - 1 };
	size_t n = sizeof near / sizeof *near;

	return i < n ? near[i] : (page * 2654435761u + i * 40503u) % PAGE;
}

static void
test_at_the_start(void **state)
{
	struct bytes was;
	uint64_t want, got;
	unsigned found = 0, same = 0, i = 0, pages;

	(void)state;
	make_store();
	assert_int_equal(read_all(&want), NJ_OK);
	was = file_bytes(path);
	pages = (unsigned)(was.n / PAGE);
	assert_true(was.n % PAGE == 0 && pages > 15);
	/* of page 1 more, as most depends on it */
	for (unsigned page = 0; page < pages + 12; page++) {
		unsigned no = page < pages ? page : 0;

		for (unsigned k = 0; k < 1 + FLIPS / (pages + 1); k++, i++) {
			size_t at = (size_t)no * PAGE +
			    place(page < pages ? i % 24 : 2 + i % 40, i);
			enum nj_err e;

			was.p[at] ^= (uint8_t)(1u << i % 8);
			write_file(path, &was);
			was.p[at] ^= (uint8_t)(1u << i % 8);
			remove_log();
			e = read_all(&got);
			if (!e && got == want)
				same++;
			else if (e && why.what[0])
				found++;
			else
				fail_msg("bit %u of byte %zu of page %u: %d",
				    i % 8, at % PAGE, no + 1, (int)e);
			assert_int_equal(notes_alive, 0);
		}
	}
	/* those in free pages, and what is not looked at of page 1 */
	assert_true(found > same);
	write_file(path, &was);
	remove_log();
	free(was.p);
}

static void
on_fault(void *arg, const struct view_fault *f)
{
	(void)f;
	++*(unsigned *)arg;
}

static unsigned
faults(void)
{
	struct view *v = NULL;
	unsigned n = 0;

	assert_int_equal(view_open(path, &v, &why), NJ_OK);
	assert_int_equal(view_check(v, false, on_fault, &n, &why), NJ_OK);
	view_close(v);
	return n;
}

/* Whoever opens a store that was not closed, and knows nothing of sums, moves its
 * log into the database; or copies it. */
static void
test_other_programs(void **state)
{
	struct bytes db, log;
	char name[160];
	uint64_t want, got;
	sqlite3 *other;

	(void)state;
	make_store();
	assert_int_equal(read_all(&want), NJ_OK);
	open_it(true);
	for (unsigned i = 0; i < 30; i++) {
		struct store_batch *x = bench_batch();

		assert_int_equal(
		    batch_retain(x, 100 + i, note_of("more", i, 3000)), NJ_OK);
		put_session(x, 2);
		write_now(x);
	}
	db = file_bytes(path);
	snprintf(name, sizeof name, "%s-wal", path);
	log = file_bytes(name);
	assert_true(log.n > 100000);
	bench_close(&b);
	write_file(path, &db);
	write_file(name, &log);
	assert_int_equal(read_all(&want), NJ_OK);
	write_file(path, &db);
	write_file(name, &log);
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "PRAGMA journal_mode = DELETE",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_close(other);
	assert_int_not_equal(access(name, F_OK), 0);
	assert_int_equal(faults(), 0);
	assert_int_equal(read_all(&got), NJ_OK);
	assert_true(got == want);
	free(db.p);
	free(log.p);
}

/* A store of the schema before, whose pages have no room for sums. */
static void
make_plain(void)
{
	static const char *const tables[] = { "session", "sub", "received",
		"queue", "msg", "retained", "fact", "seg", "gone", "file" };
	char name[160], sql[300];
	sqlite3_stmt *st;
	sqlite3 *db;

	snprintf(name, sizeof name, "%s-plain", path);
	assert_int_equal(sqlite3_open(name, &db), SQLITE_OK);
	snprintf(sql, sizeof sql,
	    "PRAGMA auto_vacuum = INCREMENTAL; ATTACH '%s' AS new; PRAGMA "
	    "user_version = 6; PRAGMA application_id = 1315589489",
	    path);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(
	    sqlite3_prepare_v2(db,
		"SELECT sql FROM new.sqlite_schema WHERE sql IS NOT NULL", -1,
		&st, NULL),
	    SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW)
		assert_int_equal(
		    sqlite3_exec(db, (const char *)sqlite3_column_text(st, 0),
			NULL, NULL, NULL),
		    SQLITE_OK);
	sqlite3_finalize(st);
	for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++) {
		snprintf(sql, sizeof sql,
		    "INSERT INTO main.%s SELECT * FROM new.%s", tables[i],
		    tables[i]);
		assert_int_equal(
		    sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	}
	sqlite3_close(db);
	remove_log();
	assert_int_equal(chmod(name, 0600), 0);
	assert_int_equal(rename(name, path), 0);
}

static uint64_t
sums_of_file(void)
{
	struct bytes v = file_bytes(path);
	uint64_t n = 0;

	for (size_t at = 0; at < v.n; at += PAGE)
		n += pagesum_ok(v.p + at, PAGE);
	n = n * PAGE == v.n;
	free(v.p);
	return n;
}

static void
test_older_file(void **state)
{
	uint64_t want, got;
	char anew[160];
	struct stat st;

	(void)state;
	make_store();
	assert_int_equal(read_all(&want), NJ_OK);
	make_plain();
	/* it cannot be written anew: it is served as it is */
	snprintf(anew, sizeof anew, "%s-anew", path);
	assert_int_equal(mkdir(anew, 0700), 0);
	assert_int_equal(read_all(&got), NJ_OK);
	assert_true(got == want);
	assert_int_equal(bench_ask(path, "PRAGMA user_version"), 6);
	assert_int_equal(faults(), 0);
	assert_false(sums_of_file());
	assert_int_equal(rmdir(anew), 0);
	/* it can */
	assert_int_equal(read_all(&got), NJ_OK);
	assert_true(got == want);
	assert_int_equal(bench_ask(path, "PRAGMA user_version"), 7);
	assert_int_equal(bench_ask(path, "PRAGMA auto_vacuum"), 2);
	assert_int_equal(faults(), 0);
	assert_true(sums_of_file());
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_not_equal(access(anew, F_OK), 0);
}

/* Flips a bit of the last place that has it; false: there is none. */
static bool
flip_at(const char *name, const char *mark)
{
	struct bytes v = file_bytes(name);
	uint8_t *last = NULL, *at = v.p;
	size_t n = strlen(mark);

	while ((at = memmem(at, v.n - (size_t)(at - v.p), mark, n)))
		last = at++;
	if (last) {
		last[1] ^= 1;
		write_file(name, &v);
	}
	free(v.p);
	return last != NULL;
}

static void
add_large(uint64_t session, uint64_t seq, const char *topic)
{
	struct store_batch *x = bench_batch();
	uint32_t at;

	for (uint64_t i = 0; i < 30; i++)
		assert_int_equal(
		    batch_queue(x,
			&(struct store_entry){ .session = session,
			    .seq = seq + i,
			    .qos = 1,
			    .msg = note_of(topic, (unsigned)i, 2000) },
			&at),
		    NJ_OK);
	bench_submit(&b, x);
}

/* As many as SQLite's cache does not hold. */
#define PARTS 400u

static enum nj_err
read_part(unsigned i, uint64_t *out)
{
	enum nj_err e;

	content = 1;
	e = read_queue(1, i * 30, (i + 1) * 30);
	*out = content;
	return e;
}

static void
flip_pages(void)
{
	struct bytes v = file_bytes(path);

	for (size_t at = 200; at < v.n; at += PAGE)
		v.p[at] ^= 4;
	write_file(path, &v);
	free(v.p);
}

/* What the cache does not have is read again. */
static void
test_when_it_is_read(void **state)
{
	static uint64_t was[PARTS + 1];
	struct store_batch *x = bench_batch();
	unsigned refused = 0;
	uint64_t now;

	(void)state;
	place_clear();
	bench_data_min = STORE_ONE_FILE;
	open_it(false);
	put_session(x, 1);
	write_now(x);
	for (unsigned i = 1; i <= PARTS; i++)
		add_large(1, i * 30, "many");
	assert_true(bench_wait(&b, b.ticket));
	bench_close(&b);
	open_it(true);
	for (unsigned i = 1; i <= PARTS; i++)
		assert_int_equal(read_part(i, &was[i]), NJ_OK);
	flip_pages();
	for (unsigned i = 1; i <= PARTS; i++) {
		enum nj_err e = read_part(i, &now);

		assert_true(e == NJ_MALFORMED || (!e && now == was[i]));
		refused += e == NJ_MALFORMED;
	}
	assert_true(refused > 0);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
	assert_int_equal(read_all(&now), NJ_MALFORMED);
	assert_true(why.what[0]);
	bench_data_min = 0;
}

/* A page of the log goes into the database as it was written, or not at all; and
 * no more is promised that a crash would lose. */
static void
test_log(void **state)
{
	char name[160];
	struct store_batch *x;
	bool well = true;

	(void)state;
	place_clear();
	bench_data_min = STORE_ONE_FILE;
	snprintf(name, sizeof name, "%s-wal", path);
	open_it(false);
	x = bench_batch();
	put_session(x, 1);
	write_now(x);
	add_large(1, 1, "marked");
	assert_true(bench_wait(&b, b.ticket));
	assert_true(flip_at(name, "marked"));
	for (uint64_t seq = 31; well && seq < 60000; seq += 30) {
		add_large(1, seq, "more");
		well = bench_wait(&b, b.ticket);
	}
	assert_false(well);
	assert_int_equal(b.state, STORE_DAMAGED);
	bench_close(&b);
	assert_int_equal(read_all(&(uint64_t){ 0 }), NJ_MALFORMED);
	assert_non_null(strstr(why.what, "-wal is damaged"));
	assert_int_not_equal(faults(), 0);
	assert_int_equal(notes_alive, 0);
	bench_data_min = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_the_start),
		cmocka_unit_test(test_other_programs),
		cmocka_unit_test(test_older_file),
		cmocka_unit_test(test_when_it_is_read),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests_name(
	    "store flip", tests, place_make, place_remove);
}
