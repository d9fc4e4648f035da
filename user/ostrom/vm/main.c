/* SPDX-License-Identifier: MIT
 *
 * Problem: running a kernel in a virtual machine should take one short command and give back a status.
 *
 * Idea: options, a machine, its console on this terminal. When the guest writes "OSTROM-EXIT n" to the debug port (its
 * init does, after the command it was given) that is our status; a guest that powers off otherwise gives 0, one that
 * crashes 125.
 *
 * Contract: `ostrom vm run --kernel ELF [--initrd FILE] [--append WORDS] [--cpus N] [--mem SIZE] [--disk IMAGE]...
 * [--net INTERFACE] [--console serial|virtio] [--rng] [--unconfined] [--gpu PERCENT] [--screenshot FILE] [--vfio
 * UUID|ADDRESS]... [-- COMMAND...]`; `ostrom vm screenshot PID FILE`, `ostrom vm stat PID`. The kernel is an ELF file
 * with a PVH entry (Ostrom, Linux's vmlinux). Status 2: wrong usage; 1: no machine could be made.
 *
 * Locks: none here.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "ostrom.h"
#include "vm.h"

static struct termios saved;
static bool is_raw;

static void restore_terminal(void)
{
	if (is_raw)
		tcsetattr(0, TCSANOW, &saved);
}

static void raw_terminal(void)
{
	struct termios t;

	if (!isatty(0) || tcgetattr(0, &saved))
		return;
	t = saved;
	cfmakeraw(&t);
	t.c_oflag |= OPOST;
	is_raw = tcsetattr(0, TCSANOW, &t) == 0;
	atexit(restore_terminal);
}

static int parse_size(const char *text, uint64_t *out)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	switch (*end | 0x20) {
	case 'g': v <<= 30; break;
	case 'm':
	case ' ': v <<= 20; break;
	case 'k': v <<= 10; break;
	default: return -1;
	}
	if (end == text || (*end && end[1]))
		return -1;
	*out = v & ~0xfffULL;
	return *out >= 16 << 20 && *out <= 64ULL << 30 ? 0 : -1;
}

static void usage(FILE *f)
{
	fprintf(f,
		"usage: ostrom vm run --kernel ELF [--initrd FILE] [--append WORDS] [--cpus N] [--mem SIZE] [--disk "
		"IMAGE]...\n"
		"                     [--net INTERFACE] [--console serial|virtio] [--rng] [--gpu PERCENT] "
		"[--screenshot FILE]\n"
		"                     [--vfio UUID|ADDRESS]... [--unconfined] [-- COMMAND [ARG...]]\n"
		"       ostrom vm screenshot PID FILE\n"
		"       ostrom vm stat PID\n\n"
		"Runs a kernel with a PVH entry on /dev/kvm, its console on this terminal. With a command, it is given "
		"to the\n"
		"guest's init (Ostrom's root images run it and hand back its status). SIZE: 512M, 2G; default 256M.\n"
		"--gpu 25%% gives it a part of the GPU, made now and gone at its end; --screenshot writes what it "
		"shows "
		"then (PNG, or\n"
		"PPM if the name ends so); --vfio gives it a mediated device that exists, or a whole PCI device that\n"
		"the driver vfio-pci has. --net makes it a station of "
		"its own on\n"
		"an interface of this machine. Once the guest runs the monitor can open nothing and start nothing; "
		"--unconfined\n"
		"leaves that out.\n");
}

/* "console=ttyS0 ... -- COMMAND"; kept until the end. */
static char *command_line(const char *append, char **command, int nr)
{
	size_t n = strlen(append) + 64;
	char *text;

	for (int i = 0; i < nr; i++)
		n += strlen(command[i]) + 3;
	text = malloc(n);
	if (!text)
		return NULL;
	strcpy(text, append);
	for (int i = 0; i < nr; i++) {
		bool quote = strchr(command[i], ' ') != NULL;

		strcat(text, i ? " " : " -- ");
		strcat(text, quote ? "\"" : "");
		strcat(text, command[i]);
		strcat(text, quote ? "\"" : "");
	}
	return text;
}

static int parse(int argc, char **argv, struct vm_options *o)
{
	static const struct option longs[] = {
		{ "kernel", 1, NULL, 'k' }, { "initrd", 1, NULL, 'i' },     { "append", 1, NULL, 'a' },
		{ "cpus", 1, NULL, 'c' },   { "mem", 1, NULL, 'm' },        { "disk", 1, NULL, 'd' },
		{ "gpu", 1, NULL, 'g' },    { "screenshot", 1, NULL, 's' }, { "vfio", 1, NULL, 'v' },
		{ "help", 0, NULL, 'h' },   { "net", 1, NULL, 'n' },        { "console", 1, NULL, 't' },
		{ "rng", 0, NULL, 'r' },    { "unconfined", 0, NULL, 'u' }, { NULL, 0, NULL, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "+h", longs, NULL)) != -1) {
		switch (c) {
		case 'k': o->kernel = optarg; break;
		case 'i': o->initrd = optarg; break;
		case 'a': o->append = optarg; break;
		case 'c':
			o->cpus = (unsigned)atoi(optarg);
			if (o->cpus < 1 || o->cpus > VM_CPUS_MAX) {
				say_error("--cpus: 1 to %d", VM_CPUS_MAX);
				return -1;
			}
			break;
		case 'm':
			if (parse_size(optarg, &o->bytes)) {
				say_error("--mem: a size from 16M to 64G");
				return -1;
			}
			break;
		case 'd':
			if (o->nr_disks == VIRTIO_MAX) {
				say_error("at most %d disks", VIRTIO_MAX);
				return -1;
			}
			o->disk[o->nr_disks++] = optarg;
			break;
		case 'g':
			o->gpu_percent = (unsigned)atoi(optarg);
			if (o->gpu_percent < 1 || o->gpu_percent > 100) {
				say_error("--gpu: 1%% to 100%%");
				return -1;
			}
			break;
		case 's': o->screenshot = optarg; break;
		case 'n': o->net = optarg; break;
		case 'r': o->rng = true; break;
		case 'u': o->open = true; break;
		case 't':
			o->console = !strcmp(optarg, "virtio");
			if (!o->console && strcmp(optarg, "serial")) {
				say_error("--console: serial or virtio");
				return -1;
			}
			break;
		case 'v':
			if (o->nr_vfio == VM_VFIO_MAX) {
				say_error("at most %d devices", VM_VFIO_MAX);
				return -1;
			}
			o->vfio[o->nr_vfio++] = optarg;
			break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); return -1;
		}
	}
	if (!o->kernel) {
		usage(stderr);
		return -1;
	}
	return 0;
}

/* The last things that have to be opened, or changed on the terminal. */
static int keep_files(struct vm *vm, const struct vm_options *o)
{
	vm->screenshot = o->screenshot;
	vm->picture = o->screenshot ? fopen(o->screenshot, "wb") : NULL;
	if (vm->screenshot && !vm->picture) {
		say_error("%s: %s", o->screenshot, strerror(errno));
		return -1;
	}
	raw_terminal();
	return 0;
}

static int run(int argc, char **argv)
{
	struct vm_options o = { .cpus = 1, .bytes = 256 << 20 };
	static struct vm vm;
	int status = 1;

	if (argc == 4 && !strcmp(argv[1], "screenshot"))
		return vm_screenshot(atoi(argv[2]), argv[3]) ? 1 : 0;
	if (argc == 3 && !strcmp(argv[1], "stat"))
		return vm_stat(atoi(argv[2])) ? 1 : 0;
	if (argc < 2 || strcmp(argv[1], "run")) {
		usage(argc > 1 && !strcmp(argv[1], "--help") ? stdout : stderr);
		return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 2;
	}
	if (parse(argc - 1, argv + 1, &o))
		return 2;
	if (!o.append)
		o.append = o.console ? "console=hvc0 ostrom.tty=hvc0" : "console=ttyS0";
	o.append = command_line(o.append, argv + 1 + optind, argc - 1 - optind);
	if (o.append && vm_create(&vm, &o) == 0 && keep_files(&vm, &o) == 0 && (o.open || vm_confine() == 0)) {
		status = vm_run(&vm);
		vm_keep_picture(&vm);
		if (vm.screenshot)
			say_error("%s: the machine showed no picture", vm.screenshot);
	}
	vm_destroy(&vm);
	free((char *)o.append);
	return status;
}
SUBCOMMAND(vm, "run a kernel in a virtual machine", run);
