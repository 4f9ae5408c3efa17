"""tcp: lwIP's connections (lwip/tcp.h), like ss(8)."""
import ipaddress

from barewire.common import chain, command, read, value

IPADDR_TYPE_V4, IPADDR_TYPE_V6 = 0, 6


def address(ip, port):
    """An ip_addr_t and a port, as people write them."""
    kind, union = int(ip["type"]), int(ip["u_addr"].address)
    if kind == IPADDR_TYPE_V4:
        host = str(ipaddress.IPv4Address(read(union, 4)))
    elif kind == IPADDR_TYPE_V6:
        host = f"[{ipaddress.IPv6Address(read(union, 16))}]"
    else:
        host = "*"
    return f"{host}:{int(port)}"


def queue(segments):
    """A list of struct tcp_seg as segments/bytes."""
    lengths = [int(s["len"]) for s in chain(segments)]
    return f"{len(lengths)}/{sum(lengths)}"


def show(pcb):
    """One connection, two lines."""
    state = str(pcb["state"])
    refused = int(pcb["refused_data"]["tot_len"]) if int(pcb["refused_data"]) else 0
    print(f"{state:12} {address(pcb['local_ip'], pcb['local_port'])} {address(pcb['remote_ip'], pcb['remote_port'])}")
    print(f"    queues (segments/bytes): unsent {queue(pcb['unsent'])}, unacked {queue(pcb['unacked'])}, "
          f"out of order {queue(pcb['ooseq'])}; refused by the app {refused}; pbufs to send {int(pcb['snd_queuelen'])}")
    print(f"    windows: rcv {int(pcb['rcv_wnd'])} (announced {int(pcb['rcv_ann_wnd'])}), snd {int(pcb['snd_wnd'])}, "
          f"cwnd {int(pcb['cwnd'])}, ssthresh {int(pcb['ssthresh'])}, mss {int(pcb['mss'])}; "
          f"rto {int(pcb['rto'])} ticks, retransmissions {int(pcb['nrtx'])}, flags {int(pcb['flags']):#x}")


@command("tcp")
def tcp():
    """tcp: lwIP's TCP pcbs: listening, active, TIME_WAIT; addresses, state, queues, windows."""
    listening = list(chain(value("tcp_listen_pcbs.listen_pcbs")))
    for pcb in listening:
        print(f"{'LISTEN':12} {address(pcb['local_ip'], pcb['local_port'])}")
    active, bound, waiting = (list(chain(value(f"tcp_{name}_pcbs"))) for name in ("active", "bound", "tw"))
    for pcb in active:
        show(pcb)
    for pcb in bound:
        print(f"{'BOUND':12} {address(pcb['local_ip'], pcb['local_port'])}")
    for pcb in waiting:
        print(f"{'TIME_WAIT':12} {address(pcb['local_ip'], pcb['local_port'])} "
              f"{address(pcb['remote_ip'], pcb['remote_port'])}")
    print(f"{len(listening)} listening, {len(active)} active, {len(bound)} bound, {len(waiting)} in TIME_WAIT")
