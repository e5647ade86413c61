/* SPDX-License-Identifier: Apache-2.0
 * serve_admin - the administrative socket of a broker that serves: opened with
 *               its ports, and what its commands need of the main thread.
 *
 * Owns:    the socket and its threads.
 * Threads: the main thread; a command that waits for a reload is on its own.
 */
#ifndef NJ_CMD_SERVE_ADMIN_H
#define NJ_CMD_SERVE_ADMIN_H

#include <pthread.h>

#include "admin/admin.h"
#include "conf/conf.h"

struct broker;

/* Zeroed: none. */
struct serve_admin {
	struct admin *admin;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock: reloads asked for, and how many of them were done */
	uint64_t asked, done;
	bool closed;
	enum nj_err e; /* of the last one */
	struct nj_why why;
};

/* Before rights are dropped; user is who will serve, or NULL.  Where nobody
 * asked for a socket and the usual place will not do, it goes on without. */
NJ_MUST enum nj_err serve_admin_open(const struct conf *c, const char *user,
    struct serve_admin *s, struct nj_why *why);
struct tls_staples;
NJ_MUST enum nj_err serve_admin_start(struct serve_admin *s, struct broker *b,
    struct tls_staples *staples, struct nj_why *why);
/* The main thread reloads: what was asked for until now is answered. */
uint64_t serve_admin_reloading(struct serve_admin *s);
void serve_admin_reloaded(struct serve_admin *s, uint64_t asked, enum nj_err e,
    const struct nj_why *why);
void serve_admin_stop(struct serve_admin *s);
void serve_admin_close(struct serve_admin *s);

#endif
