/* SPDX-License-Identifier: Apache-2.0
 * impl - what the files of the load generator share among themselves.
 *
 * Owns:    see each struct.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_BENCH_IMPL_H
#define NJ_CMD_BENCH_IMPL_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/secret.h"
#include "cmd/bench/hist.h"
#include "cmd/flags.h"
#include "net/loop.h"
#include "net/tls.h"
#include "wire/frame.h"
#include "wire/packet.h"

#define RX_MIN	      (256 * 1024)
#define READS_TURN    4 /* of one connection, before others have a turn */
#define UNSENT_HIGH   (256 * 1024) /* a publisher waits above this */
#define PORTS_ADDRESS 28000	   /* connections from one source address */
#define UNACKED_MAX   60000	   /* QoS 1 and 2 publishes of one publisher */
#define HEADER_SIZE   24	   /* of a payload: struct stamp */
#define SEEN_BITS     1024	   /* late messages told from repeated ones */

enum mode { MODE_LOAD, MODE_CONNECT, MODE_IDLE, MODE_STORM, MODE_SUBSCRIBE };
enum pattern { PAIRS, FAN_IN, FAN_OUT, WILDCARDS };
/* Filters of the silent subscriptions. */
enum others_kind { OTHERS_EXACT, OTHERS_PLUS, OTHERS_HASH, OTHERS_MIXED };

struct opts {
	const char *host, *unix_path, *user, *password_file, *id_prefix;
	const char *mode_name, *pattern_name, *version_name, *topic, *kind_name;
	const char *cafile, *certfile, *keyfile, *ciphers, *tls_min;
	bool insecure, os_certs, json, resume, websockets, on_input, retain,
	    new_topics;
	long port, pubs, subs, qos, sub_qos, size, rate, window, duration,
	    warmup, count, connections, concurrency, settle, others,
	    others_each, session_expiry;
	struct flag_list pids;
	enum mode mode;
	enum pattern pattern;
	enum others_kind kind;
	enum mqtt_ver ver;
};

struct bench;
struct conn;

enum conn_state {
	CONN_IDLE,
	CONN_CONNECTING,
	CONN_HANDSHAKE,
	CONN_CONNACK,
	CONN_UP,
	CONN_DEAD
};

/* What a connection is for. */
struct conn_ops {
	/* CONNACK said yes. */
	void (*up)(struct conn *c);
	/* Any packet after that; false: the connection is of no use. */
	bool (*packet)(struct conn *c, const struct frame *f);
	/* After all packets of one read. */
	void (*idle)(struct conn *c);
	/* It is CONN_DEAD now; why may be empty. */
	void (*dead)(struct conn *c);
};

struct conn {
	struct watch w; /* first: watch_fn finds the conn */
	struct bench *b;
	struct stream *stream;
	const struct conn_ops *ops;
	void *arg;	/* struct pub, struct sub, ... */
	uint32_t index; /* decides client id and source address */
	enum conn_state state;
	bool dirty;	      /* in b->dirty */
	bool listed;	      /* in a list of its mode's */
	uint16_t receive_max; /* of the broker */
	struct buf in, out;   /* in: an incomplete packet */
	uint64_t started;     /* ns */
};

struct bench {
	struct opts o;
	struct loop *loop;
	struct stream_scratch *scratch;
	struct tls_client *tls;
	struct secret *password;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	bool loopback; /* IPv4: sources may be spread over 127.0.0.0/8 */
	uint32_t run;  /* tells our messages from those of earlier runs */
	struct buf rx; /* what one read received; shared */
	struct conn **dirty;
	size_t n_dirty, dirty_cap;
	uint64_t now;	   /* ns, of the last look at the clock */
	struct nj_why why; /* of the first failure */
	uint64_t failed;   /* connections */
	uint64_t resumed;  /* handshakes */
};

static inline struct conn *
conn_of(struct watch *w)
{
	return (struct conn *)(void *)w;
}

uint64_t bench_now(void); /* ns, monotonic */

/* conn.c */
NJ_MUST enum nj_err bench_open(struct bench *b);
void bench_close(struct bench *b);
/* Zeroed memory becomes a connection that conn_start opens. */
void conn_init(struct conn *c, struct bench *b, const struct conn_ops *ops,
    void *arg, uint32_t index);
void conn_start(struct conn *c);
/* Closes; with goodbye: DISCONNECT first, as far as the socket takes it. */
void conn_stop(struct conn *c, bool goodbye);
/* Marks that c->out has something to send at the end of this turn. */
void conn_dirty(struct conn *c);
/* For all that is marked. */
void bench_flush(struct bench *b);
/* Notes the first reason and ends the connection. */
void
conn_fail(struct conn *c, enum nj_err e, const char *fmt, ...) NJ_PRINTF(3, 4);

/* meter.c: what a process has used. */
struct meter {
	uint64_t cpu_ns, rss;
	bool ok;
};
struct meter meter_read(const struct flag_list *pids);
/* The soft limit of open files, raised as far as needed and allowed. */
unsigned long meter_files(unsigned long need);

/* load.c, storm.c: one run of each mode. */
struct load_result {
	double seconds;
	uint64_t sent, delivered, lost, repeated, disordered;
	double cpu_s;
	uint64_t rss_before, rss_after;
	bool metered, late; /* late: the schedule was not kept */
	struct hist latency;
};
struct storm_result {
	double seconds;
	uint64_t done, resumed;
	double cpu_s, rss_each; /* bytes a connection, idle mode */
	uint64_t rss_before, rss_after, rss_closed;
	bool metered;
	struct hist latency;
};
NJ_MUST enum nj_err load_run(struct bench *b, struct load_result *r);
NJ_MUST enum nj_err connect_run(struct bench *b, struct storm_result *r);
NJ_MUST enum nj_err idle_run(struct bench *b, struct storm_result *r);
NJ_MUST enum nj_err storm_run(struct bench *b, struct storm_result *r);

struct subscribe_result {
	double seconds;
	uint64_t done, clients;
	double cpu_s, gone_cpu_s; /* to make them, and to forget them */
	uint64_t rss_before, rss_with, rss_after;
	bool metered;
};
NJ_MUST enum nj_err subscribe_run(struct bench *b, struct subscribe_result *r);

/* others.c: subscriptions without messages. */
struct others;
uint32_t others_clients(const struct opts *o);
NJ_MUST enum nj_err others_new(struct bench *b, struct others **out);
/* Returns when all are there. */
NJ_MUST enum nj_err others_open(struct others *all);
void others_free(struct others *all);

/* report.c */
void report_load(const struct bench *b, const struct load_result *r);
void report_subscribe(const struct bench *b, const struct subscribe_result *r);
void report_storm(const struct bench *b, const struct storm_result *r);

#endif
