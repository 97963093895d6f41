"""What BPF a process holds, and what of it is still in the kernel."""

import json
import pathlib
import subprocess

import stack

KINDS = {"prog_id": "prog", "map_id": "map", "link_id": "link"}


def held_by(pid):
    """{("prog", id), ("map", id), ("link", id)} of a process and its children."""
    held = set()
    for member in stack.family(pid):
        folder = pathlib.Path(f"/proc/{member}/fdinfo")
        try:
            entries = list(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            try:
                for line in entry.read_text().splitlines():
                    name, _, value = line.partition(":")
                    if name in KINDS:
                        held.add((KINDS[name], int(value)))
            except (OSError, ValueError):
                continue
    return held


def in_kernel():
    """The same for the whole machine, as bpftool sees it."""
    present = set()
    for kind in KINDS.values():
        done = subprocess.run(["/usr/sbin/bpftool", "-j", kind, "show"], capture_output=True, text=True, check=True)
        present |= {(kind, item["id"]) for item in json.loads(done.stdout or "[]")}
    return present


def map_bytes(held):
    total = 0
    for kind, number in held:
        if kind == "map":
            done = subprocess.run(["/usr/sbin/bpftool", "-j", "map", "show", "id", str(number)], capture_output=True, text=True)
            if done.returncode == 0:
                total += int(json.loads(done.stdout).get("bytes_memlock", 0))
    return total
