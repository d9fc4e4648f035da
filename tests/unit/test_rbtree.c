/* SPDX-License-Identifier: MIT
 *
 * Problem: a red-black tree that is slightly wrong still finds things, until it degenerates or loses a node.
 *
 * Idea: random insertions and removals, after each of which the whole tree is checked: order, colours, equal black
 * height, parent links, and the same elements as a plain array.
 *
 * Contract: lib/rbtree.h.
 *
 * Locks: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lib/rbtree.h>

#define N 300

struct item {
	struct rb_node node;
	int key;
	bool in;
};
static struct item items[N];

static void insert(struct rb_root *root, struct item *it)
{
	struct rb_node **link = &root->node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = it->key < rb_entry(parent, struct item, node)->key ? &parent->left : &parent->right;
	}
	rb_insert(root, &it->node, parent, link);
	it->in = true;
}

/* Black height of the subtree; checks it on the way. */
static int check(const struct rb_node *n, const struct rb_node *parent)
{
	bool red;
	int left, right;

	if (!n)
		return 1;
	red = !(n->parent_color & 1);
	assert_ptr_equal(n->parent_color & ~1UL, parent);
	if (red && parent)
		assert_true(parent->parent_color & 1);
	left = check(n->left, n);
	right = check(n->right, n);
	assert_int_equal(left, right);
	return left + !red;
}

static void check_all(const struct rb_root *root)
{
	unsigned count = 0, expected = 0;
	int last = -1;
	struct rb_node *n;

	check(root->node, NULL);
	rb_for_each (n, root) {
		int key = rb_entry(n, struct item, node)->key;

		assert_true(key >= last);
		assert_true(rb_entry(n, struct item, node)->in);
		last = key;
		count++;
	}
	for (n = rb_last(root); n; n = rb_prev(n))
		expected++;
	assert_int_equal(count, expected);
	expected = 0;
	for (int i = 0; i < N; i++)
		expected += items[i].in;
	assert_int_equal(count, expected);
}

static void random_changes(void **state)
{
	struct rb_root root = RB_ROOT;

	srand(1);
	for (int round = 0; round < 20000; round++) {
		struct item *it = &items[rand() % N];

		if (it->in) {
			rb_erase(&root, &it->node);
			it->in = false;
			assert_true(rb_is_clear(&it->node));
		} else {
			it->key = rand() % 100; /* equal keys too */
			insert(&root, it);
			assert_false(rb_is_clear(&it->node));
		}
		if (round % 7 == 0)
			check_all(&root);
	}
}

static void ends(void **state)
{
	struct rb_root root = RB_ROOT;
	struct item a = { .key = 1 }, b = { .key = 2 };

	assert_null(rb_first(&root));
	assert_null(rb_last(&root));
	insert(&root, &b);
	insert(&root, &a);
	assert_ptr_equal(rb_first(&root), &a.node);
	assert_ptr_equal(rb_last(&root), &b.node);
	assert_ptr_equal(rb_next(&a.node), &b.node);
	assert_null(rb_next(&b.node));
	assert_null(rb_prev(&a.node));
	rb_erase(&root, &a.node);
	rb_erase(&root, &b.node);
	assert_null(root.node);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ends), cmocka_unit_test(random_changes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
