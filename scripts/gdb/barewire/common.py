"""What the commands share: reading the guest's memory without trusting it, since it may be half initialised or broken."""
import inspect
import struct
from types import SimpleNamespace

import gdb

LONGEST_LIST = 1 << 20  # entries; a longer list is a broken one


class Trouble(Exception):
    """Why a command cannot say anything: one clear line."""


def command(name):
    """Makes a function the gdb command of that name: its docstring is the help, its parameters the words behind it.
    Whatever goes wrong inside is one line."""
    def register(function):
        class _Command(gdb.Command):
            __doc__ = function.__doc__

            def __init__(self):
                super().__init__(name, gdb.COMMAND_DATA)

            def invoke(self, argument, _from_tty):
                """gdb calls this."""
                words = gdb.string_to_argv(argument)
                try:
                    inspect.signature(function).bind(*words)
                except TypeError:
                    print(f"{name}: {function.__doc__.splitlines()[0]}")
                    return
                try:
                    if not gdb.selected_inferior().pid:
                        raise Trouble("no guest; `target remote` or `make gdb` first")
                    function(*words)
                except (Trouble, gdb.error, OverflowError, UnicodeError) as e:
                    print(f"{name}: {e}")
        _Command()
        return function
    return register


def value(expression):
    """A C expression."""
    return gdb.parse_and_eval(expression)


def static(file, name):
    """A file's own variable."""
    return gdb.parse_and_eval(f"'{file}'::{name}")


def container_of(pointer, type_name, member):
    """As in C."""
    kind = gdb.lookup_type(type_name)
    offset = next(f.bitpos // 8 for f in kind.fields() if f.name == member)
    return (pointer.cast(gdb.lookup_type("char").pointer()) - offset).cast(kind.pointer())


def read(address, size):
    """Bytes of memory."""
    try:
        return bytes(gdb.selected_inferior().read_memory(int(address), size))
    except gdb.MemoryError:
        raise Trouble(f"{size} bytes at {int(address):#x} cannot be read") from None


def text(pointer, most=64):
    """A C string, with what is no text shown as '?'."""
    if not int(pointer):
        return "(none)"
    data = read(pointer, most).split(b"\0", 1)[0]
    return "".join(chr(c) if 32 <= c < 127 else "?" for c in data)


_FORMATS = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q",
            (1, True): "b", (2, True): "h", (4, True): "i", (8, True): "q"}


def records(pointer, count):
    """count structures (or numbers) from a pointer on, read in one go: their numbers and pointers as Python's."""
    kind = pointer.type.target().strip_typedefs()
    data = read(pointer, kind.sizeof * count) if count else b""
    if kind.code == gdb.TYPE_CODE_INT:
        return list(struct.unpack("<" + str(count) + _FORMATS[kind.sizeof, False], data))
    fields = []
    for f in kind.fields():
        plain = f.type.strip_typedefs()
        if plain.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_ENUM):
            fields.append((f.name, f.bitpos // 8, "<" + _FORMATS[plain.sizeof, False]))
    return [SimpleNamespace(**{name: struct.unpack_from(form, data, kind.sizeof * i + at)[0] for name, at, form in fields})
            for i in range(count)]


def record(pointer):
    """One of them."""
    return records(pointer, 1)[0]


def entries(head, type_name, member):
    """Pointers to the structures on a struct list_head. Ends with Trouble where the list does."""
    first, at = int(head.address), head["next"]
    seen = set()
    while int(at) != first:
        if not int(at):
            raise Trouble(f"the list at {first:#x} is not initialised, or broken: a NULL after {len(seen)} entries")
        if int(at) in seen or len(seen) > LONGEST_LIST:
            raise Trouble(f"the list at {first:#x} runs in a circle after {len(seen)} entries")
        seen.add(int(at))
        yield container_of(at, type_name, member)
        at = at.dereference()["next"]


def chain(pointer, member="next"):
    """Pointers along a NULL-terminated list."""
    seen = set()
    while int(pointer):
        if int(pointer) in seen or len(seen) > LONGEST_LIST:
            raise Trouble(f"the list runs in a circle at {int(pointer):#x}, after {len(seen)} entries")
        seen.add(int(pointer))
        yield pointer
        pointer = pointer.dereference()[member]


def function_name(address):
    """The function at an address, or the address."""
    block = gdb.block_for_pc(int(address))
    while block and not block.function:
        block = block.superblock
    return block.function.name if block else f"{int(address):#x}"


def netdevs():
    """The registered network devices: pointers to struct net_device."""
    return list(chain(static("net/dev.c", "dev_base")))


def virtnets():
    """(name, pointer to struct virtnet_info) of each network device whose driver is virtio_net."""
    found = []
    for dev in netdevs():
        if int(dev["netdev_ops"]) == int(value("&virtnet_netdev")):
            kind = gdb.lookup_type("struct virtnet_info").pointer()
            found.append((text(dev["name"].address, 16), dev["ml_priv"].cast(kind)))
    if not found:
        raise Trouble("no network device is registered (yet)")
    return found


def array(field):
    """The elements of an array, as values."""
    low, high = field.type.range()
    return [field[i] for i in range(low, high + 1)]


def bits(mask, names):
    """A mask in words: names is [(bit, word)]."""
    words = [word for bit, word in names if mask & bit]
    rest = mask & ~sum(bit for bit, _ in names)
    return " ".join(words + ([f"{rest:#x}"] if rest else [])) or "none"
