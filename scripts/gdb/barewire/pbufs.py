"""pbufs: who has the packets and lwIP's objects (net/pkt_buf.c, kernel/slab.c)."""
from barewire.common import Trouble, array, chain, command, static, text, virtnets


def line(name, used, most, size, more=""):
    """As /netstat has it: used/max/size."""
    print(f"{name} {int(used)}/{int(most)}/{int(size)}{more}")
    if int(used) > int(most) or int(used) > int(size):
        print(f"  INCONSISTENT: {name}: more in use than {'ever' if int(used) > int(most) else 'there are'}")


def receive_pools():
    """Each device's pool, and who has its packets."""
    for dev, vi in virtnets():
        pool = vi["pool"]
        if not int(pool["mem"]):
            print(f"{dev}_rx_pool: no memory yet")
            continue
        posted = sum(int(rq["posted"]) for rq in array(vi["rq"]))
        held = int(pool["used"]) - posted
        failed = int(pool["failed"])
        line(f"{dev}_rx_pool", pool["used"], pool["max"], pool["size"],
             f": {posted} posted to the device, {held} held by the stack, {failed} refused")
        if held < 0:
            print(f"  INCONSISTENT: {dev}: {posted} posted, but only {int(pool['used'])} are out")


@command("pbufs")
def pbufs():
    """pbufs: packets and lwIP's pools, used/max/size; receive packets by who has them."""
    caches = list(chain(static("kernel/slab.c", "caches")))
    tx = static("net/pkt_buf.c", "tx_pool")
    if not int(tx["mem"]) and not caches:
        raise Trouble("no pool has been made yet")
    try:
        receive_pools()
    except Trouble as e:
        print(f"pkt_rx: {e}")
    line("pkt_tx", tx["used"], tx["max"], tx["size"], f": {int(tx['failed'])} refused")
    for cache in reversed(caches):
        failed = int(cache["failed"])
        line(text(cache["name"]), cache["used"], cache["max"], cache["limit"], f": {failed} refused" if failed else "")
