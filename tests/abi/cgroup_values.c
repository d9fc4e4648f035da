/* SPDX-License-Identifier: MIT
 *
 * Problem: a control file gets any text that a script, a typo or an attacker writes; tools act on the error, and a
 * refused text may not have changed anything.
 *
 * Idea: a small grammar makes texts (numbers of all sorts, with signs, suffixes, blanks; pairs; lists; words); each is
 * written into each control file of a fresh tenant. What Linux 6.1 says to each is recorded in cgroup_values.h, made by
 * `cgroup_values record` there; here it must be the same. After an error the file reads as before.
 *
 * Contract: ok or not ok a file. On a machine with more than one CPU cpuset's files are left out, since their answers
 * depend on that.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "abi.h"
#include "cgroup_values.h"

#define TOP "/tmp/abi-cgroup-values"
#define DIR TOP "/values"

static const char *const files[] = {
	"cpu.weight",
	"cpu.weight.nice",
	"cpu.max",
	"cpu.max.burst",
	"cpu.idle",
	"pids.max",
	"memory.min",
	"memory.low",
	"memory.high",
	"memory.max",
	"memory.oom.group",
	"cgroup.freeze",
	"cgroup.max.depth",
	"cgroup.max.descendants",
	"cgroup.type",
	"cgroup.subtree_control",
	"cpu.pressure",
	"memory.pressure",
	"cpuset.cpus",
	"cpuset.mems",
	"memory.swap.high",
	"memory.swap.max",
	"memory.reclaim",
	"cgroup.pressure",
	"cgroup.kill",
	"io.pressure",
	"io.weight",
	"io.max",
	"cpuset.cpus.partition",
};
#define NR_FILES (sizeof(files) / sizeof(*files))

static const char *const atoms[] = {
	"",
	"0",
	"1",
	"2",
	"3",
	"19",
	"20",
	"100",
	"999",
	"1000",
	"10000",
	"10001",
	"1000000",
	"4194304",
	"4194305",
	"2147483647",
	"2147483648",
	"4294967296",
	"9223372036854775807",
	"9223372036854775808",
	"18446744073709551615",
	"18446744073709551616",
	"99999999999999999999999",
	"010",
	"0x1f",
	"0x",
	"1k",
	"1K",
	"4M",
	"1g",
	"1T",
	"1P",
	"1E",
	"16E",
	"1kk",
	"1 k",
	"k",
	"max",
	"MAX",
	"maxi",
	"ma",
	"threaded",
	"domain",
	"root",
	"+cpu",
	"+cpu -cpu",
	"-memory",
	"cpu",
	"+",
	"+none",
	"1.5",
	"1e3",
	"0-0",
	"0-",
	"-0",
	"0,0",
	"0-1",
	"1-0",
	"63",
	"64",
	"65",
	"1023",
	"1024",
	"a-b",
	"0,,0",
	"0 0",
	"some",
	"full",
};
#define NR_ATOMS (sizeof(atoms) / sizeof(*atoms))
static const char *const pairs[] = {
	"max 100000",
	"max 999",
	"max 1000001",
	"1000 1000",
	"999 100000",
	"50000 100000",
	"100000 50000",
	"max max",
	"50000 max",
	"50000 100000 1",
	"50000 -1",
	"50000  100000",
	"50000\t100000",
	"some 200000 1000000",
	"full 200000 1000000",
	"some 0 1000000",
	"some 1000001 1000000",
	"some 200000 499999",
	"some 200000 10000001",
	"some 200000",
	"half 200000 1000000",
	"some x 1000000",
	"some 200000 1000000 1",
	"full  200000  1000000",
	"member",
	"isolated",
	"default",
	"default 50",
	"default  50",
	"default 50 x",
	"default max",
	"default 0",
	"default 10001",
	"default 4294967346",
	" default 50",
	"default50",
	"254:0",
	"254:0\n",
	"254:0 rbps=1048576",
	" 254:0 rbps=1048576",
	"254: 0 rbps=1048576",
	"254 :0 rbps=1048576",
	"+254:0 rbps=1048576",
	"254:0rbps=1048576",
	"254:0\trbps=1048576\twbps=5",
	"254:0 rbps=1048576 wbps=max riops=100 wiops=max\n",
	"254:0 rbps=max",
	"254:0 rbps=maxi",
	"254:0 rbps=",
	"254:0 rbps",
	"254:0 =5",
	"254:0 rbps =5",
	"254:0 rbps=0",
	"254:0 rbps=1",
	"254:0 rbps=2",
	"254:0 rbps=-5",
	"254:0 rbps=5k",
	"254:0 rbps=0x10",
	"254:0 RBPS=5",
	"254:0 bps=5",
	"254:0 bps=0",
	"254:0 rbps=5 wbps=0",
	"254:0 rbps=5 foo=6",
	"254:0 riops=4294967295",
	"254:0 riops=4294967296",
	"254:0 rbps=18446744073709551615",
	"254:0 rbps=18446744073709551616",
	"254:0 rbps=18446744073709551618",
	"254:0 rbps=999999999999999999999999",
	"254:0 idle=5",
	"254:0 latency=5",
	"254:0 rbps=5 rbps=6",
	"254:0 rbps=5,wbps=6",
	"4294967550:0 rbps=5",
	"254:4294967296 rbps=5",
	"0:0 rbps=5",
	"1:1 rbps=5",
	"255:7 5",
	"255:7 default",
	"max:0 5",
	"254:max 5",
	":",
	"254:",
	":0 5",
};
#define NR_PAIRS (sizeof(pairs) / sizeof(*pairs))
#define DISK     "254:0" /* values with it need one; %s: an atom. */
static const char *const forms[] = { "%s", "-%s", "+%s", " %s", "%s\n", "%s x" };
#define NR_FORMS  (sizeof(forms) / sizeof(*forms))
#define NR_VALUES (NR_ATOMS * NR_FORMS + NR_PAIRS)

static void value(unsigned n, char *out, size_t size)
{
	if (n < NR_ATOMS * NR_FORMS)
		snprintf(out, size, forms[n % NR_FORMS], atoms[n / NR_FORMS]);
	else
		snprintf(out, size, "%s", pairs[n - NR_ATOMS * NR_FORMS]);
}

static int put(const char *path, const char *text)
{
	int f = open(path, O_RDWR), err = 0;

	if (f < 0)
		return errno;
	if (write(f, text, strlen(text)) < 0)
		err = errno;
	close(f);
	return err;
}

static void get(const char *path, char *out, size_t size)
{
	int f = open(path, O_RDONLY);
	ssize_t n = f < 0 ? -1 : read(f, out, size - 1);

	out[n < 0 ? 0 : n] = '\0';
	if (f >= 0)
		close(f);
}

/* A letter an error. */
static char letter(int err)
{
	static const struct {
		int err;
		char c;
	} names[] = { { 0, '.' },      { EINVAL, 'V' },     { ERANGE, 'R' },    { ENOENT, 'N' },
		      { EBUSY, 'B' },  { EOPNOTSUPP, 'O' }, { EOVERFLOW, 'F' }, { EPERM, 'P' },
		      { EAGAIN, 'A' }, { EACCES, 'C' },     { ENODEV, 'D' } };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].err == err)
			return names[i].c;
	return '?';
}

/* What writing value n into the file gives; the tenant is a new one after each success. *changed: it failed and the
 * file reads differently. */
static char try(unsigned file, unsigned n, bool *changed)
{
	char path[128], text[128], before[4096], after[4096];
	int err;

	mkdir(DIR, 0755);
	snprintf(path, sizeof(path), DIR "/%s", files[file]);
	value(n, text, sizeof(text));
	get(path, before, sizeof(before));
	err = put(path, text);
	get(path, after, sizeof(after));
	*changed = err && strcmp(before, after) && !strstr(path, "pressure");
	if (!err || *changed)
		rmdir(DIR);
	return letter(err);
}

static void record(void)
{
	bool changed;

	printf("/* SPDX-License-Identifier: MIT\n *\n * What Linux 6.1 answers to each value of cgroup_values.c, a "
	       "string a "
	       "file, a letter a value. Made by\n * `cgroup_values record`.\n */\n/* clang-format off */\n"
	       "static const char *const verdicts[] = {\n");
	for (unsigned f = 0; f < NR_FILES; f++) {
		printf("\t/* %s */\n", files[f]);
		for (unsigned n = 0; n < NR_VALUES; n++) {
			char c = try(f, n, &changed);

			printf("%s%c%s", n % 100 ? "" : "\t\"", c,
			       n + 1 == NR_VALUES ? "\",\n"
			       : n % 100 == 99    ? "\"\n"
						  : "");
		}
	}
	printf("};\n");
}

static unsigned current_file;

CASE(one_file)
{
	char text[128];
	bool changed;
	unsigned wrong = 0;

	for (unsigned n = 0; n < NR_VALUES; n++) {
		char got, wanted = verdicts[current_file][n];

		value(n, text, sizeof(text));
		if (wanted == 'O' && !strcmp(files[current_file], "io.weight"))
			continue; /* Linux wants io.cost.qos to be on before a disk may have weights of its own */
		if ((strstr(text, DISK) || (wanted == '.' && strchr(text, ':'))) &&
		    access("/sys/dev/block/" DISK, F_OK))
			continue;
		got = try(current_file, n, &changed);
		if (got == wanted && !changed)
			continue;
		if (text[strcspn(text, "\n")])
			text[strcspn(text, "\n")] = '~';
		if (wrong++ < 8)
			printf("# %s: '%s' gives %c, Linux %c%s\n", files[current_file], text, got, wanted,
			       changed ? ", and changed it" : "");
	}
	rmdir(DIR);
	if (wrong)
		abi_fail("%s: %u of %u values", files[current_file], wrong, (unsigned)NR_VALUES);
}

static bool several_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) != 1;
}

int main(int argc, char **argv)
{
	mkdir(TOP, 0755);
	if (mount("none", TOP, "cgroup2", 0, NULL)) {
		printf("skip: no cgroup2 (%s)\n", strerror(errno));
		return 77;
	}
	put(TOP "/cgroup.subtree_control", "+cpu +memory +pids");
	put(TOP "/cgroup.subtree_control", "+cpuset");
	put(TOP "/cgroup.subtree_control", "+io");
	if (argc > 1 && !strcmp(argv[1], "record"))
		return record(), 0;
	for (current_file = 0; current_file < NR_FILES; current_file++)
		if (strncmp(files[current_file], "cpuset", 6) || !several_cpus())
			abi_run(files[current_file], case_one_file);
	umount(TOP);
	return abi_status();
}
