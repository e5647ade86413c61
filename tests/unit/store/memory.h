/* SPDX-License-Identifier: Apache-2.0
 * memory - what a store should hold, kept beside it, and messages for it.
 *
 * Threads: the test's; done and paged come on the store's and are waited for.
 */
#ifndef NJ_TESTS_STORE_MEMORY_H
#define NJ_TESTS_STORE_MEMORY_H

#include <pthread.h>

#include "base/buf.h"
#include "store/batch.h"

#define MODEL_SESSIONS 4
#define MODEL_ENTRIES  24
#define MODEL_SUBS     4
#define MODEL_TOPICS   4
#define MODEL_PIDS     4

/* A message is its text, topic and payload in one. */
struct note {
	_Atomic unsigned refs;
	uint64_t id;
	uint32_t topic_len, payload_len;
	uint8_t bytes[];
};

struct note *note_new(const char *topic, const char *payload);
struct note *note_ref(struct note *n);
void note_unref(void *n);
extern const struct store_msg_ops note_ops;
extern _Atomic long notes_alive;

struct entry_model {
	struct note *note; /* NULL: free */
	uint64_t seq;
	uint16_t pid;
	uint8_t qos, state, share;
	bool retain;
	uint32_t n_ids;
};

struct session_model {
	bool used;
	char client[16], user[16];
	uint32_t expiry_s;
	int64_t offline_ms;
	struct note *will;
	uint32_t sub[MODEL_SUBS]; /* 0: none, else options */
	bool received[MODEL_PIDS];
	struct entry_model queue[MODEL_ENTRIES];
	uint64_t seq;
};

struct model {
	struct session_model s[MODEL_SESSIONS]; /* id: index + 1 */
	struct note *retained[MODEL_TOPICS];
	uint64_t order;
};

void model_fini(struct model *m);
/* Everything, in one order. */
void model_text(const struct model *m, struct buf *out);

/* An open store that answers. */
struct bench {
	struct store *store;
	pthread_mutex_t lock;
	pthread_cond_t change;
	uint64_t ticket; /* of what was submitted last */
	uint64_t acked;	 /* highest */
	enum store_state state;
	struct store_read *page;
};

/* For the stores that are opened from now on; store_opts. */
extern uint32_t bench_data_min;
extern uint64_t bench_data_file;

NJ_MUST enum nj_err bench_open(
    struct bench *b, const char *path, const char *vfs, struct nj_why *why);
/* As the next of it. */
void bench_submit(struct bench *b, struct store_batch *x);
/* The same, and waits as bench_wait() does. */
NJ_MUST bool bench_write(struct bench *b, struct store_batch *x);
/* Starts it; waits until a ticket is there, or the store is in trouble. */
bool bench_wait(struct bench *b, uint64_t ticket);
void bench_wait_state(struct bench *b, enum store_state want);
/* Asks for a page, and waits for it. */
void bench_read(struct bench *b, struct store_read *r);
/* What is stored, in model_text's form; the store is started by it. */
NJ_MUST enum nj_err
bench_text(struct bench *b, struct buf *out, struct nj_why *why);
void bench_close(struct bench *b);

/* An empty batch. */
struct store_batch *bench_batch(void);
/* Adds n entries of session 1 to it, from that seq on, of 300 bytes each: the payload
 * begins with the seq, in 20 digits. */
void bench_put(struct store_batch *x, uint64_t from, uint64_t n);
/* Changes a store that is not open, as a program would that knows of its pages'
 * checksums; and a query's first number. */
void bench_edit(const char *path, const char *sql);
int64_t bench_ask(const char *path, const char *sql);

#endif
