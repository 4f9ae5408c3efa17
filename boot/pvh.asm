; The PVH door: 32-bit entry of QEMU -kernel, Firecracker and Cloud Hypervisor, up to 64-bit C.
;
; On entry (Xen's docs/misc/pvh.pandoc): ebx = physical address of struct hvm_start_info, protected mode,
; flat 4 GiB segments, paging off, interrupts off, no stack. We identity-map the first 4 GiB with 2 MiB
; pages, which kernel/x86/paging.c replaces within the first milliseconds, and go to long mode
; (SDM vol. 3A, "Initializing IA-32e Mode").

%include "boot/cpu.inc"
%include "kernel/x86/cfi.inc"

XEN_ELFNOTE_PHYS32_ENTRY equ 18

section .note.pvh note alloc noexec nowrite align=4
	dd	4			; size of the name
	dd	4			; size of the descriptor
	dd	XEN_ELFNOTE_PHYS32_ENTRY
	db	"Xen", 0
	dd	pvh_start

section .noinit nobits alloc noexec write align=4096
early_pml4:	resb	4096
early_pdpt:	resb	4096
early_pd:	resb	4 * 4096	; one page directory for each of the 4 GiB

section .rodata
align 8
early_gdt:
	dq	0
	dq	0x00af9b000000ffff	; code: long mode, ring 0
	dq	0x00cf93000000ffff	; data
early_gdt_end:
early_gdt_ptr:
	dw	early_gdt_end - early_gdt - 1
	dd	early_gdt

extern start_stack_top
extern boot_entry_tsc
extern clear_bss
extern pvh_boot_info
extern start_kernel

section .text
bits 32
global pvh_start
pvh_start:
	CFI_STARTPROC plain
	CFI_OUTERMOST
	cld
	cli
	rdtsc
	mov	[boot_entry_tsc], eax
	mov	[boot_entry_tsc + 4], edx

	; 2048 entries of 2 MiB: present, writable, large.
	mov	edi, early_pd
	mov	eax, PTE_PRESENT | PTE_WRITE | PTE_LARGE
	mov	ecx, 4 * 512
..@pd:
	mov	[edi], eax
	mov	dword [edi + 4], 0
	add	eax, 0x200000
	add	edi, 8
	dec	ecx
	jnz	..@pd

	; The tables above them are not in .bss, so whatever the loader left there goes first.
	mov	edi, early_pml4
	xor	eax, eax
	mov	ecx, 2 * 4096 / 4
	rep	stosd
	mov	eax, early_pd + (PTE_PRESENT | PTE_WRITE)
	mov	edi, early_pdpt
	mov	ecx, 4
..@pdpt:
	mov	[edi], eax
	add	eax, 4096
	add	edi, 8
	dec	ecx
	jnz	..@pdpt
	mov	eax, early_pdpt + (PTE_PRESENT | PTE_WRITE)
	mov	[early_pml4], eax

	mov	eax, cr4
	or	eax, CR4_PAE
	mov	cr4, eax
	mov	eax, early_pml4
	mov	cr3, eax
	mov	ecx, MSR_EFER
	rdmsr
	or	eax, EFER_LME
	wrmsr
	mov	eax, cr0
	or	eax, CR0_PG | CR0_WP | CR0_PE
	mov	cr0, eax
	lgdt	[early_gdt_ptr]
	jmp	0x08:..@long_mode

bits 64
..@long_mode:				; no symbol: all of this is pvh_start
	mov	eax, 0x10
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	mov	fs, eax
	mov	gs, eax
	mov	rsp, start_stack_top
	xor	ebp, ebp
	mov	ebx, ebx		; upper half is undefined after the switch
	call	clear_bss		; keeps rbx
	mov	rdi, rbx
	call	pvh_boot_info
	mov	rdi, rax
	call	start_kernel
	ud2
	CFI_ENDPROC
section .note.GNU-stack noalloc noexec nowrite progbits
