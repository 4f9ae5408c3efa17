"""DPDK's testpmd as the device of a vhost-user NIC: another implementation of virtio's device side than QEMU's."""
import os
import shutil
import subprocess

from lib import proc
from lib.serial_log import SerialLog


class Pmd:
    """Forwards between a vhost-user socket in a folder and a tap that it makes in the station's namespace."""

    def __init__(self, station, folder, iface="dtap0"):
        self.socket, self.iface = folder / "vhost-user.sock", iface
        if not shutil.which("dpdk-testpmd"):
            raise proc.MissingTool("dpdk-testpmd is not installed")
        cpus = sorted(os.sched_getaffinity(0))
        # It polls, with a whole CPU; nice leaves the guest its share. Without --no-shconf and a folder of its own it
        # would leave files of every run behind.
        cmd = ["nice", "-n", "5", "stdbuf", "-oL", "dpdk-testpmd", "--no-huge", "--no-pci", "-m", "64", "--no-telemetry", "--no-shconf",
               "--lcores", f"0@{cpus[0]},1@{cpus[-1]}", "--vdev", f"net_vhost0,iface={self.socket},queues=1",
               "--vdev", f"net_tap0,iface={iface}", "--", "--auto-start", "--forward-mode=io", "--nb-cores=1",
               "--total-num-mbufs=2048", "--no-flush-rx", "--disable-link-check"]
        self.read_end, write_end = os.pipe()
        try:
            # It ends at the first line or the end of its input, so it gets a pipe that stays silent.
            self.proc = station.ns.spawn(cmd, stdin=subprocess.PIPE, stdout=write_end, stderr=subprocess.STDOUT,
                                         env={**os.environ, "RUNTIME_DIRECTORY": str(folder)})
        finally:
            os.close(write_end)
        self.log = SerialLog(self.read_end, lambda: " (testpmd)")
        self.log.wait(r"packet forwarding - ports=2", 30)
        station.ns.ip(f"address add 10.0.2.1/24 dev {iface}", f"link set {iface} up")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Ends it; its tap goes with it."""
        proc.stop(self.proc)
        self.proc.stdin.close()
        self.log.join()
        os.close(self.read_end)
