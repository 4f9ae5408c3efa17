; The kernel inside the loader, so that one file boots. KERNEL is the stripped ELF (Makefile).
section .data
align 8
global kernel_blob
global kernel_blob_end
kernel_blob:
	incbin	KERNEL
kernel_blob_end:

section .note.GNU-stack noalloc noexec nowrite progbits
