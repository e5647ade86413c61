/* SPDX-License-Identifier: Apache-2.0
 * flags - long options of a subcommand, from a table that is its help too.
 *
 * Owns:    nothing; values point into argv.
 * Threads: the main thread.
 * Bounds:  FLAG_LIST_MAX values of one repeated option.
 */
#ifndef NJ_CMD_FLAGS_H
#define NJ_CMD_FLAGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define FLAG_LIST_MAX 64

/* Exit statuses of ca and up. */
enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct flag_list {
	const char *v[FLAG_LIST_MAX];
	unsigned n;
};

enum flag_kind {
	FLAG_SWITCH, /* bool */
	FLAG_TEXT,   /* const char * */
	FLAG_NUMBER, /* long, between min and max */
	FLAG_LIST    /* struct flag_list; may be given often */
};

struct flag {
	const char *name; /* without the dashes */
	char letter;	  /* or 0 */
	enum flag_kind kind;
	void *dst;
	const char *arg; /* how the help calls the value */
	const char *help;
	long min, max;
};

/*
 * Words after the flags' values go to rest (NULL: none are allowed).
 * NJ_EOF: --help was asked for; NJ_INVALID: *why says what was wrong.
 */
NJ_MUST enum nj_err flags_parse(const struct flag *flags, size_t n, int argc,
    char **argv, struct flag_list *rest, struct nj_why *why);
/* One line a flag. */
void flags_help(const struct flag *flags, size_t n);

/* "nightjar: what" and the mend below it, on stderr. */
void say_why(const struct nj_why *why, enum nj_err e);

#endif
