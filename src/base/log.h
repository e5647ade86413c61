/* SPDX-License-Identifier: Apache-2.0
 * log - one line an event, handed to a thread that writes it.
 *
 * Owns:    the destinations it opened.
 * Threads: nj_log from any, never blocks on a slow destination: a full ring
 *          drops lines and the next one says how many.  Before log_start
 *          (and after log_stop) lines go straight to stderr.
 * Bounds:  LOG_RING lines, LOG_LINE bytes each; longer ones are cut.
 * Note:    text from a peer is passed through text_esc by the caller; nj_log
 *          also turns every control byte of the finished line into \xHH.
 */
#ifndef NJ_BASE_LOG_H
#define NJ_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LOG_LINE 1024
#define LOG_RING 4096

/* Mosquitto's log_type names, one bit each. */
enum log_type {
	LOG_T_ERROR = 1 << 0,
	LOG_T_WARNING = 1 << 1,
	LOG_T_NOTICE = 1 << 2,
	LOG_T_INFORMATION = 1 << 3,
	LOG_T_DEBUG = 1 << 4,
	LOG_T_SUBSCRIBE = 1 << 5,
	LOG_T_UNSUBSCRIBE = 1 << 6,
	LOG_T_WEBSOCKETS = 1 << 7,
	LOG_T_INTERNAL = 1 << 8,
	LOG_T_ALL = (1 << 9) - 1,
	/* what Mosquitto logs when nothing is said */
	LOG_T_DEFAULT =
	    LOG_T_ERROR | LOG_T_WARNING | LOG_T_NOTICE | LOG_T_INFORMATION
};

enum log_dest {
	LOG_D_STDERR = 1 << 0,
	LOG_D_STDOUT = 1 << 1,
	LOG_D_SYSLOG = 1 << 2,
	LOG_D_FILE = 1 << 3,
	LOG_D_TOPIC = 1 << 4 /* through log_opts.on_line */
};

struct log_opts {
	unsigned types;	  /* of enum log_type */
	unsigned dests;	  /* of enum log_dest; 0: none */
	const char *file; /* for LOG_D_FILE */
	bool timestamp;
	const char *timestamp_format; /* strftime; NULL: Unix seconds, as
					 * Mosquitto writes them */
	int syslog_facility; /* 0-7 for LOG_LOCAL0..7, -1 for LOG_DAEMON */
	/* For log_dest topic; called on the log thread. */
	void (*on_line)(void *arg, enum log_type type, const char *line);
	void *arg;
};

/* The strings of opts are copied.  Files are opened here, so that rights
 * dropped later do not matter. */
NJ_MUST enum nj_err log_start(const struct log_opts *opts, struct nj_why *why);
/* Changes types, timestamps and destinations while running (reload). */
NJ_MUST enum nj_err log_reload(const struct log_opts *opts, struct nj_why *why);
/* Reopens the log file (log rotation). */
void log_reopen(void);
/* Writes what is queued and ends the thread. */
void log_stop(void);

extern unsigned log_types_on; /* read by log_on; written by log_start and
				 * log_reload only */
static inline bool
log_on(enum log_type t)
{
	return (__atomic_load_n(&log_types_on, __ATOMIC_RELAXED) & t) != 0;
}

void nj_log_write(enum log_type t, const char *fmt, ...) NJ_PRINTF(2, 3);
/* Arguments are not evaluated when the type is off. */
#define nj_log(t, ...)                                  \
	do {                                            \
		if (log_on(t))                          \
			nj_log_write((t), __VA_ARGS__); \
	} while (0)

/*
 * A gate for events that a peer can cause at will: true for the first
 * per_interval of every interval_ms; *suppressed is what was held back since
 * the last line that passed.  Threads: one gate may be shared by all.
 */
struct log_gate {
	uint64_t window_start;
	uint32_t passed, held;
};
bool log_gate_open(struct log_gate *g, uint64_t now_ms, uint32_t interval_ms,
    uint32_t per_interval, uint32_t *suppressed);

#endif
