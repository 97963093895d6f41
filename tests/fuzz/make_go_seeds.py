#!/usr/bin/python3
"""Writes the seeds of elf_fuzz, pclntab_fuzz and rtype_fuzz: the smallest Go 1.26 and 1.27 programs that analysis accepts, made by hand.
make_go_seeds.py [CORPUS]; run it again when the readers learn something new."""
import pathlib
import struct
import sys

BASE = 0x400000
CONTENT = 4096  # file offset of the segment; BASE maps to it


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def name(text):
    return b"\0" + varint(len(text)) + text.encode()


class Space:
    """Bytes at growing addresses."""

    def __init__(self):
        self.bytes = bytearray(16)

    def put(self, content, align=8):
        self.bytes += b"\0" * (-len(self.bytes) % align)
        address = BASE + len(self.bytes)
        self.bytes += content
        return address

    def set(self, address, content):
        self.bytes[address - BASE:address - BASE + len(content)] = content


def function_table(text, functions):
    """pclntab of 1.20 on; `functions` are (name, size)."""
    names, records, index, entry = b"\0", b"", [], 0
    pcs = b"\0" + varint(2) + varint(8) + varint(64) + varint(24) + b"\0"  # sp 0, then 32, as zigzag deltas
    record_start = 8 * (len(functions) + 1)
    for function, size in functions:
        index.append((entry, record_start + len(records)))
        records += struct.pack("<IiiIIIIIIiBBBB", entry, len(names), 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0)
        names += function.encode() + b"\0"
        entry += size
    table = b"".join(struct.pack("<II", *pair) for pair in index) + struct.pack("<II", entry, 0) + records
    header_bytes = 72
    names_at = header_bytes
    pcs_at = names_at + len(names)
    functions_at = pcs_at + len(pcs) + (-(pcs_at + len(pcs)) % 8)
    header = struct.pack("<IBBBBQQQQQQQQ", 0xFFFFFFF1, 0, 0, 1, 8, len(functions), 0, 0, names_at, pcs_at, pcs_at, pcs_at, functions_at)
    content = header + names + pcs
    return content + b"\0" * (functions_at - len(content)) + table, names_at, pcs_at, functions_at, len(table)


def type_header(size, kind, name_offset, flags=0, pointer=0):
    return struct.pack("<QQIBBBBQQii", size, 0, 0, flags, 8, 8, kind, 0, 0, name_offset, pointer)


def type_data(space, start=None):
    """runtime.g with goid and sched.sp, and *net.TCPConn; returns start, end, offsets of the roots, bytes of descriptors."""
    here = space.put(b"\0" * 8)
    start = start or here
    word = space.put(type_header(8, 11, 0))
    gobuf = space.put(type_header(8, 25, 0, 4) + bytes(32) + bytes(24))
    g = space.put(type_header(24, 25, 0, 5) + bytes(32) + bytes(16) + bytes(48))
    conn = space.put(type_header(8, 25, 0, 5) + bytes(32) + bytes(16))
    pointer = space.put(type_header(8, 22, 0) + struct.pack("<Q", conn))
    descriptors = BASE + len(space.bytes) - start
    at = {text: space.put(name(text), 1) for text in
          ("uint64", "runtime.gobuf", "runtime.g", "net.TCPConn", "*net.TCPConn", "runtime", "net", "goid", "sched", "sp")}
    for descriptor, text in ((word, "uint64"), (gobuf, "runtime.gobuf"), (g, "runtime.g"), (conn, "net.TCPConn"), (pointer, "*net.TCPConn")):
        space.set(descriptor + 40, struct.pack("<i", at[text] - start))
    for descriptor, package in ((g, "runtime"), (conn, "net")):
        space.set(descriptor + 80, struct.pack("<i", at[package] - start))
    space.set(gobuf + 48, struct.pack("<QQQQ", 0, gobuf + 80, 1, 1) + struct.pack("<QQQ", at["sp"], word, 0))
    space.set(g + 48, struct.pack("<QQQQ", 0, g + 96, 2, 2))
    space.set(g + 96, struct.pack("<QQQQQQ", at["goid"], word, 8, at["sched"], gobuf, 16))
    return start, BASE + len(space.bytes), [descriptor - start for descriptor in (g, pointer)], descriptors


def program(minor):
    space = Space()
    text = space.put(b"\x55" + b"\x90" * 127)
    table, names_at, pcs_at, functions_at, functions_bytes = function_table(text, [("main.main", 64), ("runtime.gopanic", 64)])
    table_at = space.put(table, 32)
    types, types_end, roots, descriptors = type_data(space)
    links = space.put(b"".join(struct.pack("<i", root) for root in roots))
    module = bytearray(600)

    def word(offset, *values):
        struct.pack_into(f"<{len(values)}Q", module, offset, *values)

    word(0, table_at, table_at + names_at, 1, 1)
    word(80, table_at + pcs_at, 1, 1, table_at + functions_at, functions_bytes, functions_bytes, table_at + functions_at, 3, 3)
    word(160, text, text + 128, text, text + 128)
    if minor == 27:
        word(296, types, descriptors, types_end)
    else:
        word(296, types, types_end)
        word(360, links, len(roots), len(roots))
    space.put(bytes(module))
    version = f"go1.{minor}.1".encode()
    space.put(b"\xff Go buildinf:\x08\x02" + bytes(16) + varint(len(version)) + version + b"\0", 16)
    header = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, text, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, CONTENT, BASE, BASE, len(space.bytes), len(space.bytes), 4096)
    return (header + segment).ljust(CONTENT, b"\0") + bytes(space.bytes)


def main():
    corpus = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("corpus"))

    def write(target, seed, content):
        (corpus / target).mkdir(parents=True, exist_ok=True)
        (corpus / target / seed).write_bytes(content)

    for minor in (26, 27):
        write("elf_fuzz", f"go1.{minor}", program(minor))
    write("pclntab_fuzz", "two_functions", bytes([9, 2]) + function_table(BASE, [("main.main", 64), ("runtime.gopanic", 64)])[0])
    space = Space()
    space.bytes = bytearray()
    links = space.put(bytes(8))
    roots = type_data(space, BASE)[2]
    space.set(links, struct.pack("<ii", *roots))
    write("rtype_fuzz", "runtime_g", bytes([9, 2]) + bytes(space.bytes))


if __name__ == "__main__":
    main()
