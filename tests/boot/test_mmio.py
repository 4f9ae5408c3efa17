"""virtio-mmio: QEMU's microvm without PCI, with ACPI (slots at their known places) and without (the command line says)."""
import pytest

from lib import netstat, tcp
from lib.guest import POWER_OFF
from lib.ping import assert_answers, ping

# machine -> what the driver's line says of the interrupt: the second last slot's, behind the random number generator
MACHINES = {"microvm": "mmio@0xfeb02c00.* gsi 46", "microvm,acpi=off": "mmio@0xfeb00c00.* gsi 11",
            "microvm,ioapic2=off": "mmio@0xfeb00c00.* gsi 22"}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("words", ["", "virtio_net.event_idx=0 virtio_net.indirect=0"])
def test_serves(lan, boot, machine, words):
    """Ping, a flood, and 4 MiB byte-exact, without a trace; and the random numbers come from the host."""
    g = boot(lan, image="test", machine=machine, mmio=2, append=f"diag {words}")
    ready = g.ready()
    g.wait_line(rf"virtio_net: eth0: {MACHINES[machine]}$", 1)
    g.wait_line(r"virtio_rng: \S+ mmio@0x[0-9a-f]+: 64 bytes", 1)
    with netstat.leaves_no_trace(g):
        assert_answers(lan, ready.ip, count=10)
        assert_answers(lan, ready.ip, "-s", "8000")
        assert ping(lan, ready.ip, "-f", "-q", count=3000, timeout=120).lost <= 3
        tcp.assert_echo(lan, size=4 << 20)
    assert g.alive()


@pytest.mark.parametrize("machine", MACHINES)
def test_link_changes_are_seen(lan, boot, machine):
    """The configuration interrupt."""
    g = boot(lan, machine=machine, mmio=2, append="diag")
    g.ready()
    before = netstat.read(lan)["eth0_config_changes"]
    g.qmp.cmd("set_link", name="nic0", up=False)
    g.qmp.cmd("set_link", name="nic0", up=True)
    assert_answers(lan, "10.0.2.2")
    assert netstat.read(lan)["eth0_config_changes"] > before


@pytest.mark.parametrize("machine", ["microvm", "microvm,acpi=off"])
def test_version_1_is_refused(lan, boot, machine):
    """The legacy interface: one clear line for each device, and the guest goes on without."""
    g = boot(lan, machine=machine, mmio=1)
    g.wait_line(r"virtio_mmio: 0x\S+: device 1 has the legacy interface \(version 1\), which is not supported; "
                r"QEMU: -global virtio-mmio.force-legacy=false")
    g.wait_line(r"virtio_mmio: 0x\S+: device 4 has the legacy interface")
    g.wait_line(r"lwip: no network device found")
    assert g.alive()


def test_beside_pci(lan, boot):
    """microvm,pcie=on with its NIC on virtio-mmio."""
    g = boot(lan, machine="microvm,pcie=on", mmio=2)
    g.ready()
    g.wait_line(r"virtio_net: eth0: mmio@", 1)
    assert_answers(lan, "10.0.2.2")


def test_words_that_lie(lan, boot):
    """Words that are wrong, or lead to memory or nowhere, are refused, each with its line; the right ones work."""
    words = ["virtio_mmio.device=512", "virtio_mmio.device=512@0x300000:5", "virtio_mmio.device=4K@0xd0000000:5",
             "virtio_mmio.device=512@0xfeb00000:5"]
    g = boot(lan, machine="microvm,acpi=off", mmio=2, append=" ".join(words))
    g.ready()
    g.wait_line(r"command line: virtio_mmio.device=512: bad value", 1)
    g.wait_line(r"virtio_mmio: 0x300000: cannot be mapped", 1)
    g.wait_line(r"virtio_mmio: 0xd0000000: no virtio device here", 1)
    assert_answers(lan, "10.0.2.2")


# ---- the end of the machine

@pytest.mark.parametrize("machine", ["microvm", "microvm,acpi=off"])
def test_poweroff_word(lan, boot, machine):
    """poweroff=1 with isa-debug-exit."""
    g = boot(lan, machine=machine, mmio=2, append="poweroff=1")
    g.ready()
    assert g.exit_status(20) == POWER_OFF


def test_power_button(lan, boot):
    """With ACPI the button works as on any machine."""
    g = boot(lan, machine="microvm", mmio=2)
    g.ready()
    g.power_button()
    assert g.exit_status(20) == POWER_OFF


def test_no_power_switch(lan, boot):
    """Without ACPI and isa-debug-exit there is none, and the guest says so."""
    g = boot(lan, machine="microvm,acpi=off", mmio=2, debug_exit=False, append="poweroff=1")
    g.wait_line(r"ACPI: no power button on this machine")
    g.ready()
    g.wait_line(r"barewire: power off")
    g.wait_line(r"barewire: this machine has no power switch that works; halted")
    assert g.proc.poll() is None


def test_reset_without_acpi(lan, boot):
    """A panic resets the machine all the same: by a triple fault, in the end."""
    g = boot(lan, image="test", machine="microvm,acpi=off", mmio=2, debug_exit=False, reboot=True, append="crash=divide panic=-1")
    g.panic()
    seen = g.log.mark()
    g.wait_line(r"barewire: \S+ booted by pvh", after=seen)
