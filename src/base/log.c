/* SPDX-License-Identifier: Apache-2.0
 *
 * A line is one allocation, posted to the log thread's mailbox.  The thread
 * gathers what waits into one write a descriptor, so a burst costs few system
 * calls and a slow disk or pipe costs its own time only.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mailbox.h"

/* A line with its time and every byte escaped. */
#define STAMP_MAX  128
#define LINE_OUT   ((LOG_LINE + STAMP_MAX) * 4 + 2)
#define GATHER	   65536 /* bytes in one write */
#define STOP_WAITS 2	 /* seconds log_stop gives a blocked destination */

enum { LINE = 1, STOP };

struct line {
	struct letter letter; /* first: a letter is cast back to it */
	enum log_type type;
	time_t when;
	size_t len;
	char text[];
};

struct sinks {
	struct log_opts o;
	char *file, *format;
	int fd; /* of file; -1 */
};

static struct {
	struct mailbox box;
	struct letter stop;
	pthread_t thread;
	struct sinks *now;	      /* log thread */
	_Atomic(struct sinks *) next; /* from log_reload */
	atomic_bool running, reopen;
	atomic_uint users; /* inside nj_log_write */
	atomic_uint dropped;
	struct buf out, err, file; /* log thread: gathered */
} lg;

unsigned log_types_on = LOG_T_DEFAULT;

static void
sinks_free(struct sinks *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s->file);
	free(s->format);
	free(s);
}

/* A symbolic link that another user planted may not lead the log into a file
 * of his choice; /dev/stdout and the like are root's and fine. */
static bool
foreign_link(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && st.st_uid != 0 &&
	    st.st_uid != geteuid();
}

static enum nj_err
open_file(const char *path, int *out, struct nj_why *why)
{
	int fd;

	if (foreign_link(path)) {
		why_set(
		    why, "log file %s is another user's symbolic link", path);
		why_mend(why, "remove the link, or name the file itself");
		return NJ_DENIED;
	}
	fd = open(
	    path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0) {
		why_set(
		    why, "cannot open log file %s: %s", path, strerror(errno));
		why_mend(why,
		    errno == ENOENT
			? "create its folder and give it to the broker's user"
			: "give the broker's user the right to write there");
		return NJ_IO;
	}
	*out = fd;
	return NJ_OK;
}

static enum nj_err
sinks_new(const struct log_opts *o, struct sinks **out, struct nj_why *why)
{
	struct sinks *s = calloc(1, sizeof *s);
	enum nj_err e = NJ_NOMEM;

	if (!s)
		goto out;
	s->o = *o;
	s->fd = -1;
	if ((o->file && !(s->file = strdup(o->file))) ||
	    (o->timestamp_format && !(s->format = strdup(o->timestamp_format))))
		goto out;
	e = NJ_OK;
	if ((o->dests & LOG_D_FILE) && s->file)
		e = open_file(s->file, &s->fd, why);
	if (e)
		goto out;
	*out = s;
	s = NULL; /* moved */
out:
	if (e == NJ_NOMEM)
		why_set(why, "cannot start the log: out of memory");
	sinks_free(s);
	return e;
}

/* Writes all of it; a destination that fails loses the line, not us. */
static void
write_fd(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			(void)poll(&p, 1, 1000);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		s.p += n;
		s.n -= (size_t)n;
	}
}

static void
flush(struct buf *b, int fd)
{
	if (buf_len(b) == 0)
		return;
	write_fd(fd, buf_slice(b));
	buf_drain(b, buf_len(b));
}

static void
gather(struct buf *b, int fd, const char *line, size_t n)
{
	uint8_t *at;

	if (buf_len(b) + n > GATHER)
		flush(b, fd);
	if (buf_reserve(b, n, &at)) {
		write_fd(fd, slice_of(line, n));
		return;
	}
	memcpy(at, line, n);
	buf_commit(b, n);
}

static void
flush_all(void)
{
	flush(&lg.out, STDOUT_FILENO);
	flush(&lg.err, STDERR_FILENO);
	if (lg.now->fd >= 0)
		flush(&lg.file, lg.now->fd);
}

/* "1700000000: " as Mosquitto has it, or what strftime makes of format. */
static size_t
stamp(char *dst, size_t size, time_t when, bool on, const char *format)
{
	struct tm tm;
	size_t n = 0;

	if (!on)
		return 0;
	if (format && localtime_r(&when, &tm))
		n = strftime(dst, size - 2, format, &tm);
	if (n == 0)
		return (size_t)snprintf(dst, size, "%lld: ", (long long)when);
	memcpy(dst + n, ": ", 2);
	return n + 2;
}

/* The text with every control byte as \xHH: one event stays one line.  UTF-8
 * passes, but not its C1 controls. */
static size_t
escape(char *dst, const char *src, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)src[i];
		bool c1 = c == 0xc2 && i + 1 < n &&
		    (uint8_t)src[i + 1] >= 0x80 && (uint8_t)src[i + 1] <= 0x9f;

		if (c >= 0x20 && c != 0x7f && !c1) {
			dst[k++] = (char)c;
			continue;
		}
		dst[k++] = '\\';
		dst[k++] = 'x';
		dst[k++] = hex[c >> 4];
		dst[k++] = hex[c & 15];
		if (c1) {
			c = (uint8_t)src[++i];
			dst[k++] = '\\';
			dst[k++] = 'x';
			dst[k++] = hex[c >> 4];
			dst[k++] = hex[c & 15];
		}
	}
	return k;
}

static int
syslog_level(enum log_type t)
{
	switch (t) {
	case LOG_T_ERROR:
		return LOG_ERR;
	case LOG_T_WARNING:
		return LOG_WARNING;
	case LOG_T_NOTICE:
	case LOG_T_SUBSCRIBE:
	case LOG_T_UNSUBSCRIBE:
		return LOG_NOTICE;
	case LOG_T_INFORMATION:
	case LOG_T_WEBSOCKETS:
		return LOG_INFO;
	default:
		return LOG_DEBUG;
	}
}

static int
syslog_facility(const struct log_opts *o)
{
	static const int local[] = { LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2,
		LOG_LOCAL3, LOG_LOCAL4, LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7 };

	return o->syslog_facility >= 0 && o->syslog_facility < 8
	    ? local[o->syslog_facility]
	    : LOG_DAEMON;
}

/* A log topic fed with debug lines would be the reason of the next ones. */
static bool
for_topic(const struct log_opts *o, enum log_type t)
{
	return (o->dests & LOG_D_TOPIC) && o->on_line && t != LOG_T_DEBUG &&
	    t != LOG_T_INTERNAL;
}

static void
emit(enum log_type type, time_t when, const char *text, size_t len)
{
	const struct sinks *s = lg.now;
	char line[LINE_OUT];
	size_t pre = stamp(line, STAMP_MAX, when, s->o.timestamp, s->format);
	size_t n;

	pre = escape(line + STAMP_MAX * 4, line, pre);
	memmove(line, line + STAMP_MAX * 4, pre);
	n = pre + escape(line + pre, text, len);
	line[n] = '\0';
	if (s->o.dests & LOG_D_SYSLOG)
		syslog(syslog_facility(&s->o) | syslog_level(type), "%s",
		    line + pre);
	if (for_topic(&s->o, type))
		s->o.on_line(s->o.arg, type, line);
	line[n++] = '\n';
	if (s->o.dests & LOG_D_STDOUT)
		gather(&lg.out, STDOUT_FILENO, line, n);
	if (s->o.dests & LOG_D_STDERR)
		gather(&lg.err, STDERR_FILENO, line, n);
	if (s->fd >= 0)
		gather(&lg.file, s->fd, line, n);
}

static void
say(enum log_type type, const char *fmt, ...)
{
	char text[LOG_LINE];
	va_list ap;
	int n;

	if (!log_on(type))
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n > 0)
		emit(type, time(NULL), text, strlen(text));
}

static void
take_sinks(struct sinks *s)
{
	flush_all();
	sinks_free(lg.now);
	lg.now = s;
}

/* The old file stays where the new one cannot be opened. */
static void
reopen(void)
{
	struct nj_why why = { 0 };
	int fd;

	if (lg.now->fd < 0)
		return;
	flush_all();
	if (open_file(lg.now->file, &fd, &why)) {
		say(LOG_T_ERROR, "%s; still writing to the old one", why.what);
		return;
	}
	(void)close(lg.now->fd);
	lg.now->fd = fd;
}

/* True when the thread is to end. */
static bool
drain(void)
{
	struct letter *l;

	/* Bounded, so that a reload gets its turn in a flood. */
	for (int i = 0; i < LOG_RING && (l = mailbox_take(&lg.box)); i++) {
		struct line *line = (struct line *)l;

		if (l->kind == STOP)
			return true;
		emit(line->type, line->when, line->text, line->len);
		free(line);
	}
	return false;
}

static void *
run(void *arg)
{
	struct pollfd p = { .fd = lg.box.fd, .events = POLLIN };
	bool stop = false;

	(void)arg;
	while (!stop) {
		struct sinks *next = atomic_exchange(&lg.next, NULL);
		unsigned lost;

		if (next)
			take_sinks(next);
		if (atomic_exchange(&lg.reopen, false))
			reopen();
		stop = drain();
		if ((lost = atomic_exchange(&lg.dropped, 0)))
			say(LOG_T_WARNING,
			    "%u log lines were dropped: their destination "
			    "is too slow",
			    lost);
		flush_all();
		if (!stop && mailbox_sleep(&lg.box)) {
			/* Told here rather than by a letter, so that a full
			 * box cannot keep a reload out. */
			if (!atomic_load(&lg.next) && !atomic_load(&lg.reopen))
				(void)poll(&p, 1, -1);
			mailbox_awake(&lg.box);
		}
	}
	return NULL;
}

/* The log thread takes no signal: handlers belong to the main thread. */
static int
start_thread(void)
{
	sigset_t all, old;
	int err;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&lg.thread, NULL, run, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err == 0)
		(void)pthread_setname_np(lg.thread, "nj-log");
	return err;
}

enum nj_err
log_start(const struct log_opts *o, struct nj_why *why)
{
	struct sinks *s = NULL;
	enum nj_err e;

	if (atomic_load(&lg.running))
		return log_reload(o, why);
	if ((e = sinks_new(o, &s, why)))
		return e;
	if ((e = mailbox_init(&lg.box))) {
		why_set(why, "cannot start the log: %s", nj_strerror(e));
		goto out;
	}
	tzset();
	openlog("nightjar", LOG_PID, LOG_DAEMON);
	lg.now = s;
	s = NULL; /* moved */
	if (start_thread() != 0) {
		why_set(why, "cannot start the log thread");
		mailbox_fini(&lg.box);
		sinks_free(lg.now);
		lg.now = NULL;
		e = NJ_NOMEM;
		goto out;
	}
	__atomic_store_n(&log_types_on, o->types, __ATOMIC_RELAXED);
	atomic_store(&lg.running, true);
out:
	sinks_free(s);
	return e;
}

/* Wakes the thread without a letter. */
static void
nudge(void)
{
	if (atomic_exchange(&lg.box.asleep, false)) {
		uint64_t one = 1;

		while (write(lg.box.fd, &one, sizeof one) < 0 && errno == EINTR)
			continue;
	}
}

enum nj_err
log_reload(const struct log_opts *o, struct nj_why *why)
{
	struct sinks *s = NULL;
	enum nj_err e;

	if (!atomic_load(&lg.running))
		return log_start(o, why);
	if ((e = sinks_new(o, &s, why)))
		return e;
	__atomic_store_n(&log_types_on, o->types, __ATOMIC_RELAXED);
	sinks_free(atomic_exchange(&lg.next, s));
	nudge();
	return NJ_OK;
}

void
log_reopen(void)
{
	if (!atomic_load(&lg.running))
		return;
	atomic_store(&lg.reopen, true);
	nudge();
}

void
log_stop(void)
{
	struct timespec until;

	if (!atomic_exchange(&lg.running, false))
		return;
	while (atomic_load(&lg.users) > 0)
		(void)sched_yield();
	lg.stop.kind = STOP;
	mailbox_post(&lg.box, &lg.stop);
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAITS;
	if (pthread_timedjoin_np(lg.thread, NULL, &until) != 0) {
		(void)pthread_detach(lg.thread); /* it may never come back */
		return;
	}
	mailbox_fini(&lg.box);
	sinks_free(atomic_exchange(&lg.next, NULL));
	sinks_free(lg.now);
	lg.now = NULL;
	buf_fini(&lg.out);
	buf_fini(&lg.err);
	buf_fini(&lg.file);
	closelog();
}

/* Without the thread: to stderr, in one write. */
static void
direct(const char *text, size_t len)
{
	char line[LINE_OUT];
	size_t n = escape(line, text, len);

	line[n++] = '\n';
	write_fd(STDERR_FILENO, slice_of(line, n));
}

static struct line *
line_new(enum log_type t, const char *text, size_t len)
{
	struct line *l = malloc(sizeof *l + len);

	if (!l)
		return NULL;
	l->letter.kind = LINE;
	l->type = t;
	l->when = time(NULL);
	l->len = len;
	memcpy(l->text, text, len);
	return l;
}

static void
post(enum log_type t, const char *text, size_t len)
{
	struct line *l = NULL;

	if (mailbox_depth(&lg.box) < LOG_RING)
		l = line_new(t, text, len);
	if (l)
		mailbox_post(&lg.box, (struct letter *)l);
	else
		atomic_fetch_add(&lg.dropped, 1);
}

void
nj_log_write(enum log_type t, const char *fmt, ...)
{
	char text[LOG_LINE];
	int n, saved = errno;
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	len = n < 0 ? 0 : (size_t)n;
	if (len >= sizeof text) {
		len = sizeof text - 1;
		memcpy(text + len - 3, "...", 3);
	}
	atomic_fetch_add(&lg.users, 1);
	if (atomic_load(&lg.running))
		post(t, text, len);
	else
		direct(text, len);
	atomic_fetch_sub(&lg.users, 1);
	errno = saved;
}

bool
log_gate_open(struct log_gate *g, uint64_t now, uint32_t interval,
    uint32_t per_interval, uint32_t *suppressed)
{
	uint64_t start = __atomic_load_n(&g->window_start, __ATOMIC_RELAXED);

	*suppressed = 0;
	if (now - start >= interval &&
	    __atomic_compare_exchange_n(&g->window_start, &start, now, false,
		__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		__atomic_store_n(&g->passed, 0, __ATOMIC_RELAXED);
	/* Looked at first, so that a long flood cannot wrap it. */
	if (__atomic_load_n(&g->passed, __ATOMIC_RELAXED) >= per_interval ||
	    __atomic_fetch_add(&g->passed, 1, __ATOMIC_RELAXED) >=
		per_interval) {
		__atomic_fetch_add(&g->held, 1, __ATOMIC_RELAXED);
		return false;
	}
	*suppressed = __atomic_exchange_n(&g->held, 0, __ATOMIC_RELAXED);
	return true;
}
