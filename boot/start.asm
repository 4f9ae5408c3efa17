; The common 64-bit entry, and the ELF's own: rdi = struct boot_info * in memory that is not ours.
; Long mode, identity mapping by whoever was here before, interrupts in any state.

%include "kernel/x86/cfi.inc"

extern start_kernel
extern start_stack_top
extern __bss_start
extern __bss_end

; The time stamp counter at our first instruction (kernel/x86/tsc.c); not in .bss, which is cleared later.
section .noinit nobits alloc noexec write align=4096
global boot_entry_tsc
boot_entry_tsc:	resq	1

section .text
bits 64
global start
start:
	CFI_STARTPROC plain
	CFI_OUTERMOST
	cli
	cld
	mov	rsp, start_stack_top
	xor	ebp, ebp		; the end of the frame chain
	mov	rbx, rdi
	rdtsc
	mov	[boot_entry_tsc], eax
	mov	[boot_entry_tsc + 4], edx
	call	clear_bss
	mov	rdi, rbx
	call	start_kernel
	ud2
	CFI_ENDPROC

; Clears .bss. Keeps rbx. Both ends are 8-byte aligned (linker.ld).
global clear_bss
clear_bss:
	CFI_STARTPROC plain
	mov	rdi, __bss_start
	mov	rcx, __bss_end
	sub	rcx, rdi
	shr	rcx, 3
	xor	eax, eax
	rep	stosq
	ret
	CFI_ENDPROC

section .note.GNU-stack noalloc noexec nowrite progbits
