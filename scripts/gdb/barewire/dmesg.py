"""dmesg: the kernel's log ring (kernel/printk.c), whatever went to a console."""
from barewire.common import command, read, static


def log():
    """The text that is still there."""
    ring, end = static("kernel/printk.c", "log_buf"), int(static("kernel/printk.c", "log_end"))
    size = ring.type.sizeof
    data = read(ring.address, size)
    at = end % size
    data = data[:end] if end < size else data[at:] + data[:at]
    return data.decode("utf-8", "replace").replace("\r", ""), end > size


@command("dmesg")
def dmesg():
    """dmesg: the kernel's log."""
    lines, cut = log()
    if not lines:
        print("dmesg: the log is empty")
        return
    if cut:
        lines = "...\n" + lines.split("\n", 1)[-1]
    print(lines, end="" if lines.endswith("\n") else "\n")
