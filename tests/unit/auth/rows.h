/* SPDX-License-Identifier: Apache-2.0
 * rows - what the table tests of this folder share.
 */
#ifndef NJ_TESTS_AUTH_ROWS_H
#define NJ_TESTS_AUTH_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/slice.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static inline void
check_int(const char *why, long got, long want)
{
	if (got == want)
		return;
	print_error("%s: got %ld, wanted %ld\n", why, got, want);
	fail();
}

static inline void
check_has(const char *text, const char *part)
{
	if (strstr(text, part))
		return;
	print_error("\"%s\" does not say \"%s\"\n", text, part);
	fail();
}

#endif
