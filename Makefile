# The build of Ostrom. One file: the parts say in their part.mk only what they may use.
#
#   make kernel [DEBUG=1]  build/kernel/ostrom.elf (build/debug/ostrom.elf), build/ostrom.elf links to the first
#   make user              build/user/ostrom and build/user/init
#   make unit              build/unit/test_*: host unit tests of the pure cores, ASan and UBSan
#   make abi               build/abi/*: static programs that run on Linux and on Ostrom
#   make fuzz              build/fuzz/fuzz_*: libFuzzer targets (clang)
#   make plugins           build/plugins/*.so: the cache model that QEMU loads
#   make check             layers, file heads, formatting, sparse
#
# A part is a folder under kernel/ with a part.mk that may set
#   uses   := parts whose public headers and symbols it may use (besides itself)
#   pure   := sources that also build on the host (tests, fuzzers, `ostrom`); `pure := *` is all of them
#   kernel := no, for a part that is not linked into ostrom.elf

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG   ?= clang
MUSL_CC ?= musl-gcc
B       := build
ifeq ($(DEBUG),1)
K := $(B)/debug
else
K := $(B)/kernel
endif

.PHONY: all kernel user unit abi fuzz plugins check clean FORCE
all: kernel user

# ---- parts -------------------------------------------------------------------------------------

parts := $(patsubst kernel/%/part.mk,%,$(sort $(shell find kernel -name part.mk)))

define load_part
uses :=
pure :=
kernel := yes
include kernel/$(1)/part.mk
src_$(1) := $$(wildcard kernel/$(1)/*.c kernel/$(1)/*.S)
pure_$(1) := $$(if $$(filter *,$$(pure)),$$(wildcard kernel/$(1)/*.c),$$(addprefix kernel/$(1)/,$$(pure)))
ifneq ($$(kernel),no)
kernel_src += $$(src_$(1))
endif
pure_src += $$(pure_$(1))
endef
$(foreach p,$(parts),$(eval $(call load_part,$(p))))

# ---- flags -------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wvla \
        -Wno-unused-parameter -Wno-sign-compare
INC  := -Ikernel/include -I$(B)/gen
UAPI := -idirafter $(B)/uapi -idirafter kernel/include/abi/uapi

KFLAGS := -std=gnu11 -O2 -g -ffreestanding -nostdinc -isystem $(shell $(CC) -print-file-name=include) $(UAPI) \
          -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-pic -fno-pie -fno-stack-protector \
          -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-strict-aliasing -fno-common \
          -fno-delete-null-pointer-checks -fno-asynchronous-unwind-tables -fcf-protection=none \
          -fno-strict-overflow -Wframe-larger-than=2560 -D__OSTROM_KERNEL__ $(WARN) $(INC) -Ikernel/arch/x86_64/include
ifeq ($(DEBUG),1)
KFLAGS += -DOSTROM_DEBUG
endif
# Indirect branches go through the thunks of retpoline.S; jump tables stay, since most machines patch the thunks away.
ifneq ($(findstring clang,$(CC)),)
KFLAGS += -mretpoline -mretpoline-external-thunk
else
KFLAGS += -mindirect-branch=thunk-extern -mindirect-branch-register -fjump-tables
endif
ifneq ($(findstring clang,$(CC)),)
KFLAGS += -Wno-address-of-packed-member -Wno-gnu-variable-sized-type-not-at-end
endif

HFLAGS := -std=gnu11 -g -fno-strict-aliasing -fno-omit-frame-pointer -D__OSTROM_HOSTED__ -D_GNU_SOURCE $(WARN) $(INC) \
          -Ikernel/arch/hosted/include
# With what a report needs of a debugger's information: lines. The rest takes a third of the compiler's time.
SAN    := -g1 -fsanitize=address,undefined -fno-sanitize-recover=all
TSAN   := -g1 -fsanitize=thread -Wno-tsan

# ---- generated files ---------------------------------------------------------------------------

$(B)/uapi/.linked:
	@mkdir -p $(B)/uapi
	@for d in linux asm-generic rdma mtd misc; do ln -sfn /usr/include/$$d $(B)/uapi/$$d; done
	@ln -sfn /usr/include/x86_64-linux-gnu/asm $(B)/uapi/asm
	@ln -sfn /usr/include/libdrm $(B)/uapi/drm
	@touch $@

GEN := $(B)/gen/.made
$(GEN): kernel/abi/syscalls.tbl tools/gen-syscalls kernel/abi/tracepoints.tbl tools/gen-tracepoints $(B)/uapi/.linked
	@mkdir -p $(B)/gen
	tools/gen-syscalls kernel/abi/syscalls.tbl $(B)/gen
	tools/gen-tracepoints kernel/abi/tracepoints.tbl $(B)/gen
	@touch $@

# ---- kernel ------------------------------------------------------------------------------------

kernel_obj := $(patsubst %,$(K)/%.o,$(basename $(kernel_src)))
LDSCRIPT   := kernel/arch/x86_64/kernel.ld

kernel: $(K)/ostrom.elf $(K)/ostrom.efi
	@ln -sfn kernel/ostrom.elf $(B)/ostrom.elf
	@ln -sfn kernel/ostrom.efi $(B)/ostrom.efi

# Other flags than last time build everything anew.
$(K)/.flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(KFLAGS)' | cmp -s - $@ || echo '$(CC) $(KFLAGS)' > $@

$(K)/%.o: %.c $(GEN) $(K)/.flags
	@mkdir -p $(@D)
	@echo "  CC  $<"; $(CC) $(KFLAGS) -MMD -MP -c $< -o $@

$(K)/%.o: %.S $(GEN)
	@mkdir -p $(@D)
	@echo "  AS  $<"; $(CC) $(KFLAGS) -D__ASSEMBLER__ -MMD -MP -c $< -o $@

# The vDSO: user code, a shared object of its own, included by vdso_image.S.
VDSO := kernel/arch/x86_64/vdso
$(K)/vdso.so: $(wildcard $(VDSO)/*) $(GEN)
	@mkdir -p $(@D)
	@echo "  VDSO $@"; $(CC) -std=gnu11 -O2 -g0 -fPIC -shared -nostdlib -ffreestanding -fno-stack-protector -mcmodel=small \
	  -fcf-protection=none -fasynchronous-unwind-tables -nostdinc -isystem $(shell $(CC) -print-file-name=include) $(UAPI) $(WARN) \
	  -Wl,-T,$(VDSO)/vdso.lds,-soname=linux-vdso.so.1,--hash-style=both,--eh-frame-hdr,-Bsymbolic,--build-id=none,-z,max-page-size=4096,-z,noexecstack \
	  $(VDSO)/vdso.c -o $@
$(K)/kernel/arch/x86_64/vdso_image.o: KFLAGS += -Wa,-I$(K)
$(K)/kernel/arch/x86_64/vdso_image.o: $(K)/vdso.so

# Two passes: the first link gives the addresses, the second carries what is made from them, the symbol table for backtraces and
# the places that call thunks.
$(K)/ostrom.elf: $(kernel_obj) $(LDSCRIPT) tools/gen-ksyms tools/gen-relocs
	@echo "  LD  $@"
	@echo '/* empty first pass */' | tools/gen-ksyms --empty > $(K)/ksyms0.S
	@tools/gen-relocs --empty >> $(K)/ksyms0.S
	@$(CC) $(KFLAGS) -c $(K)/ksyms0.S -o $(K)/ksyms0.o
	@ld -q -nostdlib -static -z max-page-size=4096 --no-warn-rwx-segments -T $(LDSCRIPT) -o $(K)/pass1.elf $(kernel_obj) $(K)/ksyms0.o
	@nm -n $(K)/pass1.elf | tools/gen-ksyms > $(K)/ksyms.S
	@tools/gen-relocs $(K)/pass1.elf >> $(K)/ksyms.S
	@$(CC) $(KFLAGS) -c $(K)/ksyms.S -o $(K)/ksyms.o
	@ld -nostdlib -static -z max-page-size=4096 --no-warn-rwx-segments -T $(LDSCRIPT) -o $@ $(kernel_obj) $(K)/ksyms.o
	@rm -f $(K)/pass1.elf

# The same for UEFI firmware: a stub that carries the kernel's file, as an EFI application.
EFI := kernel/arch/x86_64/efi
EFLAGS := -std=gnu11 -O2 -D__OSTROM_KERNEL__ -ffreestanding -nostdinc -isystem $(shell $(CC) -print-file-name=include) $(UAPI) $(WARN) $(INC) -fpie \
          -mno-red-zone -mgeneral-regs-only -fvisibility=hidden -fno-builtin -fno-stack-protector -fno-strict-aliasing -fno-asynchronous-unwind-tables -fcf-protection=none
$(K)/ostrom.efi: $(K)/ostrom.elf $(wildcard $(EFI)/*) tools/mkefi
	@echo "  EFI $@"; mkdir -p $(K)/efi
	@objcopy --strip-all $< $(K)/efi/stripped.elf
	@$(CC) $(EFLAGS) -D__ASSEMBLER__ -Wa,-I$(K)/efi -c $(EFI)/enter.S -o $(K)/efi/enter.o
	@$(CC) $(EFLAGS) -c $(EFI)/stub.c -o $(K)/efi/stub.o
	@ld -nostdlib -static --no-warn-rwx-segments -T $(EFI)/stub.lds -o $(K)/efi/stub.elf $(K)/efi/enter.o $(K)/efi/stub.o
	@objcopy -O binary $(K)/efi/stub.elf $(K)/efi/stub.bin
	@tools/mkefi $(K)/efi/stub.bin $@

# ---- the pure cores on the host: with sanitizers for tests, optimised for `ostrom` ----------------

hosted_src := $(wildcard kernel/arch/hosted/*.c)
core_src   := $(pure_src) $(hosted_src)
san_obj    := $(patsubst %.c,$(B)/san/%.o,$(core_src))
usr_core   := $(patsubst %.c,$(B)/user/obj/%.o,$(core_src))
fuzz_core  := $(patsubst %.c,$(B)/fuzz/obj/%.o,$(core_src))
# Of these parts the tests with a line `// threads` are made.
tsan_parts := alloc core lib task vfs fs/tmpfs arch/hosted
tsan_core  := $(patsubst %.c,$(B)/tsan/obj/%.o,$(filter $(tsan_parts:%=kernel/%/%),$(core_src)))

$(B)/san/%.o: %.c $(GEN)
	@mkdir -p $(@D)
	@echo "  CC  $< (asan)"; $(CC) $(HFLAGS) -O1 $(SAN) -MMD -MP -c $< -o $@
$(B)/user/obj/%.o: %.c $(GEN)
	@mkdir -p $(@D)
	@echo "  CC  $< (user)"; $(CC) $(HFLAGS) -O2 $(user_opt) $(user_cflags) -MMD -MP -c $< -o $@
$(B)/tsan/obj/%.o: %.c $(GEN)
	@mkdir -p $(@D)
	@echo "  CC  $< (tsan)"; $(CC) $(HFLAGS) -O1 $(TSAN) -MMD -MP -c $< -o $@
$(B)/fuzz/obj/%.o: %.c $(GEN)
	@mkdir -p $(@D)
	@echo "  CC  $< (fuzz)"; $(CLANG) $(HFLAGS) -O1 $(SAN) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

$(B)/san/libcores.a: $(san_obj)
	@rm -f $@; ar rcsD $@ $^
$(B)/user/libcores.a: $(usr_core)
	@rm -f $@; ar rcsD $@ $^
$(B)/fuzz/libcores.a: $(fuzz_core)
	@rm -f $@; ar rcsD $@ $^
$(B)/tsan/libcores.a: $(tsan_core)
	@rm -f $@; ar rcsD $@ $^

# ---- unit tests: tests/unit/test_X.c, one program each; fuzzers: tests/fuzz/fuzz_X.c -------------
# A test of code under user/ostrom names its sources on a line `// links: user/ostrom/...c ...`. One with a line `// threads` is
# built a second time, for the thread sanitizer: build/tsan/test_X.

links = $(shell sed -n 's,^// links: ,,p' $(1))
unit_bin := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
fuzz_bin := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
unit: $(unit_bin)
fuzz: $(fuzz_bin)

.SECONDEXPANSION:
$(B)/unit/%: tests/unit/%.c $$(call links,tests/unit/%.c) $(B)/san/libcores.a
	@mkdir -p $(@D)
	@echo "  TEST $@"; $(CC) $(HFLAGS) -O1 $(SAN) $(user_cflags) -Iuser/ostrom -MMD -MP -MF $@.d $(filter %.c,$^) $(B)/san/libcores.a \
	  -lcmocka $(shell sed -n 's,^// libs: ,,p' tests/unit/$*.c) -lpthread -lm -o $@
$(B)/tsan/%: tests/unit/%.c $$(call links,tests/unit/%.c) $(B)/tsan/libcores.a
	@mkdir -p $(@D)
	@echo "  TSAN $@"; $(CC) $(HFLAGS) -O1 $(TSAN) $(user_cflags) -Iuser/ostrom -MMD -MP -MF $@.d $(filter %.c,$^) $(B)/tsan/libcores.a \
	  -lcmocka $(shell sed -n 's,^// libs: ,,p' tests/unit/$*.c) -lpthread -lm -o $@
$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $$(call links,tests/fuzz/fuzz_%.c) $(B)/fuzz/libcores.a
	@mkdir -p $(@D)
	@echo "  FUZZ $@"; $(CLANG) $(HFLAGS) -O1 $(SAN) -fsanitize=fuzzer $(user_cflags) -Iuser/ostrom $(filter %.c,$^) $(B)/fuzz/libcores.a \
	  $(shell sed -n 's,^// libs: ,,p' tests/fuzz/fuzz_$*.c) -lpthread -lm -o $@

# ---- ABI tests and init: static musl programs -----------------------------------------------------

MFLAGS  := -std=gnu11 -O2 -g -static -D_GNU_SOURCE $(WARN) $(UAPI)
abi_bin := $(patsubst tests/abi/%.c,$(B)/abi/%,$(wildcard tests/abi/*.c))
abi: $(abi_bin)
define musl_program
@mkdir -p $(@D)
@echo "  MUSL $@"; $(MUSL_CC) $(MFLAGS) $(filter %.c,$^) -o $@ -lpthread
endef
$(B)/abi/%: tests/abi/%.c $(wildcard tests/abi/*.h) $(B)/uapi/.linked
	$(musl_program)
$(B)/programs/%: tests/programs/%.c $(B)/uapi/.linked
	$(musl_program)
$(B)/bench/bootstart: MFLAGS += -nostdlib
$(B)/bench/bpf_agree: tests/unit/test_bpf_agree.c tests/fuzz/fuzz_bpf_exec.c $(B)/user/libcores.a
	@mkdir -p $(@D)
	@echo "  BENCH $@"; $(CC) $(HFLAGS) -O2 $^ -lpthread -lm -o $@
$(B)/bench/bpfrows: benchmarks/bpfrows.c $(B)/user/libcores.a
	@mkdir -p $(@D)
	@echo "  BENCH $@"; $(CC) $(HFLAGS) -O2 $^ -lpthread -lm -o $@
$(B)/bench/fsrows: benchmarks/fsrows.c # with Debian's SQLite, so glibc
	@mkdir -p $(@D)
	@echo "  CC  $@"; $(CC) -std=gnu11 -O2 -g -static $(WARN) $< -o $@ -lsqlite3 -lm
$(B)/bench/micro: benchmarks/crowd.c benchmarks/crowd.h
$(B)/bench/%: benchmarks/%.c $(B)/uapi/.linked
	$(musl_program)
$(B)/user/init: $(wildcard user/init/*.c) $(B)/uapi/.linked
	$(musl_program)
# The monitor by itself, for root images: `ostrom vm` without the libraries of the other subcommands.
$(B)/user/ostrom-vm: MFLAGS += -Iuser/ostrom -Ikernel/include -D__OSTROM_HOSTED__
$(B)/user/ostrom-vm: user/ostrom/main.c $(wildcard user/ostrom/vm/*.c) $(wildcard user/ostrom/vm/*.h) $(B)/uapi/.linked
	$(musl_program)

# ---- ostrom: the program for people -----------------------------------------------------------
# user/ostrom/X/part.mk may set `libs` (pkg-config names) and `cflags`.

ostrom_mk   := $(wildcard user/ostrom/*/part.mk)
user_pkgs   :=
user_ldlibs :=
define load_user
libs :=
ldlibs :=
include $(1)
user_pkgs += $$(libs)
user_ldlibs += $$(ldlibs)
endef
$(foreach m,$(ostrom_mk),$(eval $(call load_user,$(m))))
user_pkgs   := $(sort $(user_pkgs))
user_cflags := -Iuser/ostrom $(if $(user_pkgs),$(shell pkg-config --cflags $(user_pkgs) 2>/dev/null))
user_ldlibs += $(if $(user_pkgs),$(shell pkg-config --libs $(user_pkgs) 2>/dev/null))

ostrom_src := $(wildcard user/ostrom/*.c user/ostrom/*/*.c)
ostrom_obj := $(patsubst %.c,$(B)/user/obj/%.o,$(ostrom_src))
user: $(B)/user/ostrom $(B)/user/init
# What reads recordings runs through files for each of millions of records: inlining across them saves a fifth of the time.
ifeq ($(findstring clang,$(CC)),)
$(addprefix $(B)/user/obj/user/ostrom/,perfdata/%.o timehist/%.o c2c/%.o): user_opt := -O3 -fomit-frame-pointer -flto
user_ldflags := -flto=auto
endif
$(B)/user/ostrom: $(ostrom_obj) $(B)/user/libcores.a
	@echo "  LD  $@"; $(CC) -g $(user_ldflags) -o $@ $(ostrom_obj) $(B)/user/libcores.a $(user_ldlibs) -lpthread -lm

# ---- plug-ins for QEMU's translator (its interface: tools/plugins/qemu_plugin.h) ---------------------------

plugins: $(B)/plugins/cachemodel.so
$(B)/plugins/%.so: tools/plugins/%.c tools/plugins/model.c tools/plugins/pace.c $(wildcard tools/plugins/*.h)
	@mkdir -p $(@D)
	@echo "  SO  $@"; $(CC) -std=gnu11 -O2 -g $(WARN) -fPIC -shared -fvisibility=hidden $(filter %.c,$^) -lpthread -o $@

# ---- GL programs for `ostrom gpu`: ordinary clients, linked to nothing of ours -------------------------

gpu_bin := $(patsubst tests/gpu/%.c,$(B)/gpu/%,$(wildcard tests/gpu/*.c))
.PHONY: gpuclients
gpuclients: $(gpu_bin)
$(B)/gpu/%: tests/gpu/%.c
	@mkdir -p $(@D)
	@echo "  GL  $@"; $(CC) -std=gnu11 -O2 -g -D_GNU_SOURCE $(WARN) $< -o $@ -lEGL -lGLESv2 -lm

check:
	tools/check

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
