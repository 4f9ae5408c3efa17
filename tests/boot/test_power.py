"""Orderly power-off and reset, on every machine."""
import pytest

from lib.guest import POWER_OFF

MACHINES = [("pvh", "pc"), ("pvh", "q35"), ("pvh", "microvm"), ("uefi", "q35"), ("uefi", "pc")]


@pytest.mark.parametrize("door,machine", MACHINES)
def test_power_button(lan, boot, door, machine):
    """The ACPI power button is an orderly power-off, which isa-debug-exit turns into status 33."""
    g = boot(lan, door=door, machine=machine)
    g.ready()
    g.power_button()
    assert g.exit_status(20) == POWER_OFF, g.log.tail()
    assert not g.panics()


@pytest.mark.parametrize("door,machine", MACHINES)
def test_power_off_by_acpi(lan, boot, door, machine):
    """Without isa-debug-exit ACPI switches the machine off: QEMU ends with 0 because the guest shut down, not by a
    triple fault (also 0 under -no-reboot, but with another reason)."""
    g = boot(lan, door=door, machine=machine, debug_exit=False, paused=True)
    g.go_on()
    g.ready()
    g.power_button()
    assert g.qmp.wait_event("SHUTDOWN")["data"]["reason"] == "guest-shutdown"
    assert g.exit_status(20) == 0


@pytest.mark.parametrize("machine", ["pc", "q35", "microvm"])
def test_poweroff_word(lan, boot, machine):
    """poweroff=1 ends the guest by itself, but not before it served."""
    g = boot(lan, machine=machine, append="poweroff=1")
    g.ready()
    assert g.exit_status(20) == POWER_OFF


def test_power_button_under_load(lan, boot):
    """The button works while packets come in."""
    g = boot(lan)
    g.ready()
    flood = lan.ns.spawn(["ping", "-q", "-f", "-c", "1000000", "10.0.2.2"])
    try:
        g.power_button()
        assert g.exit_status(20) == POWER_OFF
    finally:
        flood.terminate()
        flood.wait()


def test_system_reset(lan, boot):
    """A reset from outside boots again from clean memory."""
    g = boot(lan, reboot=True)
    g.ready()
    seen = g.log.mark()
    g.qmp.cmd("system_reset")
    g.ready(after=seen)
    assert not g.panics()
