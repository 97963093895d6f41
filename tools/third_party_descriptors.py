#!/usr/bin/env python3
"""Third-party protocol descriptors out of pinned PyPI wheels.

usage: third_party_descriptors.py REQUIREMENTS CACHE OUTPUT

The wheels carry generated Python only; each `_pb2.py` holds its file's serialized FileDescriptorProto.
Downloads what REQUIREMENTS names (with hashes, checked by pip) into CACHE unless it is there, and writes
all descriptors, dependencies first, as one FileDescriptorSet to OUTPUT.
"""

import ast
import hashlib
import pathlib
import re
import subprocess
import sys
import zipfile

# field 1 of FileDescriptorSet, and fields 1 (name) and 3 (dependency) of FileDescriptorProto, length-delimited
SET_FILE, FILE_NAME, FILE_DEPENDENCY = 0x0A, 0x0A, 0x1A


def varint(number):
    out = b""
    while True:
        byte = number & 127
        number >>= 7
        out += bytes([byte | (128 if number else 0)])
        if not number:
            return out


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def name_and_dependencies(descriptor):
    """The file's name and imports, from the top-level fields of a FileDescriptorProto."""
    name, dependencies, at = None, [], 0
    while at < len(descriptor):
        tag, at = read_varint(descriptor, at)
        if tag & 7 == 0:
            _, at = read_varint(descriptor, at)
            continue
        size, at = read_varint(descriptor, at)
        if tag == FILE_NAME:
            name = descriptor[at : at + size].decode()
        elif tag == FILE_DEPENDENCY:
            dependencies.append(descriptor[at : at + size].decode())
        at += size
    return name, dependencies


def serialized_files(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            yield node.args[0].value


def fetch(requirements, cache):
    """The wheels that REQUIREMENTS pins, downloaded unless the cache has all of them with the right hash."""
    wanted = set(re.findall(r"sha256:([0-9a-f]{64})", requirements.read_text()))
    cache.mkdir(parents=True, exist_ok=True)

    def present():
        wheels = {hashlib.sha256(w.read_bytes()).hexdigest(): w for w in cache.glob("*.whl")}
        return [wheels[h] for h in wanted] if wanted <= wheels.keys() else None

    if present() is None:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
             "--require-hashes", "-r", str(requirements), "-d", str(cache)],
            check=True,
        )
    return present()


def main():
    requirements, cache, output = map(pathlib.Path, sys.argv[1:4])
    files = {}
    for wheel in fetch(requirements, cache):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.namelist():
                if entry.endswith("_pb2.py"):
                    for descriptor in serialized_files(archive.read(entry)):
                        files[name_and_dependencies(descriptor)[0]] = descriptor

    ordered = []

    def visit(name):
        if name in ordered or name not in files:
            return  # google/protobuf/* comes with protoc
        for dependency in name_and_dependencies(files[name])[1]:
            visit(dependency)
        ordered.append(name)

    for name in sorted(files):
        visit(name)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(
        b"".join(bytes([SET_FILE]) + varint(len(files[n])) + files[n] for n in ordered)
    )


if __name__ == "__main__":
    main()
