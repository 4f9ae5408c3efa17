; The least that QEMU can boot by PVH: a kernel that sends one byte and halts. From the start of QEMU to that byte is
; what no kernel's boot can be faster than.
bits 32

XEN_ELFNOTE_PHYS32_ENTRY equ 18

section .note.Xen note alloc
	dd 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	db "Xen", 0
	dd start

section .text
global start
start:
	mov al, '!'
	out 0xe9, al
halt:
	hlt
	jmp halt
