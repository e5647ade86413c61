/* SPDX-License-Identifier: Apache-2.0
 * store - what the verbs of `nightjar store` share: which store is meant, and
 *         how its words are printed.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_STORE_H
#define NJ_CMD_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cmd/flags.h"
#include "store/view.h"

/* given, or where the configuration has it: exactly one of the two.  The
 * caller frees *out. */
NJ_MUST enum nj_err store_which(
    const char *given, const char *conf, char **out, struct nj_why *why);

/* How each verb is called: with options, which store, and perhaps another word. */
struct store_call {
	const char *usage; /* one line or several, without an end */
	const char *notes; /* behind the options; NULL: none */
	const char *other; /* the other word: what it is, if there is one */
	bool other_first;  /* it comes before the store's path */
	const char *conf;
	const char *word; /* the other one */
	char *path;
	int failed; /* the status of a failure from now on */
	struct nj_why why;
};

#define STORE_CONF(call)                                                      \
	{                                                                     \
		"config-file", 'c', FLAG_TEXT, &(call)->conf, "FILE",         \
		    "the broker's configuration: the store that it names", 0, \
		    0                                                         \
	}

/* NJ_EOF: --help was printed. */
NJ_MUST enum nj_err store_call_parse(struct store_call *c,
    const struct flag *flags, size_t n, int argc, char **argv);
/* Says why, and is the command's status. */
int store_call_end(struct store_call *c, enum nj_err e);

/* What was said has arrived, as far as can be known. */
NJ_MUST enum nj_err store_said(struct nj_why *why);

/* "2026-11-21T13:00:00Z" in dst. */
const char *store_time(char dst[32], int64_t seconds);

/* Controls, quotes and what is not UTF-8 as \xHH, in quotes. */
NJ_MUST enum nj_err store_put_text(struct buf *b, struct slice s);
/* ,"name":"text", or ,"name_base64":"..." when it is not UTF-8. */
NJ_MUST enum nj_err
store_put_json(struct buf *b, const char *name, struct slice s);
/* Everything in b to standard output, and b empty. */
NJ_MUST enum nj_err store_flush(struct buf *b, struct nj_why *why);

/* A store that root has made goes, with its lock, to the user whose store it replaces,
 * or whose folder it is in, so that the broker can open them. */
void store_give_away(const char *path);

int store_check_cmd(int argc, char **argv);
int store_stats_cmd(int argc, char **argv);
int store_backup_cmd(int argc, char **argv);
int store_restore_cmd(int argc, char **argv);
int store_salvage_cmd(int argc, char **argv);
int store_dump_cmd(int argc, char **argv);
int store_import_cmd(int argc, char **argv);

#endif
