"""Network namespaces without names and without a holder process: each lives as long as its file descriptor."""
import contextlib
import os

from lib import proc, sandbox

_OWN = "/proc/thread-self/ns/net"


class NetNs:
    """A fresh network namespace. `with ns.entered():` puts the calling thread into it: sockets made there belong
    to it for good, threads and processes started there stay in it."""

    def __init__(self):
        home = os.open(_OWN, os.O_RDONLY)
        try:
            sandbox.unshare(sandbox.CLONE_NEWNET)
            try:
                self.fd = os.open(_OWN, os.O_RDONLY)
                proc.check(["ip", "link", "set", "lo", "up"])
            finally:
                sandbox.setns(home, sandbox.CLONE_NEWNET)
        finally:
            os.close(home)

    def close(self):
        """The namespace goes when its last process, thread and socket are gone as well."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def entered(self):
        """Moves the calling thread in, and back at the end."""
        home = os.open(_OWN, os.O_RDONLY)
        try:
            sandbox.setns(self.fd, sandbox.CLONE_NEWNET)
            try:
                yield self
            finally:
                sandbox.setns(home, sandbox.CLONE_NEWNET)
        finally:
            os.close(home)

    def spawn(self, cmd, **kw):
        """proc.spawn() inside."""
        with self.entered():
            return proc.spawn(cmd, **kw)

    def run(self, cmd, timeout=60, **kw):
        """proc.run() inside."""
        with self.entered():
            return proc.run(cmd, timeout, **kw)

    def check(self, cmd, timeout=60, **kw):
        """proc.check() inside."""
        with self.entered():
            return proc.check(cmd, timeout, **kw)

    def ip(self, *lines):
        """Runs lines of ip(8) in one go."""
        return self.check(["ip", "-batch", "-"], stdin=None, input="\n".join(lines) + "\n")

    def sysctl(self, **values):
        """Sets net.* values, written with '__' for '.': sysctl(ipv6__conf__default__accept_dad=0)."""
        with self.entered():
            for name, value in values.items():
                with open("/proc/sys/net/" + name.replace("__", "/"), "w", encoding="ascii") as f:
                    f.write(str(value))
