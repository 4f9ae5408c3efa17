"""napi: who is to be polled, and what GRO holds (net/dev.c, net/gro.c)."""
import gdb

from barewire.common import Trouble, array, bits, command, entries, function_name, static, text, value, virtnets

STATES = [(1, "SCHED"), (2, "MISSED")]


def show_list(label, head, count):
    """A napi's list of packets: how many, and what each was merged of."""
    sizes = []
    for pkt in entries(head, "struct pkt_buf", "list"):
        cb = pkt["cb"].address.cast(gdb.lookup_type("struct napi_gro_cb").pointer())
        held = f" in {int(cb['count'])} segments" if label == "gro_list" else ""
        sizes.append(f"{int(pkt['len'])} bytes{held}")
    print(f"    {label}: {', '.join(sizes) or 'empty'}")
    if len(sizes) != int(count):
        print(f"    INCONSISTENT: {label} has {len(sizes)} packets, its counter says {int(count)}")


def show(name, napi, polled):
    """One NAPI."""
    at = int(napi.address)
    if not int(napi["poll"]):
        print(f"  {name}: not added yet")
        return
    state = int(napi["state"])
    where = f"place {polled.index(at) + 1} of {len(polled)} on the poll list" if at in polled else "not on the poll list"
    print(f"  {name}: {function_name(napi['poll'])} weight {int(napi['weight'])}, state {bits(state, STATES)}, {where}")
    for label, count in (("gro_list", "gro_count"), ("rx_list", "rx_count")):
        show_list(label, napi[label], napi[count])
    if at in polled and not state & 1:
        print("    INCONSISTENT: on the poll list without SCHED")


@command("napi")
def napi():
    """napi: the poll list, and each NAPI's state, weight, GRO list and receive list."""
    data = value("softnet_data")
    polled = [int(n) for n in entries(data["poll_list"], "struct napi_struct", "poll_list")]
    cpu = static("kernel/softirq.c", "cpu")
    pending = [(1 << int(f.enumval), f.name) for f in gdb.lookup_type("enum softirq_nr").fields() if f.name != "NR_SOFTIRQS"]
    print(f"softirq: pending {bits(int(cpu['pending']), pending)}; depth: hard {int(cpu['hardirq_depth'])}, soft "
          f"{int(cpu['softirq_depth'])}")
    print(f"poll list: {len(polled)} scheduled; time_squeeze {int(data['time_squeeze'])}; xmit_more {bool(data['xmit_more'])}, "
          f"more to deliver: {text(data['rx_more']['name'].address, 16) if int(data['rx_more']) else 'no'}")
    known = []
    for dev, vi in virtnets():
        napis = [(f"{kind}{i}", q["napi"]) for kind, field in (("rx", "rq"), ("tx", "sq"))
                 for i, q in enumerate(array(vi[field]))]
        for name, n in [*napis, ("config", vi["config_napi"])]:
            show(f"{dev} {name}", n, polled)
            known.append(int(n.address))
    strangers = [f"{at:#x}" for at in polled if at not in known]
    if strangers:
        raise Trouble(f"on the poll list, and of no device: {' '.join(strangers)}")
