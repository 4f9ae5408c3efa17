# Barewire. `make help` lists the targets; README.md says what to try first.

ifneq ($(words $(CURDIR)),1)
$(error The checkout path "$(CURDIR)" has a space in it, and make cannot build there; move the checkout)
endif

VERSION := 0.1.0

CC := gcc
HOSTCC := gcc
LD := ld
NASM := nasm
OBJCOPY := objcopy
NM := nm
PYTHON := /usr/bin/python3
B := build
LWIP := $(B)/lwip
STB_INCLUDE := /usr/include/stb

# The two doors, and for each the test image (kernel/variant.h).
IMAGES := $(B)/barewire.elf $(B)/barewire.efi
TEST_IMAGES := $(B)/barewire-test.elf $(B)/barewire-test.efi

.PHONY: all images test-images run run-guest journey journey-guest shell doctor doctor-guest test check bench gdb \
	image fuzz lint format format-check clean deps help headers-check layers-check unit tsan \
	bench-tools bench-record
.DELETE_ON_ERROR:
# No rule of make's own: one of them would take a .d file for a program to link.
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.SECONDARY:
all: images
images: $(IMAGES)
test-images: $(TEST_IMAGES)

ifeq ($(V),1)
Q :=
else
Q := @
MAKEFLAGS += --no-print-directory
endif
say = $(if $(Q),@printf '  %-7s %s\n' '$(1)' '$(2)')

include net/lwip/lwip.mk
include $(wildcard tests/unit/*.mk)

# ---------------------------------------------------------------- the kernel

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
# No SSE in the kernel, no red zone (interrupts use the same stack), every frame visible to a backtrace; and no path of
# this machine in the debug information.
KCFLAGS := -std=gnu11 -O2 -g -ffreestanding -nostdinc -isystem $(shell $(CC) -print-file-name=include 2>/dev/null) \
	-mno-red-zone -mgeneral-regs-only -mcmodel=small -fno-pic -fno-pie -fcf-protection=none \
	-fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-asynchronous-unwind-tables \
	-fno-strict-aliasing -fno-common -fstack-protector-strong -mstack-protector-guard=global \
	-ffile-prefix-map=$(CURDIR)=. -I.
LWIP_INCLUDES := -I$(LWIP)/src/include -Inet/lwip -Inet/lwip/libc

BOOT_SRCS := boot/pvh.asm boot/start.asm boot/pvh.c
KERNEL_SRCS := $(sort $(filter-out kernel/variant_% kernel/crash.c kernel/ubsan.c kernel/x86/crash_ops.c, \
	$(wildcard kernel/*.c kernel/lib/*.c kernel/x86/*.c))) kernel/x86/entry.asm
DRIVER_SRCS := $(sort $(wildcard drivers/*.c drivers/*/*.c))
NET_SRCS := $(sort $(wildcard net/*.c))
APPS ?= echo http diag
APP_SRCS := $(sort $(wildcard apps/*.c) $(foreach a,$(APPS),$(wildcard apps/$(a)/*.c)))

obj = $(patsubst %.c,$(B)/kernel/%.o,$(patsubst %.asm,$(B)/kernel/%.asm.o,$(1)))
COMMON_OBJS := $(call obj,$(BOOT_SRCS) $(KERNEL_SRCS) $(DRIVER_SRCS) $(NET_SRCS) $(NET_LWIP_SRCS) $(APP_SRCS)) \
	$(patsubst %.c,$(B)/kernel/lwip/%.o,$(LWIP_SRCS)) $(B)/kernel/version.o
RELEASE_OBJS := $(COMMON_OBJS) $(call obj,kernel/variant_release.c)
TEST_OBJS := $(COMMON_OBJS) $(call obj,kernel/variant_test.c kernel/crash.c kernel/ubsan.c kernel/x86/crash_ops.c)

$(B)/kernel/kernel/crash.o: KCFLAGS += -fsanitize=undefined -fno-sanitize=unreachable,return -fno-sanitize-recover=all
$(B)/kernel/kernel/lib/string.o: KCFLAGS += -fno-builtin
ifeq ($(findstring clang,$(CC)),)
$(B)/kernel/kernel/lib/string.o: KCFLAGS += -fno-tree-loop-distribute-patterns
endif
# stb's own code does not meet our warnings.
$(B)/kernel/kernel/lib/vsprintf.o: KCFLAGS += -isystem $(STB_INCLUDE) -Wno-error
NEEDS_LWIP := $(call obj,$(NET_LWIP_SRCS) $(APP_SRCS)) $(patsubst %.c,$(B)/kernel/lwip/%.o,$(LWIP_SRCS))
$(NEEDS_LWIP): KCFLAGS += $(LWIP_INCLUDES)
$(NEEDS_LWIP): | $(LWIP)/.stamp

# Flags are part of what an object depends on: a change of them rebuilds.
FLAGS_STAMP := $(B)/kernel/.flags
$(FLAGS_STAMP): FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(KCFLAGS) $(WARN) $(VERSION)' | cmp -s - $@ || echo '$(CC) $(KCFLAGS) $(WARN) $(VERSION)' > $@
.PHONY: FORCE

$(B)/kernel/%.o: %.c $(FLAGS_STAMP)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(KCFLAGS) $(WARN) -MMD -MP -c -o $@ $<

# lwIP's own sources: its warnings are upstream's business, ours are for ours.
$(B)/kernel/lwip/%.o: $(LWIP)/.stamp $(FLAGS_STAMP)
	$(call say,CC,lwip/$*.c)
	@mkdir -p $(@D)
	$(Q)$(CC) $(KCFLAGS) -Wall -Wno-address -MMD -MP -c -o $@ $(LWIP)/$*.c

# -MD would assemble and list at once, but NASM 2.16 forgets what was included.
$(B)/kernel/%.asm.o: %.asm $(FLAGS_STAMP)
	$(call say,NASM,$<)
	@mkdir -p $(@D)
	$(Q)$(NASM) -M -MP -MT $@ -MF $(@:.o=.d) -f elf64 $<
	$(Q)$(NASM) -f elf64 -o $@ $<

$(B)/kernel/version.c: $(FLAGS_STAMP)
	@mkdir -p $(@D)
	@printf '#include "kernel/variant.h"\nconst char barewire_version[] = "%s";\n' '$(VERSION)' > $@
$(B)/kernel/version.o: $(B)/kernel/version.c
	@$(CC) $(KCFLAGS) $(WARN) -c -o $@ $<

# Symbols: linked three times. The first link gives the number of symbols and so the size of their table, the second
# the addresses, and the third must not move any.
# -X: assembler-local labels are no symbols.
LDFLAGS := -nostdlib -static -X -z max-page-size=4096 -z noexecstack --build-id=none -T linker.ld
$(B)/kernel/kallsyms0.asm:
	@mkdir -p $(@D)
	@awk -f scripts/kallsyms </dev/null >$@

# The list of objects is something a link depends on as well: with other APPS= it is another image.
OBJECTS_STAMP := $(B)/kernel/.objects
$(OBJECTS_STAMP): FORCE
	@mkdir -p $(@D)
	@echo '$(TEST_OBJS)' | cmp -s - $@ || echo '$(TEST_OBJS)' > $@

define link_kernel # name of the image, objects
$(B)/$(1).elf: $(2) $(OBJECTS_STAMP) linker.ld scripts/kallsyms $(B)/kernel/kallsyms0.asm
	$(call say,LD,$$@)
	$(Q)mkdir -p $(B)/kernel/$(1)
	$(Q)$(NASM) -f elf64 -o $(B)/kernel/$(1)/sym0.o $(B)/kernel/kallsyms0.asm
	$(Q)$(LD) $(LDFLAGS) -o $(B)/kernel/$(1)/pass1.elf $(2) $(B)/kernel/$(1)/sym0.o
	$(Q)for pass in 1 2; do \
		$(NM) -n $(B)/kernel/$(1)/pass$$$$pass.elf | LC_ALL=C awk -f scripts/kallsyms \
			>$(B)/kernel/$(1)/sym$$$$pass.asm && \
		$(NASM) -f elf64 -o $(B)/kernel/$(1)/sym$$$$pass.o $(B)/kernel/$(1)/sym$$$$pass.asm && \
		$(LD) $(LDFLAGS) -o $(B)/kernel/$(1)/pass$$$$((pass + 1)).elf $(2) \
			$(B)/kernel/$(1)/sym$$$$pass.o || exit 1; \
	done
	$(Q)for n in 2 3; do $(NM) -n $(B)/kernel/$(1)/pass$$$$n.elf >$(B)/kernel/$(1)/nm$$$$n; done; \
		cmp $(B)/kernel/$(1)/nm2 $(B)/kernel/$(1)/nm3
	$(Q)cp $(B)/kernel/$(1)/pass3.elf $$@
endef
$(eval $(call link_kernel,barewire,$(RELEASE_OBJS)))
$(eval $(call link_kernel,barewire-test,$(TEST_OBJS)))

# So is the tree that somebody brings along, and whether one was brought.
LWIP_FROM := $(LWIP).from
$(LWIP_FROM): FORCE
	@mkdir -p $(@D)
	@echo '$(LWIP_DIR)' | cmp -s - $@ || echo '$(LWIP_DIR)' > $@

$(LWIP)/.stamp: scripts/fetch-lwip scripts/apt-private $(wildcard net/lwip/patches/*.patch) $(LWIP_FROM) \
		$(if $(LWIP_DIR),$(shell find '$(LWIP_DIR)/src' -name '*.[ch]' 2>/dev/null | grep -v ' '))
	$(Q)LWIP_DIR='$(LWIP_DIR)' scripts/fetch-lwip $(LWIP)

# ------------------------------------------------------------ the UEFI door

EFI_INC := /usr/include/efi
EFI_LIB := /usr/lib
EFI_CFLAGS := -std=gnu11 -O2 -g -ffreestanding -fpic -fshort-wchar -mno-red-zone -fno-stack-protector \
	-fno-strict-aliasing -fcf-protection=none -DGNU_EFI_USE_MS_ABI -isystem $(EFI_INC) -isystem $(EFI_INC)/x86_64 \
	-ffile-prefix-map=$(CURDIR)=. -I.

$(B)/efi/main.o: boot/efi/main.c $(FLAGS_STAMP)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(EFI_CFLAGS) $(WARN) -MMD -MP -c -o $@ $<

$(B)/efi/%.kernel: $(B)/%.elf
	@mkdir -p $(@D)
	@$(OBJCOPY) --strip-all $< $@
$(B)/efi/%-blob.o: boot/efi/kernel_blob.asm $(B)/efi/%.kernel
	$(call say,NASM,$<)
	$(Q)$(NASM) -f elf64 -DKERNEL='"$(B)/efi/$*.kernel"' -o $@ $<
$(B)/efi/%.so: $(B)/efi/main.o $(B)/efi/%-blob.o
	$(Q)$(LD) -nostdlib -znocombreloc -shared -Bsymbolic -z noexecstack --build-id=none \
		-T $(EFI_LIB)/elf_x86_64_efi.lds -L $(EFI_LIB) \
		-o $@ $(EFI_LIB)/crt0-efi-x86_64.o $^ -lefi -lgnuefi
$(B)/%.efi: $(B)/efi/%.so
	$(call say,EFI,$@)
	$(Q)SOURCE_DATE_EPOCH=0 $(OBJCOPY) -j .text -j .sdata -j .data -j .dynamic -j .dynsym -j .rel -j .rela \
		-j '.rel.*' -j '.rela.*' -j .reloc --target efi-app-x86_64 --subsystem=10 $< $@

# --------------------------------------------------------------- host tests

UNIT_CFLAGS := -std=gnu11 -O1 -g -fno-omit-frame-pointer -fno-strict-aliasing $(WARN) -Itests/fake -I.
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined
TSAN := -fsanitize=thread -pthread

define unit_test # name, directory, sanitizer flags
$(B)/$(2)/$(1): $$($(1)_SRCS) $$(wildcard tests/fake/*.h tests/fake/*/*/*.h tests/unit/*.h) $(FLAGS_STAMP) \
		$(if $($(1)_LWIP),$(LWIP)/.stamp)
	$(call say,UNIT,$(1))
	@mkdir -p $$(@D)
	$(Q)$(HOSTCC) $(UNIT_CFLAGS) $(3) $$($(1)_CFLAGS) -o $$@ $$($(1)_SRCS) -lcmocka $$($(1)_LIBS)
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit_test,$(t),unit,$(ASAN))))
$(foreach t,$(TSAN_TESTS),$(eval $(call unit_test,$(t),tsan,$(TSAN))))

UNIT_PROGRAMS := $(addprefix $(B)/unit/,$(UNIT_TESTS)) $(addprefix $(B)/tsan/,$(TSAN_TESTS))

# Format, layers, headers alone, unit tests under ASan, UBSan and TSan. No VM; under a minute.
check: layers-check headers-check format-check $(UNIT_PROGRAMS)
	@scripts/run-unit $(UNIT_PROGRAMS)

layers-check:
	@scripts/check-layers

SOURCES := $(filter-out net/lwip/lwipopts.h,$(shell scripts/list-sources '*.c' '*.h'))
HEADERS := $(filter-out tests/% net/lwip/arch/% net/lwip/libc/%,$(filter %.h,$(SOURCES)))
headers-check: $(LWIP)/.stamp
	@for h in $(HEADERS); do \
		echo "#include \"$$h\"" | $(CC) $(KCFLAGS) $(LWIP_INCLUDES) $(WARN) -Wno-unused-macros -fsyntax-only -x c - || \
			{ echo "headers-check: $$h does not compile alone" >&2; exit 1; }; \
	done

# lwipopts.h is a table with a reason behind each line, which clang-format would tear apart.
format:
	@clang-format -i $(SOURCES)
format-check:
	@clang-format --dry-run -Werror $(SOURCES)

lint: $(LWIP)/.stamp
	@shellcheck -x $$(scripts/list-sources 'scripts/*' '.ci/*' | xargs grep -lE '^#!.*\b(ba)?sh$$')
	@$(MAKE) B=build/clang CC=clang LWIP=$(LWIP) build/clang/barewire.elf
	@echo "lint: shellcheck and clang have nothing to say"

# ------------------------------------------------- counting and the benchmark

BENCH := $(B)/bench
BENCH_CFLAGS := -std=gnu11 -O2 -Wall -Wextra -Werror
LOAD_SRCS := $(sort $(wildcard tests/bench/load/*.c))

$(BENCH)/load: $(LOAD_SRCS) tests/bench/load/load.h
	$(call say,BENCH,$@)
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(BENCH_CFLAGS) -o $@ $(LOAD_SRCS)

# The header is QEMU's own, of the QEMU that is installed.
$(BENCH)/qemu-plugin.h: scripts/fetch-bench scripts/apt-private
	@mkdir -p $(@D)
	$(Q)scripts/fetch-bench header $@
$(BENCH)/%.so: tests/bench/plugin/%.c tests/bench/plugin/decode.h $(BENCH)/qemu-plugin.h
	$(call say,BENCH,$@)
	$(Q)$(HOSTCC) $(BENCH_CFLAGS) -shared -fPIC -I$(BENCH) -o $@ $<

$(BENCH)/floor.elf: tests/bench/floor.asm
	$(call say,BENCH,$@)
	@mkdir -p $(@D)
	$(Q)$(NASM) -f elf64 -o $(@:.elf=.o) $<
	$(Q)$(LD) -nostdlib -static -Ttext 0x200000 -z noexecstack -e start -o $@ $(@:.elf=.o)

# The Linux guest: Debian's kernel, fetched, and a server of ours.
$(BENCH)/linux/initramfs.gz: tests/bench/linux/image.py tests/bench/linux/server.c scripts/fetch-bench scripts/apt-private
	@mkdir -p $(@D)
	$(Q)scripts/fetch-bench linux $(@D)/debs
	$(call say,BENCH,$@)
	$(Q)musl-gcc $(BENCH_CFLAGS) -static -s -o $(@D)/server tests/bench/linux/server.c
	$(Q)$(PYTHON) tests/bench/linux/image.py $(@D)/debs $(@D)/server $(@D)

bench-tools: $(BENCH)/load $(BENCH)/floor.elf $(BENCH)/insncount.so $(BENCH)/insnprof.so

bench: deps
	@$(MAKE) images bench-tools $(if $(filter-out 0,$(QUICK)),,$(BENCH)/linux/initramfs.gz)
	@$(PYTHON) tests/bench/bench.py

# Writes what tests/bench/test_regression.py compares with.
bench-record: deps
	@$(MAKE) images bench-tools
	@$(PYTHON) tests/bench/regression.py

# ---------------------------------------------------------------- the rest

deps:
	@scripts/install-deps

# `make run`, `make journey` and `make doctor` end with 1 if the guest does not answer (docs/interface.md), but make
# itself ends with 2 whenever a command fails. Only in question mode (-q) does it end with 1: when a target turns out to
# need a command. So the guest's answer decides whether "run" needs one; lines with + are executed in that mode too.
ifneq ($(if $(word 2,$(MAKECMDGOALS)),,$(filter run journey doctor,$(MAKECMDGOALS))),)
MAKEFLAGS += -q
endif
NO_ANSWER = $(or $(BAREWIRE_RUN_DIR),$(B)/run)/no-answer-to-$(1)
run journey doctor: %: %-guest
	$(if $(wildcard $(call NO_ANSWER,$@)),@false)
run-guest: GUEST_PROGRAM := scripts/run-qemu
journey-guest: GUEST_PROGRAM := scripts/journey
doctor-guest: GUEST_PROGRAM := scripts/doctor
ask = $(GUEST_PROGRAM); status=$$?; [ $$status -ne 1 ] || { mkdir -p $(dir $(1)) && touch $(1) && exit 0; }; exit $$status
run-guest journey-guest: %-guest:
	+@rm -f $(call NO_ANSWER,$*)
	+@scripts/install-deps
	+@MAKEFLAGS= $(MAKE) --no-print-directory -j$$(nproc) images
	+@$(call ask,$(call NO_ANSWER,$*))
doctor-guest:
	+@rm -f $(call NO_ANSWER,doctor)
	+@$(call ask,$(call NO_ANSWER,doctor))

shell:
	@scripts/run-qemu shell

test: deps
	@$(MAKE) images test-images unit
	@$(MAKE) bench-tools || echo "make test: without the plugin, the tests that count instructions will be skipped" >&2
	@scripts/run-tests
unit: $(UNIT_PROGRAMS)

gdb: deps
	@$(MAKE) images
	@scripts/run-gdb

fuzz image:
	@echo "make $@: not there yet; it comes with a later issue" >&2; exit 2

clean:
	rm -rf $(B)

help:
	@sed -n 's/^## //p' scripts/help.txt

-include $(shell find $(B)/kernel $(B)/efi -name '*.d' 2>/dev/null)
