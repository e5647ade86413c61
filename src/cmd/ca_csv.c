/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ca_csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/text.h"
#include "pki/cert.h"
#include "pki/fleet.h"

#define COLUMNS_MAX 16
#define WORDS_MAX   64

enum column { COL_ID, COL_GROUPS, COL_IP, COL_DAYS, COL_N };

struct header {
	int at[COL_N]; /* the field of each column; -1: none */
};

static struct slice
key_of(const void *value)
{
	const struct batch_item *i = value;

	return slice_str(i->id);
}

void
ca_csv_fini(struct ca_csv *c)
{
	map_fini(&c->ids);
	for (size_t i = 0; i < c->n; i++) {
		free((void *)(uintptr_t)c->items[i].names);
		if (c->items[i].groups != c->groups)
			free((void *)(uintptr_t)c->items[i].groups);
	}
	free(c->items);
	buf_fini(&c->text);
	*c = (struct ca_csv){ 0 };
}

/* Cuts the line into fields, in place; quotes are taken off.  -1: quotes that
 * do not end, or too many fields. */
static int
split(char *line, char *v[COLUMNS_MAX])
{
	int n = 0;

	for (char *p = line; n < COLUMNS_MAX;) {
		char *to, end;

		p += strspn(p, " \t");
		v[n++] = to = p;
		if (*p == '"') {
			for (p++; *p && (*p != '"' || p[1] == '"'); p++) {
				p += *p == '"';
				*to++ = *p;
			}
			if (!*p)
				return -1;
			p++;
			p += strspn(p, " \t");
			if (*p && *p != ',')
				return -1;
		} else {
			p += strcspn(p, ",");
			to = p;
			while (to > v[n - 1] && strchr(" \t", to[-1]))
				to--;
		}
		end = *p;
		*to = '\0';
		if (!end)
			return n;
		p++;
	}
	return -1;
}

static bool
is_header(char **v, int n, struct header *h)
{
	static const struct {
		const char *name;
		enum column col;
	} names[] = { { "id", COL_ID }, { "groups", COL_GROUPS },
		{ "group", COL_GROUPS }, { "ip", COL_IP },
		{ "days", COL_DAYS } };
	bool any = false;

	for (int i = 0; i < n; i++)
		any = any || strcasecmp(v[i], "id") == 0;
	if (!any)
		return false;
	for (int c = 0; c < COL_N; c++)
		h->at[c] = -1;
	for (int i = 0; i < n; i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++)
			if (strcasecmp(v[i], names[k].name) == 0)
				h->at[names[k].col] = i;
	return true;
}

static const char *
field(const struct header *h, char **v, int n, enum column c)
{
	return h->at[c] >= 0 && h->at[c] < n ? v[h->at[c]] : "";
}

/* "a b;c" as words, in place. */
static size_t
words_of(char *text, const char *v[WORDS_MAX])
{
	char *rest = NULL, *word;
	size_t n = 0;

	for (word = strtok_r(text, " ;\t,", &rest); word && n < WORDS_MAX;
	     word = strtok_r(NULL, " ;\t,", &rest))
		v[n++] = word;
	return n;
}

static enum nj_err
take_groups(struct batch_item *item, const char *text, struct nj_why *why)
{
	char joined[REGISTRY_GROUPS_MAX + 1];
	const char *v[WORDS_MAX];
	char *copy = strdup(text);
	enum nj_err e = NJ_NOMEM;
	size_t n;

	if (!copy)
		return NJ_NOMEM;
	n = words_of(copy, v);
	if (n > 0 && !(e = fleet_groups(v, n, joined, why)) &&
	    !(item->groups = strdup(joined)))
		e = NJ_NOMEM;
	free(copy);
	return n > 0 ? e : NJ_OK;
}

static enum nj_err
take_ips(struct batch_item *item, const char *text, struct nj_why *why)
{
	struct pki_names *names;
	const char *v[WORDS_MAX];
	char *copy;
	enum nj_err e = NJ_OK;
	size_t n;

	if (!text[0])
		return NJ_OK;
	names = calloc(1, sizeof(*names));
	copy = strdup(text);
	if (!names || !copy) {
		free(names);
		free(copy);
		return NJ_NOMEM;
	}
	item->names = names;
	n = words_of(copy, v);
	for (size_t i = 0; i < n && !e; i++)
		if (!(e = pki_names_add(names, v[i], why)) &&
		    !names->v[names->n - 1].ip) {
			why_set(why, "'%s' is not an address",
			    names->v[names->n - 1].text);
			why_mend(why,
			    "the column ip takes ones like 192.168.1.20 or "
			    "fd00::7");
			e = NJ_INVALID;
		}
	free(copy);
	return e;
}

static enum nj_err
take_days(struct batch_item *item, const char *text, struct nj_why *why)
{
	long days = 0;

	if (!text[0])
		return NJ_OK;
	if (!text_to_long(text, 1, PKI_DAYS_MAX, &days)) {
		char safe[TEXT_ESC];

		text_esc(safe, sizeof(safe), slice_str(text));
		why_set(why, "'%s' is no number of days from 1 to %d", safe,
		    PKI_DAYS_MAX);
		return NJ_INVALID;
	}
	item->days = (unsigned)days;
	return NJ_OK;
}

static enum nj_err
grow(struct ca_csv *c)
{
	size_t cap = c->cap ? 2 * c->cap : 256;
	struct batch_item *v;

	if (c->n < c->cap)
		return NJ_OK;
	if (!(v = realloc(c->items, cap * sizeof(*v))))
		return NJ_NOMEM;
	c->items = v;
	c->cap = cap;
	return NJ_OK;
}

static enum nj_err
take_row(struct ca_csv *c, const struct header *h, char **v, int n,
    struct nj_why *why)
{
	struct batch_item *item;
	enum nj_err e;

	if ((e = grow(c)))
		return e;
	item = &c->items[c->n];
	*item = (struct batch_item){ .id = field(h, v, n, COL_ID),
		.days = c->days,
		.groups = c->groups };
	if ((e = pki_check_id(item->id, why)))
		return e;
	c->n++;
	if ((e = take_groups(item, field(h, v, n, COL_GROUPS), why)) ||
	    (e = take_ips(item, field(h, v, n, COL_IP), why)))
		return e;
	return take_days(item, field(h, v, n, COL_DAYS), why);
}

/* What spreadsheets and other people's exports begin with. */
static enum nj_err
check_shape(const char *line, struct nj_why *why)
{
	static const char *const names[] = { "name", "device", "device_id",
		"deviceid", "client", "client_id", "clientid", "hostname",
		"serial", "cn" };
	size_t n = strcspn(line, ",");

	if (strchr(line, ';') && !strchr(line, ',')) {
		why_set(why, "its fields are separated by ';', not by commas");
		why_mend(why, "save it with commas, or: tr ';' ',' <FILE >NEW");
		return NJ_INVALID;
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i]) == n && line[n] == ',' &&
		    strncasecmp(line, names[i], n) == 0) {
			why_set(why,
			    "'%s' looks like the name of a column, and is none "
			    "that is known",
			    names[i]);
			why_mend(why,
			    "columns are called id, groups, ip and days; or "
			    "delete the line with the names");
			return NJ_INVALID;
		}
	return NJ_OK;
}

static enum nj_err
take_line(struct ca_csv *c, struct header *h, char *line, bool first,
    struct nj_why *why)
{
	char *v[COLUMNS_MAX];
	enum nj_err e;
	int n;

	line[strcspn(line, "\r")] = '\0';
	if (!line[strspn(line, " \t,")] || line[0] == '#')
		return NJ_OK;
	if (first && (e = check_shape(line, why)))
		return e;
	n = split(line, v);
	if (n < 0) {
		why_set(why, "quotes that do not end, or more than %d fields",
		    COLUMNS_MAX);
		return NJ_INVALID;
	}
	if (first && is_header(v, n, h))
		return NJ_OK;
	return take_row(c, h, v, n, why);
}

/* Once all are there: the table has pointers to them. */
static enum nj_err
find_twins(struct ca_csv *c, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	map_init(&c->ids, key_of);
	for (size_t i = 0; !e && i < c->n; i++)
		if ((e = map_put(&c->ids, &c->items[i])) == NJ_EXISTS) {
			why_set(why, "'%s' is there twice", c->items[i].id);
			why_mend(why, "give every device a name of its own");
			return NJ_INVALID;
		}
	return e;
}

enum nj_err
ca_csv_load(struct ca_csv *c, const char *path, struct nj_why *why)
{
	struct header h = { .at = { 0, 1, 2, 3 } };
	unsigned line_no = 0;
	char *line, *next;
	enum nj_err e;

	if ((e = file_read(path, CSV_FILE_MAX, &c->text, why)))
		return e;
	/* UTF-16 has them, too: cut there it would be one device's name */
	if (buf_len(&c->text) > 0 && memchr(c->text.p, 0, buf_len(&c->text))) {
		why_set(why, "'%s' is no plain text, or UTF-16", path);
		why_mend(why,
		    "save it as CSV in UTF-8; or: iconv -f UTF-16 -t UTF-8 "
		    "'%s' >NEW",
		    path);
		return NJ_INVALID;
	}
	if ((e = buf_put_u8(&c->text, '\0')))
		return e;
	line = (char *)c->text.p;
	if (strncmp(line, "\xef\xbb\xbf", 3) == 0)
		line += 3; /* as spreadsheets write it */
	for (; !e && line; line = next) {
		char *nl = strchr(line, '\n');

		next = nl ? nl + 1 : NULL;
		if (nl)
			*nl = '\0';
		line_no++;
		if ((e = take_line(c, &h, line, c->n == 0, why)))
			why_prefix(why, "%s:%u", path, line_no);
	}
	if (!e && (e = find_twins(c, why)))
		why_prefix(why, "%s", path);
	if (!e && c->n == 0) {
		why_set(why, "'%s' has no devices", path);
		why_mend(why, "write a line for each: ID,GROUPS,ADDRESS,DAYS");
		e = NJ_INVALID;
	}
	return e;
}
