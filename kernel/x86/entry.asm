; The first instructions of every interrupt and exception, and the stacks they run on.
;
; Interrupts (vectors 32..255) save what a C function may clobber; exceptions save everything, since their
; registers are going to be shown. Either way the stub begins with  push rbp; mov rbp, rsp  while the CPU's frame
; lies on top (SDM vol. 3A, "64-Bit Mode Stack Frame"): the interrupted RIP then sits
; exactly where a caller's return address would, and a walk along rbp goes through the interrupt into the code it hit.

bits 64

extern common_interrupt
extern sysvec_apic_timer_interrupt
extern do_exception

LOCAL_TIMER_VECTOR	equ 0xef	; kernel/x86/apic.h
SPURIOUS_APIC_VECTOR	equ 0xff
FIRST_EXTERNAL_VECTOR	equ 0x20

section .text

; Saves the registers that the System V ABI lets a callee use. rdi was saved by the stub.
%macro SAVE_CALLER_REGS 0
	push	rax
	push	rcx
	push	rdx
	push	rsi
	push	r8
	push	r9
	push	r10
	push	r11
	sub	rsp, 8			; 16-byte alignment for the call
	cld
%endmacro

%macro RESTORE_CALLER_REGS_AND_RETURN 0
	add	rsp, 8
	pop	r11
	pop	r10
	pop	r9
	pop	r8
	pop	rsi
	pop	rdx
	pop	rcx
	pop	rax
	pop	rdi
	pop	rbp
	iretq
%endmacro

; What lies between these two is entered by an interrupt: the address above its frame is the interrupted RIP itself,
; not a return address behind a call (kernel/panic.c:walk_stack).
global __irqentry_text_start
__irqentry_text_start:

; edi = vector
global asm_common_interrupt
align 16
asm_common_interrupt:
	SAVE_CALLER_REGS
	call	common_interrupt
	RESTORE_CALLER_REGS_AND_RETURN

global asm_sysvec_apic_timer_interrupt
align 16
asm_sysvec_apic_timer_interrupt:
	push	rbp
	mov	rbp, rsp
	push	rdi
	SAVE_CALLER_REGS
	call	sysvec_apic_timer_interrupt
	RESTORE_CALLER_REGS_AND_RETURN

; The APIC raises this vector when an interrupt went away; it wants no EOI (SDM vol. 3A, "Spurious Interrupt").
global asm_spurious_interrupt
align 16
asm_spurious_interrupt:
	iretq

; One 16-byte stub for each external vector.
global irq_entries_start
align 16
irq_entries_start:
%assign vec FIRST_EXTERNAL_VECTOR
%rep 256 - FIRST_EXTERNAL_VECTOR
	align	16
	push	rbp
	mov	rbp, rsp
	push	rdi
	mov	edi, vec
	jmp	near asm_common_interrupt
%assign vec vec + 1
%endrep

global __irqentry_text_end
__irqentry_text_end:

; Exceptions. The frame is struct pt_regs of kernel/x86/ptrace.h, and rbp in it is the interrupted one.
%macro EXCEPTION 2			; name, has an error code
global %1
align 16
%1:
%if %2 == 0
	push	0
%endif
	push	strict dword exc_vec
	jmp	near asm_exc_common
%assign exc_vec exc_vec + 1
%endmacro

%assign exc_vec 0
EXCEPTION asm_exc_divide_error, 0
EXCEPTION asm_exc_debug, 0
EXCEPTION asm_exc_nmi, 0
EXCEPTION asm_exc_int3, 0
EXCEPTION asm_exc_overflow, 0
EXCEPTION asm_exc_bounds, 0
EXCEPTION asm_exc_invalid_op, 0
EXCEPTION asm_exc_device_not_available, 0
EXCEPTION asm_exc_double_fault, 1
EXCEPTION asm_exc_coproc_segment_overrun, 0
EXCEPTION asm_exc_invalid_tss, 1
EXCEPTION asm_exc_segment_not_present, 1
EXCEPTION asm_exc_stack_segment, 1
EXCEPTION asm_exc_general_protection, 1
EXCEPTION asm_exc_page_fault, 1
EXCEPTION asm_exc_reserved_15, 0
EXCEPTION asm_exc_coprocessor_error, 0
EXCEPTION asm_exc_alignment_check, 1
EXCEPTION asm_exc_machine_check, 0
EXCEPTION asm_exc_simd_coprocessor_error, 0
EXCEPTION asm_exc_virtualization, 0
EXCEPTION asm_exc_control_protection, 1
EXCEPTION asm_exc_reserved_22, 0
EXCEPTION asm_exc_reserved_23, 0
EXCEPTION asm_exc_reserved_24, 0
EXCEPTION asm_exc_reserved_25, 0
EXCEPTION asm_exc_reserved_26, 0
EXCEPTION asm_exc_reserved_27, 0
EXCEPTION asm_exc_hypervisor_injection, 0
EXCEPTION asm_exc_vmm_communication, 1
EXCEPTION asm_exc_security, 1
EXCEPTION asm_exc_reserved_31, 0

align 16
asm_exc_common:
	push	rdi
	push	rsi
	push	rdx
	push	rcx
	push	rax
	push	r8
	push	r9
	push	r10
	push	r11
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	cld
	mov	rdi, rsp
	; No frame of ours: the report starts from pt_regs. IST stacks are 16-byte aligned, others may not be.
	mov	rbx, rsp
	and	rsp, -16
	call	do_exception
	mov	rsp, rbx
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	pop	r11
	pop	r10
	pop	r9
	pop	r8
	pop	rax
	pop	rcx
	pop	rdx
	pop	rsi
	pop	rdi
	add	rsp, 16			; vector and error code
	iretq

; For kernel/x86/idt.c.
section .rodata
global exception_entries
align 8
exception_entries:
	dq	asm_exc_divide_error, asm_exc_debug, asm_exc_nmi, asm_exc_int3
	dq	asm_exc_overflow, asm_exc_bounds, asm_exc_invalid_op, asm_exc_device_not_available
	dq	asm_exc_double_fault, asm_exc_coproc_segment_overrun, asm_exc_invalid_tss, asm_exc_segment_not_present
	dq	asm_exc_stack_segment, asm_exc_general_protection, asm_exc_page_fault, asm_exc_reserved_15
	dq	asm_exc_coprocessor_error, asm_exc_alignment_check, asm_exc_machine_check, asm_exc_simd_coprocessor_error
	dq	asm_exc_virtualization, asm_exc_control_protection, asm_exc_reserved_22, asm_exc_reserved_23
	dq	asm_exc_reserved_24, asm_exc_reserved_25, asm_exc_reserved_26, asm_exc_reserved_27
	dq	asm_exc_hypervisor_injection, asm_exc_vmm_communication, asm_exc_security, asm_exc_reserved_31

; Stacks. A page that paging.c leaves unmapped lies below each and above the last.
section .stacks nobits alloc noexec write align=4096
%macro STACK 2				; name, bytes
global %1_guard, %1, %1_top
%1_guard:	resb	4096
%1:		resb	%2
%1_top:
%endmacro
STACK start_stack, 32768
STACK double_fault_stack, 8192
STACK nmi_stack, 8192
STACK machine_check_stack, 8192
STACK page_fault_stack, 8192
global last_guard
last_guard:	resb	4096

section .note.GNU-stack noalloc noexec nowrite progbits
