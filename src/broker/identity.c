/* SPDX-License-Identifier: Apache-2.0
 *
 * A version, flags, the token's end, and the parts below, each with its length
 * in four bytes: a token's topics may be long.
 */
#include "broker/identity.h"

#define IDENTITY_VERSION 1

enum { BRIDGE = 1, CERTIFIED = 2, HAS_TOPICS = 4 };
enum { PARTS = 7 };

static enum nj_err
write_parts(struct buf *b, const struct principal *who)
{
	const struct slice v[PARTS] = {
		who->claimed,
		who->address,
		who->listener,
		who->subject,
		who->device,
		who->groups,
		who->topics,
	};
	enum nj_err e = NJ_OK;

	for (unsigned i = 0; i < PARTS && !e; i++)
		if (!(e = buf_put_u32(b, (uint32_t)v[i].n)))
			e = buf_put_slice(b, v[i]);
	return e;
}

enum nj_err
identity_write(struct buf *b, const struct principal *who)
{
	uint64_t expires = (uint64_t)who->expires;
	uint8_t flags = 0;
	enum nj_err e;

	if (who->bridge)
		flags |= BRIDGE;
	if (who->certified)
		flags |= CERTIFIED;
	if (who->has_topics)
		flags |= HAS_TOPICS;
	if ((e = buf_put_u8(b, IDENTITY_VERSION)) ||
	    (e = buf_put_u8(b, flags)) ||
	    (e = buf_put_u32(b, (uint32_t)(expires >> 32))) ||
	    (e = buf_put_u32(b, (uint32_t)expires)))
		return e;
	return write_parts(b, who);
}

enum nj_err
identity_read(struct slice s, struct principal *who)
{
	struct slice v[PARTS];
	uint32_t high, low, n;
	uint8_t version, flags;

	if (take_u8(&s, &version) || version != IDENTITY_VERSION ||
	    take_u8(&s, &flags) || take_u32(&s, &high) || take_u32(&s, &low))
		return NJ_MALFORMED;
	for (unsigned i = 0; i < PARTS; i++)
		if (take_u32(&s, &n) || take_bytes(&s, n, &v[i]))
			return NJ_MALFORMED;
	who->bridge = (flags & BRIDGE) != 0;
	who->certified = (flags & CERTIFIED) != 0;
	who->has_topics = (flags & HAS_TOPICS) != 0;
	who->expires = (int64_t)((uint64_t)high << 32 | low);
	who->claimed = v[0];
	who->address = v[1];
	who->listener = v[2];
	who->subject = v[3];
	who->device = v[4];
	who->groups = v[5];
	who->topics = v[6];
	return NJ_OK;
}
