/* SPDX-License-Identifier: Apache-2.0
 * table - what every option is called, takes, means and does today.
 *
 * Threads: constant data.
 */
#ifndef NJ_CONF_TABLE_H
#define NJ_CONF_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define CONF_OPTS_MAX 256 /* rows; checked where the table is */

enum conf_scope {
	CONF_GLOBAL,
	CONF_LISTENER, /* the listener above it, else the default one */
	CONF_SECURITY, /* global, or as CONF_LISTENER with
			 * per_listener_settings */
	CONF_BRIDGE,   /* the connection above it */
	CONF_PLUGIN    /* the plugin above it */
};

enum conf_type {
	CONF_T_BOOL,
	CONF_T_TRI, /* a boolean that may be left unsaid (-1) */
	CONF_T_U32,
	CONF_T_LIMIT,	 /* uint32_t; negative or 0: no limit */
	CONF_T_SIZE,	 /* uint64_t bytes; k, M, G allowed */
	CONF_T_DURATION, /* uint64_t seconds, written 7d */
	CONF_T_ENUM,	 /* int, one of words */
	CONF_T_SET,	 /* unsigned, bits of words; may be repeated */
	CONF_T_STRING,	 /* the rest of the line */
	CONF_T_PATH,	 /* the same */
	CONF_T_FORM	 /* has its own reader: listener, topic, log_dest ... */
};

enum conf_standing {
	CONF_WORKS,
	CONF_LATER,	  /* tunes or loosens: warned, goes on without it */
	CONF_LATER_STOPS, /* restricts, or is a function that would be
				 * missing: the start is refused */
	CONF_IGNORED,	  /* has nothing to do here any more: warned */
	CONF_REFUSED	  /* will not come: the start is refused */
};

enum conf_flag {
	CONF_RELOAD = 1 << 0,	 /* a reload brings it */
	CONF_OURS = 1 << 1,	 /* Mosquitto does not know it */
	CONF_OLD = 1 << 2,	 /* deprecated by Mosquitto */
	CONF_TLS = 1 << 3,	 /* an error where no port is opened for it */
	CONF_ONCE = 1 << 4,	 /* given twice is an error */
	CONF_PREFIX = 1 << 5,	 /* name ends in '*' */
	CONF_FILE = 1 << 6,	 /* names a file that must be readable */
	CONF_RESTRICTS = 1 << 7, /* keeps something out: may not be
					 * without effect in silence */
	CONF_QUIET = 1 << 8,	 /* its standing is told by another row */
	CONF_MANY = 1 << 9,	 /* a SET of several words in one line */
	CONF_REPEAT = 1 << 10	 /* a STRING of several lines, '\n' between */
};

struct conf_word {
	const char *name; /* NULL ends the list */
	int value;
	enum conf_standing standing;
	const char *note, *mend; /* where the standing is not WORKS */
};

struct conf_opt {
	const char *name;
	const char *same_as; /* the row this is another name of */
	enum conf_type type;
	enum conf_scope scope;
	enum conf_standing standing;
	unsigned flags;		       /* enum conf_flag */
	const char *def;	       /* as it would be written; NULL: none */
	int64_t min, max;	       /* of numbers */
	const struct conf_word *words; /* of ENUM and SET; ends in NULL */
	size_t off;	  /* into the struct of its scope; CONF_NOWHERE */
	const char *args; /* for the manual; NULL: from type */
	const char *help; /* one line */
	const char *note; /* why, when it cannot be served as written */
	const char *mend; /* and what to do about it */
};
#define CONF_NOWHERE SIZE_MAX

extern const struct conf_opt conf_table[];
extern const size_t conf_table_n;

/* NULL when there is none of that name (CONF_PREFIX rows match by prefix). */
const struct conf_opt *conf_opt_find(struct slice name);
/* The row itself, or the one it is another name of. */
const struct conf_opt *conf_opt_real(const struct conf_opt *o);
/* The nearest name, or NULL when none is near. */
const char *conf_opt_nearest(struct slice name);
const struct conf_word *
conf_word_find(const struct conf_opt *o, struct slice word);
const char *conf_word_nearest(const struct conf_opt *o, struct slice word);
const char *conf_scope_name(enum conf_scope s);
/* "5 to 65535", "true or false", "one of tlsv1.2, tlsv1.3" */
const char *conf_opt_expects(const struct conf_opt *o, char *dst, size_t size);

#endif
