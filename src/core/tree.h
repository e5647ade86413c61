/* SPDX-License-Identifier: Apache-2.0
 * tree - topic levels as a tree whose readers take no lock.
 *
 * There is no list of children in a node: one hash table, keyed by parent and
 * level text, leads from any node to any child in one probe.  It is cut into
 * segments that grow one by one, so that no writer stalls for long.  A slot is
 * a node's address with 16 bits of its hash on top: a miss seldom touches a
 * node.  A node tells by a flag whether it has a "+" or "#" child, and by eight
 * bits which others it may have, so that these are looked for only where they
 * are: in a large table a slot that is empty is a line that no cache has.
 *
 * Owns:    nodes and the table; values are the user's.
 * Threads: readers any, inside an RCU read-side section; writers one at a
 *          time (the user's mutex).  What a reader may still see goes through
 *          retire.
 * Bounds:  TOPIC_LEVELS_MAX levels, then NJ_TOOBIG.
 * Spec:    MQTT 5.0 4.7.1.
 */
#ifndef NJ_CORE_TREE_H
#define NJ_CORE_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "base/timer.h"
#include "wire/topic.h"

#define TREE_SEGMENTS 256

/* size: bytes that are freed. */
typedef void
tree_retire_fn(void *arg, void (*free_fn)(void *), void *p, size_t size);

#define NODE_PLUS 0x1u /* has a child "+" */
#define NODE_HASH 0x2u /* has a child "#" */
#define NODE_GONE 0x4u /* not in the tree any more; the writer's */

/* Everything but value, flags and kids is fixed before readers see a node; refs
 * is the writer's. */
struct node {
	struct node *parent; /* NULL: the root, which has no text */
	_Atomic(void *) value;
	uint32_t hash;
	uint32_t refs; /* children and tree_hold */
	atomic_uchar flags;
	atomic_uchar kids; /* by hash, an eighth each; never cleared */
	uint16_t len;
	uint8_t text[];
};

/* In a linked tree each node is the end of one of these, so that children can
 * be listed too. */
struct linked {
	_Atomic(struct node *) first; /* child */
	_Atomic(struct node *) next;  /* sibling */
	struct linked *prev;	      /* sibling; the writer's */
	struct timer timer;	      /* the user's */
	void *owner;		      /* the user's */
	struct node node;
};

struct tree_segment {
	_Atomic(uint64_t) *table; /* what the packed word points to */
	uint32_t mask;
	uint32_t live, graves;
};

struct tree {
	/* Slots' address, and log2 of their number in the top 16 bits. */
	_Atomic(uint64_t) slots[TREE_SEGMENTS];
	struct node *root;
	uint64_t plus, hash; /* level hashes of "+" and "#" */
	bool linked;
	/* writers */
	struct tree_segment segments[TREE_SEGMENTS];
	tree_retire_fn *retire;
	void *arg;
	uint64_t nodes;
	_Atomic(uint64_t) bytes;
};

struct level {
	struct slice text;
	uint64_t hash;
};

/* retire may be NULL: free at once. */
NJ_MUST enum nj_err
tree_init(struct tree *t, bool linked, tree_retire_fn *retire, void *arg);
/* Frees all nodes at once, after calling drop (may be NULL) on each value. */
void tree_fini(struct tree *t, void (*drop)(void *value));

/* Readers. */
uint64_t tree_level_hash(struct slice level);
/* lv is neither "+" nor "#". */
struct node *tree_child(
    const struct tree *t, const struct node *parent, const struct level *lv);
struct node *tree_plus(const struct tree *t, const struct node *parent);
struct node *tree_hash(const struct tree *t, const struct node *parent);
/* The node of a whole name or filter, or NULL. */
struct node *tree_find(const struct tree *t, struct slice text);
/* Levels joined by "/", up to size bytes; the full length. */
size_t node_text(const struct node *n, uint8_t *dst, size_t size);

static inline struct linked *
linked_of(struct node *n)
{
	return (
	    struct linked *)(void *)((char *)n - offsetof(struct linked, node));
}

static inline struct node *
node_first(struct node *n)
{
	return atomic_load_explicit(&linked_of(n)->first, memory_order_acquire);
}

static inline struct node *
node_next(struct node *n)
{
	return atomic_load_explicit(&linked_of(n)->next, memory_order_acquire);
}

static inline void *
node_value(const struct node *n)
{
	return atomic_load_explicit(&n->value, memory_order_acquire);
}

/* Writers.  tree_hold finds or makes a node and keeps it until tree_drop,
 * which removes it and its parents as far as nothing else needs them. */
NJ_MUST enum nj_err
tree_hold(struct tree *t, struct slice text, struct node **out);
void tree_drop(struct tree *t, struct node *n);
/* The same for a node a reader stands on; false when it was removed. */
bool tree_hold_node(struct node *n);
void tree_retire(struct tree *t, void (*free_fn)(void *), void *p, size_t size);

#endif
