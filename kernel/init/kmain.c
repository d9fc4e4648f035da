/* SPDX-License-Identifier: MIT
 *
 * Problem: the order in which a kernel comes to life is a dependency graph that people want to
 * read.
 *
 * Idea: two lists of calls. kmain runs on the boot stack until threads exist; `first_thread` does
 * the rest as a thread, so it may sleep, starts the first user program, and stays as kthreadd. `bootchart` on the
 * command line prints the time of each step.
 *
 * Contract: arch/upcalls.h.
 *
 * Locks: none.
 */
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/upcalls.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/rcu.h>
#include <fs/fs.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <process/process.h>
#include <syscall/info.h>
#include <syscall/syscall.h>
#include <task/sched.h>
#include <task/work.h>
#include <vfs/vfs.h>
#include "init_priv.h"

#define MAX_STEPS 32

static struct {
	const char *name;
	u64 cycles;
} steps[MAX_STEPS];
static unsigned nr_steps;

/* Runs one step and notes when it ended. */
#define STEP(call)                                                                                                     \
	do {                                                                                                           \
		call;                                                                                                  \
		if (nr_steps < MAX_STEPS) {                                                                            \
			steps[nr_steps].name = #call;                                                                  \
			steps[nr_steps++].cycles = cpu_cycles();                                                       \
		}                                                                                                      \
	} while (0)

static void print_bootchart(u64 start)
{
	u64 before = start, tsc_start, mult;
	char value[4];

	if (!boot_param("bootchart", value, sizeof(value)))
		return;
	clock_parameters(&tsc_start, &mult);
	for (unsigned i = 0; i < nr_steps; i++) {
		u64 us = (u64)(((unsigned __int128)(steps[i].cycles - before) * mult) >> 32) / 1000;

		log_info("bootchart: %8lu us  %s", us, steps[i].name);
		before = steps[i].cycles;
	}
}

static unsigned max_cpus(void)
{
	return (unsigned)max(boot_param_u64("maxcpus", MAX_CPUS, MAX_CPUS), 1UL);
}

static u64 boot_cycles;

static void first_thread(void *arg)
{
	STEP(work_pool_init());
	STEP(rcu_init());
	STEP(mm_init());
	STEP(process_init());
	STEP(syscall_init());
	STEP(info_init());
	STEP(vfs_init());
	STEP(tmpfs_init());
	STEP((void)!vfs_mount_root("tmpfs"));
	STEP(init_run());
	STEP((void)!vfs_unpack_initrd());
	print_bootchart(boot_cycles);
	process_start_init();
}

void kmain(void)
{
	boot_cycles = cpu_cycles();
	log_init();
	STEP(task_boot());
	STEP(console_init_early());
	log_info("Ostrom, %s", boot_info()->cmdline);
	STEP(alloc_init());
	STEP(machine_init());
	STEP(task_init());
	STEP(pid_init());
	STEP(cpu_start_all(max_cpus()));
	if (kthread_run(NULL, first_thread, NULL, "kthreadd"))
		panic("no memory for the first thread");
	sched_start();
}

void kmain_secondary(void)
{
	sched_start();
}
