"""Input that is wrong gets a clear error with its reason; nothing crashes."""

import json
import re
import socket
import time

import pytest
import stack
from conftest import ask, program, settled_spans

GOOD = {"selector": {"hosts": "*"}, "probes": [{"http": {}}], "ttl": "60s"}


def with_changes(**changes):
    return {**GOOD, **changes}


@pytest.mark.parametrize("name, body, reasons", [
    ("unknown field", with_changes(colour="red"), None),
    ("unknown nested field", with_changes(selector={"hosts": "*", "colour": "red"}), None),
    ("wrong type", with_changes(selector={"hosts": 7}), None),
    ("a list where an object belongs", with_changes(selector=[]), None),
    ("broken JSON", "{", None),
    ("no JSON at all", "hello", None),
    ("no body", "", None),
    ("JSON nested too deep", "[" * 100_000, None),
    ("empty selector", with_changes(selector={}), {"EMPTY_SELECTOR"}),
    ("no selector", {"probes": [{"http": {}}]}, {"EMPTY_SELECTOR"}),
    ("label selector that is none", with_changes(selector={"hosts": "env in (a"}), None),
    ("ttl over the maximum", with_changes(ttl="3601s"), None),
    ("ttl that is none", with_changes(ttl="-1s"), None),
    ("ttl without a unit", with_changes(ttl="soon"), None),
    ("no probes", with_changes(probes=[]), None),
    ("a probe of no kind", with_changes(probes=[{}]), None),
    ("a probe nobody knows", with_changes(probes=[{"teleport": {}}]), None),
    ("ratio over one", with_changes(sampling={"ratio": 1.5}), None),
    ("a destination that is not configured", with_changes(export={"otlp": ["nowhere"]}), None),
])
def test_wrong_sessions_are_refused_with_a_reason(shared, name, body, reasons):
    status, problem = shared.call("POST", "/v1/sessions", body)

    assert 400 <= status < 500, (name, status, problem)
    assert problem["reason"] and problem["detail"] and problem["status"] == status, problem
    if reasons:
        assert problem["reason"] in reasons
    assert shared.call("GET", "/readyz", role=None)[0] == 200


def test_a_probe_no_agent_supports_says_so(world):
    server = world.start_service("unsupported", [program("server")])
    world.wait_for_process(server)
    status, session = world.call("POST", "/v1/sessions", {
        "selector": {"pids": [server.pid]}, "probes": [{"cpuProfile": {"frequencyHz": 99}}], "ttl": "60s"})
    if status != 200:
        assert 400 <= status < 500 and session["reason"], session
        return

    def refused():
        reasons = world.session(session["id"]).get("summary", {}).get("reasons", [])
        return any(reason["reason"] == "PROBE_UNSUPPORTED" for reason in reasons)
    stack.wait_until(refused, 10, "the session shows PROBE_UNSUPPORTED")


def test_a_session_that_matches_nothing_says_so(shared):
    nowhere = with_changes(selector={"hosts": "env=nowhere"})

    status, answer = shared.call("POST", "/v1/sessions?validateOnly=true", nowhere)
    assert status == 200 and answer.get("summary", {}).get("hosts", 0) == 0
    dry = shared.cli("session", "run", "--probe", "http", "-l", "env=nowhere", "--dry-run", check=False)
    assert dry.returncode == 7 and "0 hosts" in dry.stdout


def test_a_selected_host_without_the_process_says_so(world):
    session = world.create_session(with_changes(selector={"hosts": "*", "service": "nobody"}))["id"]

    def said():
        reasons = world.session(session).get("summary", {}).get("reasons", [])
        return any(reason["reason"] == "NO_MATCHING_PROCESS" for reason in reasons)
    stack.wait_until(said, 10, "the session shows NO_MATCHING_PROCESS")


@pytest.mark.parametrize("path, status", [
    ("/v1/sessions/00000000-0000-4000-8000-000000000000", 404), ("/v1/sessions/not-an-id", None),
    ("/v1/agents/00000000-0000-4000-8000-000000000000", 404), ("/v1/nothing", 404),
    ("/v1/sessions?pageSize=many", 400), ("/v1/sessions?pageToken=forged", 400), ("/v1/sessions?colour=red", 400),
    ("/v1/sessions?filter=state%20%3D", 400), ("/v1/sessions/%00", None), ("/v1/sessions/..%2f..%2fetc", None)])
def test_wrong_paths_and_parameters_are_refused(shared, path, status):
    got, problem = shared.call("GET", path)

    assert got == status if status else 400 <= got < 500, (got, problem)
    assert problem["reason"], problem


def test_a_method_that_is_not_there(shared):
    status, problem = shared.call("PUT", "/v1/sessions", GOOD)

    assert status in (404, 405) and problem["reason"]


def raw(address, data, timeout=10):
    """What the server answers to bytes; b"" when it closes."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        try:
            for start in range(0, len(data), 65536):
                connection.sendall(data[start:start + 65536])
            return connection.recv(65536)
        except (ConnectionError, TimeoutError):
            return b""


def test_a_header_of_ten_megabytes_is_refused(shared):
    answer = raw(shared.rest, b"GET /v1/sessions HTTP/1.1\r\nHost: a\r\nX-Big: " + b"a" * 10_000_000 + b"\r\n\r\n")

    assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
    assert shared.call("GET", "/healthz", role=None)[0] == 200


def test_a_body_of_a_hundred_megabytes_is_refused(shared):
    answer = raw(shared.rest, b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " +
                 shared.tokens["admin"].encode() + b"\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n" + b" " * 1_000_000)

    assert answer == b"" or answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
    assert shared.call("GET", "/healthz", role=None)[0] == 200


@pytest.mark.parametrize("garbage", [b"\0" * 1000, b"\x16\x03\x01\x02\x00garbage", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100])
def test_garbage_on_any_port_harms_nobody(shared, garbage):
    for address in (shared.rest, shared.grpc, shared.metrics):
        try:
            raw(address, garbage, timeout=1)
        except OSError:
            pass

    assert shared.call("GET", "/readyz", role=None)[0] == 200
    assert shared.cli("agents").returncode == 0


def test_a_header_of_ten_megabytes_at_a_traced_service_is_counted_not_fatal(world):
    server = world.start_service("big-header", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server)["id"]

    raw(server.address, b"GET /fast HTTP/1.1\r\nHost: a\r\nX-Big: " + b"a" * 10_000_000 + b"\r\n\r\n")
    for _ in range(5):
        assert ask(server.address, "/fast")[0] == 200

    settled_spans(world, session, 5)
    assert world.agent.running()


class Tail:
    """A reader of server-sent events that takes what it wants, when it wants."""

    def __init__(self, world, session):
        self.world, self.session = world, session
        self.last, self.spans, self.missed = "", 0, 0
        self.connect()

    def connect(self):
        host, port = self.world.rest.split(":")
        self.socket = socket.create_connection((host, int(port)))
        resume = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
        self.socket.sendall((f"GET /v1/sessions/{self.session}:tail HTTP/1.1\r\nHost: {self.world.rest}\r\nAuthorization: Bearer "
                             f"{self.world.tokens['viewer']}\r\n{resume}Accept: text/event-stream\r\n\r\n").encode())
        self.rest = b""

    def read(self):
        """What has come; a reader that was cut off comes back where it was."""
        data = self.socket.recv(1 << 20)
        if not data:
            self.connect()
            return
        *events, self.rest = (self.rest + data).split(b"\n\n")
        for event in events:
            if found := re.search(rb"^id: ?(.+)$", event, re.MULTILINE):
                self.last = found.group(1).decode().strip()
            self.spans += b'"span":' in event
            if found := re.search(rb'"missed":\{.*"count":"(\d+)"', event):
                self.missed += int(found.group(1))


def test_a_slow_reader_loses_nothing_unsaid_and_holds_nobody_up(world, load_generator):
    server = world.start_service("slow-reader", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server)["id"]
    slow = Tail(world, session)
    slow.socket.settimeout(5)
    slow.read()

    report = load_generator(server.address, "/fast", connections=8, requests=10_000)
    stack.wait_until(
        lambda: int(world.session(session)["summary"].get("spans", 0)) == report["requests"], 60, "all spans have arrived")

    deadline = time.monotonic() + 60
    while slow.spans + slow.missed < report["requests"] and time.monotonic() < deadline:
        try:
            slow.read()
        except TimeoutError:
            continue
    assert slow.spans + slow.missed == report["requests"], (slow.spans, slow.missed)


def test_the_command_line_refuses_the_same(shared, tmp_path):
    bad = tmp_path / "session.yaml"
    bad.write_text("selector: {hosts: '*'}\nprobes: [{http: {}}]\ncolour: red\n")
    long = tmp_path / "long.yaml"
    long.write_text("selector: {hosts: '*'}\nprobes: [{http: {}}]\nttl: 2h\n")

    def code(*words, stdin=None):
        done = shared.cli(*words, check=False, input=stdin)
        return done.returncode, done.stderr
    assert code("session", "run", "-f", bad)[0] == 2
    assert "session.yaml:3" in code("session", "run", "-f", bad)[1]
    assert code("session", "run", "-f", long)[0] == 5
    assert code("session", "run", "--probe", "http")[0] == 5
    assert "EMPTY_SELECTOR" in code("session", "run", "--probe", "http")[1]
    assert code("session", "status", "00000000-0000-4000-8000-000000000000")[0] == 4
    assert code("session", "run", "-f", "-", stdin="\0\1\2")[0] == 2
    error = json.loads(code("session", "get", "00000000-0000-4000-8000-000000000000", "-o", "json")[1])
    assert error["error"]["exitCode"] == 4 and error["error"]["reason"]


def test_a_hostile_binary_is_refused_and_nobody_falls(world, tmp_path):
    server = program("server")
    broken = tmp_path / "broken"
    image = bytearray(server.read_bytes())
    # Sections that are not where they say, under a head that still runs.
    image[40:48] = (0xFFFFFFFFFFFFFF00).to_bytes(8, "little")
    broken.write_bytes(image)
    broken.chmod(0o755)
    service = world.start_service("hostile", [broken])
    well = world.start_service("well", [server])
    world.wait_for_process(well)

    session = world.trace_process(well)["id"]
    ask(well.address, "/fast")

    settled_spans(world, session, 1)
    assert world.agent.running() and service.running()


def test_two_programs_with_one_build_id_are_two_binaries(world, tmp_path):
    import subprocess
    first, second = tmp_path / "first", tmp_path / "second"
    for path, tag in ((first, "1.22"), (second, "1.26")):
        subprocess.run(["objcopy", "--remove-section", ".note.gnu.build-id", program("server", tag), path], check=True)
        note = tmp_path / "note"
        note.write_bytes(bytes.fromhex("0400000014000000030000 00474e5500".replace(" ", "")) + b"\x42" * 20)
        subprocess.run(["objcopy", "--add-section", f".note.gnu.build-id={note}", path], check=True)
        path.chmod(0o755)
    services = [world.start_service(path.name, [path]) for path in (first, second)]
    processes = [world.wait_for_process(service) for service in services]

    assert processes[0]["binaryHash"] != processes[1]["binaryHash"]
    session = world.create_session({
        "selector": {"pids": [service.pid for service in services]}, "probes": [{"http": {}}], "ttl": "60s"})["id"]
    stack.wait_until(lambda: world.session(session).get("summary", {}).get("processes", 0) == 2, 20, "both are traced")
    for service in services:
        ask(service.address, "/fast")
    spans = settled_spans(world, session, 2)
    assert {span["service"] for span in spans} == {"first", "second"}
