/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "conf/parse.h"

static enum nj_err
read_file(void *arg, const char *path, struct buf *out, struct nj_why *why)
{
	(void)arg;
	return file_read(path, CONF_FILE_MAX, out, why);
}

static enum nj_err
list_folder(
    void *arg, const char *path, struct conf_list *out, struct nj_why *why)
{
	DIR *dir = opendir(path);
	const struct dirent *de;
	enum nj_err e = NJ_OK;

	(void)arg;
	if (!dir) {
		why_set(why, "cannot read the folder %s: %s", path,
		    strerror(errno));
		why_mend(why, "create it, or delete this line");
		return NJ_IO;
	}
	while (!e && (de = readdir(dir)))
		if (de->d_name[0] != '.')
			e = conf_list_add(out, de->d_name);
	(void)closedir(dir);
	if (e)
		why_set(
		    why, "cannot read the folder %s: %s", path, nj_strerror(e));
	return e;
}

static const char *
environment(void *arg, const char *name)
{
	(void)arg;
	return getenv(name);
}

const struct conf_source conf_files = { read_file, list_folder, environment,
	NULL };

static enum nj_err
finish(struct parse *p, const struct conf_args *args)
{
	if (!p->failed)
		conf_finish(p, args);
	if (p->failed) {
		conf_free(p->c);
		return p->failed;
	}
	return p->report->faults ? NJ_INVALID : NJ_OK;
}

enum nj_err
conf_parse(const char *name, struct slice text, const struct conf_source *src,
    const struct conf_args *args, struct conf *out, struct conf_report *report)
{
	struct parse p = {
		.c = out, .report = report, .src = src, .listener = CONF_BASE
	};

	p.failed = conf_defaults(out);
	if (!p.failed)
		parse_text(&p, name, text);
	return finish(&p, args);
}

enum nj_err
conf_load(const char *path, const struct conf_args *args, struct conf *out,
    struct conf_report *report)
{
	struct parse p = { .c = out,
		.report = report,
		.src = &conf_files,
		.listener = CONF_BASE };
	struct buf text = { 0 };
	struct nj_why why = { 0 };
	enum nj_err e;

	p.failed = conf_defaults(out);
	if (path && !p.failed) {
		if ((e = file_read(path, CONF_FILE_MAX, &text, &why)) ==
		    NJ_NOMEM)
			p.failed = e;
		else if (e)
			conf_report_add(report, true, (struct conf_place){ 0 },
			    SLICE_NONE, NULL, &why);
		else
			parse_text(&p, path, buf_slice(&text));
	}
	buf_fini(&text);
	return finish(&p, args);
}
