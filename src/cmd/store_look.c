/* SPDX-License-Identifier: Apache-2.0
 *
 * nightjar store check, stats and backup.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/json.h"
#include "cmd/store.h"
#include "store/repair.h"
#include "store/store.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* check: 1 means faults, so what prevents an answer is 2 like a wrong call. */
enum { STATUS_FAULTS = 1, STATUS_UNKNOWN = 2 };

struct checking {
	struct buf out;
	bool json;
	uint64_t faults;
	enum nj_err failed;
};

static void
on_fault(void *arg, const struct view_fault *f)
{
	struct checking *c = arg;
	enum nj_err e;

	if (c->json) {
		if (!(e = buf_printf(&c->out,
			  "%s{\"code\":\"%s\",\"count\":%llu",
			  c->faults ? "," : "", f->code,
			  (unsigned long long)f->count)) &&
		    !(e = store_put_json(
			  &c->out, "text", slice_str(f->text))) &&
		    !(e = store_put_json(&c->out, "mend", slice_str(f->mend))))
			e = buf_put_u8(&c->out, '}');
	} else {
		e = buf_printf(&c->out, "%s: %s\n  to mend it: %s\n", f->code,
		    f->text, f->mend);
	}
	c->faults++;
	if (e)
		c->failed = e;
}

static enum nj_err
check_open(struct checking *c, const char *path, bool quick, struct nj_why *why)
{
	struct view *v = NULL;
	enum nj_err e = view_open(path, &v, why);

	/* too damaged to be opened is an answer, too */
	if (e == NJ_MALFORMED) {
		struct view_fault f = {
			.code = "damaged", .count = 1, .mend = why->mend
		};

		(void)snprintf(f.text, sizeof f.text, "%s", why->what);
		on_fault(c, &f);
		return NJ_OK;
	}
	if (!e)
		e = view_check(v, quick, on_fault, c, why);
	view_close(v);
	return e ? e : c->failed;
}

static enum nj_err
check_tell(struct checking *c, const char *path, struct nj_why *why)
{
	struct buf head = { 0 };
	enum nj_err e;

	if (c->json) {
		if (!(e = buf_printf(&head, "{\"whole\":%s",
			  c->faults ? "false" : "true")) &&
		    !(e = store_put_json(&head, "path", slice_str(path))) &&
		    !(e = buf_put_slice(&head, LIT(",\"faults\":["))) &&
		    !(e = buf_put_slice(&head, buf_slice(&c->out))))
			e = buf_put_slice(&head, LIT("]}\n"));
	} else if (c->faults) {
		if (!(e = buf_put_slice(&head, buf_slice(&c->out))))
			e = buf_printf(&head, "%s: %llu fault%s\n", path,
			    (unsigned long long)c->faults,
			    c->faults > 1 ? "s" : "");
	} else {
		e = buf_printf(&head, "%s is whole\n", path);
	}
	if (!e)
		e = store_flush(&head, why);
	buf_fini(&head);
	return e;
}

static enum nj_err
repair(const char *path, bool json, struct nj_why *why)
{
	uint64_t changed = 0;
	enum nj_err e = store_repair(path, &changed, why);

	if (e == NJ_MALFORMED && !why->mend[0])
		why_mend(why,
		    "restore a backup, or go on with what is whole: nightjar "
		    "store salvage %s",
		    path);
	if (!e && !json)
		printf("%s: %llu rows deleted or mended\n", path,
		    (unsigned long long)changed);
	return e;
}

int
store_check_cmd(int argc, char **argv)
{
	struct store_call call = {
		.usage = "nightjar store check [--quick] [--repair] [--json] "
			 "-c FILE | PATH",
		.notes = "The status is 0: whole, 1: there are faults, 2: it "
			 "could not be checked.",
		.failed = STATUS_UNKNOWN,
	};
	struct checking c = { .json = false };
	bool quick = false, mend = false;
	const struct flag flags[] = {
		STORE_CONF(&call),
		{ "quick", 0, FLAG_SWITCH, &quick, NULL,
		    "not whether indexes agree with their tables", 0, 0 },
		{ "repair", 0, FLAG_SWITCH, &mend, NULL,
		    "of a stopped broker: delete rows that mean nothing", 0,
		    0 },
		{ "json", 0, FLAG_SWITCH, &c.json, NULL, "one JSON object", 0,
		    0 },
	};
	enum nj_err e =
	    store_call_parse(&call, flags, COUNT(flags), argc, argv);
	int status;

	if (!e && (!mend || !(e = repair(call.path, c.json, &call.why))) &&
	    !(e = check_open(&c, call.path, quick, &call.why)))
		e = check_tell(&c, call.path, &call.why);
	buf_fini(&c.out);
	status = store_call_end(&call, e);
	return status == EXIT_FINE && c.faults ? STATUS_FAULTS : status;
}

/* "12.3 MB" */
static const char *
bytes_text(char dst[32], uint64_t n)
{
	static const char units[] = "kMGTPE";
	double x = (double)n / 1000;
	unsigned u = 0;

	if (n < 1000) {
		(void)snprintf(dst, 32, "%llu B", (unsigned long long)n);
		return dst;
	}
	while (x >= 999.95 && u < sizeof units - 2) {
		x /= 1000;
		u++;
	}
	(void)snprintf(dst, 32, "%.1f %cB", x, units[u]);
	return dst;
}

/* "3 d 4 h", how long ago. */
static const char *
age_text(char dst[32], int64_t since, int64_t now)
{
	int64_t s = now > since ? now - since : 0;

	if (s < 120)
		(void)snprintf(dst, 32, "%lld s", (long long)s);
	else if (s < 7200)
		(void)snprintf(dst, 32, "%lld min", (long long)(s / 60));
	else if (s < 172800)
		(void)snprintf(dst, 32, "%lld h", (long long)(s / 3600));
	else
		(void)snprintf(dst, 32, "%lld d", (long long)(s / 86400));
	return dst;
}

static const struct figure {
	const char *name, *text;
	size_t at;
	bool bytes;
} figures[] = {
#define AT(field) offsetof(struct view_stats, field)
	{ "file_bytes", "file", AT(file_bytes), true },
	{ "wal_bytes", "write-ahead log", AT(wal_bytes), true },
	{ "data_bytes", "data files", AT(data_bytes), true },
	{ "free_bytes", "free in the file", AT(free_bytes), true },
	{ "sessions", "sessions", AT(sessions), false },
	{ "connected", "  connected", AT(connected), false },
	{ "wills", "  with a will", AT(wills), false },
	{ "subscriptions", "subscriptions", AT(subscriptions), false },
	{ "received", "QoS 2 not released", AT(received), false },
	{ "inflight", "in flight", AT(inflight), false },
	{ "queued", "queued", AT(waiting), false },
	{ "queued_bytes", "  with those in flight", AT(queued_bytes), true },
	{ "retained", "retained", AT(retained), false },
	{ "retained_bytes", "  their bytes", AT(retained_bytes), true },
	{ "messages", "messages stored", AT(messages), false },
	{ "message_bytes", "  their bytes", AT(message_bytes), true },
	{ "expiring", "  that expire", AT(expiring), false },
#undef AT
};

static uint64_t
figure(const struct view_stats *st, const struct figure *f)
{
	uint64_t v;

	memcpy(&v, (const char *)st + f->at, sizeof v);
	return v;
}

static enum nj_err
top_json(struct buf *b, const struct view_stats *st)
{
	enum nj_err e = buf_put_slice(b, LIT(",\"largest\":["));

	for (unsigned i = 0; i < st->n_top && !e; i++) {
		const struct view_queue *q = &st->top[i];

		if ((e = buf_printf(b,
			 "%s{\"session\":%llu,\"queued\":%llu,"
			 "\"inflight\":%llu,\"bytes\":%llu",
			 i ? "," : "", (unsigned long long)q->session,
			 (unsigned long long)q->waiting,
			 (unsigned long long)q->inflight,
			 (unsigned long long)q->bytes)) ||
		    (q->oldest_s &&
			(e = buf_printf(
			     b, ",\"oldest\":%lld", (long long)q->oldest_s))) ||
		    (e = store_put_json(b, "client", q->client)))
			break;
		e = buf_put_u8(b, '}');
	}
	return e ? e : buf_put_u8(b, ']');
}

static enum nj_err
stats_json(struct buf *b, const char *path, const struct view_stats *st)
{
	enum nj_err e;

	if ((e = buf_printf(b, "{\"schema\":%u,\"live\":%s", st->schema,
		 st->live ? "true" : "false")) ||
	    (e = store_put_json(b, "path", slice_str(path))))
		return e;
	for (size_t i = 0; i < COUNT(figures); i++)
		if ((e = buf_printf(b, ",\"%s\":%llu", figures[i].name,
			 (unsigned long long)figure(st, &figures[i]))))
			return e;
	if (st->oldest_s &&
	    (e = buf_printf(b, ",\"oldest\":%lld", (long long)st->oldest_s)))
		return e;
	if ((e = top_json(b, st)))
		return e;
	return buf_put_slice(b, LIT("}\n"));
}

static enum nj_err
top_plain(struct buf *b, const struct view_stats *st, int64_t now)
{
	enum nj_err e;

	if (st->n_top == 0)
		return NJ_OK;
	e = buf_printf(b, "\n%10s %9s %10s %8s  %s\n", "queued", "in flight",
	    "bytes", "oldest", "client");
	for (unsigned i = 0; i < st->n_top && !e; i++) {
		const struct view_queue *q = &st->top[i];
		char size[32], age[32] = "?";

		if (q->oldest_s)
			age_text(age, q->oldest_s, now);
		if ((e = buf_printf(b, "%10llu %9llu %10s %8s  ",
			 (unsigned long long)q->waiting,
			 (unsigned long long)q->inflight,
			 bytes_text(size, q->bytes), age)) ||
		    (e = store_put_text(b, q->client)))
			break;
		e = buf_put_u8(b, '\n');
	}
	return e;
}

static enum nj_err
stats_plain(struct buf *b, const char *path, const struct view_stats *st)
{
	int64_t now = time(NULL);
	char text[32], age[32];
	enum nj_err e;

	if ((e = buf_printf(b, "%s: schema %u, %s\n", path, st->schema,
		 st->live ? "a broker has it open" : "no broker has it open")))
		return e;
	for (size_t i = 0; i < COUNT(figures); i++) {
		uint64_t v = figure(st, &figures[i]);

		if (figures[i].bytes)
			bytes_text(text, v);
		else
			(void)snprintf(
			    text, sizeof text, "%llu", (unsigned long long)v);
		if ((e = buf_printf(b, "%-24s %12s\n", figures[i].text, text)))
			return e;
	}
	if (st->oldest_s &&
	    (e = buf_printf(b, "%-24s %12s  (%s)\n", "oldest queued",
		 age_text(age, st->oldest_s, now),
		 store_time(text, st->oldest_s))))
		return e;
	return top_plain(b, st, now);
}

static enum nj_err
tell_stats(const char *path, unsigned top, bool json, struct nj_why *why)
{
	struct view_stats st = { .n_top = 0 };
	struct buf out = { 0 };
	struct view *v = NULL;
	enum nj_err e;

	if (!(e = view_open(path, &v, why)) &&
	    !(e = view_stats(v, top, &st, why)) &&
	    !(e = json ? stats_json(&out, path, &st)
		       : stats_plain(&out, path, &st)))
		e = store_flush(&out, why);
	view_stats_fini(&st);
	view_close(v);
	buf_fini(&out);
	return e;
}

int
store_stats_cmd(int argc, char **argv)
{
	struct store_call call = {
		.usage = "nightjar store stats [--top N] [--json] -c FILE | "
			 "PATH",
		.failed = EXIT_FAILED,
	};
	bool json = false;
	long top = 10;
	const struct flag flags[] = {
		STORE_CONF(&call),
		{ "top", 0, FLAG_NUMBER, &top, "N",
		    "how many of the largest queues (10)", 0, VIEW_TOP_MAX },
		{ "json", 0, FLAG_SWITCH, &json, NULL, "one JSON object", 0,
		    0 },
	};
	enum nj_err e =
	    store_call_parse(&call, flags, COUNT(flags), argc, argv);

	if (!e)
		e = tell_stats(call.path, (unsigned)top, json, &call.why);
	return store_call_end(&call, e);
}

static void
on_progress(void *arg, uint64_t done, uint64_t of)
{
	(void)arg;
	if (of > 0)
		fprintf(stderr, "\r%3llu %%%s",
		    (unsigned long long)(done * 100 / of),
		    done == of ? "\n" : "");
}

static enum nj_err
make_backup(const char *path, const char *dest, bool force, struct nj_why *why)
{
	struct view *v = NULL;
	enum nj_err e;

	if (!(e = view_open(path, &v, why)))
		e = view_backup(v, dest, force,
		    isatty(STDERR_FILENO) ? on_progress : NULL, NULL, why);
	view_close(v);
	if (!e)
		printf("%s is a complete copy of %s\n", dest, path);
	return e;
}

int
store_backup_cmd(int argc, char **argv)
{
	struct store_call call = {
		.usage = "nightjar store backup [--force] -c FILE DEST\n"
			 "       nightjar store backup [--force] PATH DEST",
		.other = "DEST, where to copy it",
		.failed = EXIT_FAILED,
	};
	bool force = false;
	const struct flag flags[] = {
		STORE_CONF(&call),
		{ "force", 0, FLAG_SWITCH, &force, NULL,
		    "write over an older copy", 0, 0 },
	};
	enum nj_err e =
	    store_call_parse(&call, flags, COUNT(flags), argc, argv);

	if (!e)
		e = make_backup(call.path, call.word, force, &call.why);
	return store_call_end(&call, e);
}
