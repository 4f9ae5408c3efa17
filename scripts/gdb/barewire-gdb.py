"""Barewire's gdb commands, one subject a file in barewire/. Loaded by .gdbinit, so by `make gdb`; may be loaded twice."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
for _name in [n for n in sys.modules if n.split(".")[0] == "barewire"]:
    del sys.modules[_name]

from barewire import dmesg, napi, pbufs, stack, tcp, vring  # noqa: E402,F401 pylint: disable=unused-import
sys.path.pop(0)
