"""make gdb, and the commands of scripts/gdb: before the kernel is there, at its entry, half way through the boot, under load."""
import os
import re
import socket
import subprocess
import threading

import pytest

from lib import gdb, netstat, proc, tcp
from lib.guest import ROOT
from lib.wait import wait_until

COMMANDS = ("vring", "vring rx0", "vring tx0", "napi", "pbufs", "tcp", "dmesg")


@pytest.fixture
def stub():
    """A place for a guest to listen at."""
    s = gdb.Stub()
    yield s
    s.close()


def make_gdb(env, tmp_path, cmd=("scripts/run-gdb",), timeout=200):
    """Runs it without a terminal; returns CompletedProcess."""
    settings = {"BOOT", "MACHINE", "NET", "VHOST", "ACCEL", "MEM", "APPEND", "QEMU_ARGS", "GDB_ARGS", "MAKEFLAGS", "MAKELEVEL"}
    ours = {k: v for k, v in os.environ.items() if k not in settings}
    return proc.run(cmd, timeout, cwd=ROOT, env={**ours, "ACCEL": "tcg", "BAREWIRE_RUN_DIR": str(tmp_path), **env})


@pytest.mark.parametrize("env,last", [
    ({"BOOT": "pvh"}, "pvh_start"), ({"BOOT": "pvh", "MACHINE": "pc"}, "pvh_start"), ({"BOOT": "microvm"}, "pvh_start"),
    ({"BOOT": "uefi"}, "start"), ({"NET": "user"}, "pvh_start"), ({"NET": "none"}, "pvh_start")])
def test_stops_at_the_entry(_tun, tmp_path, env, last):
    """By every door: at start_kernel, with symbols, an unbroken stack and the commands."""
    res = make_gdb({**env, "GDB_ARGS": "-batch -ex bt -ex dmesg -ex 'help vring'"}, tmp_path)
    assert res.returncode == 0, res.stdout
    frames = re.findall(r"^#\d+ .*", res.stdout, re.M)
    assert len(frames) == 2, res.stdout
    assert re.match(r"#0 +start_kernel \(handed_over=0x\w+.*\) at kernel/main\.c:\d+$", frames[0]), res.stdout
    assert re.match(rf"#1 +0x\w+ in {last} \(\)$", frames[1]), res.stdout
    assert "dmesg: the log is empty" in res.stdout and "inconsistency" in res.stdout, res.stdout
    assert not list(tmp_path.iterdir()), "no pid file is left behind"


def test_make_gdb_with_a_file_of_commands(_tun, tmp_path):
    """`make gdb` itself; the file's commands come after the stop, and the guest can be run from there."""
    commands = tmp_path / "commands"
    commands.write_text("thbreak cpu_idle\ncontinue\nbt\ndmesg\n", encoding="ascii")
    run_dir = tmp_path / "run"
    res = make_gdb({"GDB_ARGS": f"-batch -x {commands}"}, run_dir, ["make", "gdb"])
    assert res.returncode == 0, res.stdout
    assert re.search(r"^#0 +cpu_idle \(\) at kernel/main\.c:\d+$", res.stdout, re.M), res.stdout
    assert re.search(r"^barewire: ready ip=10\.0\.2\.2/24 ", res.stdout, re.M), res.stdout


@pytest.mark.parametrize("env,says,status", [
    ({"BOOT": "bios"}, "make gdb: BOOT=bios is not one of: uefi pvh microvm", 2),
    ({"QEMU_ARGS": "-device no-such-thing"}, "make gdb: QEMU ended", 1)])
def test_wrong_settings(_tun, tmp_path, env, says, status):
    """As make run says it, and with its statuses."""
    res = make_gdb({**env, "GDB_ARGS": "-batch"}, tmp_path)
    assert res.returncode == status and says in res.stdout, res.stdout


def test_without_a_guest():
    """Every command says so in one line."""
    script = [word for command in (*COMMANDS, "bt-rx", "bt-tx") for word in ("-ex", command)]
    res = proc.run([*gdb.start(), *script], 60, cwd=ROOT)
    assert res.returncode == 0, res.stdout
    lines = res.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [c.split()[0] for c in (*COMMANDS, "bt-rx", "bt-tx")], res.stdout
    assert all("no guest" in line for line in lines), res.stdout


def test_while_it_boots(lan, boot, stub):
    """From the CPU's first instruction on, every command has a clear answer at every stage of the boot."""
    boot(lan, image="test", append="diag", extra=stub.qemu, paused=True)
    stages = ["pvh_start", "start_kernel", "mm_init", "paging_init", "net_dev_init", "lwip_stack_init", "driver_init",
              "virtqueue_add_inbuf", "register_netdev", "virtnet_open", "apps_init", "cpu_idle"]
    steps = [*COMMANDS]
    for stage in stages:
        steps += [f"thbreak {stage}", "continue", *COMMANDS]
    out = gdb.run(stub, *steps, timeout=120)
    answers = dict(zip(["reset", *stages], (out[n:n + len(COMMANDS)] for n in range(0, len(out), len(COMMANDS) + 2))))
    assert [len(a) for a in answers.values()] == [len(COMMANDS)] * (len(stages) + 1)
    for stage, texts in answers.items():
        for command, text in zip(COMMANDS, texts):
            assert text, f"{command} at {stage}: no answer"
            assert "INCONSISTENT" not in text, f"{command} at {stage}: {text}"
    assert "no network device" in answers["start_kernel"][0]
    assert answers["start_kernel"][COMMANDS.index("pbufs")] == "pbufs: no pool has been made yet"
    assert "0 listening" in answers["lwip_stack_init"][COMMANDS.index("tcp")]
    assert "5 listening" in answers["cpu_idle"][COMMANDS.index("tcp")]
    assert answers["cpu_idle"][0].count("  consistent") == 2


def test_wrong_words(lan, boot, stub):
    """Wrong queues, functions and numbers of words: one line, no traceback."""
    boot(lan, image="test", extra=stub.qemu).ready()
    out = gdb.run(stub, "vring x", "vring a b", "bt-rx nosuch", "bt-tx a b", "tcp 1", "dmesg 1", "bt-rx lwip_input if nosuch")
    says = ["no queue x; there are rx0, tx0", "vring \\[QUEUE\\]", "no function nosuch", "one function", "^tcp:", "^dmesg:",
            "No symbol \"nosuch\""]
    for text, want in zip(out, says):
        assert re.search(want, text) and "\n" not in text, text


class Load:
    """Pings as fast as they are answered, and a stream through the echo service, for as long as it is wanted."""

    def __init__(self, lan):
        self.going, self.echoed, self.failed = True, 0, None
        self.sock = tcp.connect(lan, tcp.ECHO, timeout=60)
        self.port = self.sock.getsockname()[1]
        self.ping = lan.ns.spawn(["ping", "-n", "-f", "10.0.2.2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self.stream)
        self.thread.start()

    def stream(self):
        """Writes and reads until told to stop."""
        try:
            while self.going:
                self.sock.sendall(bytes(60000))
                assert len(tcp.recv_exact(self.sock, 60000)) == 60000
                self.echoed += 60000
        except (OSError, AssertionError) as e:
            self.failed = e

    def close(self):
        """Ends it."""
        self.going = False
        proc.stop(self.ping)
        self.thread.join()
        self.sock.close()


def test_under_load(lan, boot, stub):
    """Stopped at random moments under load: each command's answer holds together, and the load goes on unharmed."""
    g = boot(lan, image="test", append="diag", extra=stub.qemu)
    g.ready()
    load = Load(lan)
    try:
        for _ in range(8):
            before = load.echoed
            wait_until(lambda b=before: load.echoed > b or load.failed, 60, "the stream moves")
            vring, napi, pbufs, connections, dmesg = gdb.run(stub, "vring", "napi", "pbufs", "tcp", "dmesg")
            for queue in re.split(r"\n(?=eth0 )", vring):
                assert re.match(r"eth0 [rt]x0 \(virtio1 queue [01], (in|out)put\.0\): 256 descriptors", queue), vring
                # Between two instructions of the ring's own code it may be half way through a change.
                assert ("  consistent" in queue) != ("INCONSISTENT" in queue), vring
                assert "INCONSISTENT" not in queue or "stopped inside" in queue, vring
            assert re.search(r"^  eth0 rx0: virtnet_poll weight 64, state (none|SCHED|SCHED MISSED), ", napi, re.M), napi
            assert napi.count("gro_list: ") == napi.count("rx_list: ") == 3, napi
            pool = r"^eth0_rx_pool \d+/\d+/\d{4}: \d+ posted to the device, \d+ held by the stack, 0 refused$"
            assert re.search(pool, pbufs, re.M), pbufs
            mine = rf"^ESTABLISHED  10\.0\.2\.2:7 10\.0\.2\.1:{load.port}\n    queues .*\n    windows: rcv \d+"
            assert re.search(mine, connections, re.M), connections
            assert connections.endswith("5 listening, 1 active, 0 bound, 0 in TIME_WAIT"), connections
            assert "barewire: ready ip=10.0.2.2/24" in dmesg
    finally:
        load.close()
    assert not load.failed, load.failed
    assert g.alive()


def test_says_what_the_guest_says(lan, boot, stub):
    """dmesg is the serial log; pbufs has the pools of /netstat, and their sizes; tcp has both ends of a held connection."""
    g = boot(lan, image="test", append="diag", extra=stub.qemu)
    g.ready()
    g.wait_line(r"IPv6 address \S+ is valid")
    stat = netstat.read(lan)
    with tcp.connect(lan, tcp.DISCARD) as sock:
        sock.sendall(b"x")
        dmesg, pbufs, connections = gdb.run(stub, "dmesg", "pbufs", "tcp")
        assert f"10.0.2.2:9 10.0.2.1:{sock.getsockname()[1]}" in connections
    lines = g.log.lines
    mine = dmesg.splitlines()
    assert mine[0].startswith("barewire: ") and mine[0] in lines
    assert mine == lines[lines.index(mine[0]):][:len(mine)]
    pools = {m[1]: int(m[2]) for m in re.finditer(r"^(\w+) \d+/\d+/(\d+)\b", pbufs, re.M)}
    wanted = re.compile(r"memp_\w+|k?mem_\d+|pkt_tx|eth0_rx_pool")
    assert {n: p.size for n, p in stat.pools.items() if wanted.fullmatch(n) or n in pools} == pools


def test_ipv6_and_time_wait(lan, boot, stub):
    """tcp prints IPv6 addresses and what is in TIME_WAIT."""
    g = boot(lan, image="test", append="diag", extra=stub.qemu)
    g.ready()
    address = g.wait_line(r"IPv6 address (\S+?)(/\d+)? is valid")[1]
    with lan.ns.entered():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        scope = socket.if_nametoindex(lan.iface)
    with sock:
        sock.settimeout(30)
        sock.connect((address, 80, 0, scope))
        # The guest closes first, and so is the one to wait.
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        held = gdb.run(stub, "tcp")[0]
        assert f"[{address.lower()}]:80 [" in held, held
        tcp.recv_all(sock)
    out = gdb.run(stub, "tcp")[0]
    assert re.search(rf"^TIME_WAIT    \[{re.escape(address.lower())}\]:80 \[fe80::", out, re.M), out
