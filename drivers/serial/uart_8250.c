/* 16550A UART (National Semiconductor PC16550D data sheet), output only. */
#include "drivers/serial/uart_8250.h"

#include "kernel/lib/types.h"
#include "kernel/printk.h"
#include "kernel/x86/io.h"

#define COM1 0x3f8
#define UART_THR (COM1 + 0) /* W: transmit holding */
#define UART_DLL (COM1 + 0) /* RW with DLAB: divisor, low */
#define UART_IER (COM1 + 1) /* RW: interrupt enable */
#define UART_DLM (COM1 + 1) /* RW with DLAB: divisor, high */
#define UART_FCR (COM1 + 2) /* W: FIFO control */
#define UART_LCR (COM1 + 3) /* RW: line control */
#define UART_MCR (COM1 + 4) /* RW: modem control */
#define UART_LSR (COM1 + 5) /* R: line status */
#define UART_SCR (COM1 + 7) /* RW: scratch */

#define UART_FCR_ENABLE 0x07 /* enable, clear both */
#define UART_LCR_WLEN8 0x03
#define UART_LCR_DLAB 0x80
#define UART_MCR_DTR_RTS 0x03
#define UART_LSR_THRE 0x20
#define UART_FIFO_SIZE 16

/* A port that never gets ready must not stop the kernel: at 115200 a character takes 87 us. */
#define MAX_POLLS 100000

static void wait_for_room(void)
{
	for (unsigned int i = 0; i < MAX_POLLS && !(inb(UART_LSR) & UART_LSR_THRE); i++)
		cpu_relax();
}

/* THRE means that the whole FIFO is empty: one look at the status lets 16 characters go. */
static void uart_write(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (i % UART_FIFO_SIZE == 0)
			wait_for_room();
		outb((u8)text[i], UART_THR);
	}
}

static struct console uart_console = { .name = "ttyS0", .write = uart_write };

void uart_8250_init(void)
{
	/* Where there is no port, nothing remembers what was written. */
	outb(0x5a, UART_SCR);
	if (inb(UART_SCR) != 0x5a)
		return;
	outb(0, UART_IER);
	outb(UART_LCR_DLAB, UART_LCR);
	outb(1, UART_DLL); /* 115200 = 1.8432 MHz / 16 / 1 */
	outb(0, UART_DLM);
	outb(UART_LCR_WLEN8, UART_LCR);
	outb(UART_FCR_ENABLE, UART_FCR);
	outb(UART_MCR_DTR_RTS, UART_MCR);
	register_console(&uart_console);
}
