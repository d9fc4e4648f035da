/* SPDX-License-Identifier: MIT
 *
 * Problem: attach rules are a contract between managers that do not know each other.
 *
 * Idea: the rules of Linux's documentation and of 4.10's override sample, case by case on a tree of three levels.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <bpf/asm.h>
#include <bpf/cgroup.h>
#include <lib/err.h>

#define NONE     0
#define OVERRIDE BPF_F_ALLOW_OVERRIDE
#define MULTI    BPF_F_ALLOW_MULTI
#define H        1 /* egress */

static struct bpf_cgroup_node root, a, b, other;
static struct bpf_prog *p[6];

static struct bpf_prog *program(s32 verdict)
{
	const struct bpf_insn insns[] = { MOV(0, verdict), EXIT() };
	struct bpf_load l = {
		.insns = insns, .len = 2, .type = BPF_PROG_TYPE_CGROUP_SKB, .attach_type = BPF_CGROUP_INET_EGRESS
	};
	struct bpf_prog *prog = NULL;

	assert_int_equal(bpf_prog_new(&l, &prog), 0);
	return prog;
}

static int setup(void **state)
{
	assert_int_equal(bpf_cgroup_add(&root, NULL), 0);
	assert_int_equal(bpf_cgroup_add(&a, &root), 0);
	assert_int_equal(bpf_cgroup_add(&b, &a), 0);
	assert_int_equal(bpf_cgroup_add(&other, &root), 0);
	for (u32 i = 0; i < 6; i++) {
		p[i] = program(i != 5);
		p[i]->id = i + 1;
	}
	return 0;
}

static int teardown(void **state)
{
	bpf_cgroup_remove(&b);
	bpf_cgroup_remove(&a);
	bpf_cgroup_remove(&other);
	bpf_cgroup_remove(&root);
	for (u32 i = 0; i < 6; i++) {
		p[i]->id = 0;
		bpf_prog_put(p[i]);
	}
	assert_int_equal(bpf_cgroup_users[H], 0);
	return 0;
}

/* The ids of what runs, as a decimal number. */
static u32 runs(const struct bpf_cgroup_node *n)
{
	u32 ids[64], flags, count = bpf_cgroup_query(n, H, true, ids, 64, &flags), v = 0;

	for (u32 i = 0; i < count; i++)
		v = v * 10 + ids[i];
	return v;
}

static void none_forbids_below(void **state)
{
	assert_int_equal(bpf_cgroup_detach(&a, H, NULL, NULL), -ENOENT);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[0], NULL, NULL, NONE), 0);
	assert_int_equal(runs(&b), 1);
	assert_int_equal(runs(&other), 0);
	assert_int_equal(bpf_cgroup_attach(&b, H, p[1], NULL, NULL, NONE), -EPERM);
	assert_int_equal(bpf_cgroup_attach(&b, H, p[1], NULL, NULL, OVERRIDE), -EPERM);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[1], NULL, NULL, OVERRIDE), -EPERM); /* other flags */
	assert_int_equal(bpf_cgroup_attach(&a, H, p[1], NULL, NULL, NONE), 0);          /* replaced */
	assert_int_equal(runs(&b), 2);
	assert_int_equal(bpf_cgroup_users[H], 1);
}

static void override_hides(void **state)
{
	assert_int_equal(bpf_cgroup_attach(&a, H, p[0], NULL, NULL, OVERRIDE), 0);
	assert_int_equal(bpf_cgroup_attach(&b, H, p[1], NULL, NULL, OVERRIDE), 0);
	assert_int_equal(runs(&a), 1);
	assert_int_equal(runs(&b), 2);
	assert_int_equal(bpf_cgroup_detach(&b, H, NULL, NULL), 0);
	assert_int_equal(runs(&b), 1); /* inherited again */
}

static void multi_adds(void **state)
{
	assert_int_equal(bpf_cgroup_attach(&a, H, p[0], NULL, NULL, MULTI), 0);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[1], NULL, NULL, MULTI), 0);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[1], NULL, NULL, MULTI), -EINVAL);
	assert_int_equal(bpf_cgroup_attach(&b, H, p[2], NULL, NULL, MULTI), 0);
	assert_int_equal(runs(&b), 312);
	assert_int_equal(bpf_cgroup_run(&b, H, NULL, NULL, NULL), 0);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[5], NULL, p[0], MULTI | BPF_F_REPLACE), 0);
	assert_int_equal(runs(&b), 362);
	assert_int_equal(bpf_cgroup_run(&b, H, NULL, NULL, NULL), -EPERM);
	assert_int_equal(bpf_cgroup_run(&other, H, NULL, NULL, NULL), 0);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[3], NULL, p[0], MULTI | BPF_F_REPLACE), -ENOENT);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[3], NULL, NULL, MULTI | BPF_F_REPLACE), -EINVAL);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[3], NULL, NULL, MULTI | OVERRIDE), -EINVAL);
	assert_int_equal(bpf_cgroup_detach(&a, H, NULL, NULL), -EINVAL);
	assert_int_equal(bpf_cgroup_detach(&a, H, p[0], NULL), -ENOENT);
	assert_int_equal(bpf_cgroup_detach(&a, H, p[5], NULL), 0);
	assert_int_equal(runs(&b), 32);
}

static void mixed(void **state)
{
	struct bpf_cgroup_node late;

	assert_int_equal(bpf_cgroup_attach(&root, H, p[0], NULL, NULL, MULTI), 0);
	assert_int_equal(bpf_cgroup_attach(&a, H, p[1], NULL, NULL, OVERRIDE), 0); /* allowed under multi */
	assert_int_equal(runs(&a), 21);
	assert_int_equal(bpf_cgroup_attach(&b, H, p[2], NULL, NULL, NONE), 0);
	assert_int_equal(runs(&b), 31); /* hides the override, not the multi */
	assert_int_equal(bpf_cgroup_add(&late, &b), 0);
	assert_int_equal(runs(&late), 31);
	bpf_cgroup_remove(&late);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(none_forbids_below, setup, teardown),
		cmocka_unit_test_setup_teardown(override_hides, setup, teardown),
		cmocka_unit_test_setup_teardown(multi_adds, setup, teardown),
		cmocka_unit_test_setup_teardown(mixed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
