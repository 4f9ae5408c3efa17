/* The console: COM1, 115200 8N1, polled. Task, once, before anything that logs. */
#ifndef DRIVERS_SERIAL_UART_8250_H
#define DRIVERS_SERIAL_UART_8250_H

/* Finds the port and registers the console; without one the log stays in its ring. */
void uart_8250_init(void);

#endif
