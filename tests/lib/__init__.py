"""Test bed: a private network namespace, a tap, a guest in QEMU, its serial log, and the peers it talks to."""
