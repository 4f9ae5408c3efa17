"""What a connection costs does not depend on how many others there are: counted in guest instructions (TCG plugin)."""
import statistics
import time

import pytest

from lib import crowd, netstat
from lib.guest import Guest
from lib.insn_count import Counter
from lib.lan import Lan
from lib.wait import wait_until

ROUNDS, ECHOES, CHURNS = 11, 400, 100


def cost(folder, count, mem):
    """Of `count` connections to the echo port: what the guest does per second with all of them idle ("idle"), per
    echo on one after the other ("echo"), and per connect + echo + close of one more ("churn"), in instructions; the
    connections that the timers look at per second with all of them idle ("looked"); the bytes one takes ("bytes")."""
    if why := crowd.impossible(count):
        pytest.skip(why)
    lan, counter = Lan(), Counter(folder)
    guest = peers = None
    try:
        guest = Guest(lan, append="diag loglevel=4", mem=mem, extra=counter.extra)
        guest.ready(60)
        before = netstat.read(lan)
        peers = crowd.Crowd(lan, count)
        # The last that came are asleep within a tick; a few may be at their keepalive.
        after = wait_until(lambda: (s := netstat.read(lan))["tcp_asleep"] >= 0.99 * count and s, 60,
                           f"nearly all of {count} connections asleep", every=0.5)
        began = time.monotonic()
        assert after["tcp_sockets_established"] - before["tcp_sockets_established"] == count
        res = {"connections": count, "bytes": (before["mm_pages_free"] - after["mm_pages_free"]) * 4096 / count}
        res["idle"] = counter.per_second(4)
        looked = netstat.read(lan)["tcp_timer_looked_at"] - after["tcp_timer_looked_at"]
        res["looked"] = looked / (time.monotonic() - began)

        def median(what, number):
            peers.order(what, number)  # warm
            return statistics.median(counter.of(lambda: peers.order(what, number), res["idle"]) / number
                                     for _ in range(ROUNDS))

        res["echo"] = median("echo", ECHOES)
        res["churn"] = median("churn", CHURNS)
        stat = netstat.read(lan)
        assert stat["tcp_sockets_established"] - before["tcp_sockets_established"] == count
        assert guest.alive()
        print(" ".join(f"{k}={round(v)}" for k, v in res.items()))
        return res
    finally:
        for what in filter(None, (peers, guest, counter, lan)):
            what.close()


@pytest.fixture(name="one", scope="module")
def _one(_tun, tmp_path_factory):
    return cost(tmp_path_factory.mktemp("one"), 1, 256)


def assert_flat(one, many):
    """At most 1.1 times what the only connection costs, to answer and to come and go. And the timers leave alone what
    is idle: two looks for the keepalive of each minute (and a margin), where lwIP's would be six a second."""
    assert many["echo"] <= 1.1 * one["echo"], (many, one)
    assert many["churn"] <= 1.1 * one["churn"], (many, one)
    assert many["looked"] <= 20 + many["connections"] / 20, many
    assert many["bytes"] <= 600, many


def test_ten_thousand_cost_what_one_costs(one, tmp_path):
    """10,000 established connections."""
    assert_flat(one, cost(tmp_path, 10_000, 256))


@pytest.mark.slow
def test_hundred_thousand_in_half_a_gigabyte(one, tmp_path):
    """100,000 connections with -m 512, from nine addresses."""
    assert_flat(one, cost(tmp_path, 100_000, 512))
