/* SPDX-License-Identifier: Apache-2.0
 * client_opts_table - one row an option: the parser, the check for the nearest
 *                     name and --help all come from it.
 *
 * Owns:    nothing; constant.
 * Threads: any.
 */
#ifndef NJ_CMD_CLIENT_OPTS_TABLE_H
#define NJ_CMD_CLIENT_OPTS_TABLE_H

#include "cmd/client_opts.h"

struct cli_opt;
/* args[0] is the first value; n of them are left on the command line.  The
 * number of values used, or -1 with why. */
typedef int cli_opt_fn(struct cli *c, const struct cli_opt *o, int n,
    char **args, struct nj_why *why);

enum cli_kind {
	CLI_ON,	    /* bool at off becomes true */
	CLI_TEXT,   /* const char * at off */
	CLI_NUMBER, /* long at off, min to max */
	CLI_LIST,   /* appended to the struct cli_list at off */
	CLI_FN,	    /* fn does it */
	CLI_REFUSE  /* help says why not */
};

struct cli_opt {
	const char *letter, *name; /* "-h", "--host"; either may be NULL */
	unsigned progs;		   /* of enum cli_prog */
	enum cli_kind kind;
	size_t off;
	long min, max;
	cli_opt_fn *fn;
	const char *value; /* how the help calls it; NULL: takes none */
	const char *help;
};

extern const struct cli_opt cli_opts[];
extern const size_t cli_opts_n;

/* For -L, after all else was read. */
NJ_MUST enum nj_err cli_url(struct cli *c, struct nj_why *why);
/* For --proxy. */
NJ_MUST enum nj_err
cli_proxy(struct cli *c, const char *url, struct nj_why *why);
NJ_MUST enum nj_err cli_list_add(struct cli_list *l, const char *s);
/* A copy that lives as long as c; NULL when out of memory. */
char *cli_own(struct cli *c, const char *s, size_t n);

#endif
