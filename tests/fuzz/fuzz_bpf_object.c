/* SPDX-License-Identifier: MIT
 *
 * Problem: `ostrom bpfcheck` reads object files from anywhere; BTF_LOAD takes BTF from anybody.
 *
 * Idea: the bytes are an object file (in a memfd); whatever programs come out of it go through the verifier. The same
 * bytes are tried as BTF alone.
 *
 * Contract: libFuzzer; nothing may crash. Locks: none.
 */
// links: user/ostrom/bpfcheck/object.c
// libs: -lelf
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/prog.h>
#include "bpfcheck/object.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static struct bpf_map *find_map(void *arg, s32 idx, bool by_index)
{
	struct object *o = arg;

	return idx >= 0 && (u32)idx < o->nmaps && !by_index ? o->maps[idx] : NULL;
}

static void judge(struct object *o, struct program *p)
{
	struct bpf_load l = { .insns = p->insns,
			      .len = p->len,
			      .type = BPF_PROG_TYPE_XDP,
			      .gpl = true,
			      .find_map = find_map,
			      .arg = o,
			      .btf = o->btf,
			      .lines = p->lines,
			      .nr_lines = p->nlines,
			      .rights = { true, true, true, true } };
	static struct bpf_func_info funcs[MAX_FUNCS];
	struct bpf_prog *prog;

	l.funcs = funcs;
	l.nr_funcs = program_functions(p, funcs);
	if (p->len <= 4096 && !bpf_prog_new(&l, &prog))
		bpf_prog_put(prog);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct object o;
	struct bpf_btf *btf;
	char path[64], why[256];
	int fd = memfd_create("object", 0);

	if (!bpf_btf_new(data, (u32)size, &btf, why, sizeof(why)))
		bpf_btf_put(btf);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!object_open(path, &o, why)) {
		for (u32 i = 0; i < o.nsymbols; i++) {
			struct program p;

			if (o.symbols[i].type != STT_FUNC || object_program(&o, &o.symbols[i], &p, why))
				continue;
			judge(&o, &p);
			program_free(&p);
		}
		object_close(&o);
	}
	close(fd);
	return 0;
}
