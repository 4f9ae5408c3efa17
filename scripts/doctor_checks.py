"""The doctor's checks, each of which looks at one thing and says in plain words what is wrong with it.

A check gets the Case of scripts/doctor and calls case.wrong(rank, what, to do): 0 nothing can work, 1 nothing of IP
can, 2 packets get lost, 3 something is in the way of others or may be.
"""
import ipaddress
import json
import os
import re
import socket
import stat
import subprocess
from pathlib import Path

import hostnet
import netfilter
import netprobe

PORT = 80


# ------------------------------------------------------------- QEMU and the guest

def qemu_runs(case):
    """Whether there is a guest at all; if not, what would keep make run from having one."""
    case.qemus = qemus()
    if case.running:
        return
    if case.by_make_run or case.kind in ("user", "none") or case.kind == "tap" and not case.arg:
        last = next((line for line in reversed(case.lines) if line.startswith("barewire: panic")), None)
        case.wrong(0, "QEMU is not running: no `make run` goes on here" + (f"; the last one ended in `{last}`" if last else ""),
                   "start `make run` in another terminal and ask again")
        if case.kind == "tap" and not case.arg and (why := hostnet.tun_trouble()):
            case.wrong(0, f"{why}, and without it there is no tap",
                       "modprobe tun, or as root: mknod /dev/net/tun c 10 200; or use NET=user" if not os.path.exists(hostnet.TUN)
                       else f"as root: chmod 666 {hostnet.TUN}; or use NET=user")
        if not hostnet.have("qemu-system-x86_64"):
            case.wrong(0, "qemu-system-x86_64 is not installed", "make deps")


def qemus():
    """The QEMUs in our network namespace (another has a tap0 of its own) that we may look at: dicts of pid, taps (names
    of the tap interfaces it has open), mac, ip (from the kernel command line)."""
    found, ours = [], os.readlink("/proc/self/ns/net")
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if not os.path.basename(words[0]).startswith("qemu") or os.readlink(proc / "ns" / "net") != ours:
                continue
            taps = set()
            for info in (proc / "fdinfo").iterdir():
                taps |= set(re.findall(r"^iff:\s*(\S+)", info.read_text(encoding="ascii", errors="replace"), re.M))
        except OSError:
            continue
        nic = next((w for w in words if w.startswith("virtio-net") or ",mac=" in w), "")
        mac = re.search(r"mac=([0-9A-Fa-f:]{17})", nic)
        append = words[words.index("-append") + 1] if "-append" in words else ""
        ip = re.search(r"(?:^|\s)ip=(\d+\.\d+\.\d+\.\d+)", append)
        found.append({"pid": int(proc.name), "taps": taps, "mac": mac[1].lower() if mac else hostnet.QEMU_MAC,
                      "ip": ip[1] if ip else None})
    return found


READY = r"^barewire: ready ip=([0-9.]+)/(\d+) gw=\S+ mac=(\S+)"
NO_NIC = r"(?i:no (network device|network interface|nic)\b).*"


def last_match(pattern, lines):
    """The match in the last line that has one, or None."""
    return next((m for m in (re.search(pattern, line) for line in reversed(lines)) if m), None)


def guest_says(case):
    """What the serial log of make run's guest says; fills in its address and MAC."""
    starts = [n for n, line in enumerate(case.lines) if re.match(r"barewire: \S+ booted by", line)]
    panics = [line for line in case.lines if line.startswith("barewire: panic: ")]
    lines = case.lines[starts[-1]:] if starts else case.lines
    ready = last_match(READY, lines)
    if ready and case.ip in (None, ready[1]):
        case.ip, case.prefix, case.mac = ready[1], int(ready[2]), ready[3]
    if not case.running:
        return
    if panics and not ready:
        case.wrong(0, f"the guest panicked: it says `{panics[-1]}`", "read the report in the serial log; `make gdb` looks inside")
    elif panics:
        case.wrong(3, f"the guest panicked, and came back since: it said `{panics[-1]}`", "read the report in the serial log")
    elif not starts:
        case.wrong(0, "the guest has not said a word yet: the firmware is still at work, or the image does not boot",
                   "wait 10 seconds and ask again; then look at the serial log")
    elif no_nic := last_match(NO_NIC, lines):
        case.wrong(0, f"the guest has no network device: it says `{no_nic[0]}`",
                   "start it with another NET= than none" if case.kind == "none" else "give QEMU a virtio-net-pci")
    link = last_match(r"eth0: link (up|down)|DHCP: the link is (down)", lines)
    if link and "down" in link.groups():
        case.wrong(0, f"the guest's cable is out: it says `{link[0]}`", "in QEMU's monitor: set_link n0 on")
    elif not ready and starts and not panics and (dhcp := last_match(r"DHCP: .*", lines)):
        case.wrong(0, f"the guest waits for an address and no DHCP server answers it: it says `{dhcp[0]}`",
                   f"run a DHCP server on {case.l3 or 'its network'} (dnsmasq), or give it one: "
                   'APPEND="ip=10.0.2.2/24 gw=10.0.2.1"')


def without_interface(case):
    """Attachments of which this host has no interface."""
    if case.kind == "none":
        case.wrong(0, "NET=none: the guest was given no network device", "start it with another NET=")
    elif case.kind == "vhost-user":
        try:
            listening = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
            if not stat.S_ISSOCK(os.stat(case.arg).st_mode):
                case.wrong(0, f"{case.arg} is no socket", "name the socket of the vhost-user back end")
            elif not any(line.endswith(" " + os.path.abspath(case.arg)) for line in listening):
                case.wrong(0, f"nobody listens on {case.arg} in this network namespace: the back end has ended",
                           "start it (dpdk-testpmd, Open vSwitch), then the guest")
        except OSError as e:
            case.wrong(0, f"{case.arg}: {e.strerror}", "start the vhost-user back end, then the guest")
    elif case.kind == "user" and not case.hopeless:
        for port in (8080, 7007):
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
            except OSError as e:
                case.wrong(1, f"localhost {port}, which QEMU forwards to the guest, does not answer ({e.strerror or e})",
                           f"see who has the port: ss -ltnp 'sport = :{port}'; then start make run again")


# ------------------------------------------------------------------ interfaces

def interfaces(case):
    """Whether the interface is there, up, used by QEMU, and a forwarding port if it is on a bridge."""
    case.links = links = hostnet.links()
    name, link = case.iface, links.get(case.iface)
    if not link:
        make = {"tap": f"ip tuntap add dev {name} mode tap", "bridge": f"ip link add {name} type bridge",
                "macvtap": f"ip link add link ETH name {name} type macvtap mode bridge"}[case.kind]
        case.wrong(0, f"there is no interface {name} on this host", make)
        return
    if case.kind != "tap" and hostnet.kind_of(link) != case.kind:
        case.wrong(0, f"{name} is no {case.kind}, but {hostnet.kind_of(link) or 'a network card'}",
                   "name the right interface in NET=")
        return
    case.l3 = link.get("master", name)
    ports = [other for other in links.values() if other.get("master") == case.l3]
    guests = [q for q in case.qemus if q["taps"] & {name, *(p["ifname"] for p in ports if case.kind == "bridge")}]
    if len(guests) > 1 and case.ip:
        guests = [q for q in guests if q["ip"] == case.ip] or guests
    if guests and case.kind != "macvtap":
        case.mac = case.mac or guests[0]["mac"]
        case.ip = case.ip or guests[0]["ip"] or neighbour_ip(case)
    for dev in dict.fromkeys((name, case.l3)):
        if "UP" not in links[dev]["flags"]:
            case.wrong(0, f"the interface {dev} is down", f"ip link set {dev} up")
    if case.kind == "bridge" and not ports:
        case.wrong(0, f"the bridge {name} has no port: no guest is on it", f"make run NET=bridge:{name}")
    for port in ports if case.kind == "bridge" else [link] if "master" in link else []:
        if "UP" not in port["flags"] and port is not link:
            guests_own = len(ports) == 1 or any(port["ifname"] in q["taps"] for q in guests[:1])
            case.wrong(0 if guests_own else 2, f"the port {port['ifname']} of the bridge {case.l3} is down",
                       f"ip link set {port['ifname']} up")
            continue
        state = port.get("linkinfo", {}).get("info_slave_data", {}).get("state", "forwarding")
        if state != "forwarding" and "UP" in port["flags"] and "NO-CARRIER" not in port["flags"]:
            case.wrong(1, f"the port {port['ifname']} of the bridge {case.l3} does not forward yet (spanning tree: {state})",
                       f"wait half a minute, or: ip link set {case.l3} type bridge stp_state 0; then forward_delay 0")
    if case.kind == "tap" and "UP" in link["flags"] and "NO-CARRIER" in link["flags"]:
        case.wrong(0, f"nobody has {name} open: QEMU is not running on it", f"make run NET=tap:{name}")


def neighbour_ip(case):
    """The address that this host has seen with the guest's MAC, or None."""
    out = netfilter.output_of("ip", "-json", "-4", "neigh", "show", "dev", case.l3)
    return next((n["dst"] for n in json.loads(out or "[]") if n.get("lladdr") == case.mac), None)


def mac_clash(case):
    """Somebody else with the guest's MAC: an interface of this host, or a guest on the same bridge."""
    if not case.mac or case.iface not in case.links:
        return
    for name in (n for n, link in case.links.items() if link.get("address") == case.mac):
        if case.kind == "macvtap" and name == case.iface:
            continue  # the guest's MAC is the interface's on purpose
        case.wrong(1, f"MAC clash: the interface {name} of this host has the guest's MAC {case.mac}",
                   f"give one of them another: ip link set {name} address 02:00:00:00:00:01")
    ports = {n for n, link in case.links.items() if link.get("master") == case.l3} | {case.iface}
    twins = [q for q in case.qemus if q["mac"] == case.mac and q["taps"] & ports]
    if len(twins) > 1:
        case.wrong(1, f"MAC clash: {len(twins)} guests on {case.l3} have the MAC {case.mac} "
                   f"(QEMU's pids {' '.join(str(q['pid']) for q in twins)})", "give each its own: -device virtio-net-pci,mac=...")


def macvtap(case):
    """The parent of a macvtap, its mode and its device."""
    link = case.links[case.iface]
    parent = link.get("link", "its parent")
    if parent in case.links and "UP" not in case.links[parent]["flags"]:
        case.wrong(0, f"{parent}, on which {case.iface} sits, is down", f"ip link set {parent} up")
    elif {"NO-CARRIER"} & set(link["flags"]) or link.get("operstate") == "LOWERLAYERDOWN":
        case.wrong(0, f"{parent}, on which {case.iface} sits, has no carrier", "plug its cable in, or set its other end up")
    mode = link["linkinfo"].get("info_data", {}).get("mode")
    if mode not in (None, "bridge"):
        case.wrong(3, f"{case.iface} is in mode {mode}: it does not reach other guests on {parent}",
                   f"ip link set {case.iface} type macvtap mode bridge")
    path, _ = hostnet.macvtap_device(case.iface, link)
    if not os.access(path, os.R_OK | os.W_OK):
        why = "may not be opened by us" if os.path.exists(path) else "is not there"
        case.wrong(3, f"{path}, the device of {case.iface}, {why}",
                   "be root, or make it yours: chown; without udev, mknod by /sys/class/net")


# ------------------------------------------------------------------- addresses

def addresses(case):
    """Whether this host has an address in the guest's network, at the right interface and as its way there."""
    case.addresses = own_addresses()
    here = [a for a in case.addresses if a[0] == case.l3]
    own = [f"{a[1]}/{a[2]}" for a in here]
    guest_net = ipaddress.ip_network(f"{case.ip or '10.0.2.2'}/{case.prefix}", strict=False)
    free = next(str(h) for h in guest_net.hosts() if str(h) != case.ip)
    add = f"ip address add {free}/{guest_net.prefixlen} dev {case.l3}"
    if case.l3 != case.iface and any(a[0] == case.iface for a in case.addresses):
        case.wrong(2, f"{case.iface} has an address of its own, but is a port of {case.l3}: that address is of no use",
                   f"ip address flush dev {case.iface}; {add}")
    if not here:
        case.wrong(1, f"{case.l3} has no IPv4 address on this host's end", add)
        return
    if not case.ip:
        case.wrong(1, "the guest's address is not known to me", "say it: make doctor GUEST=10.0.2.2")
        return
    if any(a[1] == case.ip for a in case.addresses):
        case.wrong(1, f"{case.ip}, the guest's address, is this host's own",
                   f"give this host another: ip address del {case.ip} ..., {add}")
    elif not any(ipaddress.ip_address(case.ip) in ipaddress.ip_network(f"{a[1]}/{a[2]}", strict=False) for a in here):
        case.wrong(1, f"wrong subnet: {case.l3} has {' '.join(own)}, and the guest's {case.ip} is not in it",
                   f"{add}; or another ip= for the guest")
    elif (way := hostnet.route(case.ip)).get("dev") not in (case.l3, None):
        case.wrong(1, f"this host's route to {case.ip} goes by {way['dev']} and not by {case.l3}",
                   f"ip route add {case.ip}/32 dev {case.l3}; or take that network away from {way['dev']}")


def own_addresses():
    """This host's IPv4 addresses as (interface, address, prefix length)."""
    out = netfilter.output_of("ip", "-json", "-4", "address")
    return [(link["ifname"], a["local"], a["prefixlen"]) for link in json.loads(out or "[]") if "ifname" in link
            for a in link["addr_info"]]


# --------------------------------------------------------------------- packets

def sysctl(name):
    """An integer below /proc/sys/net, 0 if it is not there."""
    try:
        return int(Path("/proc/sys/net", name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def bridge_netfilter(case):
    """br_netfilter sends what crosses a bridge through iptables' FORWARD, where somebody else's rules drop it."""
    if hostnet.kind_of(case.links.get(case.l3, {})) != "bridge" or not case.ip:
        return
    if sum(link.get("master") == case.l3 for link in case.links.values()) < 2 or not sysctl("bridge/bridge-nf-call-iptables"):
        return
    for protocol in ("icmp", "tcp"):
        packet = {"iifname": case.l3, "oifname": case.l3, "daddr": case.ip, "l4proto": protocol, "protocol": "ip", "nfproto": "ipv4"}
        by = netfilter.who_drops("forward", packet)
        if by and by[0]:
            case.wrong(2, f"bridge netfilter: what crosses {case.l3} passes iptables' forward hook (bridge-nf-call-iptables is 1), "
                       f"and there {by[1]} drops it: other stations on the bridge do not reach the guest",
                       f"sysctl net.bridge.bridge-nf-call-iptables=0; or: {by[2]}")
            return


def packets(case):
    """Asks by ARP, ping and TCP, and where the question or the answer is lost, looks for who took it."""
    if not case.ip or case.findings and any(rank <= 1 for rank, _, _ in case.findings):
        return
    own = next((a[1] for a in case.addresses if a[0] == case.l3), None)
    ports = [n for n, link in case.links.items() if link.get("master") == case.l3 and "UP" in link["flags"]]
    try:
        answers, seen = netprobe.ask_arp(case.l3, case.ip, own, ports)
    except PermissionError:
        ping_only(case)
        return
    except OSError as e:
        case.wrong(0, f"{case.l3} carries no frames ({e.strerror})", f"look at: ip link show {case.l3}")
        return
    if not answers:
        no_arp(case)
        return
    if len(answers) > 1:
        case.wrong(1, f"address clash: {' and '.join(sorted(answers))} both say that they are {case.ip}",
                   "give one of them another address")
    elif case.mac and case.mac not in answers:
        case.wrong(1, f"address clash: {case.ip} is answered for by {answers.pop()}, and not by the guest, whose MAC is {case.mac}",
                   "take the address away from the other station, or give the guest another")
    where = seen.get(case.mac, set())
    if len(where) > 1 and not any("MAC clash" in f[1] for f in case.findings):
        case.wrong(1, f"MAC clash: {case.mac} is seen coming from {' and '.join(sorted(where))}",
                   "give one of the guests another MAC")
    base = {"saddr": own, "daddr": case.ip, "oifname": case.l3, "protocol": "ip", "nfproto": "ipv4"}
    way = netprobe.ask_ping(case.l3, case.ip)
    if not way.arrived:
        lost(case, "ping", way, {**base, "l4proto": "icmp"}, ports)
        return
    way = netprobe.ask_tcp(case.l3, case.ip, PORT)
    if not way.arrived:
        lost(case, "TCP", way, {**base, "l4proto": "tcp", "dport": PORT}, ports)


def lost(case, name, way, packet, ports):
    """A question without an answer, though ARP was answered."""
    back = {**packet, "saddr": packet["daddr"], "daddr": packet["saddr"], "iifname": case.l3}
    back.pop("oifname")
    if "dport" in back:
        back["sport"] = back.pop("dport")
    # The guest does answer: the host throws the answer away.
    if way.came_back:
        strict = max(sysctl("ipv4/conf/all/rp_filter"), sysctl(f"ipv4/conf/{case.l3}/rp_filter")) == 1
        by = netfilter.who_drops("prerouting", back) or netfilter.who_drops("input", back)
        if by is None and strict:
            case.wrong(2, f"the guest answers {name}, and this host drops the answer: rp_filter is strict, and its way back is not "
                       f"{case.l3}", f"sysctl net.ipv4.conf.{case.l3}.rp_filter=2 net.ipv4.conf.all.rp_filter=2")
        else:
            filtered(case, f"the guest answers {name}, but a packet filter of this host drops the answer", by, "input")
        return
    if not way.left:
        if arp := arp_filter(case):
            filtered(case, "this host's own ARP is dropped by a packet filter", arp, "arp")
            return
        by = netfilter.who_drops("output", packet) or netfilter.who_drops("postrouting", packet)
        why = f" ({way.refused})" if way.refused else ""
        filtered(case, f"{name} does not leave this host{why}: a packet filter drops it", by, "output")
        return
    hooks = ("input", "forward", "output", "postrouting", "prerouting")
    by = next((found for hook in hooks if ports and (found := netfilter.who_drops(hook, {**packet, "protocol": "ip"}, ("bridge",)))), None)
    if by:
        filtered(case, f"{name} leaves this host, but a packet filter on the bridge drops it", by, "bridge")
    else:
        case.wrong(2, f"{case.name_of_guest()} answers ARP but not {name}: the question leaves {case.l3} and nothing comes back",
                   "look at the guest: diag on its command line opens http://GUEST:9100/netstat")


def arp_filter(case):
    """The arp-family rule that keeps the kernel's own ARP from an answer, or None."""
    out = netfilter.output_of("ip", "-json", "neigh", "show", case.ip, "dev", case.l3)
    states = {state for n in json.loads(out or "[]") for state in n.get("state", [])}
    if not states & {"FAILED", "INCOMPLETE"}:
        return None
    packet = {"iifname": case.l3, "oifname": case.l3, "htype": 1, "hlen": 6, "plen": 4}
    return netfilter.who_drops("input", packet, ("arp",)) or netfilter.who_drops("output", packet, ("arp",))


def filtered(case, what, by, hook):
    """A packet filter, with its rule if that could be found."""
    if by:
        case.wrong(2, f"{what}: {'it is' if by[0] else 'it may be'} {by[1]}", by[2])
    else:
        case.wrong(2, f"{what}, and which rule does is not to be seen", f"look at the {hook} chains: nft list ruleset; iptables -S")


def no_arp(case):
    """Nobody answers for the guest's address."""
    packet = {"iifname": case.l3, "oifname": case.iface, "protocol": "arp"}
    by = None
    if hostnet.kind_of(case.links.get(case.l3, {})) == "bridge":
        hooks = ("output", "postrouting", "prerouting", "input")
        by = next((found for hook in hooks if (found := netfilter.who_drops(hook, packet, ("bridge",)))), None)
    if by:
        filtered(case, f"no ARP answer from {case.ip}: a packet filter on the bridge drops ARP", by, "bridge")
        return
    case.wrong(1, f"no ARP answer: nobody on {case.l3} says that they are {case.ip}",
               "see what the guest's `barewire: ready` line says, and whether it is on this network; GUEST= names another address")


def ping_only(case):
    """Without packet sockets: ping, and no more."""
    if subprocess.run(["ping", "-n", "-c", "2", "-W", "2", case.ip], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                      check=False).returncode:
        case.wrong(1, f"{case.name_of_guest()} does not answer a ping",
                   "run make doctor as root: it then follows the packets and says where they end")


def all_is_well(case):
    """One line for the happy end."""
    if case.kind == "user":
        return "the guest answers on localhost 8080 and 7007"
    if case.kind in ("macvtap", "stream", "vhost-user"):
        return f"nothing is wrong on this side of {case.kind}:{case.arg}; whether the guest answers, another station has to ask"
    return f"{case.name_of_guest()} answers ARP, ping and TCP on {case.l3}"
