"""make demo, as a newcomer runs it."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import stack
from conftest import BUILD, SOURCE

DEMO = SOURCE / "tools/demo/run"
TRACE = SOURCE / "build/demo/trace.json"


def alive(marker):
    """Processes that have `marker` on their command line or in their working directory."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if marker in words or marker in os.readlink(entry / "cwd"):
                found.append((int(entry.name), words))
        except OSError:
            continue
    return found


def directory_of(output):
    return re.search(r"logs: (\S+)/log", output).group(1)


def test_one_shot_shows_a_complete_trace_and_leaves_nothing():
    TRACE.unlink(missing_ok=True)
    before = set(pathlib.Path("/tmp").glob("sonde-demo-*"))

    done = subprocess.run([DEMO, BUILD, "--oneshot"], capture_output=True, text=True, timeout=180)

    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("ONLINE", "1/1 ACTIVE", "shop", "inventory", "SERVER", "CLIENT"):
        assert word in done.stdout, done.stdout
    spans = [span for resource in json.loads(TRACE.read_text())["resourceSpans"]
             for scope in resource["scopeSpans"] for span in scope["spans"]]
    assert len(spans) == 3 and len({span["traceId"] for span in spans}) == 1
    assert all(re.fullmatch("[0-9a-f]{32}", span["traceId"]) for span in spans)
    assert set(pathlib.Path("/tmp").glob("sonde-demo-*")) == before
    assert alive("sonde-demo-") == [] and alive("build/demo/") == []


def start(command=(DEMO, BUILD)):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = ""
    while "Ctrl-C" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    return process, directory_of(output)


def test_nothing_survives_any_end():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process, directory = start()
        assert alive(directory)
        process.send_signal(number)
        process.wait(30)

        stack.wait_until(lambda: not alive(directory) and not os.path.exists(directory), 20,
                         f"everything of the demo is gone after signal {number}")
        assert alive("build/demo/") == []


def test_make_alone_is_enough_to_end_it(tmp_path):
    (tmp_path / "Makefile").write_text(f"demo:\n\t@{DEMO} {BUILD}\n")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process, directory = start(["make", "-C", tmp_path, "demo"])
        assert alive(directory)
        process.send_signal(number)

        stack.wait_until(lambda: not alive(directory) and not os.path.exists(directory), 20,
                         f"everything of the demo is gone after signal {number} to make")
        process.wait(10)


def test_without_root_it_says_what_is_missing():
    # a clone in a home directory is closed to others: what is asked here must not depend on it
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(SOURCE / "tools", f"{folder}/tools", ignore=shutil.ignore_patterns("__pycache__"))
        os.chmod(folder, 0o755)
        done = subprocess.run(
            ["setpriv", "--reuid", "nobody", "--clear-groups", "/usr/bin/python3", f"{folder}/tools/demo/run", "build/dev"],
            capture_output=True, text=True, cwd="/")

    assert done.returncode == 2 and "root" in done.stderr


def test_without_capabilities_it_names_them():
    for name in ("bpf", "perfmon"):
        less = f"-{name},-sys_admin"
        done = subprocess.run(
            ["setpriv", "--bounding-set", less, "--inh-caps", less, DEMO, BUILD, "--oneshot"], capture_output=True, text=True,
            timeout=180)

        assert done.returncode == 2 and f"CAP_{name.upper()}" in done.stderr, done.stdout + done.stderr
