/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/json_read.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Of the text that this thread is reading. */
static _Thread_local bool short_of_memory;

/* A string whose end was lost is read up to the next quotation mark: here is
 * one, behind each piece of memory. */
static void *
take(size_t n)
{
	char *p = n < SIZE_MAX ? malloc(n + 1) : NULL;

	if (p)
		p[n] = '"';
	else
		short_of_memory = true;
	return p;
}

/* There may have been a password in it. */
static void
give(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

void
json_read_setup(void)
{
	json_set_alloc_funcs(take, give);
}

json_t *
json_read(struct slice text, size_t flags, json_error_t *fault)
{
	json_t *o;

	short_of_memory = false;
	o = json_loadb((const char *)text.p, text.n, flags, fault);
	if (o && short_of_memory) {
		json_decref(o);
		o = NULL;
		if (fault) {
			*fault = (json_error_t){ .line = 1 };
			(void)memcpy(fault->text, "out of memory",
			    sizeof "out of memory");
		}
	}
	return o;
}
