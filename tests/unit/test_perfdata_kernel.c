/* SPDX-License-Identifier: MIT
 *
 * Problem: the names of a recorded kernel that does not run any more must be found where kernels are kept.
 *
 * Idea: the linker makes a kernel of one function with a build id; it is put into each place in turn, with and without
 * a home folder in the environment.
 *
 * Contract: runs under ASan and UBSan; skipped where the running kernel does not say its build id. Locks: none.
 */
// links: user/ostrom/perfdata/kernel.c user/ostrom/perfdata/ksyms.c user/ostrom/perfdata/image.c
// libs: -ldw -lelf -liberty
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "perfdata/ksyms.h"

#define ID    "0123456789abcdef0123456789abcdef01234567"
#define CACHE "home/.debug/.build-id/01/23456789abcdef0123456789abcdef01234567"

static char dir[] = "/tmp/kernel-XXXXXX";

static void shell(const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd %s && %s", dir, command);
	assert_int_equal(system(line), 0);
}

static int make_kernel(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	shell("echo 'void one_function(void) {}' | gcc -xc - -nostdlib -static -fno-pie -no-pie -mcmodel=kernel -o "
	      "vmlinux "
	      "-Wl,-eone_function,-Ttext=0xffffffff81000000,--build-id=0x" ID);
	return 0;
}

static int forget_kernel(void **state)
{
	char line[64];

	snprintf(line, sizeof(line), "rm -r %s", dir);
	return system(line);
}

static int load(void)
{
	struct kernel_source src = { .root = dir, .build_id = ID, .release = "9.9" };
	struct ksyms k;
	int err = kernel_load(&k, &src);

	if (!err) {
		assert_non_null(ksyms_named(&k, "one_function"));
		ksyms_free(&k);
	}
	return err;
}

static void all_places(void)
{
	static const char *const places[] = { "usr/lib/debug/boot/vmlinux-9.9", "boot/vmlinux-9.9",
					      "lib/modules/9.9/build/vmlinux" };
	char command[256];

	assert_int_equal(load(), -ENOENT);
	for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(command, sizeof(command), "mkdir -p $(dirname %s) && cp vmlinux %s", places[i], places[i]);
		shell(command);
		assert_int_equal(load(), 0);
		snprintf(command, sizeof(command), "rm %s", places[i]);
		shell(command);
	}
}

static void with_a_home(void **state)
{
	u8 id[KERNEL_ID_BYTES];
	char home[64];

	if (!kernel_running_id(id))
		skip();
	snprintf(home, sizeof(home), "%s/home", dir);
	setenv("HOME", home, 1);
	all_places();
	shell("mkdir -p " CACHE " && cp vmlinux " CACHE "/elf");
	assert_int_equal(load(), 0);
}

static void without_a_home(void **state)
{
	u8 id[KERNEL_ID_BYTES];

	if (!kernel_running_id(id))
		skip();
	unsetenv("HOME");
	all_places();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(with_a_home), cmocka_unit_test(without_a_home) };

	return cmocka_run_group_tests(tests, make_kernel, forget_kernel);
}
