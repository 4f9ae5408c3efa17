# Barewire's commands (docs/testing.md, "With gdb"). make gdb loads this; a gdb of your own in this folder takes it with
#	gdb -x .gdbinit build/barewire.elf
source scripts/gdb/barewire-gdb.py
