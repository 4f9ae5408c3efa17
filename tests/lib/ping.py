"""ping(8) with its summary read."""
import re
from dataclasses import dataclass


@dataclass
class Ping:
    """What ping counted. text: its whole output."""
    sent: int
    received: int
    seqs: set
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
    seqs = {int(n) for n in re.findall(r"bytes from .*icmp_seq=(\d+) ", res.stdout)}
    return Ping(int(m[1]), int(m[2]), seqs, res.stdout)


def assert_lossless(lan, ip, *options, count, timeout=120):
    """Every one of count requests is answered. With -c alone ping waits for the last answer only twice as long as the
    longest took so far, which on a busy host is a loss that was none; with -w it goes on until count are answered, and
    what counts is that the first count of them were."""
    p = ping(lan, ip, *options, count=count, timeout=timeout, deadline=timeout - 10)
    missing = set(range(1, count + 1)) - p.seqs
    assert not missing, f"not answered: {sorted(missing)[:10]}\n{p.text[-2000:]}"
    return p


def assert_answers(lan, ip, *options, count=3):
    """Every one of a few requests is answered."""
    assert_lossless(lan, ip, "-i", "0.01", *options, count=count, timeout=40)
