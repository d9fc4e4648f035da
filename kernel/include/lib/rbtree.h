/* SPDX-License-Identifier: MIT
 *
 * Red-black trees with the node inside the element. The caller walks down to find the place, links, then balances, so
 * that no comparison goes through a pointer. Removal and insertion are O(log n). No locking.
 */
#ifndef LIB_RBTREE_H
#define LIB_RBTREE_H

#include <lib/types.h>

struct rb_node {
	ulong parent_color;
	struct rb_node *left, *right;
};

struct rb_root {
	struct rb_node *node;
};

#define RB_ROOT           ((struct rb_root){ NULL })
#define rb_entry(p, t, m) container_of(p, t, m)

/* Links n at *link below parent (as found by the caller's walk) and balances. */
void rb_insert(struct rb_root *root, struct rb_node *n, struct rb_node *parent, struct rb_node **link);
void rb_erase(struct rb_root *root, struct rb_node *n);
void rb_clear(struct rb_node *n); /* marks it as in no tree */
bool rb_is_clear(const struct rb_node *n);
struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *n);
struct rb_node *rb_prev(const struct rb_node *n);

#define rb_for_each(n, root) for (n = rb_first(root); n; n = rb_next(n))

#endif
