"""The guest's own counters and pools (`diag` on its command line), and the check that a load left nothing behind."""
import contextlib
import re
from dataclasses import dataclass, field

from lib import http
from lib.wait import wait_until

DIAG_PORT = 9100
# What comes to stay some time after boot: the link-local address's multicast group, once the address proved unique.
RESIDENT = {"memp_mld6_group": 1}
# Counters that must not rise while everybody behaves.
ERRORS = re.compile(r"(^|[_.])(bad|err|errs|error|errors|broken|leak|leaks|leaked)([_.]|$)")


@dataclass
class Pool:
    """used now, the most ever, size."""
    used: int
    most: int
    size: int


@dataclass
class Netstat:
    """One reading."""
    counters: dict = field(default_factory=dict)
    pools: dict = field(default_factory=dict)
    texts: dict = field(default_factory=dict)

    def __getitem__(self, name):
        return self.counters[name]

    def errors(self):
        """The counters named like errors."""
        return {n: v for n, v in self.counters.items() if ERRORS.search(n)}


def parse(text):
    """Text of /netstat, one `name value` a line; a pool's value is used/max/size."""
    stat = Netstat()
    for line in text.splitlines():
        m = re.fullmatch(r"([a-z0-9_.]+) (\S+)", line)
        assert m, f"/netstat: not `name value`: {line!r}"
        name, value = m.groups()
        assert name not in stat.counters and name not in stat.pools, f"/netstat: {name} twice"
        if p := re.fullmatch(r"(\d+)/(\d+)/(\d+)", value):
            stat.pools[name] = Pool(*map(int, p.groups()))
        elif re.fullmatch(r"-?\d+", value):
            stat.counters[name] = int(value)
        else:
            stat.texts[name] = value  # such as a version; nothing to compare
    return stat


def read(lan, ip="10.0.2.2"):
    """Fetches /netstat over a connection of its own."""
    res = http.get(lan, "/netstat", DIAG_PORT, ip)
    assert res.status == 200, res
    stat = parse(res.body.decode("ascii"))
    assert stat.counters and stat.pools, "no counters or no pools in /netstat"
    return stat


def settled(lan, before, ip="10.0.2.2", timeout=60):
    """Waits until no pool holds more than in `before` (which was read the same way, so the reading's own connection
    is in both). Returns the last reading. The deadline covers TIME_WAIT (10 s in test images), reassembly (15 s) and
    FIN_WAIT_2 (20 s)."""
    last, over = [None], {}

    def drained():
        last[0] = read(lan, ip)
        over.clear()
        for name, pool in last[0].pools.items():
            base = max(before.pools[name].used if name in before.pools else 0, RESIDENT.get(name, 0))
            if pool.used > base:
                over[name] = f"{base} -> {pool.used}"
        return not over

    wait_until(drained, timeout, lambda: f"pools did not drain: {over}", every=0.5)
    return last[0]


@contextlib.contextmanager
def leaves_no_trace(guest, ip="10.0.2.2", allow_errors=(), timeout=60):
    """Around a load: afterwards every pool is back at its level, no error counter has risen (but those in
    allow_errors), and the guest has not panicked. Yields the reading before."""
    # The multicast group of the IPv6 address is joined two seconds after boot, and stays.
    guest.wait_line(r"IPv6 address \S+ is valid")
    before = read(guest.lan, ip)
    yield before
    assert guest.alive(), f"the guest did not survive\n{guest.log.tail()}"
    after = settled(guest.lan, before, ip, timeout)
    rose = {n: f"{before.counters.get(n, 0)} -> {v}" for n, v in after.errors().items()
            if v > before.counters.get(n, 0) and n not in allow_errors}
    assert not rose, f"error counters rose: {rose}"
