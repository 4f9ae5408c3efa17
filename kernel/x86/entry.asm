; The first instructions of every interrupt and exception, and the stacks they run on.
;
; Interrupts (vectors 32..255) save what a C function may clobber; exceptions save everything, since their
; registers are going to be shown. Either way the stub begins with  push rbp; mov rbp, rsp  while the CPU's frame
; lies on top (SDM vol. 3A, "64-Bit Mode Stack Frame"): the interrupted RIP then sits
; exactly where a caller's return address would, and a walk along rbp goes through the interrupt into the code it hit.
; For debuggers, the CFI_ lines say the same of every instruction (tests/boot/test_gdb_unwind.py checks each).

bits 64

%include "kernel/x86/cfi.inc"

extern common_interrupt
extern sysvec_apic_timer_interrupt
extern do_exception

LOCAL_TIMER_VECTOR	equ 0xef	; kernel/x86/apic.h
SPURIOUS_APIC_VECTOR	equ 0xff
%define FIRST_EXTERNAL_VECTOR 0x20

section .noinstr.text progbits alloc exec nowrite align=16

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
	CFI_ROW
	CFI_SAVED rax, rbp, -16
	CFI_SAVED rcx, rbp, -24
	CFI_SAVED rdx, rbp, -32
	CFI_SAVED rsi, rbp, -40
	CFI_SAVED r8, rbp, -48
	CFI_SAVED r9, rbp, -56
	CFI_SAVED r10, rbp, -64
	CFI_SAVED r11, rbp, -72
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
	CFI_ROW
	CFI_CPU_FRAME rsp, 0
	CFI_SAME rax, rcx, rdx, rsi, r8, r9, r10, r11, rdi, rbp
	iretq
%endmacro

; The head of a stub, CPU's frame on top.
%macro STUB_FRAME 0
	CFI_CPU_FRAME rsp, 0
	CFI_SAME rbp, rdi
	push	rbp
	CFI_ROW
	CFI_CPU_FRAME rsp, 8
	CFI_SAVED rbp, rsp, 0
	mov	rbp, rsp
	CFI_ROW
	CFI_CPU_FRAME rbp, 8
	CFI_SAVED rbp, rbp, 0
	push	rdi
	CFI_ROW
	CFI_SAVED rdi, rbp, -8
%endmacro

; What lies between these two is entered by an interrupt: the address above its frame is the interrupted RIP itself,
; not a return address behind a call (kernel/panic.c:walk_stack).
global __irqentry_text_start
__irqentry_text_start:

; edi = vector
global asm_common_interrupt
align 16
asm_common_interrupt:
	CFI_STARTPROC signal
	CFI_CPU_FRAME rbp, 8
	CFI_SAVED rbp, rbp, 0
	CFI_SAVED rdi, rbp, -8
	SAVE_CALLER_REGS
	call	common_interrupt
	RESTORE_CALLER_REGS_AND_RETURN
	CFI_ENDPROC

global asm_sysvec_apic_timer_interrupt
align 16
asm_sysvec_apic_timer_interrupt:
	CFI_STARTPROC signal
	STUB_FRAME
	SAVE_CALLER_REGS
	call	sysvec_apic_timer_interrupt
	RESTORE_CALLER_REGS_AND_RETURN
	CFI_ENDPROC

; The APIC raises this vector when an interrupt went away; it wants no EOI (SDM vol. 3A, "Spurious Interrupt").
global asm_spurious_interrupt
align 16
asm_spurious_interrupt:
	CFI_STARTPROC signal
	CFI_CPU_FRAME rsp, 0
	iretq
	CFI_ENDPROC

; One 16-byte stub for each external vector.
global irq_entries_start
align 16
irq_entries_start:
	CFI_STARTPROC signal
%assign vec FIRST_EXTERNAL_VECTOR
%rep 256 - FIRST_EXTERNAL_VECTOR
	align	16
	CFI_ROW
	STUB_FRAME
	mov	edi, vec
	jmp	near asm_common_interrupt
%assign vec vec + 1
%endrep
	CFI_ENDPROC

global __irqentry_text_end
__irqentry_text_end:

; Exceptions. The frame is struct pt_regs of kernel/x86/ptrace.h, and rbp in it is the interrupted one.
%macro EXCEPTION 2			; name, has an error code
global %1
align 16
%1:
	CFI_STARTPROC signal
%if %2 == 0
	CFI_CPU_FRAME rsp, 0
	push	0
	CFI_ROW
%endif
	CFI_CPU_FRAME rsp, 8
	push	strict dword exc_vec
	CFI_ROW
	CFI_CPU_FRAME rsp, 16
	jmp	near asm_exc_common
	CFI_ENDPROC
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

; Pushes and pops all the registers named, which the debugger hears of. depth: bytes on top of the CPU's frame.
%macro PUSH_REGS 1-*
%rep %0
	push	%1
%assign depth depth + 8
	CFI_ROW
	CFI_CPU_FRAME rsp, depth
%rotate 1
%endrep
%endmacro
%macro POP_REGS 1-*
%assign left %0
%rep %0
	pop	%1
%assign depth depth - 8
	CFI_ROW
	CFI_CPU_FRAME rsp, depth
	CFI_SAME %1
%rotate 1
%assign left left - 1
%assign offset 0
%rep left
	CFI_SAVED %1, rsp, offset
%assign offset offset + 8
%rotate 1
%endrep
%rotate -left
%endrep
%endmacro
; Where PUSH_REGS left them, the first one highest, seen from rbx.
%macro SAVED_REGS 1-*
%assign offset depth - 24
%rep %0
	CFI_SAVED %1, rbx, offset
%assign offset offset - 8
%rotate 1
%endrep
%endmacro

align 16
asm_exc_common:
	CFI_STARTPROC signal
%assign depth 16
	CFI_CPU_FRAME rsp, depth
	PUSH_REGS rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15
	CFI_SAVED rdi, rsp, 14 * 8
	cld
	mov	rdi, rsp
	; No frame of ours: the report starts from pt_regs. IST stacks are 16-byte aligned, others may not be.
	mov	rbx, rsp
	CFI_ROW
	CFI_CPU_FRAME rbx, depth
	SAVED_REGS rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15
	and	rsp, -16
	call	do_exception
	mov	rsp, rbx
	POP_REGS r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi
	add	rsp, 16			; vector and error code
	CFI_ROW
	CFI_CPU_FRAME rsp, 0
	iretq
	CFI_ENDPROC

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
