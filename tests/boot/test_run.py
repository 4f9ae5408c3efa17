"""make run, make shell and the refusal of a path that make cannot build in: what a newcomer types."""
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from lib import proc
from lib.guest import ROOT
from lib.make_run import RUN, clean_env, run_qemu
from lib.wait import wait_until


@pytest.fixture(autouse=True)
def _own_run_dir(tmp_path, monkeypatch):
    """So that a make run of somebody else in this checkout keeps its own pid file."""
    monkeypatch.setenv("BAREWIRE_RUN_DIR", str(tmp_path))


def test_make_run_with_a_wrong_setting():
    """Not a guest that does not answer, but a mistake: another status, and the right values."""
    res = run_qemu({"BOOT": "nonsense"}, 240, ["make", "run"])
    assert res.returncode == 2 and "uefi pvh microvm" in res.stdout, res.stdout


def test_make_run(_tun):
    """make run </dev/null shows the log, a ping and a page, and ends with 0."""
    res = run_qemu({}, 240, ["make", "run"])
    assert res.returncode == 0, res.stdout
    assert re.search(r"^barewire: \S+ booted by uefi\r?$", res.stdout, re.M), res.stdout
    assert re.search(r"^barewire: ready ip=10\.0\.2\.2/24", res.stdout, re.M)
    assert "3 packets transmitted, 3 received" in res.stdout
    assert re.search(r"^200 .*text/html", res.stdout, re.M) and "arewire" in res.stdout.split("200 ")[1]


@pytest.mark.parametrize("cmd", [[RUN], ["make", "run"]], ids=["run-qemu", "make"])
def test_without_a_nic(_tun, cmd):
    """NET=none: status 1, and the reason."""
    res = run_qemu({"NET": "none", "BOOT": "pvh"}, 240, cmd)
    assert res.returncode == 1, res.stdout
    assert re.search(r"make run: .*no network device", res.stdout), res.stdout


@pytest.mark.parametrize("env,says", [
    ({"BOOT": "pvh"}, "booted by pvh"), ({"BOOT": "microvm"}, "booted by pvh"), ({"BOOT": "pvh", "MACHINE": "pc"}, "-M pc "),
    ({"BOOT": "pvh", "MEM": "64", "APPEND": "app=http"}, "apps=http\n"),
    ({"BOOT": "pvh", "APPEND": "ip=10.0.2.7/24 gw=10.0.2.1"}, "ready ip=10.0.2.7/24"),
    ({"BOOT": "pvh", "QEMU_ARGS": "-name 'a b'"}, "-name 'a b'"), ({"BOOT": "pvh", "RUN_SECONDS": "3"}, "until 3 s are over"),
])
def test_variations(_tun, env, says):
    """Each setting does what it says, and the guest answers."""
    res = run_qemu(env)
    assert res.returncode == 0, res.stdout
    assert says in res.stdout, res.stdout


def test_user_network():
    """NET=user: no tap, a lease from QEMU, the page on localhost 8080."""
    for port in (8080, 7007):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))  # our own namespace: nobody else can have it
    res = run_qemu({"NET": "user", "BOOT": "pvh"})
    assert res.returncode == 0, res.stdout
    assert "ready ip=10.0.2.15/24" in res.stdout and "hello, Barewire" in res.stdout


def test_not_ready_in_time(_tun):
    """RUN_SECONDS too short for a lease that never comes: status 1, and the reason."""
    res = run_qemu({"BOOT": "pvh", "APPEND": "ip=dhcp", "RUN_SECONDS": "3"})
    assert res.returncode == 1 and re.search(r"make run: .*no address", res.stdout), res.stdout


def test_qemu_ends_early(_tun):
    """QEMU refuses an option: its own words, and ours."""
    res = run_qemu({"BOOT": "pvh", "QEMU_ARGS": "-device no-such-thing"})
    assert res.returncode == 1 and "no-such-thing" in res.stdout and "QEMU ended" in res.stdout, res.stdout


@pytest.mark.parametrize("env,right", [
    ({"BOOT": "bios"}, "uefi pvh microvm"), ({"MACHINE": "isapc"}, "pc q35"), ({"NET": "wlan"}, "tap:IFNAME"),
    ({"VHOST": "maybe"}, "on off"), ({"ACCEL": "hvf"}, "auto tcg kvm"), ({"MEM": "lots"}, "256"), ({"RUN_SECONDS": "x"}, "30"),
    ({"QEMU_ARGS": "-name 'a"}, "quotation"),
    ({"NET": "macvtap"}, "macvtap:IF"), ({"NET": "none:x"}, "none"), ({"NET": "tap:none0"}, "ip tuntap add dev none0"),
    ({"NET": "bridge:none0"}, "ip link add none0 type bridge"), ({"NET": "macvtap:none0"}, "type macvtap mode bridge"),
    ({"NET": "bridge:lo"}, "no bridge"), ({"NET": "macvtap:lo"}, "no macvtap"),
    ({"NET": "vhost-user:/none/such"}, "no such socket"), ({"VHOST": "on", "NET": "user"}, "VHOST=on goes with")])
def test_wrong_values(env, right):
    """A wrong value ends with 2 and names the right ones."""
    res = run_qemu(env, 20)
    assert res.returncode == 2 and right in res.stdout and next(iter(env)) in res.stdout, res.stdout


def test_shell(_tun, tmp_path):
    """make shell is in the network of a running make run, and refused when there is none."""
    pid_file = tmp_path / "pid"
    res = run_qemu({}, 20, [RUN, "shell"])
    assert res.returncode == 1 and "no `make run`" in res.stdout, res.stdout
    shell = tmp_path / "shell"
    shell.write_text("#!/bin/sh\nexec ping -n -c 2 -i 0.2 10.0.2.2\n")
    shell.chmod(0o755)
    running = proc.spawn([RUN], env={**clean_env(), "BOOT": "pvh", "RUN_SECONDS": "60"}, cwd=ROOT, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
    try:
        for line in running.stdout:
            if b"until 60 s" in line:
                break
        assert pid_file.exists()
        res = run_qemu({"SHELL": str(shell)}, 20, [RUN, "shell"])
        assert "2 packets transmitted, 2 received" in res.stdout, res.stdout
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text(encoding="ascii").split()
        assert children, "QEMU is a child of make run"
        running.send_signal(signal.SIGTERM)
        running.wait(20)
        for pid in children:
            wait_until(lambda p=pid: not os.path.exists(f"/proc/{p}"), 10, "QEMU ends with make run")
        assert not pid_file.exists()
    finally:
        proc.stop(running)
        running.stdout.close()


def test_path_with_a_space(tmp_path):
    """A checkout path with a space is refused, clearly and before anything is made."""
    there = tmp_path / "a path"
    there.mkdir()
    for name in ("Makefile", "scripts", "net"):
        src = ROOT / name
        (shutil.copytree if src.is_dir() else shutil.copy)(src, there / name)
    res = proc.run(["make"], 30, cwd=there, env=clean_env())
    assert res.returncode != 0 and re.search(r"path.*space|space.*path", res.stdout), res.stdout
    assert not (there / "build").exists()
