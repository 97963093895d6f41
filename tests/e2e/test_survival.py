"""Processes die, stop and come back; what was promised holds."""

import os
import signal
import subprocess
import threading
import time

import kernel_objects
import pytest
import stack
from conftest import ask, program, settled_spans

LEASE_SECONDS = 6


class Asking(threading.Thread):
    """Requests that go on until they are told not to."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.count, self.ending = address, 0, threading.Event()

    def run(self):
        while not self.ending.wait(0.01):
            ask(self.address, "/fast")
            self.count += 1

    def stop(self):
        self.ending.set()
        self.join()
        return self.count


def test_no_acknowledged_span_is_lost_when_sonded_is_killed(fresh):
    fresh.start_control_plane()
    agent = fresh.start_agent()
    server = fresh.start_service("survivor", [program("server")])
    fresh.wait_for_process(server)
    session = fresh.trace_process(server)["id"]
    asking = Asking(server.address)
    asking.start()
    settled_spans(fresh, session, 50)
    before = {span["spanId"]: (span["traceId"], span["startTime"]) for span in fresh.spans(session)}

    fresh.control_plane.kill()
    time.sleep(1)
    fresh.start_control_plane()

    count = asking.stop()
    spans = settled_spans(fresh, session, count, timeout=60)
    after = {span["spanId"]: (span["traceId"], span["startTime"]) for span in spans}
    assert len(spans) == len(after), "a span was stored twice"
    assert before.items() <= after.items(), "an acknowledged span was lost or renamed"
    assert len(spans) == count
    assert agent.running()


def test_no_probe_outlives_its_lease(fresh):
    fresh.start_control_plane("--lease-seconds", LEASE_SECONDS)
    agent = fresh.start_agent()
    server = fresh.start_service("lease", [program("server")])
    fresh.wait_for_process(server)
    fresh.trace_process(server)
    held = kernel_objects.held_by(agent.pid)
    assert held

    fresh.control_plane.kill()

    stack.wait_until(lambda: not kernel_objects.held_by(agent.pid), LEASE_SECONDS + 5, "the lease has ended")
    assert agent.running()


def program_runs(held):
    """How often the programs of an agent ran, while the kernel counts."""
    import json
    runs = 0
    for kind, number in held:
        if kind == "prog":
            done = subprocess.run(["/usr/sbin/bpftool", "-j", "prog", "show", "id", str(number)], capture_output=True, text=True)
            runs += json.loads(done.stdout or "{}").get("run_cnt", 0)
    return runs


def test_a_stopped_agent_traces_nothing_past_its_lease(fresh):
    fresh.start_control_plane("--lease-seconds", LEASE_SECONDS)
    agent = fresh.start_agent()
    server = fresh.start_service("stopped", [program("server")])
    fresh.wait_for_process(server)
    session = fresh.trace_process(server)["id"]
    ask(server.address, "/fast")
    settled_spans(fresh, session, 1)

    os.kill(agent.pid, signal.SIGSTOP)
    try:
        time.sleep(LEASE_SECONDS + 1)
        for _ in range(50):
            ask(server.address, "/fast?late")
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    time.sleep(3)

    late = [span for span in fresh.spans(session) if "late" in str(span["attributes"].get("url.query", ""))]
    assert late == [], "the deadline lies in the programs: what came after it is no span"


def test_a_killed_agent_leaves_nothing_in_the_kernel(fresh):
    fresh.start_control_plane()
    agent = fresh.start_agent()
    server = fresh.start_service("orphan", [program("server")])
    fresh.wait_for_process(server)
    fresh.trace_process(server)
    held = kernel_objects.held_by(agent.pid)
    family = stack.family(agent.pid)
    assert any(kind == "prog" for kind, _ in held)

    agent.kill()

    stack.wait_until(lambda: not held & kernel_objects.in_kernel(), 5, "the kernel has freed everything")
    stack.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family), 5, "its helpers are gone")
    assert ask(server.address, "/fast")[0] == 200


def test_a_restarted_agent_keeps_its_identity_and_its_sessions(fresh):
    fresh.start_control_plane()
    agent = fresh.start_agent()
    identity = fresh.agents()[0]["id"]
    server = fresh.start_service("restart", [program("server")])
    fresh.wait_for_process(server)
    session = fresh.trace_process(server)["id"]
    agent.kill()

    fresh.start_agent()  # the join token in its directory is used up: it needs none

    # Until the new one has reported, the session shows what the old one said: ask until a span tells.
    def traced_again():
        ask(server.address, "/fast")
        return int(fresh.session(session).get("summary", {}).get("spans", 0)) >= 1
    stack.wait_until(traced_again, 30, "a span from the restarted agent")
    assert [found["id"] for found in fresh.agents()] == [identity]


def test_a_second_replica_only_needs_starting(fresh):
    fresh.start_control_plane()
    database = f"host={fresh.state}/postgres user=sonde dbname=sonde"
    socket = next(iter(fresh.state.rglob(".s.PGSQL.*")), None)
    if socket:
        database = f"host={socket.parent} port={socket.name.rsplit('.', 1)[1]} dbname=sonde"
    ports = tuple(f"127.0.0.1:{stack.free_port()}" for _ in range(3))
    second = fresh.start_control_plane("--database-url", database, name="second", ports=ports)
    agent = fresh.start_agent()
    server = fresh.start_service("replica", [program("server")])
    fresh.wait_for_process(server)

    # Created at one, carried out through the other.
    status, session = fresh.call(
        "POST", "/v1/sessions", {"selector": {"pids": [server.pid]}, "probes": [{"http": {}}], "ttl": "60s"}, rest=ports[1])
    assert status == 200, session
    fresh.wait_active(session["id"])
    ask(server.address, "/fast")

    settled_spans(fresh, session["id"], 1)
    assert len(fresh.get(f"/v1/sessions/{session['id']}/spans", rest=ports[1])["spans"]) == 1
    assert second.running() and agent.running()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_end_leaves_nothing(fresh, number):
    fresh.start_control_plane()
    agent = fresh.start_agent()
    server = fresh.start_service("polite", [program("server")])
    fresh.wait_for_process(server)
    fresh.trace_process(server)
    held = kernel_objects.held_by(agent.pid)

    agent.signal(number)
    fresh.control_plane.signal(number)

    assert agent.process.wait(10) == 0 and fresh.control_plane.process.wait(15) == 0
    stack.wait_until(lambda: not held & kernel_objects.in_kernel(), 5, "the kernel has freed everything")
    assert list(stack.postmasters(fresh.directory)) == []
