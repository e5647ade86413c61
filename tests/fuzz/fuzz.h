/* SPDX-License-Identifier: Apache-2.0
 * fuzz - what the fuzz targets share.
 *
 * A target is LLVMFuzzerTestOneInput; it runs under libFuzzer, or with
 * replay_main.c over the files of its corpus.  What must hold is checked with
 * HOLDS, which stays on in every build.
 */
#ifndef NJ_TESTS_FUZZ_FUZZ_H
#define NJ_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(what)                                                            \
	do {                                                                   \
		if (!(what)) {                                                 \
			(void)fprintf(                                         \
			    stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			abort();                                               \
		}                                                              \
	} while (0)

#endif
