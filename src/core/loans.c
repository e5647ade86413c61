/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/loans.h"

#include <assert.h>
#include <stdlib.h>

#define LOANS_FIRST 8u

static const struct loan *
loan_at(const struct loans *ls, uint32_t i)
{
	return &ls->v[(ls->head + i) & (ls->cap - 1)];
}

enum nj_err
loans_reserve(struct loans **ls)
{
	struct loans *was = *ls, *to;
	uint32_t cap = was ? was->cap * 2 : LOANS_FIRST;

	if (was && was->n < was->cap)
		return NJ_OK;
	if (!(to = malloc(sizeof *to + cap * sizeof to->v[0])))
		return NJ_NOMEM;
	*to = was ? *was : (struct loans){ 0 };
	for (uint32_t i = 0; was && i < was->n; i++)
		to->v[i] = *loan_at(was, i);
	to->head = 0;
	to->cap = cap;
	free(was);
	*ls = to;
	return NJ_OK;
}

void
loans_add(struct loans *ls, const struct buf *out, struct msg *m)
{
	assert(ls->n < ls->cap);
	ls->v[(ls->head + ls->n++) & (ls->cap - 1)] =
	    (struct loan){ ls->gone + buf_len(out), msg_ref(m) };
	ls->bytes += m->payload_len;
}

static int
piece(struct iovec *v, int n, const uint8_t *p, size_t len)
{
	if (len == 0)
		return n;
	v[n].iov_base = (void *)(uintptr_t)p;
	v[n].iov_len = len;
	return n + 1;
}

int
loans_pieces(
    const struct loans *ls, const struct buf *out, struct iovec *v, int max)
{
	struct slice rest = buf_slice(out);
	size_t at = 0; /* of rest */
	uint32_t i = 0;
	int n = 0;

	for (; i < ls->n && n + 2 < max; i++) {
		const struct loan *l = loan_at(ls, i);
		size_t upto = (size_t)(l->at - ls->gone);
		uint32_t skip = i == 0 ? ls->part : 0;
		struct slice p = msg_payload(l->msg);

		n = piece(v, n, rest.p + at, upto - at);
		n = piece(v, n, p.p + skip, p.n - skip);
		at = upto;
	}
	return i < ls->n ? n : piece(v, n, rest.p + at, rest.n - at);
}

void
loans_sent(struct loans **lsp, struct buf *out, size_t n)
{
	struct loans *ls = *lsp;

	while (n > 0) {
		struct msg *m = ls->n > 0 ? loan_at(ls, 0)->msg : NULL;
		size_t head =
		    m ? (size_t)(loan_at(ls, 0)->at - ls->gone) : buf_len(out);
		size_t k = head < n ? head : n;

		buf_drain(out, k);
		ls->gone += k;
		n -= k;
		if (!m || n == 0) {
			assert(m || n == 0);
			break;
		}
		k = m->payload_len - ls->part;
		k = k < n ? k : n;
		ls->part += (uint32_t)k;
		ls->bytes -= k;
		n -= k;
		if (ls->part < m->payload_len)
			break;
		ls->part = 0;
		ls->head = (ls->head + 1) & (ls->cap - 1);
		ls->n--;
		msg_unref(m);
	}
	if (ls->n == 0) {
		free(ls);
		*lsp = NULL;
	}
}

void
loans_free(struct loans *ls)
{
	for (uint32_t i = 0; ls && i < ls->n; i++)
		msg_unref(loan_at(ls, i)->msg);
	free(ls);
}
