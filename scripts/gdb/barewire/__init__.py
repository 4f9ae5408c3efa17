"""gdb commands that know the kernel's data. Everything reads the guest's memory and changes none of it."""
