/* SPDX-License-Identifier: Apache-2.0
 * ask - the other end of the administrative socket: which broker is meant, one
 *       command to it, its answer.
 *
 * Owns:    nothing; a result is the caller's (json_decref).
 * Threads: the main thread.
 * Bounds:  ASK_ANSWER_MAX bytes, ask_opts.timeout_s seconds.
 */
#ifndef NJ_CMD_ASK_H
#define NJ_CMD_ASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cmd/flags.h"

#define ASK_ANSWER_MAX ((size_t)64 << 20)
#define ASK_TIMEOUT_S  30

/* Zeroed is fine: the broker of this user, ASK_TIMEOUT_S. */
struct ask_opts {
	const char *socket; /* --socket PATH */
	const char *conf;   /* --config-file FILE: the socket it names */
	bool json;	    /* --json: results as they came */
	long timeout_s;	    /* --timeout */
};

/* Rows for a table of flags (cmd/flags.h). */
#define ASK_FLAGS(o)                                                          \
	{ "socket", 0, FLAG_TEXT, &(o)->socket, "PATH",                       \
		"the broker's administrative socket", 0, 0 },                 \
	    { "config-file", 'c', FLAG_TEXT, &(o)->conf, "FILE",              \
		    "the broker that serves this configuration", 0, 0 },      \
	    { "json", 0, FLAG_SWITCH, &(o)->json, NULL, "the answer as JSON", \
		    0, 0 },                                                   \
	{                                                                     \
		"timeout", 0, FLAG_NUMBER, &(o)->timeout_s, "SECONDS",        \
		    "how long to wait for an answer (30)", 1, 86400           \
	}

/*
 * args (an object, or NULL) is taken over.  NJ_OK: *result is the command's
 * own.  What the broker said against it is in *why, and the like when there is
 * none to ask.
 */
NJ_MUST enum nj_err ask(const struct ask_opts *o, const char *command,
    json_t *args, json_t **result, struct nj_why *why);

/* An object of those that are not NULL: name, text, ..., NULL. */
json_t *ask_args(const char *name, ...);

/* For a whole subcommand: asks, prints with show (or as JSON with --json),
 * frees; the exit status. */
int ask_and_print(const struct ask_opts *o, const char *command, json_t *args,
    void (*show)(const json_t *result));
/* One value of JSON and a new line. */
void ask_print_json(const json_t *v);
/* A text member safe for a terminal; "" when it is absent. */
const char *ask_text(const json_t *o, const char *name, char *dst, size_t size);
long long ask_number(const json_t *o, const char *name);
/* Of what "status" answers: "full since 2025-01-31 10:00:00 (12 messages were
 * refused for it)". */
const char *ask_store(const json_t *status, char *dst, size_t size);
/* What mends that; "": nothing is wrong. */
const char *ask_store_mend(const json_t *status);
/* "3 d 4 h", "12 min", "5 s" */
const char *ask_span(long long seconds, char *dst, size_t size);

#endif
