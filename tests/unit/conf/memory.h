/* SPDX-License-Identifier: Apache-2.0
 * memory - a configuration's files and environment as a test gives them.
 *
 * Threads: plain values.
 */
#ifndef NJ_TEST_CONF_MEMORY_H
#define NJ_TEST_CONF_MEMORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/conf.h"

struct memory_file {
	const char *path, *text; /* path NULL ends the list */
};

struct memory {
	const struct memory_file *files;
	const struct memory_file *env; /* name and value */
};

struct conf_source memory_source(const struct memory *m);
/* Reads text as "t.conf", without other files. */
enum nj_err memory_parse(const char *text, const struct conf_args *args,
    struct conf *out, struct conf_report *report);
/* One finding as "line:col e|w 'word' nearest", "-" where there is none. */
const char *
memory_finding(const struct conf_finding *f, char *dst, size_t size);
/* All of them, one a line; for messages of failing tests. */
void memory_tell(const struct conf_report *r);

/* A folder of the test and all in it; 0 when it is gone. */
int memory_remove(const char *dir);

#define ROWS(a) (sizeof(a) / sizeof *(a))

#endif
