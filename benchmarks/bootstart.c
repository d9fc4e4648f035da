/* SPDX-License-Identifier: MIT
 *
 * Problem: when did the first program run? A kernel's own clock begins after much of the boot, and each kernel's at
 * another point.
 *
 * Idea: this is process 1, and its first instruction reads the time stamp counter, which counts from the machine's
 * reset. It leaves the figure in /boot-cycles and becomes the real /init.
 *
 * Contract: static, no library, runs on Ostrom and Linux; `init=/bootstart rdinit=/bootstart`. Locks: none.
 */
#include <asm/unistd.h>

__asm__(".globl _start\n"
	"_start: rdtsc\n"
	"shl $32, %rdx\n"
	"or %rdx, %rax\n"
	"mov %rax, %rdi\n"
	"and $-16, %rsp\n"
	"call start\n");

static long call3(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}

__attribute__((used, noreturn)) static void start(unsigned long cycles)
{
	static const char init[] = "/init", where[] = "/boot-cycles";
	const char *argv[] = { init, (char *)0 }, **envp = &argv[1];
	char text[24];
	int at = sizeof(text);
	long fd = call3(__NR_creat, (long)where, 0644, 0);

	text[--at] = '\n';
	for (; cycles; cycles /= 10)
		text[--at] = (char)('0' + cycles % 10);
	call3(__NR_write, fd, (long)&text[at], (long)sizeof(text) - at);
	call3(__NR_close, fd, 0, 0);
	call3(__NR_execve, (long)init, (long)argv, (long)envp);
	for (;;)
		call3(__NR_exit, 1, 0, 0);
}
