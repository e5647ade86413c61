/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void
finding_fini(struct conf_finding *f)
{
	free(f->file);
	free(f->word);
	free(f->what);
	free(f->nearest);
	free(f->mend);
}

void
conf_report_free(struct conf_report *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		finding_fini(&r->v[i]);
	free(r->v);
	*r = (struct conf_report){ 0 };
}

/* A copy, or NULL for NULL; *failed when memory ran out. */
static char *
copy(const char *s, bool *failed)
{
	char *c = NULL;

	if (s && !(c = strdup(s)))
		*failed = true;
	return c;
}

static bool
make_room(struct conf_report *r)
{
	uint32_t cap = r->cap ? r->cap * 2 : 16;
	struct conf_finding *v;

	if (r->n >= CONF_REPORT_MAX)
		return false;
	if (r->n < r->cap)
		return true;
	if (!(v = reallocarray(r->v, cap, sizeof *v)))
		return false;
	r->v = v;
	r->cap = cap;
	return true;
}

void
conf_report_add(struct conf_report *r, bool fault, struct conf_place at,
    struct slice word, const char *nearest, const struct nj_why *why)
{
	char esc[TEXT_ESC];
	bool failed = false;
	struct conf_finding f = {
		.fault = fault, .line = at.line, .col = at.col
	};

	if (fault)
		r->faults++;
	else
		r->warnings++;
	if (!make_room(r))
		return;
	if (word.p)
		f.word = copy(text_esc(esc, sizeof esc, word), &failed);
	f.file = copy(at.file, &failed);
	f.what = copy(why->what, &failed);
	f.nearest = copy(nearest, &failed);
	f.mend = copy(why->mend[0] ? why->mend : NULL, &failed);
	if (failed) {
		finding_fini(&f);
		return;
	}
	r->v[r->n++] = f;
}

const char *
conf_finding_text(const struct conf_finding *f, char *dst, size_t size)
{
	char place[256] = "", line[32] = "";

	if (f->line)
		(void)snprintf(line, sizeof line, ":%u:%u", f->line, f->col);
	if (f->file) {
		char esc[200];

		(void)snprintf(place, sizeof place,
		    "%s%s: ", text_esc(esc, sizeof esc, slice_str(f->file)),
		    line);
	}
	(void)snprintf(dst, size, "%s%s: %s%s%s%s%s%s", place,
	    f->fault ? "error" : "warning", f->what,
	    f->nearest ? "; did you mean '" : "", f->nearest ? f->nearest : "",
	    f->nearest ? "'?" : "",
	    !f->mend	     ? ""
		: f->nearest ? " Mend: "
			     : ". Mend: ",
	    f->mend ? f->mend : "");
	return dst;
}
