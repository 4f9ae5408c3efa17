"""QEMU's machine protocol over a socket that was passed to it open: no path, nothing to clean up."""
import json
import socket
import time


class QmpError(Exception):
    """QEMU refused a command, or is gone."""


class Qmp:
    """One client. Events that arrive while waiting for an answer are kept for wait_event()."""

    def __init__(self, sock):
        self.sock = sock
        self.buf = b""
        self.events = []
        self.greeted = False

    def close(self):
        """Idempotent."""
        self.sock.close()

    def _read(self, deadline):
        while b"\n" not in self.buf:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpError("no answer in time")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except socket.timeout as e:
                raise QmpError("no answer in time") from e
            except OSError as e:
                raise QmpError(f"QEMU is gone: {e}") from e
            if not data:
                raise QmpError("QEMU closed the connection")
            self.buf += data
        line, self.buf = self.buf.split(b"\n", 1)
        return json.loads(line)

    def _send(self, msg):
        try:
            self.sock.sendall(json.dumps(msg).encode() + b"\n")
        except OSError as e:
            raise QmpError(f"QEMU is gone: {e}") from e

    def cmd(self, command, /, timeout=20, **args):
        """Executes a command and returns its value."""
        deadline = time.monotonic() + timeout
        if not self.greeted:
            self._read(deadline)
            self.greeted = True
            self.cmd("qmp_capabilities", timeout)
        self._send({"execute": command, "arguments": args})
        while True:
            msg = self._read(deadline)
            if "event" in msg:
                self.events.append(msg)
            elif "error" in msg:
                raise QmpError(f"{command}: {msg['error']['desc']}")
            else:
                return msg["return"]

    def hmp(self, line, timeout=20):
        """A command of the human monitor; returns its text."""
        return self.cmd("human-monitor-command", timeout, **{"command-line": line})

    def wait_event(self, name, timeout=20):
        """The next event of that name."""
        deadline = time.monotonic() + timeout
        while True:
            for n, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(n)
            msg = self._read(deadline)
            if "event" in msg:
                self.events.append(msg)
