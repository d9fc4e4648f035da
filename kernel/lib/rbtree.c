/* SPDX-License-Identifier: MIT
 *
 * Problem: run queues, timers and address spaces need ordered sets with O(log n) change and no
 * allocation.
 *
 * Idea: a red-black tree (Cormen, Leiserson, Rivest, Stein, "Introduction to Algorithms", chapter
 * 13) whose parent pointer carries the colour in bit 0. Both repairs are written once, with `side`
 * choosing left or right, instead of twice mirrored. A missing child counts as black.
 *
 * Contract: lib/rbtree.h. A node that is in no tree points to itself (rb_clear).
 *
 * Locks: none; the owner of the tree serialises. Readers beside a writer may miss nodes but never
 * leave the tree's nodes: child pointers are stored whole.
 */
#include <lib/rbtree.h>

#define RED   0UL
#define BLACK 1UL

static struct rb_node *parent_of(const struct rb_node *n)
{
	return (struct rb_node *)(n->parent_color & ~1UL);
}

static bool is_red(const struct rb_node *n)
{
	return n && !(n->parent_color & BLACK);
}

static void set_color(struct rb_node *n, ulong color)
{
	n->parent_color = (n->parent_color & ~1UL) | color;
}

static void set_parent(struct rb_node *n, struct rb_node *parent)
{
	n->parent_color = (ulong)parent | (n->parent_color & 1);
}

static struct rb_node **child(struct rb_node *n, bool right)
{
	return right ? &n->right : &n->left;
}

static void replace_child(struct rb_root *root, struct rb_node *parent, struct rb_node *old, struct rb_node *new)
{
	struct rb_node **link = parent ? child(parent, parent->right == old) : &root->node;

	WRITE_ONCE(*link, new);
}

/* Moves n's child on side !right up into n's place; n becomes its child on side `right`. */
static void rotate(struct rb_root *root, struct rb_node *n, bool right)
{
	struct rb_node *up = *child(n, !right);
	struct rb_node *inner = *child(up, right);

	WRITE_ONCE(*child(n, !right), inner);
	if (inner)
		set_parent(inner, n);
	set_parent(up, parent_of(n));
	replace_child(root, parent_of(n), n, up);
	WRITE_ONCE(*child(up, right), n);
	set_parent(n, up);
}

void rb_insert(struct rb_root *root, struct rb_node *n, struct rb_node *parent, struct rb_node **link)
{
	n->parent_color = (ulong)parent | RED;
	n->left = n->right = NULL;
	__atomic_store_n(link, n, __ATOMIC_RELEASE);
	while (is_red(parent)) {
		struct rb_node *grand = parent_of(parent);
		bool right = grand->right == parent;
		struct rb_node *uncle = *child(grand, !right);

		if (is_red(uncle)) {
			set_color(parent, BLACK);
			set_color(uncle, BLACK);
			set_color(grand, RED);
			n = grand;
			parent = parent_of(n);
			continue;
		}
		if (n == *child(parent, !right)) {
			rotate(root, parent, right);
			parent = n;
		}
		set_color(parent, BLACK);
		set_color(grand, RED);
		rotate(root, grand, !right);
		break;
	}
	set_color(root->node, BLACK);
}

/* n (maybe NULL) below parent is one black short. */
static void repair_black(struct rb_root *root, struct rb_node *n, struct rb_node *parent)
{
	while (parent && !is_red(n)) {
		bool right = parent->right == n;
		struct rb_node *sib;

		sib = *child(parent, !right);
		if (is_red(sib)) {
			set_color(sib, BLACK);
			set_color(parent, RED);
			rotate(root, parent, right);
			sib = *child(parent, !right);
		}
		if (!is_red(sib->left) && !is_red(sib->right)) {
			set_color(sib, RED);
			n = parent;
			parent = parent_of(n);
			continue;
		}
		if (!is_red(*child(sib, !right))) {
			set_color(*child(sib, right), BLACK);
			set_color(sib, RED);
			rotate(root, sib, !right);
			sib = *child(parent, !right);
		}
		set_color(sib, parent->parent_color & 1);
		set_color(parent, BLACK);
		set_color(*child(sib, !right), BLACK);
		rotate(root, parent, right);
		return;
	}
	if (n)
		set_color(n, BLACK);
}

void rb_erase(struct rb_root *root, struct rb_node *n)
{
	struct rb_node *gone = n, *kid, *parent;
	ulong color;

	if (n->left && n->right)
		for (gone = n->right; gone->left; gone = gone->left)
			;
	kid = gone->left ? gone->left : gone->right;
	parent = parent_of(gone);
	color = gone->parent_color & 1;
	if (kid)
		set_parent(kid, parent);
	replace_child(root, parent, gone, kid);
	if (gone != n) { /* the successor takes n's place */
		if (parent == n)
			parent = gone;
		gone->parent_color = n->parent_color;
		gone->left = n->left;
		gone->right = n->right;
		if (gone->left)
			set_parent(gone->left, gone);
		if (gone->right)
			set_parent(gone->right, gone);
		replace_child(root, parent_of(n), n, gone);
	}
	if (color == BLACK)
		repair_black(root, kid, parent);
	rb_clear(n);
}

void rb_clear(struct rb_node *n)
{
	n->parent_color = (ulong)n;
}

bool rb_is_clear(const struct rb_node *n)
{
	return n->parent_color == (ulong)n;
}

struct rb_node *rb_first(const struct rb_root *root)
{
	struct rb_node *n = root->node;

	while (n && n->left)
		n = n->left;
	return n;
}

struct rb_node *rb_last(const struct rb_root *root)
{
	struct rb_node *n = root->node;

	while (n && n->right)
		n = n->right;
	return n;
}

static struct rb_node *step(const struct rb_node *n, bool right)
{
	struct rb_node *p;

	if ((p = *child((struct rb_node *)n, right))) {
		while (*child(p, !right))
			p = *child(p, !right);
		return p;
	}
	for (p = parent_of(n); p && n == *child(p, right); p = parent_of(p))
		n = p;
	return p;
}

struct rb_node *rb_next(const struct rb_node *n)
{
	return step(n, true);
}

struct rb_node *rb_prev(const struct rb_node *n)
{
	return step(n, false);
}
