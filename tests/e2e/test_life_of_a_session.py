"""From a session to its first span, and back to nothing."""

import time

import kernel_objects
import stack
from conftest import ask, program, settled_spans

# What the product promises, in seconds and bytes. A machine that is busy with something else may take longer once in a
# while: the best of a few tries is what the code can do.
FIRST_SPAN_SECONDS = 0.3
DETACH_SECONDS = 0.3
TRIES = 5
IDLE_RESIDENT_BYTES = 30 << 20
BUSY_RESIDENT_BYTES = 45 << 20
MAP_BYTES = 16 << 20


def test_an_idle_agent_holds_no_bpf_and_little_memory(world):
    stack.wait_until(lambda: not kernel_objects.held_by(world.agent.pid), 10, "the agent holds no BPF")

    assert stack.resident_bytes(world.agent.pid) <= IDLE_RESIDENT_BYTES


def test_the_first_span_is_readable_in_time(world):
    server = world.start_service("first-span", [program("server")])
    world.wait_for_process(server)
    world.stop_session(world.trace_process(server)["id"])  # the binary is analysed from here on
    seconds = []
    for _ in range(TRIES):
        start = time.monotonic()
        session = world.create_session({
            "displayName": "first span", "selector": {"pids": [server.pid]}, "probes": [{"http": {}}], "ttl": "60s"})["id"]
        deadline = start + 10
        while time.monotonic() < deadline:
            ask(server.address, "/fast")
            if world.get(f"/v1/sessions/{session}/spans").get("spans"):
                break
            time.sleep(0.005)
        seconds.append(time.monotonic() - start)
        world.stop_session(session)
        stack.wait_until(lambda: not kernel_objects.held_by(world.agent.pid), 10, "the agent holds no BPF")

    assert min(seconds) <= FIRST_SPAN_SECONDS, seconds


def test_a_stopped_session_leaves_nothing_attached(world):
    server = world.start_service("stop", [program("server")])
    world.wait_for_process(server)
    seconds = []
    for _ in range(TRIES):
        session = world.trace_process(server)["id"]
        for _ in range(20):
            ask(server.address, "/fast")
        held = kernel_objects.held_by(world.agent.pid)
        assert any(kind == "prog" for kind, _ in held) and any(kind == "map" for kind, _ in held)
        start = time.monotonic()
        world.stop_session(session)
        stack.wait_until(lambda: not kernel_objects.held_by(world.agent.pid), 10, "the agent holds no BPF")
        seconds.append(time.monotonic() - start)
        # The kernel frees programs and maps after a grace period of its own.
        stack.wait_until(lambda: not held & kernel_objects.in_kernel(), 5, "the kernel has freed what the agent held")

    assert min(seconds) <= DETACH_SECONDS, seconds


def test_a_busy_agent_stays_within_its_memory(world, load_generator):
    server = world.start_service("busy", [program("server")])
    world.wait_for_process(server)
    world.trace_process(server)

    load_generator(server.address, "/fast", connections=32, milliseconds=3000)

    assert kernel_objects.map_bytes(kernel_objects.held_by(world.agent.pid)) <= MAP_BYTES
    assert stack.resident_bytes(world.agent.pid) <= BUSY_RESIDENT_BYTES


def test_a_session_ends_by_itself_and_keeps_its_results(world):
    server = world.start_service("ttl", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server, ttl="3s")["id"]
    ask(server.address, "/fast")
    settled_spans(world, session, 1)

    ended = stack.wait_until(
        lambda: (found := world.session(session)).get("state") in ("SUCCEEDED", "EXPIRED") and found, 15, "the session ends")

    assert ended["endTime"]
    assert len(world.spans(session)) == 1
    stack.wait_until(lambda: not kernel_objects.held_by(world.agent.pid), 5, "the agent holds no BPF")


def test_a_trace_crosses_two_services(world):
    inner = world.start_service("inner", [program("server")])
    outer = world.start_service("outer", [program("server")])
    for service in (inner, outer):
        world.wait_for_process(service)
    session = world.create_session({
        "selector": {"pids": [inner.pid, outer.pid]}, "probes": [{"http": {}}], "ttl": "60s"})["id"]
    stack.wait_until(
        lambda: world.session(session).get("summary", {}).get("processes", 0) == 2, 20, "two processes are traced")

    assert ask(outer.address, f"/call?url=http://{inner.address}/fast")[0] == 200
    spans = settled_spans(world, session, 3)

    by_kind = {(span["service"], span["kind"]): span for span in spans}
    server, client, remote = (by_kind[key] for key in (("outer", "SERVER"), ("outer", "CLIENT"), ("inner", "SERVER")))
    assert client["parentSpanId"] == server["spanId"] and client["traceId"] == server["traceId"]
    assert "parentSpanId" not in server
    for span in (server, client, remote):
        assert span["attributes"]["http.response.status_code"] == 200
        assert span["attributes"]["sonde.capture"]
    assert client["attributes"]["server.port"] == int(inner.address.split(":")[1])
