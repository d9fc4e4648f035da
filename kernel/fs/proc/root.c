/* SPDX-License-Identifier: MIT
 *
 * Problem: free, uptime, top, vmstat and libraries learn about the machine from text files with formats that grew over
 * decades.
 *
 * Idea: one function a file, one table; the adapter (proc.c) does the rest. Values that Ostrom has no counterpart for
 * are 0 where programs index by column, and left out where they search by name.
 *
 * Contract: proc(5).
 *
 * Locks: none; sums of counters that others change.
 */
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/irq.h>
#include <lib/string.h>
#include <mm/commit.h>
#include <mm/swap.h>
#include <task/sched.h>
#include <vfs/device.h>
#include <vfs/writeback.h>

#include "proc_priv.h"

static int show_cmdline(struct strbuf *out)
{
	strbuf_add(out, "%s\n", boot_info()->cmdline);
	return 0;
}

static int show_uptime(struct strbuf *out)
{
	u64 up = clock_ns() / (NSEC_PER_SEC / 100), idle = 0;
	struct cpu_times t;
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask()) {
		sched_cpu_times(cpu, &t);
		idle += t.idle_ns / (NSEC_PER_SEC / 100);
	}
	strbuf_add(out, "%llu.%02llu %llu.%02llu\n", (unsigned long long)up / 100, (unsigned long long)up % 100,
		   (unsigned long long)idle / 100, (unsigned long long)idle % 100);
	return 0;
}

static int show_loadavg(struct strbuf *out)
{
	struct sched_load l;
	int last = 0;

	sched_load(&l);
	for (int i = 0; i < 3; i++)
		strbuf_add(out, "%llu.%02llu ", (unsigned long long)l.load_avg[i] >> 11,
			   (unsigned long long)(l.load_avg[i] & 2047) * 100 >> 11);
	for (int nr = 1;; nr = last + 1) {
		struct process *p = process_next(&nr);

		if (!p)
			break;
		last = nr;
		process_put(p);
	}
	strbuf_add(out, "%llu/%llu %d\n", (unsigned long long)l.running, (unsigned long long)l.total, last);
	return 0;
}

static int show_meminfo(struct strbuf *out)
{
	struct writeback_counts w;
	struct swap_totals swap;
	struct page_stats s;
	u64 file, limit, promised;

	page_stats(&s);
	swap_totals(&swap);
	writeback_counts(&w);
	commit_totals(&limit, &promised);
	file = s.cached > s.shmem ? s.cached - s.shmem : 0;
	const struct {
		const char *name;
		u64 pages;
	} rows[] = {
		{ "MemTotal:", s.total },
		{ "MemFree:", s.free },
		{ "MemAvailable:", s.free + file - min(file, s.mapped / 2) },
		{ "Buffers:", 0 },
		{ "Cached:", s.cached },
		{ "SwapCached:", swap.cached },
		{ "SwapTotal:", swap.total },
		{ "SwapFree:", swap.total - swap.used },
		{ "Dirty:", w.dirty },
		{ "Writeback:", w.under_writeback },
		{ "AnonPages:", s.anon },
		{ "Mapped:", s.mapped },
		{ "Shmem:", s.shmem },
		{ "Slab:", s.slab },
		{ "KernelStack:", s.stacks },
		{ "PageTables:", s.tables },
		{ "CommitLimit:", limit },
		{ "Committed_AS:", promised },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		strbuf_add(out, "%-15s %8llu kB\n", rows[i].name, KIB(rows[i].pages));
	return 0;
}

static void add_cpu_line(struct strbuf *out, const char *name, const struct cpu_times *t)
{
	strbuf_add(out, "%s %llu %llu %llu %llu %llu %llu 0 0 0 0\n", name, TICKS(t->user_ns), TICKS(t->nice_ns),
		   TICKS(t->system_ns), TICKS(t->idle_ns), TICKS(t->iowait_ns), TICKS(t->irq_ns));
}

/* The sum, then each vector's count, as the rows of /proc/interrupts. */
static void add_interrupts(struct strbuf *out)
{
	struct irq_info i;
	u64 sum = 0;

	for (unsigned n = 0; irq_describe(n, &i); n++)
		sum += i.name ? i.count : 0;
	strbuf_add(out, "intr %llu", (unsigned long long)sum);
	for (unsigned n = 0; irq_describe(n, &i); n++)
		if (i.name)
			strbuf_add(out, " %llu", (unsigned long long)i.count);
	strbuf_add(out, "\n");
}

/* A vector arrives at one CPU. */
static int show_interrupts(struct strbuf *out)
{
	struct irq_info i;
	unsigned cpu;

	strbuf_add(out, "    ");
	for_each_cpu (cpu, cpu_online_mask())
		strbuf_add(out, "       CPU%-4u", cpu);
	strbuf_add(out, "\n");
	for (unsigned n = 0; irq_describe(n, &i); n++) {
		if (!i.name)
			continue;
		strbuf_add(out, "%3u:", i.vector);
		for_each_cpu (cpu, cpu_online_mask())
			strbuf_add(out, " %13llu", cpu == i.cpu ? (unsigned long long)i.count : 0ULL);
		strbuf_add(out, "  APIC  %s\n", i.name);
	}
	return 0;
}

static int show_stat(struct strbuf *out)
{
	struct cpu_times sum = { 0 }, t;
	struct sched_load l;
	char name[16];
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask()) {
		sched_cpu_times(cpu, &t);
		sum.user_ns += t.user_ns;
		sum.nice_ns += t.nice_ns;
		sum.system_ns += t.system_ns;
		sum.idle_ns += t.idle_ns;
		sum.iowait_ns += t.iowait_ns;
		sum.irq_ns += t.irq_ns;
	}
	add_cpu_line(out, "cpu ", &sum);
	for_each_cpu (cpu, cpu_online_mask()) {
		sched_cpu_times(cpu, &t);
		str_format(name, sizeof(name), "cpu%u", cpu);
		add_cpu_line(out, name, &t);
	}
	sched_load(&l);
	add_interrupts(out);
	strbuf_add(out, "ctxt %llu\nbtime %llu\nprocesses %llu\nprocs_running %llu\nprocs_blocked 0\n",
		   (unsigned long long)l.switches, (unsigned long long)((clock_real_ns() - clock_ns()) / NSEC_PER_SEC),
		   (unsigned long long)l.forks, (unsigned long long)l.running);
	return 0;
}

static const char *const event_names[] = { "pgscan_direct", "pgsteal_direct", "pswpin", "pswpout", "oom_kill" };

static int show_vmstat(struct strbuf *out)
{
	struct writeback_counts w;
	struct page_stats s;

	page_stats(&s);
	writeback_counts(&w);
	strbuf_add(out, "nr_anon_pages %llu\nnr_mapped %llu\nnr_shmem %llu\nnr_page_table_pages %llu\n",
		   (unsigned long long)s.anon, (unsigned long long)s.mapped, (unsigned long long)s.shmem,
		   (unsigned long long)s.tables);
	for (int e = PAGE_STAT_EVENTS; e < PAGE_STAT_NR; e++)
		strbuf_add(out, "%s %llu\n", event_names[e - PAGE_STAT_EVENTS],
			   (unsigned long long)s.events[e - PAGE_STAT_EVENTS]);
	strbuf_add(out, "nr_free_pages %llu\nnr_file_pages %llu\nnr_dirty %llu\nnr_writeback %llu\n",
		   (unsigned long long)s.free, (unsigned long long)s.cached, (unsigned long long)w.dirty,
		   (unsigned long long)w.under_writeback);
	strbuf_add(out,
		   "nr_dirtied %llu\nnr_written %llu\nnr_dirty_threshold %llu\nnr_dirty_background_threshold %llu\n",
		   (unsigned long long)w.dirtied, (unsigned long long)w.written, (unsigned long long)w.limit,
		   (unsigned long long)w.background_limit);
	return 0;
}

static int show_swaps(struct strbuf *out)
{
	swap_show(out);
	return 0;
}

static int show_cpuinfo(struct strbuf *out)
{
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask())
		cpu_describe(cpu, out);
	return 0;
}

static struct proc_file files[] = {
	{ .name = "cmdline", .show = show_cmdline },       { .name = "cpuinfo", .show = show_cpuinfo },
	{ .name = "devices", .show = chrdev_show },        { .name = "filesystems", .show = fs_show_types },
	{ .name = "interrupts", .show = show_interrupts }, { .name = "loadavg", .show = show_loadavg },
	{ .name = "meminfo", .show = show_meminfo },       { .name = "stat", .show = show_stat },
	{ .name = "uptime", .show = show_uptime },         { .name = "swaps", .show = show_swaps },
	{ .name = "vmstat", .show = show_vmstat },
};

void proc_root_init(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		proc_file_register(&files[i]);
}
