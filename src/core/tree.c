/* SPDX-License-Identifier: Apache-2.0
 * Order of publication: a node is complete before its slot is stored
 * (release), its slot before the parent's flag or bit.  Removal goes the other way,
 * and leaves a grave in the slot so that probes run on past it.
 */
#include "core/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define SEGMENT_MIN_LOG 3
#define ADDR_BITS	48
#define ADDR_MASK	((UINT64_C(1) << ADDR_BITS) - 1)
#define EMPTY		UINT64_C(0)
#define GRAVE		UINT64_C(1)

typedef _Atomic(uint64_t) slot;

/* The 16 bits above the address are free on the machines Linux runs on as
 * long as nobody maps memory there on purpose. */
static uint64_t
pack(const void *p, uint64_t top)
{
	uint64_t addr = (uint64_t)(uintptr_t)p;

	assert(addr >> ADDR_BITS == 0);
	return addr | top << ADDR_BITS;
}

static void *
unpack(uint64_t v)
{
	return (void *)(uintptr_t)(v & ADDR_MASK);
}

static slot *
segment_slots(uint64_t seg, uint32_t *mask)
{
	*mask = (UINT32_C(1) << (seg >> ADDR_BITS)) - 1;
	return unpack(seg);
}

uint64_t
tree_level_hash(struct slice level)
{
	return hash_bytes(level);
}

/*
 * The level's hash is keyed, so a peer cannot aim at a slot; mixing in the
 * parent's address needs no key.  Of the result, bits 0-23 choose the slot,
 * 24-31 the segment, 40-42 the parent's bit, 48-63 are the tag.
 */
static uint64_t
child_hash(const struct node *parent, uint64_t level_hash)
{
	uint64_t h = level_hash ^ (uint64_t)(uintptr_t)parent;

	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	h ^= h >> 29;
	return h;
}

static size_t
segment_of(uint32_t hash)
{
	return hash >> 24;
}

static uint64_t
tag_of(uint64_t hash)
{
	return hash >> ADDR_BITS;
}

static unsigned char
kid_of(uint64_t hash)
{
	return (unsigned char)(1u << (hash >> 40 & 7));
}

/* h: by child_hash(). */
static struct node *
probe(const struct tree *t, const struct node *parent, struct slice text,
    uint64_t h)
{
	uint64_t seg = atomic_load_explicit(
	    &t->slots[segment_of((uint32_t)h)], memory_order_acquire);
	uint32_t mask;
	slot *slots = segment_slots(seg, &mask);

	for (uint32_t i = (uint32_t)h & mask;; i = (i + 1) & mask) {
		uint64_t v;
		struct node *n;

		v = atomic_load_explicit(&slots[i], memory_order_acquire);
		if (v == EMPTY)
			return NULL;
		if (tag_of(v) != tag_of(h) || v == GRAVE)
			continue;
		n = unpack(v);
		if (n->parent == parent && n->len == text.n &&
		    (text.n == 0 || memcmp(n->text, text.p, text.n) == 0))
			return n;
	}
}

static struct node *
lookup(const struct tree *t, const struct node *parent, struct slice text,
    uint64_t level_hash)
{
	return probe(t, parent, text, child_hash(parent, level_hash));
}

struct node *
tree_child(
    const struct tree *t, const struct node *parent, const struct level *lv)
{
	uint64_t h = child_hash(parent, lv->hash);

	if (!(atomic_load_explicit(&parent->kids, memory_order_acquire) &
		kid_of(h)))
		return NULL;
	return probe(t, parent, lv->text, h);
}

struct node *
tree_plus(const struct tree *t, const struct node *parent)
{
	if (!(atomic_load_explicit(&parent->flags, memory_order_acquire) &
		NODE_PLUS))
		return NULL;
	return lookup(t, parent, LIT("+"), t->plus);
}

struct node *
tree_hash(const struct tree *t, const struct node *parent)
{
	if (!(atomic_load_explicit(&parent->flags, memory_order_acquire) &
		NODE_HASH))
		return NULL;
	return lookup(t, parent, LIT("#"), t->hash);
}

struct node *
tree_find(const struct tree *t, struct slice text)
{
	struct node *n = t->root;
	struct slice level;
	bool more = true;

	while (n && topic_next(&text, &more, &level))
		n = lookup(t, n, level, tree_level_hash(level));
	return n;
}

size_t
node_text(const struct node *n, uint8_t *dst, size_t size)
{
	size_t total = 0, end;

	for (const struct node *a = n; a->parent; a = a->parent)
		total += a->len + (a->parent->parent != NULL);
	end = total;
	for (const struct node *a = n; a->parent; a = a->parent) {
		end -= a->len;
		for (size_t i = 0; i < a->len && end + i < size; i++)
			dst[end + i] = a->text[i];
		if (a->parent->parent && --end < size)
			dst[end] = '/';
	}
	return total;
}

/* Writers from here on. */

static void
count_bytes(struct tree *t, size_t more, size_t less)
{
	atomic_fetch_add_explicit(&t->bytes, more - less, memory_order_relaxed);
}

void
tree_retire(struct tree *t, void (*free_fn)(void *), void *p, size_t size)
{
	if (t->retire)
		t->retire(t->arg, free_fn, p, size);
	else
		free_fn(p);
}

static uint64_t
writer_load(slot *s)
{
	return atomic_load_explicit(s, memory_order_relaxed);
}

/* Moves a segment's nodes to a fresh table of 1 << log slots. */
static enum nj_err
segment_resize(struct tree *t, size_t which, unsigned log)
{
	struct tree_segment *s = &t->segments[which];
	uint32_t mask = (UINT32_C(1) << log) - 1;
	slot *from = s->table;
	slot *to = calloc((size_t)mask + 1, sizeof *to);
	size_t had;

	if (!to)
		return NJ_NOMEM;
	for (size_t i = 0; from && i <= s->mask; i++) {
		uint64_t v = writer_load(&from[i]);
		uint32_t at;

		if (v == EMPTY || v == GRAVE)
			continue;
		at = ((const struct node *)unpack(v))->hash & mask;
		while (writer_load(&to[at]) != EMPTY)
			at = (at + 1) & mask;
		atomic_store_explicit(&to[at], v, memory_order_relaxed);
	}
	atomic_store_explicit(
	    &t->slots[which], pack(to, log), memory_order_release);
	had = from ? ((size_t)s->mask + 1) * sizeof *from : 0;
	count_bytes(t, ((size_t)mask + 1) * sizeof *to, had);
	s->table = to;
	s->mask = mask;
	s->graves = 0;
	if (from)
		tree_retire(t, free, from, had);
	return NJ_OK;
}

/* Of 256 slots that are in use so many at most: from 5/8 to 3/4 of them, another
 * part in each segment.  The hash fills them alike, and so they do not all grow
 * in the same turn. */
static uint64_t
full_at(size_t which)
{
	return 160 + which / 8;
}

/* And where one of so many is, it shrinks. */
static uint64_t
empty_at(size_t which)
{
	return 8 + which / 64;
}

/* Room for one more. */
static enum nj_err
segment_reserve(struct tree *t, size_t which)
{
	struct tree_segment *s = &t->segments[which];
	unsigned log = SEGMENT_MIN_LOG;

	if ((uint64_t)(s->live + s->graves + 1) * 256 <=
	    ((uint64_t)s->mask + 1) * full_at(which))
		return NJ_OK;
	while ((uint64_t)(s->live + 1) * 2 > UINT64_C(1) << log)
		log++;
	/* 24 bits of the hash choose the slot. */
	if (log > 24)
		return NJ_FULL;
	return segment_resize(t, which, log);
}

/* After segment_reserve. */
static void
table_put(struct tree *t, struct node *n, uint64_t hash)
{
	struct tree_segment *s = &t->segments[segment_of(n->hash)];
	uint32_t i = n->hash & s->mask;
	uint64_t v = writer_load(&s->table[i]);

	while (v != EMPTY && v != GRAVE) {
		i = (i + 1) & s->mask;
		v = writer_load(&s->table[i]);
	}
	s->graves -= v == GRAVE;
	s->live++;
	atomic_store_explicit(
	    &s->table[i], pack(n, tag_of(hash)), memory_order_release);
}

static void
table_del(struct tree *t, const struct node *n)
{
	size_t which = segment_of(n->hash);
	struct tree_segment *s = &t->segments[which];
	slot *slots = s->table;
	uint32_t mask = s->mask;
	uint32_t i = n->hash & mask;
	bool last;

	while (unpack(writer_load(&slots[i])) != n)
		i = (i + 1) & mask;
	s->live--;
	s->graves++;
	/* At the end of a run no grave is needed, nor those before it. */
	last = writer_load(&slots[(i + 1) & mask]) == EMPTY;
	atomic_store_explicit(&slots[i], GRAVE, memory_order_release);
	while (last && writer_load(&slots[i]) == GRAVE) {
		atomic_store_explicit(&slots[i], EMPTY, memory_order_release);
		s->graves--;
		i = (i - 1) & mask;
	}
	if (mask >> SEGMENT_MIN_LOG &&
	    (uint64_t)s->live * empty_at(which) < mask) {
		unsigned log = SEGMENT_MIN_LOG;

		while ((uint64_t)(s->live + 1) * 2 > UINT64_C(1) << log)
			log++;
		/* Failing to shrink does no harm. */
		if (segment_resize(t, which, log) != NJ_OK)
			return;
	}
}

static unsigned char
flag_for(const struct node *n)
{
	if (n->len != 1)
		return 0;
	return n->text[0] == '+' ? NODE_PLUS
	    : n->text[0] == '#'	 ? NODE_HASH
				 : 0;
}

static size_t
node_size(const struct tree *t, size_t len)
{
	return (t->linked ? offsetof(struct linked, node) : 0) +
	    offsetof(struct node, text) + len;
}

static void *
node_block(const struct tree *t, struct node *n)
{
	return t->linked ? (void *)linked_of(n) : (void *)n;
}

static struct node *
node_new(struct tree *t, struct node *parent, struct slice text)
{
	size_t least = t->linked ? sizeof(struct linked) : sizeof(struct node);
	size_t size = node_size(t, text.n);
	struct node *n;
	char *block;

	/* Never less than the struct, which ends in padding. */
	if (size < least)
		size = least;
	if (!(block = malloc(size)))
		return NULL;
	if (t->linked) {
		struct linked *l = (struct linked *)(void *)block;

		atomic_init(&l->first, NULL);
		atomic_init(&l->next, NULL);
		l->prev = NULL;
		l->timer = (struct timer){ 0 };
		l->owner = NULL;
		n = &l->node;
	} else {
		n = (struct node *)(void *)block;
	}
	n->parent = parent;
	atomic_init(&n->value, NULL);
	n->hash = 0;
	n->refs = 0;
	atomic_init(&n->flags, 0);
	atomic_init(&n->kids, 0);
	n->len = (uint16_t)text.n;
	if (text.n > 0)
		memcpy(n->text, text.p, text.n);
	return n;
}

static void
siblings_add(struct node *n)
{
	struct linked *l = linked_of(n), *up = linked_of(n->parent);
	struct node *was =
	    atomic_load_explicit(&up->first, memory_order_relaxed);

	atomic_store_explicit(&l->next, was, memory_order_relaxed);
	if (was)
		linked_of(was)->prev = l;
	atomic_store_explicit(&up->first, n, memory_order_release);
}

/* The removed node keeps its own next, for readers that stand on it. */
static void
siblings_del(struct node *n)
{
	struct linked *l = linked_of(n);
	struct node *next =
	    atomic_load_explicit(&l->next, memory_order_relaxed);

	atomic_store_explicit(
	    l->prev ? &l->prev->next : &linked_of(n->parent)->first, next,
	    memory_order_release);
	if (next)
		linked_of(next)->prev = l->prev;
}

static enum nj_err
child_add(
    struct tree *t, struct node *parent, struct slice text, struct node **out)
{
	uint64_t h = child_hash(parent, tree_level_hash(text));
	enum nj_err e = segment_reserve(t, segment_of((uint32_t)h));
	struct node *n;

	if (e)
		return e;
	if (!(n = node_new(t, parent, text)))
		return NJ_NOMEM;
	n->hash = (uint32_t)h;
	table_put(t, n, h);
	if (t->linked)
		siblings_add(n);
	if (flag_for(n))
		atomic_fetch_or_explicit(
		    &parent->flags, flag_for(n), memory_order_release);
	else
		atomic_fetch_or_explicit(
		    &parent->kids, kid_of(h), memory_order_release);
	parent->refs++;
	t->nodes++;
	count_bytes(t, node_size(t, text.n), 0);
	*out = n;
	return NJ_OK;
}

/* Removes n and then its parents, as far as nothing needs them. */
static void
prune(struct tree *t, struct node *n)
{
	while (n->parent && n->refs == 0) {
		struct node *parent = n->parent;

		if (flag_for(n))
			atomic_fetch_and_explicit(&parent->flags,
			    (unsigned char)~flag_for(n), memory_order_release);
		atomic_fetch_or_explicit(
		    &n->flags, NODE_GONE, memory_order_relaxed);
		if (t->linked)
			siblings_del(n);
		table_del(t, n);
		parent->refs--;
		t->nodes--;
		count_bytes(t, 0, node_size(t, n->len));
		tree_retire(t, free, node_block(t, n), node_size(t, n->len));
		n = parent;
	}
}

enum nj_err
tree_hold(struct tree *t, struct slice text, struct node **out)
{
	struct node *n = t->root;
	unsigned levels = 0;
	struct slice level;
	bool more = true;
	enum nj_err e;

	while (topic_next(&text, &more, &level)) {
		struct node *kid;

		e = ++levels > TOPIC_LEVELS_MAX || level.n > UINT16_MAX
		    ? NJ_TOOBIG
		    : NJ_OK;
		if (!e && !(kid = lookup(t, n, level, tree_level_hash(level))))
			e = child_add(t, n, level, &kid);
		if (e) {
			prune(t, n);
			return e;
		}
		n = kid;
	}
	n->refs++;
	*out = n;
	return NJ_OK;
}

bool
tree_hold_node(struct node *n)
{
	if (atomic_load_explicit(&n->flags, memory_order_relaxed) & NODE_GONE)
		return false;
	n->refs++;
	return true;
}

void
tree_drop(struct tree *t, struct node *n)
{
	n->refs--;
	prune(t, n);
}

enum nj_err
tree_init(struct tree *t, bool linked, tree_retire_fn *retire, void *arg)
{
	*t = (struct tree){ .linked = linked, .retire = retire, .arg = arg };
	t->plus = tree_level_hash(LIT("+"));
	t->hash = tree_level_hash(LIT("#"));
	if (!(t->root = node_new(t, NULL, LIT(""))))
		return NJ_NOMEM;
	for (size_t i = 0; i < TREE_SEGMENTS; i++) {
		enum nj_err e = segment_resize(t, i, SEGMENT_MIN_LOG);

		if (e) {
			tree_fini(t, NULL);
			return e;
		}
	}
	return NJ_OK;
}

void
tree_fini(struct tree *t, void (*drop)(void *value))
{
	for (size_t i = 0; i < TREE_SEGMENTS; i++) {
		slot *slots = t->segments[i].table;

		for (size_t k = 0; slots && k <= t->segments[i].mask; k++) {
			uint64_t v = writer_load(&slots[k]);
			struct node *n = unpack(v);

			if (v == EMPTY || v == GRAVE)
				continue;
			if (drop && node_value(n))
				drop(node_value(n));
			free(node_block(t, n));
		}
		free(slots);
		t->segments[i].table = NULL;
	}
	if (t->root)
		free(node_block(t, t->root));
	t->root = NULL;
}
