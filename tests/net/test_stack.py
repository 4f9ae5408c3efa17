"""Live call stacks: a breakpoint answers with the way of the next packet, frame by frame."""
import select

import pytest

from lib import diag, netstat, ping, tcp
from lib.lan import Lan
from lib.wait import wait_until
from lib.wire import Wire

# The way of a packet that came while the CPU slept, from the inside out.
IDLE = ["net_rx_action", "do_softirq", "irq_exit", "common_interrupt", "asm_common_interrupt", "cpu_idle", "start_kernel",
        "pvh_start"]
POLL = ["virtnet_poll", "napi_poll", *IDLE]
LIST = ["netif_receive_list", "napi_gro_flush", "napi_complete_done", *POLL]
IP4 = ["ip4_input", "ethernet_input", "lwip_input", "netif_receive_pkt", *LIST]
OUT = ["sch_direct_xmit", "dev_queue_xmit", "lwip_linkoutput", "ethernet_output", "etharp_output_to_arp_index", "etharp_output",
       "ip4_output_if_src", "ip4_output_if"]
NOTIFY = ["vp_notify", "virtqueue_notify", "virtqueue_kick", "start_xmit", *OUT]

PING = {
    "napi_gro_receive": ["napi_gro_receive", "receive_buf", "virtnet_receive", *POLL],
    "netif_receive_list": LIST,
    "icmp_input": ["icmp_input", *IP4],
    "start_xmit": ["start_xmit", *OUT, "icmp_input", *IP4],
    "vp_notify": [*NOTIFY, "icmp_input", *IP4],
}
# Under load the CPU does not sleep, and packets come in batches: what is certain is how they get here from the stack's door.
TO_STACK = ["ip4_input", "ethernet_input", "lwip_input", "netif_receive_pkt", "netif_receive_list"]
TCP_LOAD = {
    "tcp_input": ["tcp_input", *TO_STACK],
    "start_xmit": ["start_xmit", *OUT, "tcp_output", "tcp_input", *TO_STACK],
    "icmp_input": ["icmp_input", *TO_STACK],
}


def frames(text):
    """Function names, the innermost first, of lines "[0] function"."""
    lines = text.splitlines()
    assert lines and all(line.startswith("[0] ") for line in lines), text
    return [line[4:] for line in lines]


def test_list(module_lan, module_guest):
    """What is worth asking for, each a function of this image."""
    with netstat.leaves_no_trace(module_guest):
        names = diag.get(module_lan, "/stack").split()
        assert {*PING, *TCP_LOAD, "__qdisc_run"} <= set(names)
        assert len(names) == len(set(names))


@pytest.mark.parametrize("function", PING)
def test_ping(module_lan, module_guest, function):
    """The next echo request's way, exactly; now and then one finds the CPU at something else, and another is asked for."""
    ping.assert_answers(module_lan, "10.0.2.2", count=1)  # so that ARP is over
    seen = []
    for _ in range(5):
        with diag.opened(module_lan, f"/stack/{function}") as s:
            ping.assert_answers(module_lan, "10.0.2.2", count=1)
            seen.append(frames(s.text()))
        if seen[-1] == PING[function]:
            break
    assert seen[-1] == PING[function]
    assert module_guest.alive()


def test_tcp_load_all_at_once(module_lan, module_guest):
    """Three at once while megabytes are echoed, and a fourth that waits for its ping; each sees its own packet."""
    with netstat.leaves_no_trace(module_guest):
        armed = {}
        try:
            for function in TCP_LOAD:
                kind = "icmp" if function == "icmp_input" else "tcp"
                armed[function] = diag.Stream(module_lan, f"/stack/{function}?match={kind}")
                assert armed[function].status == 200
            with tcp.connect(module_lan, tcp.ECHO) as sock:
                tcp.echo_stream(sock, 1 << 20)
            ping.assert_answers(module_lan, "10.0.2.2", count=1)
            for function, s in armed.items():
                got = frames(s.text())
                assert got[:len(TCP_LOAD[function])] == TCP_LOAD[function]
                assert "net_rx_action" in got and got[-3:] == IDLE[-3:]
        finally:
            for s in armed.values():
                s.sock.close()


def test_refusals(module_lan, module_guest):
    """Four breakpoints there are; when their askers go they are free again."""
    lan = module_lan
    with netstat.leaves_no_trace(module_guest):
        streams = [diag.Stream(lan, f"/stack/{f}") for f in ("icmp_input", "icmp_input", "udp_input", "tcp_shutdown")]
        try:
            assert [s.status for s in streams] == [200] * 4
            status, text = diag.refused(lan, "/stack/icmp_input")
            assert status == 409 and "4 breakpoints" in text
            # Two on one function: both answer.
            ping.assert_answers(lan, "10.0.2.2", count=1)
            assert frames(streams[0].text()) == frames(streams[1].text())
        finally:
            for s in streams:
                s.sock.close()
        assert diag.refused(lan, "/stack/no_such_function")[0] == 404
        assert diag.refused(lan, "/stack/")[0] == 404
        assert diag.refused(lan, "/stack/icmp_input?match=nonsense")[0] == 400
        assert diag.refused(lan, "/stack/icmp_input?seconds=0")[0] == 400
        for at_the_breakpoint in ("do_exception", "hw_breakpoint_handle", "asm_exc_debug", "asm_common_interrupt"):
            assert diag.refused(lan, f"/stack/{at_the_breakpoint}")[0] == 400
        # The others' breakpoints are back soon after they hung up.
        kept = []
        try:
            def fill():
                s = diag.Stream(lan, "/stack/tcp_shutdown")
                (kept if s.status == 200 else []).append(s) or s.status == 200 or s.sock.close()
                return len(kept) == 4
            wait_until(fill, 10, "the breakpoints of askers who have gone are not free")
        finally:
            for s in kept:
                s.sock.close()


def test_seconds(module_lan, module_guest):
    """Nothing comes by: it ends by itself, and says so."""
    with netstat.leaves_no_trace(module_guest):
        assert diag.get(module_lan, "/stack/tcp_shutdown?seconds=1") == "# nothing came by in 1 s\n"
        # A packet that does not match is none.
        with diag.opened(module_lan, "/stack/ip4_input?match=udp&seconds=1") as s:
            ping.assert_answers(module_lan, "10.0.2.2", count=1)
            assert s.text() == "# nothing came by in 1 s\n"


@pytest.mark.parametrize("function", ["tasklet_schedule", "probe_hit", "walk_stack", "kallsyms_lookup", "kfree", "tcp_write",
                                      "hrtimer_cancel", "hw_breakpoint_uninstall", "stack_probe_input"])
def test_what_the_breakpoint_itself_needs(module_lan, module_guest, function):
    """A breakpoint on what handles breakpoints, or answers for them, neither hangs nor recurses."""
    with diag.opened(module_lan, f"/stack/{function}?seconds=1") as a:
        with diag.opened(module_lan, "/stack/icmp_input") as b:
            ping.assert_answers(module_lan, "10.0.2.2", count=2)
            assert frames(b.text())[0] == "icmp_input"
        a.text()
    assert module_guest.alive()


def test_qdisc_run(_tun, boot):
    """The wire takes nothing, the ring gets full, answers queue up; when it takes them again the queue is run."""
    lan = Lan()
    wire = Wire(lan)
    guest = boot(lan, image="test", append="diag", **wire.netdev())
    try:
        guest.ready()
        with netstat.leaves_no_trace(guest), diag.opened(lan, "/stack/__qdisc_run?seconds=60") as s, \
                tcp.udp_socket(lan) as udp:
            def answered():
                wire.pause()
                for _ in range(1500):
                    udp.sendto(bytes(64), ("10.0.2.2", 7))
                wire.pause(False)
                return select.select([s.sock], [], [], 1)[0]

            wait_until(answered, 30, "no queue was run")
            got = frames(s.text())
            assert got[:2] == ["__qdisc_run", "net_tx_action"] or got[:2] == ["__qdisc_run", "dev_queue_xmit"], got
            assert "do_softirq" in got and got[-3:] == IDLE[-3:]
        assert netstat.read(lan).pools["eth0_qdisc"].most > 0
    finally:
        guest.close()
        wire.close()
        lan.close()
