"""The style as a test: include edges against the declared ones, words that have a better one, what must not be here."""

import os
import pathlib
import re
import subprocess

import pytest

SOURCE = pathlib.Path(os.environ.get("SONDE_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("SONDE_BUILD_DIR", SOURCE / "build/dev"))
FILES = [
    line
    for line in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=SOURCE, check=True, capture_output=True, text=True,
    ).stdout.splitlines()
    if (SOURCE / line).is_file()
]
CPP = [f for f in FILES if re.search(r"\.(h|cpp)$", f) and not f.startswith(("tests/", "bpf/lib/", "bpf/maps/"))]
TEXT = [f for f in FILES if not re.search(r"\.(png|bin|gz|zst|sum)$|/corpus/|^LICENSE", f)]

# A file longer than this no longer tells one story.
FILE_LINES_MAX = 700

# pattern, what to use instead, files it may stand in
BANNED = [
    (r"\b(TODO|FIXME|XXX|HACK)\b", "an issue, or the thing itself", r"tests/tidy/"),
    (r"\bstd::thread\b(?!::)", "std::jthread, which joins", r"$^"),
    (r"\.detach\(\)", "a thread with an owner", r"$^"),
    (r"\bgethostbyname\b|\bstrcpy\b|\bsprintf\b", "the bounded form", r"$^"),
    (r"\busing namespace std;", "the qualified name", r"$^"),
    (r"\bco_await\b|\bco_return\b", "callbacks: both compilers of Debian 12 miscompile coroutines", r"$^"),
]


def read(name):
    return (SOURCE / name).read_text(encoding="utf-8", errors="replace")


def module_of(path, folders):
    """The declared folder that a path lies in, or None."""
    parts = pathlib.PurePath(path).parts
    for depth in range(len(parts) - 1, 0, -1):
        folder = "/".join(parts[:depth])
        if folder in folders:
            return folder
    return None


def declared_edges():
    """folder → the folders it may include, transitively, from what CMake was told."""
    target_folder, direct = {}, {}
    lines = (BUILD / "declared_edges.txt").read_text().split("\n")
    for line in filter(None, lines):
        folder, target, _ = line.split("|")
        target_folder[target] = folder
    for line in filter(None, lines):
        folder, _, depends = line.split("|")
        direct[folder] = {target_folder[d] for d in depends.split(";") if d in target_folder}

    def closure(folder, seen):
        for next_folder in direct.get(folder, ()):
            if next_folder not in seen:
                seen.add(next_folder)
                closure(next_folder, seen)
        return seen

    return {folder: closure(folder, {folder}) for folder in direct}


def test_every_include_is_a_declared_edge():
    edges = declared_edges()
    wrong = []
    for name in CPP:
        folder = module_of(name, edges)
        if folder is None:
            continue
        for included in re.findall(r'^#include "([^"]+)"', read(name), re.MULTILINE):
            target = module_of(included, edges)
            if target and target not in edges[folder]:
                wrong.append(f"{name} includes {included}, but {folder} does not depend on {target}")
    assert not wrong, "\n".join(wrong)


def test_cpp_includes_only_the_shared_headers_of_bpf():
    wrong = [
        f"{name}: {included}"
        for name in CPP
        for included in re.findall(r'^#include "(bpf/[^"]+)"', read(name), re.MULTILINE)
        if not included.startswith("bpf/include/")
    ]
    assert not wrong, "only bpf/include crosses the kernel boundary:\n" + "\n".join(wrong)


def test_headers_are_guarded_by_pragma_once():
    wrong = [f for f in CPP if f.endswith(".h") and "#pragma once" not in read(f)]
    assert not wrong, wrong


def test_sql_lives_in_the_store():
    sql = re.compile(r'"\s*(SELECT .+ FROM|INSERT INTO|UPDATE .+ SET|DELETE FROM) ', re.IGNORECASE)
    wrong = [
        f
        for f in CPP
        if f.startswith("controlplane/") and not f.startswith("controlplane/store/") and sql.search(read(f))
    ]
    assert not wrong, f"only controlplane/store holds SQL: {wrong}"


@pytest.mark.parametrize("pattern,instead,allowed", BANNED, ids=[b[1] for b in BANNED])
def test_words_that_have_a_better_one(pattern, instead, allowed):
    wrong = []
    for name in TEXT:
        if re.search(allowed, name) or not re.search(r"\.(h|c|cpp|py|go|sql|proto|cmake|txt)$", name):
            continue
        for number, line in enumerate(read(name).splitlines(), 1):
            if re.search(pattern, line):
                wrong.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not wrong, f"use {instead}:\n" + "\n".join(wrong)


def test_no_file_tells_two_stories():
    long = [
        f"{name}: {count} lines"
        for name in FILES
        if re.search(r"\.(h|c|cpp|py|go)$", name) and (count := len(read(name).splitlines())) > FILE_LINES_MAX
    ]
    assert not long, "split by what they tell:\n" + "\n".join(long)


def test_every_module_says_what_it_is():
    edges = declared_edges()
    missing = [f for f in edges if not (SOURCE / f / "README.md").exists()]
    assert not missing, f"README.md wanted in {missing}"


def test_nothing_names_the_machine_it_was_written_on():
    needle = re.compile("|".join([r"/wo" r"rk/", r"/home/\w+/", r"/root/\w"]))
    wrong = []
    for name in TEXT:
        for number, line in enumerate(read(name).splitlines(), 1):
            if needle.search(line):
                wrong.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)
