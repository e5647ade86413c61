/* SPDX-License-Identifier: Apache-2.0
 * print - see print.h.
 */
#include "cmd/print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/format.h"

#define WATCH_FIRST 2 /* the broker's name is above */

struct watched {
	unsigned line;
	size_t n;
	uint8_t topic[];
};

static struct slice
watched_key(const void *value)
{
	const struct watched *w = value;

	return slice_of(w->topic, w->n);
}

void
printer_init(struct printer *p, const struct cli *o)
{
	*p = (struct printer){ .o = o, .next_line = WATCH_FIRST };
	map_init(&p->watched, watched_key);
}

void
printer_fini(struct printer *p)
{
	struct watched *w;
	size_t at = 0;

	while ((w = map_next(&p->watched, &at)))
		free(w);
	map_fini(&p->watched);
	buf_fini(&p->line);
}

void
printer_start(struct printer *p)
{
	if (p->o->watch)
		(void)printf("\033[2J\033[1;1HBroker: %s\n",
		    p->o->host ? p->o->host : "localhost");
}

/* The line of a topic, which is its own from the first message on. */
static enum nj_err
watched_line(struct printer *p, struct slice topic, unsigned *line)
{
	struct watched *w = map_get(&p->watched, topic);
	enum nj_err e;

	if (w) {
		*line = w->line;
		return NJ_OK;
	}
	if (p->watched.n == PRINT_WATCHED_MAX) {
		*line = p->next_line;
		return NJ_OK;
	}
	if (!(w = malloc(sizeof *w + topic.n)))
		return NJ_NOMEM;
	*w = (struct watched){ .line = p->next_line, .n = topic.n };
	memcpy(w->topic, topic.p, topic.n);
	if ((e = map_put(&p->watched, w))) {
		free(w);
		return e;
	}
	p->next_line++;
	*line = w->line;
	return NJ_OK;
}

static enum nj_err
go_to_line(struct printer *p, struct slice topic)
{
	unsigned line = 0;
	enum nj_err e;

	if (!p->o->watch)
		return NJ_OK;
	if ((e = watched_line(p, topic, &line)))
		return e;
	return buf_printf(&p->line, "\033[%u;1H", line);
}

/* The cursor rests below all lines. */
static enum nj_err
leave_line(struct printer *p)
{
	return p->o->watch
	    ? buf_printf(&p->line, "\033[%u;1H\n", p->next_line - 1)
	    : NJ_OK;
}

static enum nj_err
put_text(struct printer *p, const struct publish *m)
{
	struct nj_why why = { .what = "" };
	struct timespec now;
	enum nj_err e;

	if (p->o->format) {
		(void)clock_gettime(CLOCK_REALTIME, &now);
		e = format_message(
		    &p->line, p->o->format, m, &now, p->o->pretty, &why);
		if (why.what[0])
			cli_error(p->o, &why);
		return e == NJ_MALFORMED ? NJ_OK : e;
	}
	if (p->o->verbose &&
	    ((e = buf_put_slice(&p->line, m->topic)) ||
		(e = buf_put_u8(&p->line, ' '))))
		return e;
	return m->payload.n > 0 ? buf_put_slice(&p->line, m->payload)
				: buf_put(&p->line, "(null)", 6);
}

static enum nj_err
make_line(struct printer *p, const struct publish *m)
{
	enum nj_err e;

	if ((e = go_to_line(p, m->topic)))
		return e;
	/* Of an empty message mosquitto_sub prints only this. */
	if (m->payload.n > 0 || p->o->format ||
	    (p->o->verbose && !p->o->no_eol)) {
		if ((e = put_text(p, m)) ||
		    (!p->o->no_eol && (e = buf_put_u8(&p->line, '\n'))))
			return e;
	}
	return leave_line(p);
}

bool
printer_message(struct printer *p, const struct publish *m)
{
	enum nj_err e = make_line(p, m);
	struct slice out = buf_slice(&p->line);
	bool good = true;

	if (e)
		cli_warn(p->o, "Error: a message cannot be printed: %s.",
		    nj_strerror(e));
	else if (out.p && out.n > 0)
		good = fwrite(out.p, 1, out.n, stdout) == out.n;
	buf_truncate(&p->line, 0);
	return good;
}
