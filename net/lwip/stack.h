/*
 * The stack as kernel/main.c and the apps' runner see it. Task context, in this order:
 * lwip_stack_init(), the drivers, the apps' init functions, lwip_stack_start().
 */
#ifndef NET_LWIP_STACK_H
#define NET_LWIP_STACK_H

struct netif;

/* lwIP's own init; from here on it hears of every network device. Cannot fail: it takes no memory
 * yet. */
void lwip_stack_init(void);
/* Picks the interface that `ip=` names, else the first, and gives it its addresses. */
void lwip_stack_start(void);

/*
 * Called (softirq, or bottom halves disabled) when the IPv4 address was configured, confirmed or
 * taken away (it is 0.0.0.0 then).
 */
void lwip_on_address(void (*fn)(const struct netif *netif));

#endif
