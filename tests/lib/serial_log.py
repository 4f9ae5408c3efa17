"""The guest's serial output, read by a thread as it comes, so that QEMU never blocks and waiting is exact."""
import os
import re
import threading
import time

# What firmware sends to place the cursor and to colour.
_ESCAPES = re.compile(r"\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9])")


class NoLine(AssertionError):
    """The awaited line did not come."""


class SerialLog:
    """Follows a file descriptor. raw: every byte; lines: finished lines without CR and escape sequences."""

    def __init__(self, fd, describe=lambda: ""):
        self.fd = fd
        self.raw = bytearray()
        self.lines = []
        self.eof = False
        self._rest = b""
        self._cond = threading.Condition()
        self._describe = describe
        self._thread = threading.Thread(target=self._follow, name="serial", daemon=True)
        self._thread.start()

    def _follow(self):
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            with self._cond:
                if not data:
                    self.eof = True
                    if self._rest:
                        self._add(self._rest)
                else:
                    self.raw += data
                    *whole, self._rest = (self._rest + data).split(b"\n")
                    for line in whole:
                        self._add(line)
                self._cond.notify_all()
                if self.eof:
                    return

    def _add(self, line):
        self.lines.append(_ESCAPES.sub("", line.decode("utf-8", "replace")).rstrip("\r"))

    def join(self, timeout=5):
        """Waits for the end of the output (QEMU has exited or closed it)."""
        self._thread.join(timeout)

    def mark(self):
        """A position for `after=`: what is there by now does not count."""
        with self._cond:
            return len(self.lines)

    def find(self, pattern, after=0):
        """Matches of all finished lines so far from position `after` on."""
        with self._cond:
            found = (re.search(pattern, line) for line in self.lines[after:])
            return [m for m in found if m]

    def wait(self, pattern, timeout, after=0):
        """The match of the first finished line from position `after` on; NoLine if it does not come in time or can
        no longer come because QEMU ended."""
        deadline = time.monotonic() + timeout
        with self._cond:
            seen = after
            while True:
                for line in self.lines[seen:]:
                    m = re.search(pattern, line)
                    if m:
                        return m
                seen = max(seen, len(self.lines))
                left = deadline - time.monotonic()
                if self.eof or left <= 0:
                    break
                self._cond.wait(left)
        why = "QEMU ended before it" if self.eof else f"not within {timeout:g} s"
        raise NoLine(f"no line /{pattern}/ on the serial port: {why}{self._describe()}\n{self.tail()}")

    def tail(self, count=25):
        """The last lines, for a report."""
        with self._cond:
            last = self.lines[-count:] + ([self._rest.decode("utf-8", "replace") + " [unfinished]"]
                                          if self._rest and not self.eof else [])
        return "\n".join(["--- serial log, last lines ---", *(last or ["(empty)"]), "---"])
