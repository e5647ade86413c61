/* SPDX-License-Identifier: Apache-2.0
 *
 * From the root of each tree down, and then all pages that were not met: what a
 * page is a part of is written down elsewhere, too, so what is below a damaged
 * page is found.  What is free is not taken for something, whatever it has.
 */
#include "store/rawtree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { INDEX_INNER = 2, TABLE_INNER = 5, INDEX_LEAF = 10, TABLE_LEAF = 13 };

#define DEPTH	 32
#define SCHEMA	 0u /* the first tree */
#define NOBODYS	 0xff
#define CLIMB	 64
#define CELL_MIN 4

struct reading {
	const struct rawpages *p;
	const struct rawroot *made;
	unsigned n_made;
	struct rawtrees *out;
	rawtree_row *row;
	void *arg;
	uint64_t beyond; /* pages that something names, behind the last */
	uint8_t *owner;	 /* of a page: its tree; NOBODYS: not known */
	bool *met;
	uint8_t *pages[DEPTH];	 /* the way down */
	uint8_t *more, *scratch; /* a page each */
	struct buf record;
};

/* Up to 9 bytes, 7 bits in each but the last; 0: it is cut off. */
static size_t
varint(const uint8_t *p, size_t n, uint64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n && i < 9; i++) {
		if (i == 8) {
			*out = v << 8 | p[i];
			return 9;
		}
		v = v << 7 | (p[i] & 0x7f);
		if (!(p[i] & 0x80)) {
			*out = v;
			return i + 1;
		}
	}
	return 0;
}

/* A value of a type that its row's head says, at *at; false: it is cut off. */
static bool
value(uint64_t type, struct slice *at, struct rawvalue *out)
{
	static const uint8_t sizes[] = { 0, 1, 2, 3, 4, 6, 8, 8, 0, 0 };
	uint64_t size = type >= 12 ? (type - 12) / 2
	    : type < sizeof sizes  ? sizes[type]
				   : at->n + 1;
	uint64_t v;

	*out = (struct rawvalue){ .type = RAW_NULL };
	if (!at->p || size > at->n)
		return false;
	out->bytes = slice_of(at->p, (size_t)size);
	at->p += size;
	at->n -= size;
	if (type >= 12) {
		out->type = RAW_BYTES;
	} else if (type == 7) {
		out->type = RAW_OTHER;
	} else if (type > 0) {
		out->type = RAW_INT;
		v = size > 0 && out->bytes.p[0] & 0x80 ? UINT64_MAX : 0;
		for (size_t i = 0; i < size; i++)
			v = v << 8 | out->bytes.p[i];
		out->n = type >= 8 ? (int64_t)type - 8 : (int64_t)v;
	}
	return true;
}

/* 2.1; false: it is none. */
static bool
take_record(struct slice record, struct rawvalue *v, unsigned *n)
{
	uint64_t head, type;
	size_t used = varint(record.p, record.n, &head);
	struct slice types, rest;

	*n = 0;
	if (used == 0 || head < used || head > record.n)
		return false;
	types = slice_of(record.p + used, (size_t)head - used);
	rest = slice_of(record.p + head, record.n - (size_t)head);
	while (types.n > 0) {
		if (*n == RAWTREE_COLUMNS ||
		    !(used = varint(types.p, types.n, &type)) ||
		    !value(type, &rest, &v[*n]))
			return false;
		types.p += used;
		types.n -= used;
		++*n;
	}
	return true;
}

static enum nj_err
note_tree(struct reading *r, const struct rawvalue *v, unsigned n)
{
	struct rawtrees *all = r->out;
	struct rawtree *t = &all->v[all->n];
	bool table;

	/* type, name, tbl_name, rootpage, sql */
	if (n < 4)
		return NJ_MALFORMED;
	table = slice_eq(v[0].bytes, LIT("table"));
	if (!table && !slice_eq(v[0].bytes, LIT("index")))
		return NJ_OK;
	/* a root behind the last page is damage of its tree */
	if (v[3].type != RAW_INT || v[3].n <= 0 || v[3].n > UINT32_MAX ||
	    v[1].bytes.n >= sizeof t->name || all->n == RAWTREE_TREES)
		return table || all->n == RAWTREE_TREES ? NJ_MALFORMED : NJ_OK;
	*t = (struct rawtree){ .table = table, .root = (uint32_t)v[3].n };
	memcpy(t->name, v[1].bytes.p, v[1].bytes.n);
	all->n++;
	return NJ_OK;
}

static enum nj_err
tell_hole(struct reading *r, unsigned tree)
{
	return tree == SCHEMA ? NJ_OK
			      : r->row(r->arg, &r->out->v[tree], 0, NULL, 0);
}

static enum nj_err
tell_row(struct reading *r, unsigned tree, int64_t id, struct slice record)
{
	struct rawtree *t = &r->out->v[tree];
	struct rawvalue v[RAWTREE_COLUMNS];
	unsigned n;

	if (!take_record(record, v, &n)) {
		t->cut++;
		return tell_hole(r, tree);
	}
	t->rows++;
	return tree == SCHEMA ? note_tree(r, v, n)
			      : r->row(r->arg, t, id, v, n);
}

static void
note_damage(struct reading *r, uint32_t no, uint8_t tree)
{
	r->beyond += no > r->p->n;
	if (r->out->damaged++ == 0 || no < r->out->first)
		r->out->first = no;
	if (tree == NOBODYS)
		r->out->unknown++;
	else
		r->out->v[tree].damaged++;
}

/* The rest of a row, page after page, of which each has one row. */
static enum nj_err
take_rest(struct reading *r, unsigned tree, uint32_t next, uint64_t left)
{
	size_t each = r->p->usable - 4;
	enum nj_err e = NJ_OK;

	while (left > 0 && !e) {
		size_t n = left < each ? (size_t)left : each;

		if (next == 0 || next > r->p->n || r->met[next])
			return NJ_MALFORMED;
		r->met[next] = true;
		r->owner[next] = (uint8_t)tree;
		if ((e = rawpages_read(r->p, next, r->more))) {
			note_damage(r, next, (uint8_t)tree);
			return e;
		}
		e = buf_put(&r->record, r->more + 4, n);
		next = raw_number(r->more);
		left -= n;
	}
	return e;
}

/* How much of n bytes is in the page itself. */
static uint64_t
local_of(size_t usable, bool leaf_of_table, uint64_t n)
{
	uint64_t most =
	    leaf_of_table ? usable - 35 : (usable - 12) * 64 / 255 - 23;
	uint64_t least = (usable - 12) * 32 / 255 - 23;
	uint64_t some = least + (n - least) % (usable - 4);

	return n <= most ? n : some <= most ? some : least;
}

/* The row that a cell has. */
static enum nj_err
take_cell(struct reading *r, unsigned tree, uint8_t kind, struct slice cell)
{
	struct rawtree *t;
	uint64_t n, id = 0, local;
	size_t used;
	enum nj_err e;

	if (tree >= RAWTREE_TREES)
		return NJ_OK;
	t = &r->out->v[tree];
	if (!(used = varint(cell.p, cell.n, &n)))
		return NJ_MALFORMED;
	cell = slice_of(cell.p + used, cell.n - used);
	if (kind == TABLE_LEAF) {
		if (!(used = varint(cell.p, cell.n, &id)))
			return NJ_MALFORMED;
		cell = slice_of(cell.p + used, cell.n - used);
	}
	local = local_of(r->p->usable, kind == TABLE_LEAF, n);
	if (n > RAWTREE_ROW_MAX || local + (local < n ? 4 : 0) > cell.n)
		return NJ_MALFORMED;
	if (local == n)
		return tell_row(
		    r, tree, (int64_t)id, slice_of(cell.p, (size_t)n));
	buf_truncate(&r->record, 0);
	e = buf_put(&r->record, cell.p, (size_t)local);
	if (!e)
		e = take_rest(r, tree, raw_number(cell.p + local), n - local);
	if (e == NJ_MALFORMED) {
		t->cut++;
		return tell_hole(r, tree);
	}
	return e ? e : tell_row(r, tree, (int64_t)id, buf_slice(&r->record));
}

static bool
is_inner(uint8_t kind)
{
	return kind == INDEX_INNER || kind == TABLE_INNER;
}

/* Cell i of a page; NULL: there is none. */
static const uint8_t *
cell_at(
    const struct reading *r, const uint8_t *page, const uint8_t *h, unsigned i)
{
	const uint8_t *at = h + (is_inner(h[0]) ? 12 : 8) + (size_t)2 * i;
	size_t place;

	if (at + 2 > page + r->p->usable)
		return NULL;
	place = (size_t)at[0] << 8 | at[1];
	return place + CELL_MIN <= r->p->usable ? page + place : NULL;
}

static enum nj_err
down(struct reading *r, unsigned tree, uint32_t no, unsigned depth);

/* A cell's row, and what is to the left of it. */
static enum nj_err
take_cells(struct reading *r, unsigned tree, const uint8_t *page,
    const uint8_t *h, unsigned depth)
{
	unsigned n = (unsigned)h[3] << 8 | h[4];
	bool rows =
	    tree < RAWTREE_TREES && (tree == SCHEMA || r->out->v[tree].table);
	enum nj_err e = NJ_OK;

	for (unsigned i = 0; i < n && !e; i++) {
		const uint8_t *cell = cell_at(r, page, h, i);
		size_t skip = is_inner(h[0]) ? 4 : 0;

		if (!cell)
			return NJ_MALFORMED;
		if (is_inner(h[0]))
			e = down(r, tree, raw_number(cell), depth + 1);
		if (!e && rows && h[0] != TABLE_INNER)
			e = take_cell(r, tree, h[0],
			    slice_of(cell + skip,
				r->p->usable - (size_t)(cell - page) - skip));
	}
	if (!e && is_inner(h[0]))
		e = down(r, tree, raw_number(h + 8), depth + 1);
	return e;
}

/* A page and all below it, each once.  One whose sum fits and that is no such page
 * counts as damaged, too. */
static enum nj_err
down(struct reading *r, unsigned tree, uint32_t no, unsigned depth)
{
	uint8_t *page, *h;
	enum nj_err e;

	if (no == 0 || no > r->p->n || depth == DEPTH) {
		note_damage(r, no, (uint8_t)tree);
		return tell_hole(r, tree);
	}
	if (r->met[no]) {
		/* below a root, each page has one place */
		if (r->out->unmet)
			return NJ_OK;
		note_damage(r, no, (uint8_t)tree);
		return tell_hole(r, tree);
	}
	r->met[no] = true;
	r->owner[no] = (uint8_t)tree;
	if (!r->pages[depth] && !(r->pages[depth] = malloc(r->p->size)))
		return NJ_NOMEM;
	page = r->pages[depth];
	h = page + (no == 1 ? 100 : 0);
	if (!(e = rawpages_read(r->p, no, page)) &&
	    (h[0] == TABLE_LEAF || h[0] == INDEX_LEAF || is_inner(h[0])))
		e = take_cells(r, tree, page, h, depth);
	else if (!e)
		e = NJ_MALFORMED;
	if (e != NJ_MALFORMED)
		return e;
	note_damage(r, no, (uint8_t)tree);
	return tell_hole(r, tree);
}

/* The tree of a page that was not met; NOBODYS: it has none, or none is known. */
static uint8_t
find_owner(struct reading *r, uint32_t no, enum raw_kind *kind, bool *known)
{
	enum raw_kind above;
	uint32_t parent;

	*known = rawpages_kind(r->p, no, r->scratch, kind, &parent) == NJ_OK;
	if (!*known || *kind == RAW_FREE || *kind == RAW_MAP ||
	    *kind == RAW_ROOT)
		return NOBODYS;
	for (unsigned i = 0; i < CLIMB && parent > 0 && parent <= r->p->n;
	     i++) {
		if (r->owner[parent] != NOBODYS)
			return r->owner[parent];
		no = parent;
		if (rawpages_kind(r->p, no, r->scratch, &above, &parent))
			break;
	}
	*known = false;
	return NOBODYS;
}

/* What no way leads to from a root, as a page on the way is damaged. */
static enum nj_err
take_unmet(struct reading *r, uint32_t no)
{
	enum raw_kind kind;
	bool known;
	uint8_t tree = find_owner(r, no, &kind, &known);

	return tree != NOBODYS && kind == RAW_TREE ? down(r, tree, no, 0)
						   : NJ_OK;
}

/* And what is no part of a tree then, or nobody knows of which. */
static void
judge_unmet(struct reading *r, uint32_t no)
{
	enum raw_kind kind;
	bool known;
	uint8_t tree = find_owner(r, no, &kind, &known);

	if (rawpages_read(r->p, no, r->more) == NJ_OK) {
		r->out->unplaced += !known;
	} else if (!known || tree != NOBODYS) {
		note_damage(r, no, tree);
	} else if (kind != RAW_FREE || !rawpages_blank(r->p, no, r->more)) {
		/* no row was there */
		r->out->maps += kind == RAW_MAP;
		if (r->out->damaged++ == 0 || no < r->out->first)
			r->out->first = no;
	}
}

/* Whether a page can be the root of that, and whether it is known. */
static bool
can_be_root(struct reading *r, uint32_t no, bool rowid, unsigned *known)
{
	enum raw_kind kind;
	uint32_t parent;
	uint8_t is;

	if (rawpages_kind(r->p, no, r->scratch, &kind, &parent) == NJ_OK &&
	    kind != RAW_ROOT)
		return false;
	if (rawpages_read(r->p, no, r->more))
		return true;
	is = r->more[0];
	++*known;
	return rowid ? is == TABLE_LEAF || is == TABLE_INNER
		     : is == INDEX_LEAF || is == INDEX_INNER;
}

/* The i-th place has the i-th, or all tables come before the indexes. */
static const struct rawroot *
placed(const struct reading *r, bool sorted, unsigned i)
{
	unsigned at = 0;

	if (!sorted)
		return &r->made[i];
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned k = 0; k < r->n_made; k++)
			if (r->made[k].table == (pass == 0) && at++ == i)
				return &r->made[k];
	return NULL;
}

static bool
fits(struct reading *r, bool sorted)
{
	unsigned known = 0;

	for (unsigned i = 0; i < r->n_made; i++)
		if (!can_be_root(r, r->made[i].root,
			placed(r, sorted, i)->rowid, &known))
			return false;
	return known > 0;
}

/* Roots never move: each is where it was made. */
static enum nj_err
guess_schema(struct reading *r, struct nj_why *why)
{
	struct rawtrees *all = r->out;
	bool made = fits(r, false), sorted = fits(r, true);

	if (made == sorted || r->n_made >= RAWTREE_TREES) {
		why_set(why,
		    "the first page is damaged, which says where all else is, "
		    "and that cannot be seen from the others");
		why_mend(why, "restore the last backup");
		return NJ_MALFORMED;
	}
	for (unsigned i = 0; i < r->n_made; i++) {
		const struct rawroot *from = placed(r, sorted, i);
		struct rawtree *t = &all->v[all->n++];

		*t = (struct rawtree){ .table = from->table,
			.root = r->made[i].root };
		memcpy(t->name, from->name, sizeof t->name);
	}
	return NJ_OK;
}

static enum nj_err
read_schema(struct reading *r, struct nj_why *why)
{
	struct rawtree *t = &r->out->v[SCHEMA];
	enum nj_err e;

	*t = (struct rawtree){ .name = "sqlite_schema", .root = 1 };
	r->out->n = 1;
	e = down(r, SCHEMA, 1, 0);
	if (!e && r->p->headless)
		return guess_schema(r, why);
	if (!e && (t->damaged || t->cut)) {
		why_set(why, "what says where its tables are is damaged");
		why_mend(why, "restore the last backup");
		e = NJ_MALFORMED;
	}
	return e;
}

static enum nj_err
read_all(struct reading *r, struct nj_why *why)
{
	uint32_t pending = rawpages_pending(r->p);
	enum nj_err e = read_schema(r, why);

	for (unsigned i = 1; i < r->out->n && !e; i++)
		e = down(r, i, r->out->v[i].root, 0);
	r->out->unmet = true;
	if (pending <= r->p->n)
		r->met[pending] = true;
	for (uint32_t no = 2; no <= r->p->n && !e; no++)
		if (!r->met[no])
			e = take_unmet(r, no);
	for (uint32_t no = 2; no <= r->p->n && !e; no++)
		if (!r->met[no])
			judge_unmet(r, no);
	for (uint32_t no = 1; no <= r->p->n && r->p->lost && !e; no++)
		if (r->p->lost[no] && r->owner[no] != NOBODYS)
			r->out->v[r->owner[no]].stale++;
	if (!e && r->p->missing > r->beyond) {
		uint64_t rest = r->p->missing - r->beyond;

		if (r->out->damaged == 0)
			r->out->first = r->p->n + 1;
		r->out->damaged += rest;
		r->out->unknown += rest;
	}
	return e;
}

enum nj_err
rawtree_read(const struct rawpages *p, const struct rawroot *made,
    unsigned n_made, struct rawtrees *out, rawtree_row *row, void *arg,
    struct nj_why *why)
{
	struct reading r = { .p = p,
		.made = made,
		.n_made = n_made,
		.out = out,
		.row = row,
		.arg = arg };
	enum nj_err e = NJ_NOMEM;

	*out = (struct rawtrees){ .n = 0 };
	if ((r.owner = malloc((size_t)p->n + 1)) &&
	    (r.met = calloc((size_t)p->n + 1, sizeof *r.met)) &&
	    (r.more = malloc(p->size)) && (r.scratch = malloc(p->size))) {
		memset(r.owner, NOBODYS, (size_t)p->n + 1);
		e = read_all(&r, why);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		free(r.pages[i]);
	free(r.owner);
	free(r.met);
	free(r.more);
	free(r.scratch);
	buf_fini(&r.record);
	return e;
}
