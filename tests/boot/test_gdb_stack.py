"""/stack/<function> of a running guest shows the frames that gdb sees."""
import re
import subprocess
import threading

import pytest

from lib import gdb, proc, tcp

PING = ("common_interrupt", "napi_gro_receive", "netif_receive_list", "lwip_input", "icmp_input", "lwip_linkoutput", "start_xmit",
        "vp_notify")
TCP = ("napi_gro_receive", "netif_receive_list", "tcp_input", "tcp_output", "start_xmit", "vp_notify")
ATTEMPTS = 20


def out_of_idle(frames, wanted):
    """Has all of `wanted`, and the interrupt hit the idle CPU: not a timer, which has a stack of its own."""
    return wanted <= set(frames) and frames[frames.index("asm_common_interrupt") + 1] == "cpu_idle"


def live(lan, function, wanted):
    """The stack that the guest itself shows of `function`, of the first packet whose way has all of `wanted`."""
    seen = []
    for _ in range(ATTEMPTS):
        text = lan.ns.check(["curl", "-sS", "-m", "60", f"http://10.0.2.2:9100/stack/{function}"])
        assert re.fullmatch(r"(\[0\] \w+\n)+\n?", text), text
        frames = re.findall(r"^\[0\] (\w+)$", text, re.M)
        if out_of_idle(frames, wanted):
            return frames
        seen.append(text)
    raise AssertionError(f"{function}: none has {wanted}:\n" + "\n".join(seen))


def by_gdb(stub, function, wanted):
    """All that gdb sees there, without what the compiler merged into its caller: frame pointers do not show that. There may
    be more than one: a segment and a bare ACK come by tcp_output() on different ways."""
    texts = gdb.run(stub, *[f"bt-rx {function} calls"] * 10, image="release", timeout=120)
    return [t for t in (text.splitlines() for text in texts) if out_of_idle(t, wanted)]


@pytest.mark.parametrize("kind", ["ping", "tcp"])
def test_live_stacks_are_what_gdb_sees(lan, boot, kind):
    """Function by function, for a device's interrupt out of idle, under pings or under a dialogue by TCP."""
    stub, end, talker, ping = gdb.Stub(), threading.Event(), None, None
    try:
        g = boot(lan, image="release", append="diag", extra=stub.qemu)
        g.ready()
        if kind == "ping":
            ping = lan.ns.spawn(["ping", "-n", "-i", "0.1", "10.0.2.2"], stdout=subprocess.DEVNULL)
        else:
            sock = tcp.connect(lan, tcp.ECHO, timeout=120)
            talker = threading.Thread(target=talk, args=(sock, end))
            talker.start()
        for function in PING if kind == "ping" else TCP:
            wanted = {"asm_common_interrupt", "cpu_idle"}
            if function in ("lwip_linkoutput", "start_xmit", "vp_notify"):
                wanted |= {"icmp_input"} if kind == "ping" else {"tcp_input"}
            seen = by_gdb(stub, function, wanted)
            assert seen, f"{function}: gdb saw none with {wanted}"
            assert live(lan, function, wanted) in seen, function
        assert g.alive()
    finally:
        end.set()
        if ping:
            proc.stop(ping)
        if talker:
            talker.join()
            sock.close()
        stub.close()


def talk(sock, end):
    """Bytes to the echo service and back, over and over."""
    while not end.is_set():
        sock.sendall(b"x" * 1000)
        assert len(tcp.recv_exact(sock, 1000)) == 1000
        end.wait(0.05)
