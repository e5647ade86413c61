/* SPDX-License-Identifier: Apache-2.0
 * text - strings for people: escaping what a peer sent, the nearest name.
 *
 * Threads: any; writes only to the caller's array.
 */
#ifndef NJ_BASE_TEXT_H
#define NJ_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Room that text_esc of one name needs in a log line. */
#define TEXT_ESC 160

/*
 * Prints bytes so that a log line stays one line and a terminal is safe:
 * controls, DEL, backslash and bytes that are not UTF-8 as \xHH; cut with
 * "..." when dst is too small.  Returns dst, always terminated.
 */
const char *text_esc(char *dst, size_t size, struct slice s);

/* A name that a peer sent, as a word of a command that is told to be typed: as it
 * is where no shell makes something else of it, else otherwise. */
const char *
text_word(char *dst, size_t size, struct slice s, const char *otherwise);

/* Lower is nearer: edits (insert, delete, replace, swap) from a to b. */
unsigned text_distance(const char *a, const char *b);

/* Of a file of "key value" lines: the value, or as a number; false without one,
 * or when it is too long or none. */
bool text_value(struct slice text, const char *key, char *dst, size_t size);
bool text_number(struct slice text, const char *key, int64_t *out);

/* strtol-like, whole string, within bounds; false leaves *out alone. */
bool text_to_long(const char *s, long min, long max, long *out);

#endif
