/* SPDX-License-Identifier: MIT
 *
 * Problem: whether a kernel will take an eBPF program is found out on a machine with that kernel, as root, with a log
 * of thousands of lines. People who write eBPF want to know it in CI, at the line of C that is to blame.
 *
 * Idea: the verifier of our kernel as a program. It loads each program of an object file, without root and without
 * bpf(2), and translates the verdict: the last instruction that the log names leads through BTF's line records to the
 * source.
 *
 * Contract: exit status 0 if all programs are accepted, 1 if one is refused, 2 for wrong usage or an unreadable file.
 * Results go to stdout, one line a program, more for a refusal.
 *
 * Locks: none; single-threaded.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <elf.h>
#include <bpf/prog.h>
#include "ostrom.h"
#include "object.h"

#define LOG_BYTES (4U << 20)

struct options {
	bool unprivileged, verbose, strict;
	const char *type; /* for sections whose name says nothing */
};

static const struct {
	const char *prefix;
	u32 type, attach;
} kinds[] = {
	{ "socket", BPF_PROG_TYPE_SOCKET_FILTER, 0 },
	{ "kprobe", BPF_PROG_TYPE_KPROBE, 0 },
	{ "kretprobe", BPF_PROG_TYPE_KPROBE, 0 },
	{ "ksyscall", BPF_PROG_TYPE_KPROBE, 0 },
	{ "uprobe", BPF_PROG_TYPE_KPROBE, 0 },
	{ "uretprobe", BPF_PROG_TYPE_KPROBE, 0 },
	{ "usdt", BPF_PROG_TYPE_KPROBE, 0 },
	{ "tc", BPF_PROG_TYPE_SCHED_CLS, 0 },
	{ "classifier", BPF_PROG_TYPE_SCHED_CLS, 0 },
	{ "action", BPF_PROG_TYPE_SCHED_ACT, 0 },
	{ "tracepoint", BPF_PROG_TYPE_TRACEPOINT, 0 },
	{ "tp", BPF_PROG_TYPE_TRACEPOINT, 0 },
	{ "raw_tracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, 0 },
	{ "raw_tp", BPF_PROG_TYPE_RAW_TRACEPOINT, 0 },
	{ "xdp/devmap", BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP },
	{ "xdp", BPF_PROG_TYPE_XDP, 0 },
	{ "perf_event", BPF_PROG_TYPE_PERF_EVENT, 0 },
	{ "lwt_in", BPF_PROG_TYPE_LWT_IN, 0 },
	{ "lwt_out", BPF_PROG_TYPE_LWT_OUT, 0 },
	{ "lwt_xmit", BPF_PROG_TYPE_LWT_XMIT, 0 },
	{ "sockops", BPF_PROG_TYPE_SOCK_OPS, 0 },
	{ "sk_skb", BPF_PROG_TYPE_SK_SKB, 0 },
	{ "sk_msg", BPF_PROG_TYPE_SK_MSG, 0 },
	{ "sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP },
	{ "sk_reuseport", BPF_PROG_TYPE_SK_REUSEPORT, BPF_SK_REUSEPORT_SELECT },
	{ "flow_dissector", BPF_PROG_TYPE_FLOW_DISSECTOR, 0 },
	{ "cgroup_skb/egress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS },
	{ "cgroup_skb", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS },
	{ "cgroup/skb", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS },
	{ "cgroup/sock_create", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE },
	{ "cgroup/sock_release", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_RELEASE },
	{ "cgroup/sock", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE },
	{ "cgroup/post_bind4", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET4_POST_BIND },
	{ "cgroup/post_bind6", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET6_POST_BIND },
	{ "cgroup/dev", BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE },
	{ "cgroup/bind4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_BIND },
	{ "cgroup/bind6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_BIND },
	{ "cgroup/connect4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT },
	{ "cgroup/connect6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT },
	{ "cgroup/sendmsg4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG },
	{ "cgroup/sendmsg6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG },
	{ "cgroup/recvmsg4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_RECVMSG },
	{ "cgroup/recvmsg6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_RECVMSG },
	{ "cgroup/getpeername4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETPEERNAME },
	{ "cgroup/getpeername6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_GETPEERNAME },
	{ "cgroup/getsockname4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETSOCKNAME },
	{ "cgroup/getsockname6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_GETSOCKNAME },
	{ "cgroup/sysctl", BPF_PROG_TYPE_CGROUP_SYSCTL, BPF_CGROUP_SYSCTL },
	{ "cgroup/getsockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_GETSOCKOPT },
	{ "cgroup/setsockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_SETSOCKOPT },
};

static bool find_kind(const char *section, struct bpf_load *l)
{
	for (u32 i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t n = strlen(kinds[i].prefix);

		/* "tc" is not the beginning of "tcp_something" */
		if (strncmp(section, kinds[i].prefix, n) || isalpha((u8)section[n]))
			continue;
		l->type = kinds[i].type;
		l->attach_type = kinds[i].attach;
		return true;
	}
	return false;
}

static struct bpf_map *find_map(void *arg, s32 idx, bool by_index)
{
	struct object *o = arg;

	return idx >= 0 && (u32)idx < o->nmaps && !by_index ? o->maps[idx] : NULL;
}

/* The instruction that the log speaks of last, -1 without; *reason is the line that says why. */
static s32 blame(char *log, char **reason)
{
	s32 insn = -1;

	*reason = NULL;
	for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
		char *end;
		long n = strtol(line, &end, 10);

		if (end > line && !strncmp(end, ": (", 3))
			insn = (s32)n;
		else if (strncmp(line, "processed ", 10) && line[0] != ';' && !(end > line && *end == ':') &&
			 strncmp(line, "from ", 5) && strncmp(line, "stack depth", 11) && !strstr(line, "frame"))
			*reason = line;
	}
	return insn;
}

static void print_source(const struct object *o, const struct program *p, s32 insn)
{
	const struct bpf_line_info *best = NULL;
	const char *file, *text;

	for (u32 i = 0; i < p->nlines; i++)
		if (p->lines[i].insn_off <= (u32)insn && (!best || p->lines[i].insn_off >= best->insn_off))
			best = &p->lines[i];
	if (insn < 0 || !best) {
		if (insn >= 0)
			printf("    at instruction %d (no line information: compile with -g)\n", insn);
		return;
	}
	file = bpf_btf_string(o->btf, best->file_name_off);
	text = bpf_btf_string(o->btf, best->line_off);
	while (isspace((u8)*text))
		text++;
	printf("    at %s:%u: %s   (instruction %d)\n", file, BPF_LINE_INFO_LINE_NUM(best->line_col), text, insn);
}

/* 0 accepted, 1 refused. */
static int check_program(struct object *o, const struct symbol *entry, const struct options *opt, char *log)
{
	struct bpf_load l = { .gpl = strstr(o->license, "GPL") != NULL,
			      .log = log,
			      .log_size = LOG_BYTES,
			      .log_level = 1,
			      .find_map = find_map,
			      .arg = o,
			      .btf = o->btf };
	const char *section = o->sections[entry->section].name;
	struct bpf_prog *prog;
	struct bpf_func_info funcs[MAX_FUNCS];
	struct program p;
	char why[256], *reason;
	s32 insn;
	int err;

	if (!find_kind(section, &l) && !(opt->type && find_kind(opt->type, &l))) {
		printf("%s: %s: section '%s' names no program type (give one with --type)\n", o->path, entry->name,
		       section);
		return 1;
	}
	err = object_program(o, entry, &p, why);
	if (err) {
		printf("%s: %s: %s\n", o->path, entry->name, why);
		return 1;
	}
	l.insns = p.insns;
	l.len = p.len;
	l.lines = p.lines;
	l.nr_lines = p.nlines;
	l.funcs = funcs;
	l.nr_funcs = program_functions(&p, funcs);
	l.flags = opt->strict ? BPF_F_STRICT_ALIGNMENT : 0;
	if (!opt->unprivileged)
		l.rights = (struct bpf_rights){ true, true, true, true };
	err = bpf_prog_new(&l, &prog);
	if (opt->verbose)
		fputs(log, stdout);
	if (!err) {
		printf("%s: %s (%s): accepted, %u instructions, %u checked\n", o->path, entry->name,
		       bpf_prog_type_name(l.type), p.len, prog->verified_insns);
		bpf_prog_put(prog);
	} else {
		insn = blame(log, &reason);
		printf("%s: %s (%s): refused: %s\n", o->path, entry->name, bpf_prog_type_name(l.type),
		       reason ? reason : strerror(-err));
		print_source(o, &p, insn);
	}
	program_free(&p);
	return err != 0;
}

static int check_file(const char *path, const struct options *opt, char *log)
{
	struct object *o = malloc(sizeof(*o));
	char why[256];
	int status = 0;
	u32 programs = 0;

	if (!o || object_open(path, o, why)) {
		say_error("%s: %s", path, o ? why : "out of memory");
		free(o);
		return 2;
	}
	for (u32 i = 0; i < o->nsymbols; i++) {
		const struct symbol *s = &o->symbols[i];

		if (s->type != STT_FUNC || s->section >= o->nsections || !o->sections[s->section].code ||
		    !strcmp(o->sections[s->section].name, ".text"))
			continue;
		programs++;
		status |= check_program(o, s, opt, log);
	}
	if (!programs) {
		say_error("%s: no programs in it", path);
		status = 2;
	}
	object_close(o);
	free(o);
	return status;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: ostrom bpfcheck [--unprivileged] [--strict-alignment] [--type SECTION] [--verbose] FILE.o ...\n"
		"Says whether Linux 6.1's verifier would refuse the programs, why, and at which source line.\n");
	return 2;
}

static int run(int argc, char **argv)
{
	struct options opt = { 0 };
	int status = 0, i = 1;
	char *log;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--unprivileged"))
			opt.unprivileged = true;
		else if (!strcmp(argv[i], "--strict-alignment"))
			opt.strict = true;
		else if (!strcmp(argv[i], "--verbose"))
			opt.verbose = true;
		else if (!strcmp(argv[i], "--type") && i + 1 < argc)
			opt.type = argv[++i];
		else
			return usage();
	}
	if (i == argc)
		return usage();
	log = malloc(LOG_BYTES);
	if (!log)
		return 2;
	for (; i < argc; i++) {
		int s = check_file(argv[i], &opt, log);

		status = s > status ? s : status;
	}
	free(log);
	return status;
}
SUBCOMMAND(bpfcheck, "judge eBPF object files as the kernel would, without root", run);
