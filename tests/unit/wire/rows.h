/* SPDX-License-Identifier: Apache-2.0
 * rows - what the table tests of this folder share.
 */
#ifndef NJ_TESTS_WIRE_ROWS_H
#define NJ_TESTS_WIRE_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/slice.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

/* A bytes literal as a table field. */
#define B(s)                                        \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static inline void
check_err(const char *why, enum nj_err got, enum nj_err want)
{
	if (got == want)
		return;
	print_error("%s: got \"%s\", wanted \"%s\"\n", why, nj_strerror(got),
	    nj_strerror(want));
	fail();
}

static inline void
check_true(const char *why, bool ok)
{
	if (ok)
		return;
	print_error("%s: does not hold\n", why);
	fail();
}

static inline void
check_slice(const char *why, struct slice got, struct slice want)
{
	if (slice_eq(got, want))
		return;
	print_error("%s: %zu bytes, wanted %zu:", why, got.n, want.n);
	for (size_t i = 0; i < got.n; i++)
		print_error(" %02x", got.p[i]);
	print_error("\n");
	fail();
}

/* The same bytes in an allocation of just their size, so that AddressSanitizer
 * sees every read past the end.  Freed with free(). */
static inline struct slice
tight(struct slice s)
{
	uint8_t *p = malloc(s.n > 0 ? s.n : 1);

	assert_non_null(p);
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return slice_of(p, s.n);
}

static inline void
tight_free(struct slice s)
{
	free((void *)(uintptr_t)s.p);
}

#endif
