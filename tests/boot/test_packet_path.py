"""docs/packet-path.md is true: its functions are in the image and in the files that it links them to, Linux's frames are
complete, and a running guest's backtraces are the ones that it shows."""
import json
import re
import subprocess
import threading

import pytest

from lib import gdb, packet_path, proc, tcp
from lib.guest import BUILD, ROOT

SYSCALL = ("tcp_sendmsg inet_sendmsg sock_sendmsg sock_write_iter new_sync_write __vfs_write vfs_write ksys_write "
           "__x64_sys_write do_syscall_64 entry_SYSCALL_64_after_hwframe")
TCP_SEND = ("ip_finish_output2 __ip_finish_output ip_finish_output ip_output ip_local_out __ip_queue_xmit "
            "ip_queue_xmit __tcp_transmit_skb tcp_write_xmit __tcp_push_pending_frames tcp_push tcp_sendmsg_locked " + SYSCALL)
VHOST = "handle_tx_copy handle_tx handle_tx_kick vhost_worker kthread ret_from_fork"
BACKLOG = ("__netif_receive_skb_one_core __netif_receive_skb process_backlog net_rx_action __do_softirq "
           "do_softirq_own_stack do_softirq __local_bh_enable_ip ")
LINUX = {  # what the traces show, by title
    "ping at vp_notify":
        "vp_notify virtqueue_notify start_xmit __netdev_start_xmit netdev_start_xmit xmit_one dev_hard_start_xmit "
        "sch_direct_xmit __dev_xmit_skb __dev_queue_xmit dev_queue_xmit neigh_hh_output neigh_output "
        "ip_finish_output2 __ip_finish_output ip_finish_output NF_HOOK_COND ip_output dst_output ip_local_out "
        "ip_send_skb ip_push_pending_frames icmp_push_reply icmp_reply icmp_echo icmp_echo icmp_rcv "
        "ip_protocol_deliver_rcu ip_local_deliver_finish NF_HOOK ip_local_deliver dst_input ip_sublist_rcv_finish "
        "ip_list_rcv_finish ip_sublist_rcv ip_list_rcv __netif_receive_skb_list_ptype __netif_receive_skb_list_core "
        "__netif_receive_skb_list netif_receive_skb_list_internal gro_normal_list gro_normal_list gro_normal_one "
        "napi_skb_finish napi_gro_receive receive_buf virtnet_receive virtnet_poll __napi_poll napi_poll "
        "net_rx_action __do_softirq invoke_softirq __irq_exit_rcu __irq_exit_rcu irq_exit_rcu common_interrupt "
        "asm_common_interrupt",
    "virtio-net xmit path":
        "start_xmit sch_direct_xmit __qdisc_run __dev_queue_xmit dev_queue_xmit " + TCP_SEND,
    "virtio-net recv path":
        "napi_gro_receive virtnet_poll net_rx_action __do_softirq irq_exit do_IRQ ret_from_intr native_safe_halt "
        "default_idle arch_cpu_idle default_idle_call do_idle cpu_startup_entry start_secondary secondary_startup_64",
    "tun xmit path":
        "tun_sendmsg " + VHOST,
    "tun recv path":
        "tun_net_xmit sch_direct_xmit __qdisc_run __dev_queue_xmit dev_queue_xmit br_dev_queue_push_xmit "
        "br_forward_finish __br_forward br_forward br_dev_xmit dev_hard_start_xmit __dev_queue_xmit dev_queue_xmit " + TCP_SEND,
    "tap xmit path":
        "macvlan_start_xmit sch_direct_xmit __qdisc_run __dev_queue_xmit dev_queue_xmit tap_sendmsg "
        "vhost_tx_batch.isra.23 " + VHOST,
    "tap recv path, from a process of the host":
        "tap_handle_frame " + BACKLOG + TCP_SEND,
    "tap recv path, from another guest":
        "macvlan_handle_frame " + BACKLOG + "__dev_queue_xmit dev_queue_xmit tap_sendmsg vhost_tx_batch.isra.23 " + VHOST,
}
assert len(LINUX["ping at vp_notify"].split()) == 58


# ------------------------------------------------------------------ the text

def test_linux_frames_are_complete_and_in_order():
    """Each list, numbered from 0, none missing; each frame with a verdict, and a reason wherever it is not the same."""
    doc = packet_path.read()
    assert list(doc.linux) == list(LINUX)
    for title, rows in doc.linux.items():
        assert [frame for _, frame, _, _ in rows] == LINUX[title].split(), title
        assert [n for n, _, _, _ in rows] == list(range(len(rows))), title
        for n, frame, here, why in rows:
            assert here.startswith(packet_path.VERDICTS), f"{title} {n} {frame}: {here}"
            if here.startswith(("same", "merged")):
                assert re.search(r"\[`\w+`\]\(", here), f"{title} {n} {frame}: names no function of ours"
            assert why or not here.startswith(("merged", "not needed")), f"{title} {n} {frame}: no reason"


def test_links_lead_to_files():
    """Every relative link, not only those of functions."""
    text = packet_path.DOC.read_text(encoding="utf-8")
    targets = set(re.findall(r"\]\(([^)#:]+)\)", text))
    assert len(targets) > 15
    missing = [t for t in targets if not (packet_path.DOC.parent / t).exists()]
    assert not missing


def test_functions_are_in_the_image_and_where_the_links_say(tmp_path):
    """By nm where a function has code of its own, else (merged into its callers by the compiler) by the debug information."""
    doc = packet_path.read()
    files = dict(doc.links)
    assert len(files) == len(doc.links) > 60, "one file for each function"
    symbols = {line.split()[2].split(".")[0] for line in proc.check(["nm", BUILD / "barewire.elf"]).splitlines()
               if line.split()[1] in "tT"}
    question = tmp_path / "question.py"
    question.write_text(f"for name in {sorted(n for n, path in files.items() if path.endswith(('.c', '.h')))!r}:\n"
                        "    symbol = gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name)\n"
                        "    try: print('IN', name, (symbol or gdb.decode_line(name)[1][0]).symtab.filename)\n"
                        "    except gdb.error: pass\n", encoding="ascii")
    out = proc.check(["gdb", "-nx", "-batch", "-x", question, BUILD / "barewire.elf"])
    known = dict(re.findall(r"^IN (\S+) (\S+)$", out, re.M))
    for name, path in files.items():
        if path.endswith(".asm"):
            assert name in symbols and re.search(rf"^{name}:", (ROOT / path).read_text(encoding="utf-8"), re.M), name
        else:
            assert known.get(name, "nowhere").removeprefix("./") == path, f"{name}: {known.get(name)}"
            assert name in symbols or re.search(rf"^static .*\b{name}\(", (ROOT / path).read_text(encoding="utf-8"), re.M), name


def test_stacks_are_linked():
    """Whoever reads a stack finds each of its functions, and Linux's traces' ones among them."""
    doc = packet_path.read()
    linked = {name for name, _ in doc.links}
    assert set(doc.stacks) == {"rx-idle", "ping-tx", "tcp-tx"}
    for name, frames in doc.stacks.items():
        frames = [*frames[:-1], *frames[-1].split(", or ")]
        assert not set(frames) - linked, name


# ------------------------------------------------------------- live backtraces

def talk(sock, going):
    """A few hundred bytes to the echo service and back, over and over."""
    while not going.is_set():
        sock.sendall(b"x" * 1000)
        assert len(tcp.recv_exact(sock, 1000)) == 1000
        going.wait(0.1)


TRIES = 8


def first(texts, *wanted):
    """The first stack of a device's interrupt out of idle that goes through all of these. There are others: an ARP request in
    between; or what waited while gdb had the guest stopped is found on the way out of a timer's interrupt."""
    wanted = {"common_interrupt", "cpu_idle", *wanted}
    found = next((t for t in (text.splitlines() for text in texts) if wanted <= set(t)), None)
    assert found, f"none goes through {wanted}:\n" + "\n\n".join(texts)
    return found


@pytest.mark.parametrize("image", ["release", "test"])
@pytest.mark.parametrize("door", ["pvh", "uefi"])
def test_live_backtraces(lan, boot, door, image):
    """A receive out of idle, a ping at the doorbell, a TCP send at start_xmit: exactly the documented frames, by either door,
    and plain `bt` says the same, with no ?? in it."""
    stub = gdb.Stub()
    end = threading.Event()
    talker = ping = None
    try:
        g = boot(lan, door=door, image=image, extra=stub.qemu)
        ready = g.ready()
        ping = lan.ns.spawn(["ping", "-n", "-i", "0.2", ready.ip], stdout=subprocess.DEVNULL)
        received = gdb.run(stub, *["bt-rx"] * TRIES, image=image)
        sent = gdb.run(stub, *["bt-tx"] * TRIES, "bt-tx", "bt", image=image)
        proc.stop(ping)
        assert first(received) == packet_path.stack("rx-idle", door)
        assert first(sent[:-1], "icmp_input") == packet_path.stack("ping-tx", door)
        assert re.findall(r"^#\d+ +(?:0x\w+ in )?(\S+) \(", sent[-1], re.M) == sent[-2].splitlines()
        assert "??" not in "".join(received + sent)
        with tcp.connect(lan, tcp.ECHO, ready.ip) as sock:
            talker = threading.Thread(target=talk, args=(sock, end))
            talker.start()
            sent = gdb.run(stub, *["bt-tx start_xmit if pkt->len > 500"] * TRIES, image=image)
            end.set()
            talker.join()
        assert first(sent, "tcp_input") == packet_path.stack("tcp-tx", door)
        assert g.alive()
    finally:
        end.set()
        if ping:
            proc.stop(ping)
        if talker:
            talker.join()
        stub.close()


def test_calls_only(lan, boot):
    """`calls` leaves out what the compiler merged: what is left are functions with code of their own, in the same order."""
    stub = gdb.Stub()
    try:
        boot(lan, image="release", extra=stub.qemu).ready()
        ping = lan.ns.spawn(["ping", "-n", "-i", "0.2", "10.0.2.2"], stdout=subprocess.DEVNULL)
        every = gdb.run(stub, *["bt-tx"] * TRIES, image="release")
        calls = gdb.run(stub, *["bt-tx calls"] * TRIES, image="release")
        proc.stop(ping)
        symbols = {line.split()[2].split(".")[0] for line in proc.check(["nm", BUILD / "barewire.elf"]).splitlines()}
        calls, every = first(calls, "icmp_input"), first(every, "icmp_input")
        assert set(calls) <= symbols and len(calls) < len(every)
        rest = iter(every)
        assert all(name in rest for name in calls), json.dumps([calls, every])
    finally:
        stub.close()
