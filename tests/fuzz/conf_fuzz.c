/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a configuration: it is read to its end, every finding can be
 * printed, and what loads never opens a port that the file did not ask for.
 * Bytes after the first 0x1f are the file that include_dir finds.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum nj_err
read_part(void *arg, const char *path, struct buf *out, struct nj_why *why)
{
	const struct slice *part = arg;
	uint8_t *at;
	enum nj_err e;

	(void)path;
	(void)why;
	if (part->n == 0)
		return NJ_OK;
	if ((e = buf_reserve(out, part->n, &at)))
		return e;
	memcpy(at, part->p, part->n);
	buf_commit(out, part->n);
	return NJ_OK;
}

static enum nj_err
list_part(
    void *arg, const char *path, struct conf_list *out, struct nj_why *why)
{
	(void)arg;
	(void)path;
	(void)why;
	return conf_list_add(out, "part.conf");
}

static const char *
no_env(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return NULL;
}

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static void
check_listener(
    const struct conf *c, const struct conf_listener *l, struct slice text)
{
	must(l->auto_id_prefix != NULL);
	must(l->port != 0 || l->unix_path);
	must(l->max_qos <= 2);
	if (c->local_only) {
		must(strcmp(l->host, "127.0.0.1") == 0 ||
		    strcmp(l->host, "::1") == 0);
		must(!l->certfile && !l->keyfile && !l->cafile);
		return;
	}
	must(!l->certfile == !l->keyfile);
	must(l->tls == (l->certfile != NULL));
	must(!l->require_certificate || (l->tls && (l->cafile || l->capath)));
	must(!l->cafile || l->tls);
	must(!l->acl_file && l->protocol == CONF_MQTT);
	must(!l->allow_anonymous || memmem(text.p, text.n, "anonymous", 9));
}

static void
no_difference(void *arg, const struct conf_opt *o,
    const struct conf_listener *l, bool restart)
{
	(void)arg;
	(void)o;
	(void)l;
	(void)restart;
	abort();
}

static void
check_report(const struct conf_report *r)
{
	char line[512];

	for (uint32_t i = 0; i < r->n; i++) {
		const struct conf_finding *f = &r->v[i];

		conf_finding_text(f, line, sizeof line);
		must(!strchr(line, '\n') && !strchr(line, '\x1b'));
		must(!f->line || f->col > 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size), part = SLICE_NONE;
	const uint8_t *cut = size ? memchr(data, 0x1f, size) : NULL;
	struct slice first = text;
	struct conf_source src = { read_part, list_part, no_env, &part };
	struct conf_report report = { 0 };
	struct conf c;
	enum nj_err e;

	if (cut) {
		first.n = (size_t)(cut - data);
		part = slice_of(cut + 1, size - first.n - 1);
	}
	e = conf_parse("fuzz.conf", first, &src, NULL, &c, &report);
	must((e == NJ_OK) == (report.faults == 0));
	check_report(&report);
	if (e == NJ_OK) {
		must(c.nlisteners > 0);
		for (uint32_t i = 0; i < c.nlisteners; i++)
			check_listener(&c, &c.listeners[i], text);
		conf_diff(&c, &c, no_difference, NULL);
	}
	conf_report_free(&report);
	conf_free(&c);
	return 0;
}
