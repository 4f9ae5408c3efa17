"""Every combination of door, machine, virtio interface and interrupt boots and answers ping and TCP echo."""
import itertools

import pytest

from lib.ping import assert_answers
from lib.tcp import assert_echo

DOORS = [("uefi", "q35"), ("uefi", "pc"), ("pvh", "pc"), ("pvh", "q35")]
LEGACY = "disable-modern=on,disable-legacy=off"
INTERFACES = {"modern": "disable-legacy=on", "transitional": "", "legacy": LEGACY}
# name: properties of the NIC, words of the command line, what the driver's line must say
INTERRUPTS = {"msix": ("", "", "msix"), "vectors0": ("vectors=0", "", "intx"), "nomsi": ("", "pci=nomsi", "intx")}

CELLS = [(d, m, i, v) for (d, m), i, v in itertools.product(DOORS, INTERFACES, INTERRUPTS)
         # The third way to the same driver code is looked at by PVH only; a UEFI boot takes seconds.
         if d == "pvh" or (i != "transitional" and v != "nomsi")]
CELLS += [("pvh", "microvm", i, v) for i in ("modern", "transitional") for v in INTERRUPTS]


def serves(lan, guest, *says):
    """The guest gets ready, its driver's line has the words, and it answers."""
    ready = guest.ready()
    line = guest.wait_line(r"virtio_net: eth0: .*", 1)[0]
    assert all(word in line for word in says), f"{says}: {line}"
    assert_answers(lan, ready.ip, count=10)
    assert_answers(lan, ready.ip, "-s", "8000")
    assert_echo(lan, ready.ip, size=100_000)
    assert guest.alive()
    return ready


@pytest.mark.parametrize("door,machine,interface,interrupt", CELLS)
def test_matrix(lan, boot, door, machine, interface, interrupt):
    """One cell. The driver says which interface and which interrupt it uses, so no cell can pass as another one."""
    nic, words, irq = INTERRUPTS[interrupt]
    nic = ",".join(filter(None, [INTERFACES[interface], nic]))
    g = boot(lan, door=door, machine=machine, nic=nic, append=words, capture=True)
    serves(lan, g, "legacy" if interface == "legacy" else "modern", irq)


@pytest.mark.parametrize("vectors,says", [(1, "eth0"), (2, "msix-shared"), (3, "msix"), (8, "msix")])
def test_few_vectors(lan, boot, vectors, says):
    """Fewer MSI-X vectors than one for the configuration and one per queue: queues share one, or INTx does it."""
    serves(lan, boot(lan, nic=f"vectors={vectors}"), says)


@pytest.mark.parametrize("door,nic,says", [("pvh", "", "msix"), ("pvh", "vectors=0", "intx"), ("pvh", LEGACY, "legacy"),
                                           ("uefi", "", "msix")])
def test_behind_a_root_port(lan, boot, door, nic, says):
    """The NIC behind a PCIe root port of q35: bridges and their windows."""
    serves(lan, boot(lan, door=door, machine="q35", root_port=True, nic=nic), says)


@pytest.mark.parametrize("door,machine", [("pvh", "pc"), ("pvh", "q35"), ("pvh", "microvm"), ("uefi", "q35")])
def test_plain_cpu(lan, boot, door, machine):
    """A CPU without RDRAND, SMEP, SMAP and the rest."""
    serves(lan, boot(lan, door=door, machine=machine, cpu="qemu64"))


@pytest.mark.parametrize("door,machine,mem", [
    ("pvh", "pc", "16"), ("pvh", "q35", "16"), ("pvh", "microvm", "16"), ("uefi", "q35", "64"), ("uefi", "pc", "64"),
    ("pvh", "pc", "5G"), ("pvh", "q35", "5G"), ("pvh", "microvm", "5G"), ("uefi", "q35", "5G")])
def test_memory_sizes(lan, boot, door, machine, mem):
    """The smallest that must do, and RAM above 4 GiB."""
    serves(lan, boot(lan, door=door, machine=machine, mem=mem))


@pytest.mark.parametrize("nic", ["event_idx=off", "indirect_desc=off", "mrg_rxbuf=off", "csum=off", "guest_csum=off",
                                 "ctrl_vq=off", "status=off", "rx_queue_size=1024", "mq=on,vectors=4", "packed=on,disable-legacy=on",
                                 "iommu_platform=on,disable-legacy=on", "host_mtu=1280", "host_mtu=9000",
                                 "tx_queue_size=256,host_tso4=off,guest_tso4=off"])
def test_device_options(lan, boot, nic):
    """Whatever the device offers or keeps back, the guest serves."""
    serves(lan, boot(lan, nic=nic))


def test_packets_by_the_right_interrupt(lan, boot):
    """MSI-X really is used where the driver's line says so: the function's MSI-X enable bit, seen from outside."""
    for words, enabled in (("", True), ("pci=nomsi", False)):
        g = boot(lan, nic="addr=05.0", append=words)
        g.ready()

        def config(reg, g=g):  # a dword of configuration space, by the monitor's own port I/O
            g.hmp(f"o /w 0xcf8 {0x80000000 | 5 << 11 | (reg & 0xfc):#x}")
            return int(g.hmp(f"i /w {0xcfc:#x}").split("=")[1], 16)
        pos, control = config(0x34) & 0xfc, None
        for _ in range(48):
            if not pos:
                break
            word = config(pos)
            if word & 0xff == 0x11:
                control = word >> 16
                break
            pos = word >> 8 & 0xfc
        assert control is not None, "an MSI-X capability"
        assert bool(control & 0x8000) == enabled
        g.close()
