/* SPDX-License-Identifier: Apache-2.0
 * net - connections as a bad network makes them: late, in pieces, cut short,
 *       or silent for ever.
 *
 * A connection has two pipes.  What is sent arrives after a time of its own,
 * in order within the pipe; connections overtake each other.  The broker's end
 * is a struct stream (seam.c); the client's is net_send and net_recv.
 *
 * Owns:    all connections; one is freed when both ends have closed it.
 * Threads: one.
 */
#ifndef NJ_TESTS_SIM_NET_H
#define NJ_TESTS_SIM_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/stream.h"

#define NET_CONNS 1024 /* at a time */
#define NET_SEGS  64   /* pieces under way in a pipe */
#define NET_FD	  (1 << 24)
#define NET_LOOP  (NET_FD - 65) /* a loop in another one */
#define NET_PORT  (NET_FD - 64) /* listeners' descriptors */

struct client;
struct edge;

struct seg {
	uint64_t at;
	size_t n;
};

struct pipe {
	struct buf data; /* sent and not read */
	size_t arrived;	 /* of that */
	struct seg segs[NET_SEGS];
	unsigned head, n;
	uint64_t last_at;
	uint64_t fin_at, rst_at; /* NEVER: none under way */
	bool cut;		 /* what is sent now never arrives */
};

struct nconn {
	unsigned id;
	int fd;
	struct client *client;
	struct edge *edge; /* what the model knows of it */
	struct pipe up, down;
	uint64_t open_at; /* when it can be accepted */
	unsigned shard;	  /* where */
	uint32_t lat_lo, lat_hi;
	size_t window;
	size_t taken, told; /* bytes read; those that the loop told of */
	bool told_end;	    /* the same for the end */
	bool armed;	    /* the loop tells in any case */
	bool accepted;
	bool hole;	  /* nothing arrives any more, nobody is told */
	bool shut;	  /* the broker says no more */
	bool broker_gone; /* closed */
	bool client_gone;
};

struct net {
	struct nconn *v[NET_CONNS];
	unsigned n, next_id;
};

/* The client's end. */
struct nconn *net_dial(struct client *c);
size_t net_send(struct nconn *c, const uint8_t *p, size_t n);
/* Appends what has arrived.  False: the connection has ended. */
bool net_recv(struct nconn *c, struct buf *in);
/* Orderly or with a reset; c may be freed. */
void net_hangup(struct nconn *c, bool orderly);
/* Everything under way is cut off at some byte, and both ends hear of it. */
void net_cut(struct nconn *c);
/* The client's end is forgotten, but not closed. */
void net_abandon(struct nconn *c, bool hole);

/* The broker's end. */
unsigned net_ready(struct nconn *c, unsigned want);
/* The loop has said so: with LOOP_EDGE it does again for what is new. */
void net_told(struct nconn *c);
NJ_MUST enum nj_err
net_read(struct nconn *c, uint8_t *dst, size_t cap, size_t *n);
NJ_MUST enum nj_err
net_write(struct nconn *c, const uint8_t *src, size_t len, size_t *n);
void net_shut(struct nconn *c);
void net_close(struct nconn *c);
struct nconn *net_find(int fd);
/* One to accept on that shard, or NULL. */
struct nconn *net_waiting(unsigned shard);

/* Bytes or ends are under way. */
bool net_busy(void);
/* The broker's machine is off: its end of all connections is lost, and what was
 * under way to it. */
void net_unplug(void);
void net_fini(void);

#endif
