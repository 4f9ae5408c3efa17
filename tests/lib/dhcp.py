"""dnsmasq as the LAN's DHCP server."""
import os
import subprocess

from lib import proc
from lib.serial_log import SerialLog


class Dnsmasq:
    """Serves 10.0.2.<first>..<last>. Its log is followed like a serial port: log.wait(r'DHCPACK', 10)."""

    def __init__(self, lan, first=50, last=60, *options):
        cmd = ["dnsmasq", "--no-daemon",  # stays in front and keeps its user: another one has no id in our namespace
               "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--port=0", "--log-facility=-", "--log-dhcp",
               f"--interface={lan.iface}", "--bind-interfaces", "--no-ping", "--dhcp-authoritative",
               "--leasefile-ro", "--dhcp-leasefile=/dev/null",
               f"--dhcp-range=10.0.2.{first},10.0.2.{last},255.255.255.0,2m",
               "--dhcp-option=option:router,10.0.2.1", *options]
        read_end, write_end = os.pipe()
        try:
            self.proc = lan.ns.spawn(cmd, stdout=write_end, stderr=subprocess.STDOUT)
        finally:
            os.close(write_end)
        self.read_end = read_end
        self.log = SerialLog(read_end, lambda: " (dnsmasq)")
        self.log.wait(r"DHCP, IP range", 10)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Idempotent."""
        if self.read_end >= 0:
            proc.stop(self.proc)
            self.log.join()
            os.close(self.read_end)
            self.read_end = -1
