/* SPDX-License-Identifier: Apache-2.0
 * payload - messages whose payload says which one they are, and shows when a
 *           byte of it was changed.
 */
#include "sim.h"

#define HEAD 8

const char *const topics[TOPICS] = { "t", "t/0", "t/1", "t/0/a", "t/1/a", "u",
	"u/0/a/b", "/t", "r/0", "r/1", "r/0/x", "s/job", "w/0", "w/1" };

static void
head(uint8_t dst[HEAD], uint32_t uid, uint32_t len)
{
	for (unsigned i = 0; i < 4; i++) {
		dst[i] = (uint8_t)(uid >> 8 * i);
		dst[4 + i] = (uint8_t)(len >> 8 * i);
	}
}

enum nj_err
payload_put(struct buf *b, uint32_t uid, uint32_t len)
{
	uint8_t h[HEAD];
	enum nj_err e;

	head(h, uid, len);
	if ((e = buf_put(b, h, HEAD)))
		return e;
	for (uint32_t i = 0; i < len && !e; i++)
		e = buf_put_u8(b, (uint8_t)(uid * 7 + i));
	return e;
}

uint32_t
payload_uid(struct slice p)
{
	uint32_t uid = 0, len = 0;
	uint8_t h[HEAD];

	if (p.n < HEAD)
		return 0;
	for (unsigned i = 0; i < 4; i++) {
		uid |= (uint32_t)p.p[i] << 8 * i;
		len |= (uint32_t)p.p[4 + i] << 8 * i;
	}
	head(h, uid, len);
	if (p.n != HEAD + (size_t)len)
		return 0;
	for (uint32_t i = 0; i < len; i++)
		if (p.p[HEAD + i] != (uint8_t)(uid * 7 + i))
			return 0;
	return uid;
}
