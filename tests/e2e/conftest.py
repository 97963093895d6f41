"""The real binaries, together: what every test here starts with."""

import http.client
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(os.environ.get("SONDE_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("SONDE_BUILD_DIR", SOURCE / "build/dev"))
sys.path[:0] = [str(SOURCE / "tools"), str(pathlib.Path(__file__).parent)]
import stack  # noqa: E402

NO_BPF = "no BPF"
NO_NETWORK = "no network"


@pytest.fixture(scope="session", autouse=True)
def prerequisites():
    refusal = "not root" if os.geteuid() != 0 else stack.bpf_refusal()
    if refusal:
        pytest.skip(f"{NO_BPF}: {refusal}")


@pytest.fixture(scope="session")
def shared(prerequisites):
    """One control plane and one agent for all tests that leave them as they found them."""
    with stack.Stack(BUILD, prefix="sonde-e2e") as world:
        world.start_control_plane()
        world.agent = world.start_agent()
        yield world


@pytest.fixture
def world(shared):
    """The shared stack; its programs of this test end with the test, its sessions too."""
    before = list(shared.programs)
    yield shared
    for session in shared.pages("/v1/sessions", "sessions"):
        if session.get("state") in ("SCHEDULED", "STARTING", "ACTIVE", "STOPPING"):
            shared.call("POST", f"/v1/sessions/{session['id']}:cancel", {})
    for program in shared.programs[len(before):]:
        program.stop()
    del shared.programs[len(before):]


@pytest.fixture
def fresh():
    """A stack of one's own, for tests that break it. Nothing is started yet."""
    with stack.Stack(BUILD, prefix="sonde-e2e") as world:
        yield world


def program(name, go="1.26"):
    """Path of a program of tests/programs; skips when the network kept it from being built."""
    path = BUILD / "programs" / f"go{go}" / name
    if path.with_name(name + ".skipped").exists():
        pytest.skip(f"{NO_NETWORK}: {name} for Go {go} could not be built")
    assert path.exists(), f"{path} is missing: ninja test_programs"
    return path


@pytest.fixture(scope="session")
def load_generator():
    """A process of tests/bench/load; call it with a command."""
    output = BUILD / "programs" / "load"
    subprocess.run(
        ["/usr/bin/python3", SOURCE / "tests/programs/build_program.py", "--go", "1.26", "--source",
         SOURCE / "tests/bench/load", "--output", output], check=True, capture_output=True)
    if not output.exists():
        pytest.skip(f"{NO_NETWORK}: the load generator could not be built")
    process = subprocess.Popen([output], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               preexec_fn=stack.die_with_parent)
    process.stdout.readline()

    def run(address, path, connections=1, requests=0, milliseconds=0, **_):
        process.stdin.write(json.dumps({"address": address, "path": path, "connections": connections,
                                        "requests": requests, "milliseconds": milliseconds}) + "\n")
        process.stdin.flush()
        report = json.loads(process.stdout.readline())
        assert not report.get("error"), report
        return report
    yield run
    process.stdin.close()
    process.wait()


def ask(address, path, method="GET", body=None, headers=None, connection=None):
    """One request to a service: (status, body). Errors of the connection are the caller's."""
    used = connection or http.client.HTTPConnection(address, timeout=20)
    used.request(method, path, body=body, headers=headers or {})
    answer = used.getresponse()
    text = answer.read()
    if connection is None:
        used.close()
    return answer.status, text


def settled_spans(world, session, count, timeout=30):
    """All spans of a session, once there are `count`; a later one too many would be seen as well."""
    def enough():
        found = int(world.session(session).get("summary", {}).get("spans", 0))
        return found >= count or None
    stack.wait_until(enough, timeout, f"{count} spans of session {session} ({world.session(session).get('summary')})")
    return world.spans(session)
