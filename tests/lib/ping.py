"""ping(8) with its summary read."""
import re
from dataclasses import dataclass


@dataclass
class Ping:
    """What ping counted. text: its whole output."""
    sent: int
    received: int
    text: str

    @property
    def lost(self):
        """Requests without an answer."""
        return self.sent - self.received


def ping(lan, ip, *options, count=3, timeout=60, deadline=None):
    """Runs ping in the LAN's namespace. deadline: seconds after which ping itself stops waiting (-w)."""
    cmd = ["ping", "-n", "-c", count, *options]
    if deadline:
        cmd += ["-w", deadline]
    res = lan.ns.run([*cmd, ip], timeout)
    m = re.search(r"(\d+) packets transmitted, (\d+) received", res.stdout)
    assert m, f"ping printed no summary (status {res.returncode}):\n{res.stdout}"
    assert not re.search(r"DUP!|wrong data byte|BAD CHECKSUM", res.stdout), res.stdout
    return Ping(int(m[1]), int(m[2]), res.stdout)


def assert_answers(lan, ip, *options, count=3):
    """Every one of a few requests is answered."""
    p = ping(lan, ip, "-i", "0.01", "-W", "5", *options, count=count)
    assert p.sent == count and p.lost == 0, p.text
