/* SPDX-License-Identifier: Apache-2.0
 */
#include "peer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void
peer_close(struct peer *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
	p->eof = false;
	p->stalled = false;
	buf_fini(&p->in);
	buf_fini(&p->packet);
	memset(p->alias, 0, sizeof p->alias);
}

/* So many bytes of each packet one by one, the rest at once. */
#define DRIBBLE_MAX 1000

/* A broker that reads slowly gets some turns; one that has closed gets
 * nothing more. */
bool
peer_send(struct peer *p, struct world *w, struct slice s)
{
	size_t drops = p->dribble ? DRIBBLE_MAX : 0;

	for (unsigned tries = 0; s.n > 0 && tries < 1000;) {
		ssize_t n = send(p->fd, s.p, drops ? 1 : s.n, MSG_NOSIGNAL);

		if (n > 0) {
			s.p += n;
			s.n -= (size_t)n;
			if (drops) {
				world_turn(w);
				drops--;
			}
			tries = 0;
		} else if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
			return true;
		} else {
			world_turn(w);
			(void)peer_read(p);
			tries++;
		}
	}
	return s.n == 0;
}

size_t
peer_read(struct peer *p)
{
	uint8_t chunk[16384];
	size_t all = 0;
	ssize_t n;

	if (p->fd < 0 || p->stalled || p->eof)
		return 0;
	while ((n = recv(p->fd, chunk, sizeof chunk, 0)) > 0) {
		if (buf_put(&p->in, chunk, (size_t)n))
			break;
		all += (size_t)n;
	}
	/* unread bytes at the broker's side make a reset of its close */
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		p->eof = true;
	return all;
}

static bool
keep(struct peer *p, const struct frame *f, struct frame *out)
{
	buf_fini(&p->packet);
	if (buf_put_slice(&p->packet, f->body))
		return false;
	*out = *f;
	out->body = buf_slice(&p->packet);
	return true;
}

bool
peer_take(struct peer *p, unsigned type, struct frame *out)
{
	struct slice in = buf_slice(&p->in);
	struct frame f;

	while (in.n > 0) {
		uint8_t *at = p->in.p + p->in.off + (buf_len(&p->in) - in.n);

		if (frame_take(&in, 0, &f))
			return false;
		if (type && f.type != type)
			continue;
		if (!keep(p, &f, out))
			return false;
		memmove(at, at + f.size, in.n);
		buf_truncate(&p->in, buf_len(&p->in) - f.size);
		return true;
	}
	return false;
}

uint16_t
peer_next_id(struct peer *p)
{
	if (++p->last_id == 0)
		p->last_id = 1;
	return p->last_id;
}
