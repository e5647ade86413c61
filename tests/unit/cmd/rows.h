/* SPDX-License-Identifier: Apache-2.0
 * rows - what the tests of this folder share.
 */
#ifndef NJ_TESTS_CMD_ROWS_H
#define NJ_TESTS_CMD_ROWS_H

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
expect(const char *why, const struct buf *got, struct slice want)
{
	struct slice s = buf_slice(got);

	if (slice_eq(s, want))
		return;
	print_error("%s:\n got    %.*s\n wanted %.*s\n", why, (int)s.n,
	    (const char *)s.p, (int)want.n, (const char *)want.p);
	fail();
}

#endif
