/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>

static enum nj_err
read_memory(void *arg, const char *path, struct buf *out, struct nj_why *why)
{
	const struct memory *m = arg;
	uint8_t *at;

	for (const struct memory_file *f = m->files; f && f->path; f++) {
		size_t n = strlen(f->text);
		enum nj_err e;

		if (strcmp(f->path, path) != 0)
			continue;
		if (n == 0)
			return NJ_OK;
		if ((e = buf_reserve(out, n, &at)))
			return e;
		memcpy(at, f->text, n);
		buf_commit(out, n);
		return NJ_OK;
	}
	why_set(why, "cannot open %s", path);
	return NJ_NOTFOUND;
}

static enum nj_err
list_memory(
    void *arg, const char *path, struct conf_list *out, struct nj_why *why)
{
	const struct memory *m = arg;
	size_t n = strlen(path);
	bool found = false;
	enum nj_err e = NJ_OK;

	for (const struct memory_file *f = m->files; f && f->path && !e; f++) {
		if (strncmp(f->path, path, n) != 0 || f->path[n] != '/')
			continue;
		found = true;
		e = conf_list_add(out, f->path + n + 1);
	}
	if (!found)
		why_set(why, "cannot read the folder %s", path);
	return found ? e : NJ_IO;
}

static const char *
env_memory(void *arg, const char *name)
{
	const struct memory *m = arg;

	for (const struct memory_file *v = m->env; v && v->path; v++)
		if (strcmp(v->path, name) == 0)
			return v->text;
	return NULL;
}

struct conf_source
memory_source(const struct memory *m)
{
	union {
		const struct memory *c;
		void *v;
	} arg = { .c = m }; /* never written through */

	return (
	    struct conf_source){ read_memory, list_memory, env_memory, arg.v };
}

enum nj_err
memory_parse(const char *text, const struct conf_args *args, struct conf *out,
    struct conf_report *report)
{
	static const struct memory none = { NULL, NULL };
	struct conf_source src = memory_source(&none);

	return conf_parse("t.conf", slice_str(text), &src, args, out, report);
}

const char *
memory_finding(const struct conf_finding *f, char *dst, size_t size)
{
	(void)snprintf(dst, size, "%u:%u %c '%s' %s", f->line, f->col,
	    f->fault ? 'e' : 'w', f->word ? f->word : "-",
	    f->nearest ? f->nearest : "-");
	return dst;
}

void
memory_tell(const struct conf_report *r)
{
	char line[2048];

	for (uint32_t i = 0; i < r->n; i++)
		print_message(
		    "    %s\n", conf_finding_text(&r->v[i], line, sizeof line));
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

int
memory_remove(const char *dir)
{
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
