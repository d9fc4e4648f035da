/* SPDX-License-Identifier: MIT
 *
 * Problem: a checker of programs must say what Linux would say.
 *
 * Idea: one program a CASE, each just inside or just outside of a rule.
 *
 * Contract: compiled by clang for tests/vm/bpfcheck.sh, which reads the verdicts that are wanted from the lines of the
 * cases. The line that is to blame ends with a comment BLAME.
 *
 * Locks: none.
 */
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define noinline  __attribute__((noinline))
#define hidden    __attribute__((visibility("hidden")))

struct pair {
	int a, b;
};

char _license[] SEC("license") = "GPL";

#if CASE == 1 /* accepted: a global function that looks before it leaps */
noinline int sum(struct pair *p)
{
	return p ? p->a + p->b : 0;
}
#elif CASE == 2 /* refused: its pointer may be NULL */
noinline int sum(struct pair *p)
{
	return p->a + p->b; /* BLAME */
}
#elif CASE == 3 /* accepted: a static one sees its caller's */
static noinline int sum(struct pair *p)
{
	return p->a + p->b;
}
#elif CASE == 4 /* accepted: hidden is static to the verifier */
hidden noinline int sum(struct pair *p)
{
	return p->a + p->b;
}
#elif CASE == 5 /* refused: global functions return numbers */
noinline void touch(struct pair *p)
{
	if (p)
		p->a = 1;
}

static int sum(struct pair *p)
{
	touch(p);
	return p->a;
}
#elif CASE == 6 /* refused: the second function reads behind its first argument */
noinline int sum(struct pair *p)
{
	return p ? ((volatile int *)p)[2] : 0; /* BLAME */
}
#elif CASE == 7 /* refused: the packet may end before */
static int sum(struct pair *p)
{
	return p->a;
}
#define PACKET 0
#elif CASE == 8 /* accepted: it does not */
static int sum(struct pair *p)
{
	return p->a;
}
#define PACKET 14
#elif CASE == 9 /* refused: it never ends */
static int sum(struct pair *p)
{
	while (*(volatile int *)&p->a != 7) /* BLAME */
		;
	return p->b;
}
#endif

SEC("tc")
int program(struct __sk_buff *skb)
{
	struct pair p = { (int)skb->len, 2 };
#ifdef PACKET
	unsigned char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + PACKET > end)
		return 0;
	p.a += data[13]; /* BLAME */
#endif
	return sum(&p) & 1;
}
