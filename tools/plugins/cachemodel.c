/* SPDX-License-Identifier: MIT
 *
 * Problem: the guest's every memory access, its kernel's included, must reach the model by physical address, with the
 * name of who asked for it, and the guest has no way to talk to the emulator's plug-in.
 *
 * Idea: a callback on every instruction that touches memory. The guest speaks by storing into one page of its own,
 * whose physical address is the option `tag`, or whose virtual one, in every program, is `vtag`; the word that it
 * stores to is the message:
 *
 *      tag + 64*n, n < 60     this CPU now runs requestor n
 *      tag + 64*61            begin: forget everything said before (firmware may have stored there)
 *      tag + 64*62            forget the counts so far
 *      tag + 64*63            append a report now
 *
 * A locked instruction (prefix, or an exchange with memory) counts once, as a locked operation, since the emulator
 * shows it as one access or as two, depending on its threading.
 *
 * Contract: arguments bytes, ways, line, slices, colours, policy=lru|plru, ways<n>=hexmask, tag=address, vtag=address,
 * user=1 (only accesses to addresses of programs are made), kernel=1 (those to the kernel's addresses count for
 * requestor 0, whoever runs), pace=N (CPUs in programs run side by side, at most N instructions apart), out=file. A
 * report is appended at exit. Addresses are offsets into RAM: equal to physical addresses below the PCI hole.
 * Instruction fetches are not seen by this interface.
 *
 * Locks: one mutex around the model.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "model.h"
#include "pace.h"
#include "qemu_plugin.h"

#define WORDS      64
#define MSG_BEGIN  61
#define MSG_FORGET 62
#define MSG_REPORT 63

PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION_1;
PLUGIN_EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_plugin_info *info, int argc, char **argv);

static struct model *model;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned requestor[MODEL_CPUS];               /* of each CPU */
static uint64_t tag = 1ull << 63, vtag = 1ull << 63; /* no address is there */
static uint64_t user_only, kernel_apart, pace;
static FILE *out;
static char locked_insn; /* its address marks locked instructions */

static void take_message(unsigned vcpu, unsigned word)
{
	if (word < MODEL_REQUESTORS)
		requestor[vcpu] = word;
	if (word == MSG_BEGIN) {
		rewind(out);
		memset(requestor, 0, sizeof(requestor));
		if (ftruncate(fileno(out), 0))
			fprintf(out, "(what firmware said)\n");
	}
	if (word == MSG_FORGET)
		model_reset_counts(model);
	if (word == MSG_REPORT) {
		model_report(model, out);
		fprintf(out, "end\n");
		fflush(out);
	}
}

static void on_access(unsigned vcpu, uint32_t info, uint64_t vaddr, void *user)
{
	struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, vaddr);
	bool store = qemu_plugin_mem_is_store(info), locked = user == &locked_insn;
	uint64_t paddr;

	if (pace && vaddr >> 63 && vcpu < MODEL_CPUS)
		pace_kernel_access(vcpu);
	if (!hw || qemu_plugin_hwaddr_is_io(hw) || vcpu >= MODEL_CPUS || (locked && !store) ||
	    (user_only && vaddr >> 63))
		return;
	paddr = qemu_plugin_hwaddr_phys_addr(hw);
	pthread_mutex_lock(&lock);
	if (paddr - tag < WORDS * 64 || vaddr - vtag < WORDS * 64) {
		if (store)
			take_message(vcpu, (vaddr - vtag < WORDS * 64 ? vaddr - vtag : paddr - tag) / 64);
	} else {
		model_access(model, vcpu, kernel_apart && vaddr >> 63 ? 0 : requestor[vcpu], paddr,
			     1u << qemu_plugin_mem_size_shift(info),
			     locked  ? MODEL_LOCKED
			     : store ? MODEL_STORE
				     : MODEL_LOAD);
	}
	pthread_mutex_unlock(&lock);
}

/* Prefixes, then REX, then the opcode; 86 and 87 exchange, with memory if they touch it at all. */
static bool is_locked(const uint8_t *code, size_t n)
{
	size_t i;

	for (i = 0; i < n && strchr("\x66\x67\xf2\xf3\x2e\x36\x3e\x26\x64\x65\xf0", code[i]) && code[i]; i++)
		if (code[i] == 0xf0)
			return true;
	if (i + 1 < n && (code[i] & 0xf0) == 0x40)
		i++;
	return i + 1 < n && (code[i] == 0x86 || code[i] == 0x87);
}

static void on_run(unsigned vcpu, void *instructions)
{
	if (vcpu < MODEL_CPUS)
		pace_user(vcpu, (unsigned)(uintptr_t)instructions);
}

static void on_idle(uint64_t id, unsigned vcpu)
{
	if (vcpu < MODEL_CPUS)
		pace_idle(vcpu);
}

static void on_translate(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);

	if (pace && !(qemu_plugin_tb_vaddr(tb) >> 63))
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_run, QEMU_PLUGIN_CB_NO_REGS, (void *)n);
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		bool locked = is_locked(qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn));

		qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
						 locked ? &locked_insn : NULL);
	}
}

static void on_exit_report(uint64_t id, void *user)
{
	pthread_mutex_lock(&lock);
	take_message(0, MSG_REPORT);
	pthread_mutex_unlock(&lock);
}

struct options {
	struct model_config config;
	uint32_t ways_of[MODEL_REQUESTORS];
	const char *path;
};

static bool parse_option(struct options *o, const char *arg)
{
	const char *value = strchr(arg, '=');
	size_t n = value ? (size_t)(value++ - arg) : 0;
	unsigned requestor_nr;
	char *end;

	if (!n)
		return false;
	if (!strncmp(arg, "policy=", 7)) {
		o->config.policy = !strcmp(value, "plru") ? MODEL_PLRU : MODEL_LRU;
		return !strcmp(value, "plru") || !strcmp(value, "lru");
	}
	if (!strncmp(arg, "out=", 4)) {
		o->path = value;
		return true;
	}
	if (sscanf(arg, "ways%u=", &requestor_nr) == 1 && requestor_nr < MODEL_REQUESTORS) {
		o->ways_of[requestor_nr] = strtoul(value, &end, 16);
		return !*end && o->ways_of[requestor_nr];
	}
	if (!strncmp(arg, "tag=", 4))
		tag = strtoull(value, &end, 0);
	else if (!strncmp(arg, "vtag=", 5))
		vtag = strtoull(value, &end, 0);
	else if (!strncmp(arg, "user=", 5))
		user_only = strtoull(value, &end, 0);
	else if (!strncmp(arg, "kernel=", 7))
		kernel_apart = strtoull(value, &end, 0);
	else if (!strncmp(arg, "pace=", 5))
		pace = strtoull(value, &end, 0);
	else if (!strncmp(arg, "bytes=", 6))
		o->config.bytes = strtoull(value, &end, 0);
	else if (!strncmp(arg, "ways=", 5))
		o->config.ways = strtoul(value, &end, 0);
	else if (!strncmp(arg, "line=", 5))
		o->config.line = strtoul(value, &end, 0);
	else if (!strncmp(arg, "slices=", 7))
		o->config.slices = strtoul(value, &end, 0);
	else if (!strncmp(arg, "colours=", 8))
		o->config.colours = strtoul(value, &end, 0);
	else
		return false;
	return *value && !*end;
}

int qemu_plugin_install(uint64_t id, const struct qemu_plugin_info *info, int argc, char **argv)
{
	struct options o = { .config = { 1 << 20, 16, 64, 1, 16, MODEL_LRU } };
	const char *why;

	if (!info->system_emulation) {
		fprintf(stderr, "cachemodel: needs a whole machine, for physical addresses\n");
		return -1;
	}
	for (int i = 0; i < argc; i++)
		if (!parse_option(&o, argv[i])) {
			fprintf(stderr, "cachemodel: cannot use '%s'\n", argv[i]);
			return -1;
		}
	model = model_create(&o.config, &why);
	if (!model) {
		fprintf(stderr, "cachemodel: %s\n", why);
		return -1;
	}
	for (unsigned i = 0; i < MODEL_REQUESTORS; i++)
		if (o.ways_of[i])
			model_set_ways(model, i, o.ways_of[i]);
	out = o.path ? fopen(o.path, "w") : stderr;
	if (!out) {
		perror(o.path);
		return -1;
	}
	if (pace) {
		pace_init(pace);
		qemu_plugin_register_vcpu_idle_cb(id, on_idle);
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, on_exit_report, NULL);
	return 0;
}
