"""What a boot prints: the lines for machines, one line per PCI function, the driver's line; and how the log behaves."""
import re

import pytest

from lib.guest import MAC
from lib.ping import assert_answers
from lib.tcp import assert_echo

DOORS = [("pvh", "pc"), ("pvh", "q35"), ("pvh", "microvm"), ("uefi", "pc"), ("uefi", "q35")]
PCI_LINE = re.compile(r"^\[ *\d+\.\d{6}\] .*\b(?:[0-9a-f]{4}:)?(?P<bus>[0-9a-f]{2}):(?P<dev>[0-9a-f]{2})\.(?P<fn>[0-7])\b"
                      r".*\b(?P<id>[0-9a-f]{4}:[0-9a-f]{4})\b")


def pci_functions(buses):
    """QEMU's own view of what is on the buses, bridges included."""
    for bus in buses:
        for dev in bus["devices"]:
            ident = f"{dev['id']['vendor']:04x}:{dev['id']['device']:04x}"
            yield (dev["bus"], dev["slot"], dev["function"], ident)
            if "pci_bridge" in dev:
                yield from pci_functions([{"devices": dev["pci_bridge"].get("devices", [])}])


@pytest.mark.parametrize("door,machine", DOORS)
def test_boot_log(lan, boot, door, machine):
    """First line, one PCI line per function there is, one driver line, the ready line, then ping and echo."""
    g = boot(lan, door=door, machine=machine, capture=True)
    ready = g.ready()
    assert (ready.ip, ready.prefix, ready.gw, ready.mac) == ("10.0.2.2", 24, "10.0.2.1", MAC)
    assert {"echo", "http"} <= set(ready.apps)

    first = g.log.find(r"^barewire: \S+ booted by (uefi|pvh)$")
    assert [m[1] for m in first] == [door], "the first line, once"
    raw = bytes(g.log.raw)
    assert re.search(rb"(^|\r\n)barewire: \S+ booted by %s\r\n" % door.encode(), raw), "starts in column 0, ends in CR LF"
    assert re.search(rb"\r\nbarewire: ready [^\r\n]*\r\n", raw)
    ours = raw[raw.index(b"barewire: "):]
    assert ours.count(b"\n") == ours.count(b"\r\n"), "every line ends in CR LF"

    found = [(int(m["bus"], 16), int(m["dev"], 16), int(m["fn"]), m["id"])
             for m in (PCI_LINE.match(line) for line in g.log.lines) if m]
    assert sorted(found) == sorted(pci_functions(g.qmp.cmd("query-pci"))), "one line per PCI function"

    driver = g.log.find(r"^\[ *\d+\.\d{6}\] virtio_net: eth0: .*")
    assert len(driver) == 1, f"one driver line: {[m[0] for m in driver]}"
    assert MAC in driver[0][0] and "msix" in driver[0][0], driver[0][0]

    assert_answers(lan, ready.ip)
    assert_echo(lan)
    assert g.alive()


def test_mac_in_lower_case(lan, boot):
    """The NIC's own MAC, not a constant."""
    assert boot(lan, mac="52:54:00:AB:CD:EF").ready().mac == "52:54:00:ab:cd:ef"


def test_time_stamps_rise(lan, boot):
    """The log's time never runs backwards and agrees with the wall clock within reason."""
    g = boot(lan)
    g.ready()
    stamps = [float(m[1]) for m in g.log.find(r"^\[ *(\d+\.\d{6})\] ")]
    assert len(stamps) > 5 and stamps == sorted(stamps)
    assert stamps[-1] < 30


def test_loglevel_0(lan, boot):
    """The machine lines come at every level; at level 0 nothing else does."""
    g = boot(lan, append="loglevel=0")
    g.ready()
    assert g.log.find(r"^barewire: \S+ booted by pvh$")
    stamped = g.log.find(r"^\[ *\d+\.\d{6}\]")
    assert not stamped, stamped[0].string


def test_loglevel_7(lan, boot):
    """Level 7 tells at least what the default tells."""
    counts = []
    for append in ("", "loglevel=7"):
        g = boot(lan, append=append)
        g.ready()
        counts.append(len(g.log.find(r"^\[ *\d+\.\d{6}\]")))
        g.close()
    assert counts[1] >= counts[0] > 5


def test_words_of_the_command_line(lan, boot):
    """An unknown word gets one warning and is ignored, habitual ones of Linux loaders none; a bad value is refused with
    a line that names it, and the default holds."""
    g = boot(lan, append="frobnicate=1 quiet root=/dev/vda rw reboot=t nomodule 8250.nr_uarts=1 loglevel=banana")
    g.ready()
    said = [line for line in g.log.lines if "Command line:" not in line]
    assert len([line for line in said if "frobnicate" in line]) == 1, "one warning for an unknown word"
    for word in ("quiet", "root=", " rw", "reboot", "nomodule", "8250"):
        assert not [line for line in said if word in line and "ignored" in line], f"{word} is ignored in silence"
    assert len([line for line in said if "loglevel=banana" in line]) == 1, "a bad value is refused with a line"


def test_app_chooses(lan, boot):
    """app= starts only the named apps."""
    g = boot(lan, append="app=http")
    assert g.ready().apps == ["http"]


@pytest.mark.parametrize("words,ip,gw", [
    ("ip=10.0.2.9/24 gw=10.0.2.1", "10.0.2.9", "10.0.2.1"),
    ("ip=10.0.2.9::10.0.2.1:255.255.255.0", "10.0.2.9", "10.0.2.1"),
    ("ip=10.0.2.9::10.0.2.1:255.255.255.0:name:eth0:none", "10.0.2.9", "10.0.2.1"),
    ("ip=10.0.2.9:::255.255.255.0::eth0:off", "10.0.2.9", "0.0.0.0"),
])
def test_ip_words(lan, boot, words, ip, gw):
    """ip= as Linux takes it, with trailing fields left out, and the short form."""
    ready = boot(lan, ip=words).ready()
    assert (ready.ip, ready.prefix, ready.gw) == (ip, 24, gw)
    assert_answers(lan, ip)


def test_no_nic(boot):
    """Without a NIC the guest says so and neither dies nor claims to be ready."""
    g = boot(None)
    g.wait_line(r"(?i)no (network device|nic|network interface)|eth0.*(not found|no such|missing)")
    assert g.alive()
    assert not g.log.find(r"^barewire: ready")


def test_mtu_of_the_host(lan, boot):
    """host_mtu=1280 is honoured: no frame of the guest is longer, and it serves."""
    # A large segment is the device's to cut, and a tap hands it over whole.
    g = boot(lan, nic="host_mtu=1280", append="diag virtio_net.host_tso=0")
    g.ready()
    port = lan.port()
    lan.ns.ip("link set tap0 mtu 1280")
    assert_answers(lan, "10.0.2.2", "-s", "3000")
    assert_echo(lan, size=200_000)
    longest = max(len(f) for f in port.frames(1))
    assert 1000 < longest <= 1280 + 14, longest
    assert g.alive()
