/* SPDX-License-Identifier: Apache-2.0
 * durable_load - loads a broker with what it has to keep; see tests/bench/durable.
 *
 *   durable_load publish PORT WINDOW SECONDS SIZE online|offline
 *   durable_load append FILE WINDOW SECONDS SIZE
 *   durable_load latency PORT RATE SECONDS
 *   durable_load fill PORT SESSIONS EACH SIZE WINDOW
 *   durable_load drain PORT SESSIONS EACH SIZE PARALLEL
 *   durable_load join PORT SESSIONS
 *   durable_load lost PORT SESSIONS EACH
 *   durable_load retain PORT MESSAGES SIZE WINDOW
 *
 * publish sends QoS 1 messages of one publisher to one persistent session,
 * WINDOW of them under way, and prints those acknowledged a second.  append
 * writes the bytes of as many to a file, with an fdatasync after each WINDOW.
 * latency sends QoS 0 messages at a rate and prints how long each took, and how
 * long it waited itself for a processor, a message: its own part of that.  fill
 * leaves EACH messages in the queues of SESSIONS offline sessions; drain takes
 * them and checks that all come, once and in order.  join makes those sessions
 * without messages; lost takes what there is and prints how many did not come.
 * retain leaves a retained message on each of as many topics.
 *
 * One thread; it speaks MQTT 3.1.1 and believes the broker.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_MAX	     (1u << 18)
#define OUT_MAX	     (1u << 20) /* above that no more is made */
#define OUT_ROOM     (1u << 17) /* what a packet and its answers take at most */
#define SIZE_MAX_MSG 65536u
#define SAMPLES_MAX  4000000u
#define PATIENCE     60000 /* ms without a byte: the broker has stopped */
#define PARALLEL_MAX 1000u
#define QUIET	     20u /* looks without a message: none is left */
#define QUIET_STEP   100 /* ms a look */

enum { CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40, SUBACK = 0x90 };

struct conn {
	int fd;
	uint8_t *in, *out;
	size_t got, len, off;
	/* What came. */
	bool ready;	/* CONNACK or SUBACK */
	uint64_t acked; /* PUBACKs */
	uint64_t came;	/* PUBLISHes */
	/* For what came. */
	unsigned number;
	bool gaps; /* are no fault */
	struct stat_us *times;
};

struct stat_us {
	uint32_t *us;
	size_t n;
};

_Noreturn static void __attribute__((format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("durable_load: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static void *
take(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		die("no memory");
	return p;
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static unsigned
number(const char *text, unsigned most)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || end == text || n == 0 || n > most)
		die("%s: not a number from 1 to %u", text, most);
	return (unsigned)n;
}

/* Packets.  There is room for one. */

static void
put_bytes(struct conn *c, const void *from, size_t n)
{
	memcpy(c->out + c->len, from, n);
	c->len += n;
}

static void
put_u8(struct conn *c, unsigned v)
{
	c->out[c->len++] = (uint8_t)v;
}

static void
put_u16(struct conn *c, unsigned v)
{
	put_u8(c, v >> 8);
	put_u8(c, v & 0xff);
}

static void
put_head(struct conn *c, unsigned type, size_t rest)
{
	put_u8(c, type);
	for (; rest > 127; rest >>= 7)
		put_u8(c, (unsigned)(rest & 127) | 128);
	put_u8(c, (unsigned)rest);
}

static void
put_str(struct conn *c, const char *s)
{
	put_u16(c, (unsigned)strlen(s));
	put_bytes(c, s, strlen(s));
}

static void
put_connect(struct conn *c, const char *id, bool clean)
{
	put_head(c, 0x10, 12 + strlen(id));
	put_str(c, "MQTT");
	put_u8(c, 4);
	put_u8(c, clean ? 2 : 0);
	put_u16(c, 0);
	put_str(c, id);
}

static void
put_subscribe(struct conn *c, const char *filter, unsigned qos)
{
	put_head(c, 0x82, 5 + strlen(filter));
	put_u16(c, 1);
	put_str(c, filter);
	put_u8(c, qos);
}

/* The payload begins with a number. */
static void
put_publish(struct conn *c, const char *topic, unsigned qos, unsigned id,
    uint64_t seq, unsigned size)
{
	put_head(
	    c, PUBLISH | qos << 1, 2 + strlen(topic) + (qos ? 2 : 0) + size);
	put_str(c, topic);
	if (qos)
		put_u16(c, id);
	put_bytes(c, &seq, sizeof seq);
	memset(c->out + c->len, 'x', size - sizeof seq);
	c->len += size - sizeof seq;
}

/* Connections. */

static void
open_conn(struct conn *c, unsigned port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port) };
	int one = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*c = (struct conn){ .in = take(IN_MAX),
		.out = take(OUT_MAX + OUT_ROOM) };
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to))
		die("port %u: %s", port, strerror(errno));
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void
close_conn(struct conn *c)
{
	(void)close(c->fd);
	free(c->in);
	free(c->out);
	c->fd = -1;
}

static void
on_publish(struct conn *c, uint8_t first, const uint8_t *p, size_t n)
{
	size_t at = 2 + ((size_t)p[0] << 8 | p[1]);
	uint64_t seq, t;

	if (first & 6) {
		put_head(c, PUBACK, 2);
		put_bytes(c, p + at, 2);
		at += 2;
	}
	if (n < at + sizeof seq)
		die("a message of %zu bytes", n);
	memcpy(&seq, p + at, sizeof seq);
	if (c->times) {
		t = (now_ns() - seq) / 1000;
		if (c->times->n < SAMPLES_MAX)
			c->times->us[c->times->n++] = (uint32_t)t;
	} else if (seq != c->came && !c->gaps) {
		die("session %u: message %llu came instead of %llu", c->number,
		    (unsigned long long)seq, (unsigned long long)c->came);
	}
	c->came++;
}

static void
on_packet(struct conn *c, uint8_t first, const uint8_t *p, size_t n)
{
	switch (first & 0xf0) {
	case PUBLISH:
		on_publish(c, first, p, n);
		break;
	case PUBACK:
		c->acked++;
		break;
	case CONNACK:
		if (p[1])
			die("CONNACK says %u", p[1]);
		c->ready = true;
		break;
	case SUBACK:
		if (p[2] > 2)
			die("SUBACK says %u", p[2]);
		c->ready = true;
		break;
	default:
		die("packet type %u", first >> 4);
	}
}

static void
parse(struct conn *c)
{
	size_t at = 0, j, n;
	unsigned shift;

	while (c->got - at >= 2 && c->len < OUT_MAX) {
		n = 0;
		shift = 0;
		for (j = at + 1; j < c->got && c->in[j] & 128; j++, shift += 7)
			n |= (size_t)(c->in[j] & 127) << shift;
		if (j == c->got)
			break;
		n |= (size_t)c->in[j++] << shift;
		if (n > c->got - j)
			break;
		on_packet(c, c->in[at], c->in + j, n);
		at = j + n;
	}
	memmove(c->in, c->in + at, c->got - at);
	c->got -= at;
}

static void
flush(struct conn *c)
{
	ssize_t n;

	while (c->off < c->len) {
		n = send(c->fd, c->out + c->off, c->len - c->off, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			die("send: %s", strerror(errno));
		c->off += (size_t)n;
	}
	memmove(c->out, c->out + c->off, c->len - c->off);
	c->len -= c->off;
	c->off = 0;
}

static void
read_conn(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->got, IN_MAX - c->got, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die("the broker closed connection %u: %s", c->number,
		    n ? strerror(errno) : "end");
	c->got += (size_t)n;
	parse(c);
}

/* One turn of all connections; waits for as long when nothing happens. */
static void
turn(struct conn *conns, size_t n, int wait)
{
	struct pollfd p[PARALLEL_MAX];
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		flush(&conns[i]);
		p[i] = (struct pollfd){ conns[i].fd,
			(short)(POLLIN | (conns[i].len ? POLLOUT : 0)), 0 };
	}
	r = poll(p, n, wait);
	if (r < 0 || (r == 0 && wait == PATIENCE))
		die("the broker says nothing");
	for (i = 0; i < n; i++)
		if (p[i].revents & (POLLIN | POLLHUP | POLLERR))
			read_conn(&conns[i]);
}

static void
wait_ready(struct conn *c)
{
	c->ready = false;
	while (!c->ready)
		turn(c, 1, PATIENCE);
}

/* A session with one subscription; connected. */
static void
join(struct conn *c, unsigned port, const char *id, const char *filter,
    unsigned qos)
{
	open_conn(c, port);
	put_connect(c, id, qos == 0);
	wait_ready(c);
	put_subscribe(c, filter, qos);
	wait_ready(c);
}

static void
leave(struct conn *c)
{
	uint8_t end;

	put_head(c, 0xe0, 0);
	while (c->len)
		flush(c);
	(void)fcntl(c->fd, F_SETFL, 0);
	while (recv(c->fd, &end, 1, 0) > 0)
		;
	close_conn(c);
}

/* What the commands do. */

static void
run_publish(char **arg)
{
	unsigned port = number(arg[0], 65535), window = number(arg[1], 60000),
		 seconds = number(arg[2], 3600),
		 size = number(arg[3], SIZE_MAX_MSG);
	bool online = !strcmp(arg[4], "online");
	struct conn c[2];
	uint64_t sent = 0, t0, end, from = 0, came = 0;

	join(&c[1], port, "durable-sub", "durable/topic", 1);
	if (!online)
		leave(&c[1]);
	open_conn(&c[0], port);
	put_connect(&c[0], "durable-pub", true);
	wait_ready(&c[0]);
	t0 = now_ns() + 500000000u; /* until it runs smoothly */
	end = t0 + (uint64_t)seconds * 1000000000u;
	while (now_ns() < end) {
		if (!from && now_ns() >= t0) {
			t0 = now_ns();
			from = c[0].acked + 1;
			came = c[1].came;
		}
		for (; sent - c[0].acked < window && c[0].len < OUT_MAX; sent++)
			put_publish(&c[0], "durable/topic", 1,
			    (unsigned)(sent % 65535) + 1, sent, size);
		turn(c, online ? 2 : 1, PATIENCE);
	}
	if (!from)
		die("nothing in time");
	end = now_ns() - t0;
	printf("%.0f %.0f\n",
	    (double)(c[0].acked + 1 - from) * 1e9 / (double)end,
	    online ? (double)(c[1].came - came) * 1e9 / (double)end : 0.0);
	close_conn(&c[0]);
	if (online)
		close_conn(&c[1]);
}

static void
run_append(char **arg)
{
	unsigned window = number(arg[1], 60000), seconds = number(arg[2], 3600),
		 size = number(arg[3], SIZE_MAX_MSG), i;
	struct conn c = { .out = take((size_t)window * (size + 64u)) };
	uint64_t t0, end, n = 0;
	int fd = open(arg[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		die("%s: %s", arg[0], strerror(errno));
	for (i = 0; i < window; i++)
		put_publish(&c, "durable/topic", 1, i + 1, i, size);
	t0 = now_ns();
	end = t0 + (uint64_t)seconds * 1000000000u;
	for (; now_ns() < end; n += window)
		if (write(fd, c.out, c.len) != (ssize_t)c.len || fdatasync(fd))
			die("%s: %s", arg[0], strerror(errno));
	printf("%.0f\n", (double)n * 1e9 / (double)(now_ns() - t0));
	(void)close(fd);
	free(c.out);
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* For a processor: ns of this process, or 0 where the kernel does not say. */
static double
waited(void)
{
	FILE *f = fopen("/proc/self/schedstat", "re");
	unsigned long long wait = 0;
	char line[96], *end;

	if (f) {
		if (fgets(line, sizeof line, f)) { /* ran, waited, turns */
			(void)strtoull(line, &end, 10);
			wait = strtoull(end, NULL, 10);
		}
		(void)fclose(f);
	}
	return (double)wait;
}

static void
run_latency(char **arg)
{
	unsigned port = number(arg[0], 65535), rate = number(arg[1], 100000),
		 seconds = number(arg[2], 3600);
	uint64_t step = 1000000000u / rate, next, end, sent = 0;
	struct stat_us times = { take(SAMPLES_MAX * sizeof(uint32_t)), 0 };
	struct timespec ts;
	struct conn c[2];
	double before;

	join(&c[1], port, "latency-sub", "latency/topic", 0);
	c[1].times = &times;
	open_conn(&c[0], port);
	put_connect(&c[0], "latency-pub", true);
	wait_ready(&c[0]);
	before = waited();
	next = now_ns() + 10000000u;
	end = next + (uint64_t)seconds * 1000000000u;
	while (next < end) {
		ts = (struct timespec){ (time_t)(next / 1000000000u),
			(long)(next % 1000000000u) };
		(void)clock_nanosleep(
		    CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		/* From when it should have been sent. */
		put_publish(&c[0], "latency/topic", 0, 0, next, 64);
		next += step;
		sent++;
		turn(c, 2, 0);
		while (c[1].came < sent && now_ns() < next)
			turn(&c[1], 1, 1);
	}
	while (c[1].came < sent)
		turn(c, 2, PATIENCE);
	qsort(times.us, times.n, sizeof *times.us, by_value);
	printf("%u %u %u %zu %.0f\n", times.us[times.n / 2],
	    times.us[times.n * 99 / 100], times.us[times.n - 1], times.n,
	    (waited() - before) / 1e3 / (double)times.n);
	free(times.us);
	close_conn(&c[0]);
	close_conn(&c[1]);
}

static void
run_fill(char **arg)
{
	unsigned port = number(arg[0], 65535),
		 sessions = number(arg[1], 100000),
		 each = number(arg[2], 10000000),
		 size = number(arg[3], SIZE_MAX_MSG),
		 window = number(arg[4], 60000), i;
	uint64_t total = (uint64_t)sessions * each, sent = 0, t0;
	char name[32];
	struct conn c;

	for (i = 0; i < sessions; i++) {
		(void)snprintf(name, sizeof name, "queue/%u", i);
		join(&c, port, name, name, 1);
		leave(&c);
	}
	open_conn(&c, port);
	put_connect(&c, "queue-pub", true);
	wait_ready(&c);
	t0 = now_ns();
	while (c.acked < total) {
		for (;
		     sent < total && sent - c.acked < window && c.len < OUT_MAX;
		     sent++) {
			(void)snprintf(name, sizeof name, "queue/%u",
			    (unsigned)(sent % sessions));
			put_publish(&c, name, 1, (unsigned)(sent % 65535) + 1,
			    sent / sessions, size);
		}
		turn(&c, 1, PATIENCE);
	}
	printf("%.3f\n", (double)(now_ns() - t0) / 1e9);
	close_conn(&c);
}

static void
run_join(char **arg)
{
	unsigned port = number(arg[0], 65535),
		 sessions = number(arg[1], 1000000), i;
	char name[32];
	struct conn c;

	for (i = 0; i < sessions; i++) {
		(void)snprintf(name, sizeof name, "queue/%u", i);
		join(&c, port, name, name, 1);
		leave(&c);
	}
}

/* Until nothing comes for a while. */
static void
run_lost(char **arg)
{
	unsigned port = number(arg[0], 65535),
		 sessions = number(arg[1], 100000),
		 each = number(arg[2], 10000000), i, idle;
	uint64_t came = 0, before;
	char name[32];
	struct conn c;

	for (i = 0; i < sessions; i++) {
		(void)snprintf(name, sizeof name, "queue/%u", i);
		open_conn(&c, port);
		c.gaps = true;
		put_connect(&c, name, false);
		wait_ready(&c);
		for (idle = 0; c.came < each && idle < QUIET;) {
			before = c.came;
			turn(&c, 1, QUIET_STEP);
			idle = c.came == before ? idle + 1 : 0;
		}
		came += c.came < each ? c.came : each;
		leave(&c);
	}
	printf(
	    "%llu\n", (unsigned long long)((uint64_t)sessions * each - came));
}

static void
run_retain(char **arg)
{
	unsigned port = number(arg[0], 65535), all = number(arg[1], 10000000),
		 size = number(arg[2], SIZE_MAX_MSG),
		 window = number(arg[3], 60000);
	uint64_t sent = 0;
	char name[32];
	struct conn c;

	open_conn(&c, port);
	put_connect(&c, "retain-pub", true);
	wait_ready(&c);
	while (c.acked < all) {
		for (; sent < all && sent - c.acked < window && c.len < OUT_MAX;
		     sent++) {
			size_t at = c.len;

			(void)snprintf(
			    name, sizeof name, "retain/%u", (unsigned)sent);
			put_publish(&c, name, 1, (unsigned)(sent % 65535) + 1,
			    sent, size);
			c.out[at] |= 1;
		}
		turn(&c, 1, PATIENCE);
	}
	close_conn(&c);
}

static void
run_drain(char **arg)
{
	unsigned port = number(arg[0], 65535),
		 sessions = number(arg[1], 100000),
		 each = number(arg[2], 10000000),
		 size = number(arg[3], SIZE_MAX_MSG),
		 parallel = number(arg[4], PARALLEL_MAX), next = 0, open = 0, i;
	struct conn *c = take(parallel * sizeof *c);
	uint64_t t0 = now_ns();
	char name[32];

	(void)size;
	while (next < sessions || open) {
		while (open < parallel && next < sessions) {
			(void)snprintf(name, sizeof name, "queue/%u", next);
			open_conn(&c[open], port);
			c[open].number = next++;
			put_connect(&c[open++], name, false);
		}
		turn(c, open, PATIENCE);
		for (i = 0; i < open;) {
			if (c[i].came < each) {
				i++;
				continue;
			}
			leave(&c[i]);
			c[i] = c[--open];
		}
	}
	printf("%.3f\n", (double)(now_ns() - t0) / 1e9);
	free(c);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		void (*run)(char **);
	} commands[] = {
		{ "publish", 5, run_publish },
		{ "append", 4, run_append },
		{ "latency", 3, run_latency },
		{ "fill", 5, run_fill },
		{ "drain", 5, run_drain },
		{ "join", 2, run_join },
		{ "lost", 3, run_lost },
		{ "retain", 4, run_retain },
	};

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (argc - 2 == commands[i].args &&
		    !strcmp(argv[1], commands[i].name)) {
			commands[i].run(argv + 2);
			return 0;
		}
	}
	die("see the head of tests/bench/durable_load.c");
}
