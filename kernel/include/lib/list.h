/* SPDX-License-Identifier: MIT
 *
 * Circular doubly linked lists with the link inside the element. No locking: the owner of the list says
 * who may touch it. An element not on a list has a self-linked node if it was initialised or deleted by
 * list_del_init, so list_empty(&e->link) tells.
 */
#ifndef LIB_LIST_H
#define LIB_LIST_H

#include <lib/types.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name)                                                                                                \
	{                                                                                                              \
		&(name), &(name)                                                                                       \
	}
#define LIST(name) struct list name = LIST_INIT(name)

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return READ_ONCE(l->next) == l;
}

static inline void list_link_between(struct list *n, struct list *prev, struct list *next)
{
	next->prev = n;
	n->next = next;
	n->prev = prev;
	__atomic_store_n(&prev->next, n, __ATOMIC_RELEASE); /* readers under RCU see a whole node */
}

static inline void list_add(struct list *n, struct list *head)
{
	list_link_between(n, head, head->next);
}

static inline void list_add_tail(struct list *n, struct list *head)
{
	list_link_between(n, head->prev, head);
}

static inline void list_del(struct list *n)
{
	n->next->prev = n->prev;
	WRITE_ONCE(n->prev->next, n->next);
}

static inline void list_del_init(struct list *n)
{
	list_del(n);
	list_init(n);
}

static inline void list_move_tail(struct list *n, struct list *head)
{
	list_del(n);
	list_add_tail(n, head);
}

/* Appends all of from to the tail of to and leaves from empty. */
static inline void list_splice_tail_init(struct list *from, struct list *to)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(p, t, m)         container_of(p, t, m)
#define list_first_entry(l, t, m)   list_entry((l)->next, t, m)
#define list_last_entry(l, t, m)    list_entry((l)->prev, t, m)
#define list_first_or_null(l, t, m) (list_empty(l) ? NULL : list_first_entry(l, t, m))

#define list_for_each_entry(e, l, m)                                                                                   \
	for (e = list_entry((l)->next, __typeof__(*e), m); &e->m != (l); e = list_entry(e->m.next, __typeof__(*e), m))
#define list_for_each_entry_safe(e, n, l, m)                                                                           \
	for (e = list_entry((l)->next, __typeof__(*e), m), n = list_entry(e->m.next, __typeof__(*e), m); &e->m != (l); \
	     e = n, n = list_entry(n->m.next, __typeof__(*n), m))

/* ---- walks beside writers ----
 * A bucket of a hash table, read under RCU while others take elements out (list_del_init) and put them into other
 *buckets. Elements are freed after a grace period, and all heads stand in one array: so a walk that was led astray ends
 *at an element that points to itself or at another head, notices that, and begins again:
 *
 *	do {
 *		w = list_walk(heads, nr, head);
 *		while ((e = list_walk_next(&w, struct x, link)))
 *			...
 *	} while (w.lost);
 */
struct list_walk {
	const struct list *heads, *end, *head, *at;
	bool lost;
};

static inline struct list_walk list_walk(const struct list *heads, size_t nr, const struct list *head)
{
	return (struct list_walk){ heads, heads + nr, head, head, false };
}

static inline struct list *list_walk_step(struct list_walk *w)
{
	struct list *n = READ_ONCE(w->at->next);

	w->lost = n != w->head && (n == w->at || (n >= w->heads && n < w->end));
	if (n == w->head || w->lost)
		return NULL;
	w->at = n;
	return n;
}

#define list_walk_next(w, type, member)                                                                                \
	({                                                                                                             \
		struct list *n_ = list_walk_step(w);                                                                   \
		n_ ? container_of(n_, type, member) : NULL;                                                            \
	})

#endif
