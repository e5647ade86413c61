/* SPDX-License-Identifier: Apache-2.0
 * lex - a configuration's text as lines of a name and what follows it.
 *
 * Owns:    nothing; slices borrow from the text.
 * Threads: plain values.
 * Note:    what Mosquitto reads comes out the same; a tab between words, a
 *          byte order mark and an indented '#' are taken too.
 */
#ifndef NJ_CONF_LEX_H
#define NJ_CONF_LEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct conf_lex {
	struct slice left;
	uint32_t line; /* of the last one given out */
};

struct conf_line {
	uint32_t line, name_col, value_col; /* from 1 */
	struct slice name;
	struct slice value; /* trimmed; may be empty */
};

/* False for text that is no text of ours at all (UTF-16). */
bool conf_lex_init(struct conf_lex *lex, struct slice text);
/* The next line that says something; false at the end. */
bool conf_lex_next(struct conf_lex *lex, struct conf_line *out);
/* The first word of *value, which it is taken from; *col moves along.  False
 * when there is none. */
bool conf_lex_word(
    struct slice *value, uint32_t *col, struct slice *word, uint32_t *word_col);

#endif
