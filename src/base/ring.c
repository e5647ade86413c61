/* SPDX-License-Identifier: Apache-2.0
 */
#include "base/ring.h"

#include <stdlib.h>
#include <string.h>

#define RING_MIN 64u

void *
ring_double(void *v, size_t size, uint32_t head, uint32_t n, uint32_t *cap)
{
	uint32_t to = *cap ? *cap * 2 : RING_MIN;
	size_t first = *cap - head < n ? *cap - head : n;
	uint8_t *bytes = calloc(to, size);

	if (!bytes)
		return NULL;
	if (n > 0) {
		memcpy(bytes, (uint8_t *)v + head * size, first * size);
		memcpy(bytes + first * size, v, (n - first) * size);
	}
	free(v);
	*cap = to;
	return bytes;
}
