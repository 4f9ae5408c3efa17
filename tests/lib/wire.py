"""A wire of our own between a tap and QEMU. Both a tap and a packet socket refuse frames below 14 bytes; a device
model may still hand one to the guest, so the test does."""
import fcntl
import os
import select
import socket
import struct
import threading

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000


class Wire:
    """Relays between the LAN's tap and the datagram socket that netdev() gives to QEMU."""

    kind = socket.SOCK_DGRAM

    def __init__(self, lan):
        with lan.ns.entered():
            self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tap, TUNSETIFF, struct.pack("16sH22x", lan.taps[0].encode(), IFF_TAP | IFF_NO_PI))
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, self.kind)
        self._stop_r, self._stop_w = os.pipe()
        self._paused = False
        self._thread = threading.Thread(target=self._relay, name="wire", daemon=True)
        self._thread.start()

    def netdev(self):
        """For Guest(netdev=..., fds=...)."""
        fd = self.theirs.fileno()
        return {"netdev": f"dgram,id=n0,local.type=fd,local.str={fd}", "fds": (fd,)}

    def _relay(self):
        while True:
            ready, _, _ = select.select([self.tap, self._stop_r, *([] if self._paused else [self.ours])], [], [])
            if self._stop_r in ready and os.read(self._stop_r, 1) == b"x":
                return
            if self.tap in ready:
                self.inject(os.read(self.tap, 65536))
            if self.ours in ready:
                data = self.ours.recv(65536)
                if not data and self.kind == socket.SOCK_STREAM:
                    return  # QEMU has ended
                for frame in self._arrived(data):
                    if len(frame) >= 14:
                        os.write(self.tap, frame)

    def _arrived(self, data):
        """The frames in what was received."""
        yield data

    def inject(self, frame):
        """Puts a frame on the wire towards the guest."""
        try:
            # Nobody waits for a guest that cannot send what would make room.
            self.ours.send(frame, socket.MSG_DONTWAIT if self._paused else 0)
        except BlockingIOError:
            pass

    def pause(self, paused=True):
        """Takes nothing more from the guest, until pause(False)."""
        self._paused = paused
        os.write(self._stop_w, b"p")

    def close(self):
        """Stops the relay."""
        os.write(self._stop_w, b"x")
        self._thread.join()
        for fd in (self.tap, self._stop_r, self._stop_w):
            os.close(fd)
        self.ours.close()
        self.theirs.close()


class StreamWire(Wire):
    """The same over a stream, in which each frame has its length before it."""

    kind = socket.SOCK_STREAM

    def __init__(self, lan):
        self._rest = b""
        super().__init__(lan)

    def netdev(self):
        """For Guest(netdev=..., fds=...)."""
        fd = self.theirs.fileno()
        return {"netdev": f"stream,id=n0,server=off,addr.type=fd,addr.str={fd}", "fds": (fd,)}

    def _arrived(self, data):
        self._rest += data
        while len(self._rest) >= 4 and len(self._rest) >= 4 + (size := struct.unpack(">I", self._rest[:4])[0]):
            yield self._rest[4:4 + size]
            self._rest = self._rest[4 + size:]

    def inject(self, frame):
        """Puts a frame on the wire towards the guest."""
        self.ours.sendall(struct.pack(">I", len(frame)) + frame)
