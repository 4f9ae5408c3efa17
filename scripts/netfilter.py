"""Which rule of the host's packet filter would drop a packet: nftables (and iptables on top of it), and iptables-legacy.

For scripts/doctor. A match that is not understood makes a rule a suspect, not a culprit. Needs the right to read rules
(root in the namespace).
"""
import ipaddress
import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field

FINAL = {"drop": "drop", "reject": "drop", "accept": "accept", "DROP": "drop", "REJECT": "drop", "ACCEPT": "accept",
         "return": "return", "RETURN": "return"}


@dataclass
class Rule:
    """matches: (key, operator, value), or None for one that is not understood. verdict: drop, accept, return, a chain's
    name, or None. text: as the tool prints it; undo: the command that takes it away."""
    matches: list
    verdict: str
    text: str
    undo: str


@dataclass
class Chain:
    """hook and family only if the kernel calls it by itself."""
    name: str
    family: str
    hook: str = None
    priority: int = 0
    policy: str = "accept"
    rules: list = field(default_factory=list)
    undo: str = ""


def output_of(*cmd):
    """A tool's output; empty if it is not there or may not."""
    try:
        return subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
                              timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


# ------------------------------------------------------------------ nftables

def nft_key(left):
    """The left side of a match as a key of the packet, or None."""
    if "meta" in left:
        return {"iif": "iifname", "oif": "oifname"}.get(left["meta"]["key"], left["meta"]["key"])
    payload = left.get("payload", {})
    key = {("ip", "saddr"): "saddr", ("ip", "daddr"): "daddr", ("ip", "protocol"): "l4proto", ("tcp", "dport"): "dport",
           ("ether", "type"): "protocol", ("tcp", "sport"): "sport", ("arp", "htype"): "htype", ("arp", "hlen"): "hlen",
           ("arp", "plen"): "plen", ("udp", "dport"): "udp dport"}
    return key.get((payload.get("protocol"), payload.get("field")))


def nft_verdict(statement):
    """The verdict of a statement, or None."""
    (name, value), = statement.items()
    if name in FINAL:
        return FINAL[name]
    if name in ("jump", "goto"):
        return value["target"]
    if name == "xt" and isinstance(value, dict) and value.get("type") == "target":
        return FINAL.get(value.get("name"))
    return None


def nft_rule(rule, text):
    """A rule of `nft -j` as a Rule."""
    matches, verdict = [], None
    for statement in rule["expr"]:
        (name, value), = statement.items()
        if name == "match":
            key = nft_key(value["left"])
            matches.append((key, value["op"], value["right"]) if key else None)
        elif name in ("limit", "vmap", "lookup") or name == "xt" and nft_verdict(statement) is None:
            matches.append(None)
        verdict = verdict or nft_verdict(statement)
    place = f"{rule['family']} {rule['table']} {rule['chain']}"
    return Rule(matches, verdict, f"nft {place}: {text}", f"nft delete rule {place} handle {rule['handle']}")


def nft_texts():
    """Each rule's line of `nft -a list ruleset` by (family, table, handle)."""
    texts, table = {}, None
    for line in output_of("nft", "-a", "list", "ruleset").splitlines():
        if m := re.match(r"table (\S+) (\S+) \{", line):
            table = m.groups()
        elif m := re.match(r"\t\t(.*) # handle (\d+)$", line):
            texts[(*table, int(m[2]))] = m[1]
    return texts


def nft_chains():
    """All chains by (family, table, name)."""
    chains = {}
    out = output_of("nft", "-j", "list", "ruleset")
    items = json.loads(out)["nftables"] if out.startswith("{") else []
    texts = nft_texts() if len(items) > 1 else {}
    for item in items:
        if chain := item.get("chain"):
            place = f"{chain['family']} {chain['table']} {chain['name']}"
            chains[(chain["family"], chain["table"], chain["name"])] = Chain(
                f"nft {place}", chain["family"], chain.get("hook"), chain.get("prio", 0), chain.get("policy", "accept"),
                undo=f"nft insert rule {place} {{}} accept")
        elif rule := item.get("rule"):
            text = texts.get((rule["family"], rule["table"], rule["handle"]), "a rule")
            chains[(rule["family"], rule["table"], rule["chain"])].rules.append(nft_rule(rule, text))
    return chains


# ----------------------------------------------------------- iptables-legacy

LEGACY = {"-i": "iifname", "-o": "oifname", "-s": "saddr", "-d": "daddr", "-p": "l4proto", "--dport": "dport",
          "--sport": "sport"}


def legacy_rule(words):
    """The words after -A CHAIN as (matches, verdict)."""
    matches, verdict, op, rest = [], None, "==", list(words)
    while rest:
        word = rest.pop(0)
        if word == "!":
            op = "!="
            continue
        if word in LEGACY:
            matches.append((LEGACY[word], op, rest.pop(0)))
        elif word in ("-j", "-g"):
            verdict = FINAL.get(rest[0], rest[0])
            break
        elif word in ("-m", "--comment"):
            unknown = rest.pop(0)
            if word == "-m" and unknown not in ("tcp", "udp", "comment"):
                matches.append(None)
        elif not word.startswith("-"):
            pass
        else:
            matches.append(None)
        op = "=="
    return matches, verdict


def legacy_chains():
    """The filter and raw tables of iptables-legacy, in the same form; empty where it is not in use."""
    chains, table = {}, None
    for line in output_of("iptables-legacy-save").splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif m := re.match(r":(\S+) (\S+)", line):
            hook = m[1].lower() if m[2] != "-" and m[1] in ("INPUT", "OUTPUT", "FORWARD") else None
            chains[("legacy", table, m[1])] = Chain(f"iptables-legacy {table} {m[1]}", "ip", hook, 0,
                                                    FINAL.get(m[2], "accept"), undo=f"iptables-legacy -t {table} -P {m[1]} ACCEPT")
        elif m := re.match(r"-A (\S+) (.*)", line):
            matches, verdict = legacy_rule(shlex.split(m[2]))
            chains[("legacy", table, m[1])].rules.append(
                Rule(matches, verdict, f"iptables-legacy {line}", f"iptables-legacy -t {table} -D {line[3:]}"))
    return chains


# ------------------------------------------------------------------ judgement

def equal(have, want):
    """Whether a packet's value is the one of a match: a value, a wildcard, a prefix, a range, a set of these."""
    if isinstance(want, list):
        return any(equal(have, one) for one in want)
    if isinstance(want, dict):
        if "set" in want:
            return equal(have, want["set"])
        if "range" in want:
            return want["range"][0] <= have <= want["range"][1]
        if "prefix" in want:
            want = f"{want['prefix']['addr']}/{want['prefix']['len']}"
    if isinstance(want, str) and re.fullmatch(r"[0-9.]+(/[0-9.]+)?", want) and isinstance(have, str):
        return ipaddress.ip_address(have) in ipaddress.ip_network(want, strict=False)
    if isinstance(want, str) and want[-1:] in "*+" and isinstance(have, str):
        return have.startswith(want[:-1])
    return str(have) == str(want)


def fits(rule, packet):
    """True, False, or None if it cannot be said."""
    sure = True
    for match in rule.matches:
        if match is None or match[0] not in packet or isinstance(match[2], str) and match[2].startswith("@"):
            sure = None
        elif equal(packet[match[0]], match[2]) == (match[1] == "!="):
            return False
    return sure


def walk(chains, key, packet, suspects, depth=0):
    """(verdict, rule) of a chain for a packet; (None, None) if it says nothing."""
    for rule in chains[key].rules:
        fit = fits(rule, packet)
        if fit is False or rule.verdict is None:
            continue
        verdict, by = rule.verdict, rule
        if verdict not in ("drop", "accept", "return"):
            target = (*key[:2], verdict)
            verdict, by = walk(chains, target, packet, suspects, depth + 1) if target in chains and depth < 16 else (None, None)
        if fit is None and verdict == "drop":
            suspects.append(by)
        if fit and verdict == "return":
            return None, None
        if fit and verdict:
            return verdict, by
    return None, None


def who_drops(hook, packet, families=("ip", "inet")):
    """(sure, text, undo) of what drops the packet at that hook, the suspects if nothing does for sure, or None. packet:
    iifname, oifname, saddr, daddr, l4proto, dport, sport, protocol, as far as they are known."""
    chains = {**nft_chains(), **legacy_chains()}
    suspects = []
    for key, chain in sorted(chains.items(), key=lambda item: item[1].priority):
        if chain.hook != hook or chain.family not in families:
            continue
        verdict, rule = walk(chains, key, packet, suspects)
        if verdict == "drop":
            return True, f"the rule `{rule.text}`", rule.undo
        if verdict is None and chain.policy == "drop":
            way = f'iifname "{packet["iifname"]}"' if "iifname" in packet else f'oifname "{packet.get("oifname", "")}"'
            return True, f"the policy `drop` of the chain `{chain.name}`", chain.undo.format(way)
    return (False, f"the rule `{suspects[0].text}`", suspects[0].undo) if suspects else None
