/*
 * The UEFI door: an application (GNU-EFI) that carries the kernel, loads it to its link address,
 * leaves the firmware and jumps. If anything is missing it says so on the firmware's console and
 * returns; it never overwrites memory that the firmware has not given it. UEFI 2.10 clauses are
 * cited as "UEFI".
 */
#include <efi.h>
#include <efilib.h>

#include "boot/boot.h"

#define PAGE 4096ull
#define CMDLINE_FILE L"\\barewire\\cmdline.txt"

extern const UINT8 kernel_blob[], kernel_blob_end[];

/* ELF-64 object file format, version 1.5: what a loader needs. */
struct elf64_ehdr {
	UINT8 ident[16];
	UINT16 type, machine;
	UINT32 version;
	UINT64 entry, phoff, shoff;
	UINT32 flags;
	UINT16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf64_phdr {
	UINT32 type, flags;
	UINT64 offset, vaddr, paddr, filesz, memsz, align;
};
#define PT_LOAD 1

static struct boot_info info;
/* OVMF's map has some 100 entries of 48 bytes; the firmware may add a few between two calls. */
static UINT8 memory_map[64 * 1024] __attribute__((aligned(8)));

static void note(const char *text)
{
	UINTN i = 0;

	for (; text[i] && i < sizeof(info.note) - 1; i++)
		info.note[i] = text[i];
	info.note[i] = '\0';
}

static const struct elf64_phdr *program_header(const struct elf64_ehdr *eh, UINTN i)
{
	return (const void *)(kernel_blob + eh->phoff + i * eh->phentsize);
}

/* Takes the kernel's range of memory, page aligned, as one piece. */
static EFI_STATUS allocate_image(const struct elf64_ehdr *eh)
{
	UINT64 low = ~0ull, high = 0;
	EFI_PHYSICAL_ADDRESS at;
	EFI_STATUS status;

	for (UINTN i = 0; i < eh->phnum; i++) {
		const struct elf64_phdr *ph = program_header(eh, i);

		if (ph->type != PT_LOAD)
			continue;
		low = ph->paddr < low ? ph->paddr : low;
		high = ph->paddr + ph->memsz > high ? ph->paddr + ph->memsz : high;
	}
	low &= ~(PAGE - 1);
	at = low;
	status = uefi_call_wrapper(BS->AllocatePages, 4, AllocateAddress, EfiLoaderCode,
				   (high - low + PAGE - 1) / PAGE, &at);
	if (EFI_ERROR(status))
		Print(L"\r\nbarewire: the kernel's memory, 0x%lx to 0x%lx, is not free (%r): "
		      L"this machine has too little memory or another layout; 64 MiB are needed\r\n",
		      low, high, status);
	return status;
}

static void load_segments(const struct elf64_ehdr *eh)
{
	for (UINTN i = 0; i < eh->phnum; i++) {
		const struct elf64_phdr *ph = program_header(eh, i);

		if (ph->type != PT_LOAD)
			continue;
		CopyMem((void *)ph->paddr, (void *)(kernel_blob + ph->offset), ph->filesz);
		SetMem((void *)(ph->paddr + ph->filesz), ph->memsz - ph->filesz, 0);
	}
}

/* Keeps what is ASCII; anything else becomes '?', which the kernel reports as an unknown word. */
static void append_cmdline(UINTN at, UINT16 c)
{
	info.cmdline[at] = c < 0x80 ? (char)c : '?';
}

/* Length of a first word that ends in ".efi", and the space behind it; 0: it is no such word. */
static UINTN program_name_length(const CHAR16 *s, UINTN len)
{
	UINTN n = 0;

	while (n < len && s[n] != L' ')
		n++;
	if (n < 4 || s[n - 4] != L'.' || (s[n - 3] | 0x20) != L'e' || (s[n - 2] | 0x20) != L'f' ||
	    (s[n - 1] | 0x20) != L'i')
		return 0;
	return n < len ? n + 1 : n;
}

/*
 * The loader that started us left words (OVMF: -append), UCS-2 with a NUL. True if there were any.
 */
static BOOLEAN cmdline_from_options(const EFI_LOADED_IMAGE *image)
{
	const CHAR16 *s = image->LoadOptions;
	UINTN n = image->LoadOptionsSize / 2, len = 0;

	if (!s || image->LoadOptionsSize == 0)
		return FALSE;
	while (len < n && s[len])
		len++;
	if (image->LoadOptionsSize % 2 || len == n) {
		note("efi: load options are no UCS-2 string with an end, ignored");
		return FALSE;
	}
	/* The UEFI shell puts the program's own name in front. */
	n = program_name_length(s, len);
	s += n;
	len -= n;
	if (len == 0)
		return FALSE;
	if (len > BOOT_CMDLINE_SIZE - 1) {
		info.cmdline_cut = 1;
		len = BOOT_CMDLINE_SIZE - 1;
	}
	for (UINTN i = 0; i < len; i++)
		append_cmdline(i, s[i]);
	info.cmdline[len] = '\0';
	return TRUE;
}

/* \barewire\cmdline.txt on the volume that we come from. Its absence is no news. */
static void cmdline_from_file(const EFI_LOADED_IMAGE *image)
{
	EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *fs;
	EFI_FILE_PROTOCOL *root, *file;
	EFI_STATUS status;
	UINTN len = BOOT_CMDLINE_SIZE - 1;

	if (!image->DeviceHandle)
		return;
	status = uefi_call_wrapper(BS->HandleProtocol, 3, image->DeviceHandle,
				   &gEfiSimpleFileSystemProtocolGuid, (void **)&fs);
	if (EFI_ERROR(status) || EFI_ERROR(uefi_call_wrapper(fs->OpenVolume, 2, fs, &root)))
		return;
	status = uefi_call_wrapper(root->Open, 5, root, &file, CMDLINE_FILE, EFI_FILE_MODE_READ, 0);
	if (!EFI_ERROR(status)) {
		status = uefi_call_wrapper(file->Read, 3, file, &len, info.cmdline);
		if (EFI_ERROR(status)) {
			note("efi: \\barewire\\cmdline.txt cannot be read");
			len = 0;
		}
		info.cmdline_cut = len == BOOT_CMDLINE_SIZE - 1;
		info.cmdline[len] = '\0';
		uefi_call_wrapper(file->Close, 1, file);
	}
	uefi_call_wrapper(root->Close, 1, root);
}

static void find_rsdp(void)
{
	EFI_GUID acpi20 = ACPI_20_TABLE_GUID, acpi10 = ACPI_TABLE_GUID;
	void *table = NULL;

	if (EFI_ERROR(LibGetSystemConfigurationTable(&acpi20, &table)) &&
	    EFI_ERROR(LibGetSystemConfigurationTable(&acpi10, &table)))
		return;
	info.rsdp = (UINT64)(UINTN)table;
}

static void add_range(UINT64 start, UINT64 end, UINT64 reclaim)
{
	struct boot_range *last = info.nr_ranges ? &info.range[info.nr_ranges - 1] : NULL;

	if (last && last->end == start && last->reclaim == reclaim) {
		last->end = end;
		return;
	}
	if (info.nr_ranges == BOOT_MAX_RANGES) {
		info.dropped_ranges++;
		return;
	}
	info.range[info.nr_ranges++] =
		(struct boot_range){ .start = start, .end = end, .reclaim = reclaim };
}

/* UEFI, 7.2, "Memory Type Usage after ExitBootServices()". */
static void take_memory_map(UINTN size, UINTN desc_size)
{
	for (UINTN at = 0; at + desc_size <= size; at += desc_size) {
		const EFI_MEMORY_DESCRIPTOR *d = (const void *)(memory_map + at);
		UINT64 end = d->PhysicalStart + d->NumberOfPages * PAGE;

		switch (d->Type) {
		case EfiConventionalMemory:
			add_range(d->PhysicalStart, end, 0);
			break;
		case EfiLoaderCode:
		case EfiLoaderData:
		case EfiBootServicesCode:
		case EfiBootServicesData:
			/* The page tables that we still run on are in here. */
			add_range(d->PhysicalStart, end, 1);
			break;
		default:
			break;
		}
	}
}

/*
 * UEFI, 7.4.6: the key must be that of the current map, and a timer event may change the map in
 * between; then only GetMemoryMap() and another try are allowed.
 */
static EFI_STATUS exit_boot_services(EFI_HANDLE self)
{
	EFI_STATUS status = EFI_ABORTED;

	for (int tries = 0; tries < 4; tries++) {
		UINTN size = sizeof(memory_map), key, desc_size;
		UINT32 version;

		status = uefi_call_wrapper(BS->GetMemoryMap, 5, &size,
					   (EFI_MEMORY_DESCRIPTOR *)memory_map, &key, &desc_size,
					   &version);
		if (EFI_ERROR(status))
			return status;
		status = uefi_call_wrapper(BS->ExitBootServices, 2, self, key);
		if (!EFI_ERROR(status)) {
			take_memory_map(size, desc_size);
			return EFI_SUCCESS;
		}
	}
	return status;
}

/*
 * After a failed ExitBootServices() the firmware may be half gone: its console must not be used,
 * nor can we return to it (UEFI, 7.4.6). The first serial port is what is left.
 */
static void __attribute__((noreturn)) give_up(const char *text)
{
	for (; *text; text++) {
		for (UINTN i = 0; i < 100000; i++) {
			UINT8 status;

			__asm__ volatile("inb %1, %0" : "=a"(status) : "Nd"((UINT16)0x3fd));
			if (status & 0x20) /* transmitter empty */
				break;
		}
		__asm__ volatile("outb %0, %1" : : "a"(*text), "Nd"((UINT16)0x3f8));
	}
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* GNU-EFI's crt0 calls it. */
EFI_STATUS efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system);
EFI_STATUS efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
	const struct elf64_ehdr *eh = (const void *)kernel_blob;
	void (*entry)(struct boot_info *);
	EFI_LOADED_IMAGE *image;
	EFI_STATUS status;

	InitializeLib(self, system);
	info.magic = BOOT_INFO_MAGIC;
	CopyMem(info.origin, "uefi", sizeof("uefi"));
	status = uefi_call_wrapper(BS->HandleProtocol, 3, self, &LoadedImageProtocol,
				   (void **)&image);
	if (EFI_ERROR(status)) {
		Print(L"\r\nbarewire: no loaded image protocol (%r)\r\n", status);
		return status;
	}
	status = allocate_image(eh);
	if (EFI_ERROR(status))
		return status;
	if (!cmdline_from_options(image))
		cmdline_from_file(image);
	find_rsdp();
	load_segments(eh);
	entry = (void (*)(struct boot_info *))eh->entry;
	if (EFI_ERROR(exit_boot_services(self)))
		give_up("\r\nbarewire: the firmware does not let go (ExitBootServices failed)\r\n");
	entry(&info);
	return EFI_ABORTED; /* not reached: the kernel does not come back */
}
