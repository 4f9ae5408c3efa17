/* Error numbers, with Linux's values. Functions return 0 or the negative of one of these. */
#ifndef KERNEL_LIB_ERRNO_H
#define KERNEL_LIB_ERRNO_H

#define EPERM 1
#define ENOENT 2
#define EIO 5
#define EAGAIN 11
#define ENOMEM 12
#define EBUSY 16
#define EEXIST 17
#define ENODEV 19
#define EINVAL 22
#define ENOSPC 28
#define ERANGE 34
#define EPROTO 71
#define EMSGSIZE 90
#define ETIMEDOUT 110

#endif
