"""Puts the test run into namespaces of its own, so that root and an ordinary user are the same from there on.

Root gets a network namespace; anybody else a user namespace (where they are root) and a network namespace.
Nothing a test does can then touch the machine's own network, and what a test makes vanishes with its last process.
"""
import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags):
    """unshare(2) for the calling thread."""
    if _libc.unshare(flags) != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"unshare: {os.strerror(err)}")


def setns(fd, kind):
    """setns(2) for the calling thread."""
    if _libc.setns(fd, kind) != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"setns: {os.strerror(err)}")


def _write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def _loopback_up():
    """`ip link set lo up`, without a child."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x1))  # SIOCSIFFLAGS, IFF_UP


def enter():
    """Called once, before any thread or child exists. Returns why it is impossible, or None.

    Children (pytest-xdist's workers among them) inherit what is made here; BAREWIRE_SANDBOX tells them so.
    """
    if os.environ.get("BAREWIRE_SANDBOX"):
        return os.environ.get("BAREWIRE_SANDBOX_WHY_NOT")
    os.environ["BAREWIRE_SANDBOX"] = "1"
    uid, gid = os.getuid(), os.getgid()
    try:
        if uid == 0:
            unshare(CLONE_NEWNET)
        else:
            unshare(CLONE_NEWUSER | CLONE_NEWNET)
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"0 {uid} 1")
            _write("/proc/self/gid_map", f"0 {gid} 1")
        _loopback_up()
    except OSError as e:
        why = f"no private namespaces for uid {uid} here ({e}); run as root, or allow unprivileged user namespaces"
        os.environ["BAREWIRE_SANDBOX_WHY_NOT"] = why
        return why
    return None


def tun_missing():
    """Why taps cannot be made, or None. Opens the device and makes one: being there proves nothing."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR)
    except OSError as e:
        return f"/dev/net/tun cannot be opened: {e.strerror}"
    try:
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"bwprobe%d", 0x1002))  # TUNSETIFF, IFF_TAP | IFF_NO_PI
    except OSError as e:
        return f"/dev/net/tun makes no tap: {e.strerror}"
    finally:
        os.close(fd)
    return None
