/* container_of(): from a member back to the structure that holds it. */
#ifndef KERNEL_LIB_CONTAINER_OF_H
#define KERNEL_LIB_CONTAINER_OF_H

#include "kernel/lib/types.h"

#define container_of(ptr, type, member) \
	((type *)((char *)(1 ? (ptr) : &((type *)0)->member) - offsetof(type, member)))

#endif
