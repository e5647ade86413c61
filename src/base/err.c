/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const phrases[NJ_ERR_MAX] = {
	[NJ_OK] = "no error",
	[NJ_AGAIN] = "more is needed first",
	[NJ_NOMEM] = "out of memory",
	[NJ_TRUNCATED] = "ends too early",
	[NJ_MALFORMED] = "malformed",
	[NJ_PROTOCOL] = "protocol error",
	[NJ_TOOBIG] = "too large",
	[NJ_FULL] = "limit reached",
	[NJ_NOTFOUND] = "not found",
	[NJ_EXISTS] = "exists already",
	[NJ_DENIED] = "not allowed",
	[NJ_INVALID] = "invalid value",
	[NJ_UNSUPPORTED] = "not supported",
	[NJ_IO] = "input/output error",
	[NJ_EOF] = "closed by the peer",
	[NJ_TLS] = "TLS failure",
	[NJ_TIMEOUT] = "timed out",
	[NJ_CRYPTO] = "cryptographic failure",
	[NJ_BUSY] = "busy",
};

const char *
nj_strerror(enum nj_err e)
{
	if ((unsigned)e >= NJ_ERR_MAX || !phrases[e])
		return "unknown error";
	return phrases[e];
}

void
why_set(struct nj_why *w, const char *fmt, ...)
{
	va_list ap;

	if (!w)
		return;
	w->mend[0] = '\0';
	w->by_peer = false;
	va_start(ap, fmt);
	(void)vsnprintf(w->what, sizeof w->what, fmt, ap);
	va_end(ap);
}

void
why_mend(struct nj_why *w, const char *fmt, ...)
{
	va_list ap;

	if (!w)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(w->mend, sizeof w->mend, fmt, ap);
	va_end(ap);
}

void
why_prefix(struct nj_why *w, const char *fmt, ...)
{
	char pre[sizeof w->what / 2]; /* the old text keeps the other half */
	size_t n, old;
	va_list ap;

	if (!w)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(pre, sizeof pre - 2, fmt, ap);
	va_end(ap);
	old = strnlen(w->what, sizeof w->what - 1);
	if (old > 0)
		memcpy(pre + strlen(pre), ": ", 3);
	n = strlen(pre);
	if (old > sizeof w->what - 1 - n)
		old = sizeof w->what - 1 - n;
	memmove(w->what + n, w->what, old);
	memcpy(w->what, pre, n);
	w->what[n + old] = '\0';
}
